//! Devices come, are numbered, and go.

use iommufd::smmuv3::relay::{Kernel, PendingSync, Place, Port, PortError, Relay};
use smmuv3_types::{AtcSpan, Command, Gbpa, InputAddress, Invalidation, Ste, StreamConfig};

use crate::guest::{Guest, cfgi_cd_all, cfgi_ste, nested, nh_all, on, stage1, stream, with_ats};
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
fn a_device_comes_back_with_no_number_after_it_was_blocked() {
    let (mut guest, mut ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    let _taken = guest.take(cfgi_cd_all(1));
    let device = guest.relay.unplug(ports.remove(0)).unwrap();
    assert_eq!(device, Dev(1));
    assert_eq!(
        guest.model.calls()[1..],
        [
            Call::Put(device, Place::Blocked),
            Call::Name(device, None),
            Call::Leave(device)
        ]
    );
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
fn a_device_that_bypasses_is_blocked_before_it_comes_back() {
    let bypass = Ste::valid(StreamConfig::Bypass);
    let (mut guest, mut ports) = Guest::with_streams(&[(1, bypass)]);
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
    let device = guest.relay.unplug(ports.remove(0)).unwrap();
    let calls = guest.model.calls();
    let last = [Call::Put(device, Place::Blocked), Call::Leave(device)];
    assert_eq!(calls[calls.len() - 2..], last);
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

#[test]
fn a_device_that_cannot_come_behind_the_smmu_is_given_back() {
    let mut guest = Guest::new();
    guest.model.refuse(|call| matches!(call, Call::Enter(_)));
    let refused = guest
        .relay
        .plug(Dev(1), Some(stream(1)), &guest.memory)
        .unwrap_err();
    assert_eq!(*refused.error(), PortError::Enter(Refusal));
    guest.model.accept();
    assert_eq!(guest.model.calls(), []);
    // Its number is free.
    let memory = guest.memory.clone();
    let port = guest
        .relay
        .plug(refused.into_value(), Some(stream(1)), &memory);
    assert!(port.is_ok());
}

#[test]
fn a_device_that_gets_no_number_leaves_again() {
    let mut guest = Guest::new();
    let plug = |guest: &mut Guest| {
        let memory = guest.memory.clone();
        let plugged = guest.relay.plug(Dev(1), Some(stream(1)), &memory);
        plugged.map_err(|refused| (refused.error().clone(), refused.into_value()))
    };
    let refused = Err((PortError::Name(Refusal), Dev(1)));
    guest.model.refuse(|call| matches!(call, Call::Name(..)));
    assert_eq!(plug(&mut guest), refused);
    assert!(!guest.model.has(Dev(1)));
    // Even if it cannot leave, it can come again.
    guest
        .model
        .refuse(|call| matches!(call, Call::Name(..) | Call::Leave(_)));
    assert_eq!(plug(&mut guest), refused);
    assert!(guest.model.has(Dev(1)));
    guest.model.accept();
    let _port = plug(&mut guest).unwrap();
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
}

#[test]
fn a_device_that_cannot_leave_stays_blocked_with_its_port() {
    let (mut guest, mut ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.model.refuse(|call| matches!(call, Call::Leave(_)));
    let refused = guest.relay.unplug(ports.remove(0)).unwrap_err();
    assert_eq!(*refused.error(), PortError::Leave(Refusal));
    let port = refused.into_value();
    assert_eq!(guest.relay.place(&port), Some(Place::Blocked));
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    assert_eq!(guest.relay.stream(&port), None);
    assert_eq!(guest.carries_out(&[cfgi_ste(1)]), []);
    guest.model.accept();
    assert_eq!(guest.relay.unplug(port).unwrap(), Dev(1));
    assert!(!guest.model.has(Dev(1)));
}

#[test]
fn a_device_without_ats_is_never_asked_to_forget_what_it_has_cached() {
    let streams = [(1, with_ats(stage1(0))), (2, with_ats(stage1(1)))];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    guest.model.0.borrow_mut().without_ats.insert(Dev(1));
    let atc = |number| Command::AtcInv {
        stream: stream(number),
        substream: None,
        global: false,
        address: InputAddress::new(0),
        span: AtcSpan::ALL,
    };
    assert_eq!(guest.forwards(&[atc(1), atc(2)]), [atc(2)]);
    // Nor when all is forgotten.
    guest.model.refuse(|call| match call {
        Call::Invalidate(batch) => batch.contains(&Invalidation::tlbi_nsnh_all()),
        _ => false,
    });
    assert_eq!(
        guest.forwards(&[Command::TlbiNsnhAll]),
        [cfgi_cd_all(1), cfgi_cd_all(2), nh_all(), atc(2)]
    );
}
