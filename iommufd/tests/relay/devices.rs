//! Devices come, are numbered, and go.

use iommufd::smmuv3::relay::{Kernel, PendingSync, Place, Port, PortError, Relay};
use smmuv3_types::{Gbpa, Ste, StreamConfig};

use crate::guest::{Guest, cfgi_cd_all, cfgi_ste, nested, on, stage1, stream};
use crate::model::{Call, Dev, Refusal};

#[test]
fn a_relay_goes_to_another_thread() {
    fn goes<T: Send + 'static>() {}
    goes::<Relay<Kernel>>();
    goes::<Port>();
    goes::<PendingSync>();
}

#[test]
fn a_device_without_a_number_follows_gbpa_and_then_waits() {
    let mut guest = Guest::new();
    let port = guest.plug(1, None);
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
    guest.relay.set_gbpa(Gbpa::default().with_abort(true));
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    guest.relay.set_gbpa(Gbpa::default());
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
    guest.cr0(on());
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    let late = guest.plug(2, None);
    assert_eq!(guest.model.place(Dev(2)), Place::Blocked);
    assert_eq!(guest.relay.stream(&port), None);
    // Nobody is told of a stream that it has not.
    assert_eq!(guest.relay.take_event(), None);
    drop(late);
}

#[test]
fn a_device_that_gets_its_number_is_configured_by_the_table() {
    let mut guest = Guest::new();
    guest.write_ste(3, &stage1(0));
    let port = guest.plug(1, None);
    guest.cr0(on());
    let number = Some(stream(3));
    guest.relay.assign(&port, number, &guest.memory).unwrap();
    assert_eq!(guest.relay.stream(&port), number);
    assert_eq!(guest.model.name(Dev(1)), number);
    assert_eq!(
        guest.model.place(Dev(1)),
        Place::Translated(nested(stage1(0)))
    );
    guest.model.calls();
    guest.relay.assign(&port, number, &guest.memory).unwrap();
    assert_eq!(guest.model.calls(), [], "it has it");
}

#[test]
fn a_device_that_is_moved_is_done_with_its_old_number_first() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.write_ste(2, &stage1(1));
    let _taken = guest.take(cfgi_cd_all(1));
    let number = Some(stream(2));
    guest
        .relay
        .assign(&ports[0], number, &guest.memory)
        .unwrap();
    let calls = guest.model.calls();
    assert!(matches!(calls[0], Call::Invalidate(_)));
    assert_eq!(
        calls[1..],
        [
            Call::Put(Dev(1), Place::Blocked),
            Call::Name(Dev(1), None),
            Call::Name(Dev(1), number),
            Call::Put(Dev(1), Place::Translated(nested(stage1(1)))),
        ]
    );
    // The old number is nobody's.
    assert_eq!(guest.carries_out(&[cfgi_cd_all(1), cfgi_ste(1)]), []);
    assert_eq!(guest.forwards(&[cfgi_ste(2)]), [cfgi_cd_all(2)]);
}

#[test]
fn a_device_that_bypasses_is_numbered_without_a_break() {
    let mut guest = Guest::new();
    let port = guest.plug(1, Some(1));
    guest.model.calls();
    let number = Some(stream(2));
    guest.relay.assign(&port, number, &guest.memory).unwrap();
    let calls = guest.model.calls();
    assert_eq!(
        calls,
        [Call::Name(Dev(1), None), Call::Name(Dev(1), number)]
    );
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
}

#[test]
fn a_device_comes_back_blocked_and_with_no_number() {
    let (mut guest, mut ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    let _taken = guest.take(cfgi_cd_all(1));
    let device = guest.relay.unplug(ports.remove(0)).unwrap();
    assert_eq!(device, Dev(1));
    assert_eq!(guest.model.place(device), Place::Blocked);
    assert_eq!(guest.model.name(device), None);
    // What the guest says of it is nobody's business any more; others go on.
    assert_eq!(
        guest.forwards(&[cfgi_ste(1), cfgi_cd_all(1), cfgi_cd_all(2)]),
        [cfgi_cd_all(2)]
    );
    // It can come again, with the same number.
    let _port = guest.plug(1, Some(1));
    assert_eq!(
        guest.model.place(device),
        Place::Translated(nested(stage1(0)))
    );
}

#[test]
fn a_device_that_bypasses_comes_back_blocked() {
    let bypass = Ste::valid(StreamConfig::Bypass);
    let (mut guest, mut ports) = Guest::with_streams(&[(1, bypass)]);
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
    let device = guest.relay.unplug(ports.remove(0)).unwrap();
    assert_eq!(guest.model.place(device), Place::Blocked);
}

#[test]
fn a_number_is_one_devices() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    let refused = guest
        .relay
        .plug(Dev(9), Some(stream(1)), &guest.memory)
        .unwrap_err();
    assert_eq!(*refused.error(), PortError::StreamTaken(stream(1)));
    assert_eq!(refused.into_value(), Dev(9));
    let refused = guest
        .relay
        .assign(&ports[0], Some(stream(2)), &guest.memory);
    assert_eq!(refused, Err(PortError::StreamTaken(stream(2))));
    assert_eq!(guest.relay.stream(&ports[0]), Some(stream(1)));
    assert_eq!(guest.model.calls(), []);
}

#[test]
fn a_port_is_of_its_relay_only() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let (_other, mut foreign) = Guest::with_streams(&[(1, stage1(0))]);
    let foreign = foreign.remove(0);
    assert_eq!(guest.relay.stream(&foreign), None);
    assert_eq!(guest.relay.place(&foreign), None);
    assert_eq!(
        guest.relay.assign(&foreign, None, &guest.memory),
        Err(PortError::ForeignPort)
    );
    let refused = guest.relay.unplug(foreign).unwrap_err();
    assert_eq!(*refused.error(), PortError::ForeignPort);
    assert_eq!(guest.model.calls(), []);
}

#[test]
fn a_host_that_refuses_a_number_leaves_the_device_where_it_is_safe() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    guest
        .model
        .refuse(|call| matches!(call, Call::Name(_, Some(_))));
    let refused = guest
        .relay
        .assign(&ports[0], Some(stream(5)), &guest.memory);
    assert_eq!(refused, Err(PortError::Name(Refusal)));
    assert_eq!(guest.relay.stream(&ports[0]), None);
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    guest
        .model
        .refuse(|call| matches!(call, Call::Name(_, None)));
    let refused = guest
        .relay
        .assign(&ports[1], Some(stream(6)), &guest.memory);
    assert_eq!(refused, Err(PortError::Name(Refusal)));
    assert_eq!(guest.relay.stream(&ports[1]), Some(stream(2)));
    assert_eq!(guest.model.place(Dev(2)), Place::Blocked);
    // It comes back when the guest configures it under the number that it has.
    guest.model.accept();
    guest.carries_out(&[cfgi_ste(2)]);
    let place = Place::Translated(nested(stage1(1)));
    assert_eq!(guest.model.place(Dev(2)), place);
}
