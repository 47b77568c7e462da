//! Devices come, are numbered anew, and go.

use iommufd::vtd::relay::{Place, PortError};
use vtd_types::PasidEntry;

use crate::guest::{
    Guest, first_stage, off, on, pasid, pass_through, pc_inv, piotlb, source, translated,
    with_directory,
};
use crate::model::{Call, Dev};

#[test]
fn a_device_without_a_number_is_blocked_while_something_is_translated() {
    let mut guest = Guest::new();
    let port = guest.plug(1, None);
    assert_eq!(guest.place(1, None), Place::Bypass);
    guest.gcmd(on());
    assert_eq!(guest.place(1, None), Place::Blocked);
    guest.write_context(3, &with_directory(0));
    guest.write_entry(0, 0, &first_stage(0, 2));
    guest.write_entry(0, 70, &pass_through(3));
    let memory = guest.memory.clone();
    guest.relay.assign(&port, Some(source(3)), &memory).unwrap();
    assert_eq!(guest.place(1, None), translated(&first_stage(0, 2)));
    assert_eq!(guest.place(1, Some(70)), Place::Bypass);
    guest.relay.assign(&port, None, &memory).unwrap();
    assert_eq!(guest.place(1, None), Place::Blocked);
    assert_eq!(guest.model.pasids(Dev(1)), 0);
    guest.gcmd(off());
    assert_eq!(guest.place(1, None), Place::Bypass);
}

#[test]
fn a_number_is_of_one_device() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2), first_stage(1, 2)]);
    let memory = guest.memory.clone();
    let refused = guest
        .relay
        .plug(Dev(9), Some(source(0)), &memory)
        .unwrap_err();
    assert_eq!(*refused.error(), PortError::SourceTaken(source(0)));
    assert_eq!(
        guest.relay.assign(&ports[1], Some(source(0)), &memory),
        Err(PortError::SourceTaken(source(0)))
    );
    assert_eq!(guest.model.calls(), []);
    // Its own it can be given again.
    guest
        .relay
        .assign(&ports[1], Some(source(1)), &memory)
        .unwrap();
    assert_eq!(guest.model.calls(), []);
}

#[test]
fn a_device_that_moves_is_blocked_between() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.write_context(4, &with_directory(0));
    let memory = guest.memory.clone();
    guest
        .relay
        .assign(&ports[0], Some(source(4)), &memory)
        .unwrap();
    let there = translated(&first_stage(0, 2));
    assert_eq!(
        guest.model.calls(),
        [
            Call::Put(Dev(0), None, Place::Blocked),
            Call::Put(Dev(0), None, there)
        ]
    );
    // What is said by the old number is for nobody.
    guest.write_entry(0, 0, &PasidEntry::default());
    assert_eq!(guest.carries_out(&[crate::guest::cc_inv(0)]), []);
    assert_eq!(guest.carries_out(&[crate::guest::cc_inv(4)]).len(), 1);
}

#[test]
fn a_device_leaves_with_nothing_behind_it() {
    let (mut guest, mut ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.write_entry(0, 5, &first_stage(1, 2));
    guest.carries_out(&[pc_inv(2, 5)]);
    let asked = guest.model.asks(Dev(0), 1, 1, Some(pasid(5)));
    let _told = guest.relay.page_requests(asked);
    let _taken = guest.take(piotlb(2, 5));
    assert_eq!(guest.relay.unplug(ports.remove(0)).unwrap(), Dev(0));
    assert!(!guest.model.has(Dev(0)));
    assert_eq!(guest.model.answers().len(), 1);
    guest.model.calls();
    assert_eq!(guest.carries_out(&[piotlb(2, 5), pc_inv(2, 5)]), []);
    // It comes again, as another might.
    let _port = guest.plug(0, Some(0));
    assert_eq!(guest.place(0, Some(5)), translated(&first_stage(1, 2)));
}

#[test]
fn a_port_of_another_relay_is_none() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let (_other, mut ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let memory = guest.memory.clone();
    assert_eq!(
        guest.relay.assign(&ports[0], None, &memory),
        Err(PortError::ForeignPort)
    );
    assert_eq!(guest.relay.source(&ports[0]), None);
    assert_eq!(guest.relay.place(&ports[0], None), None);
    let refused = guest.relay.unplug(ports.remove(0)).unwrap_err();
    assert_eq!(*refused.error(), PortError::ForeignPort);
}
