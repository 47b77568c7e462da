//! The relay over the kernel and the lab's SMMUv3: a guest's driver writes registers, tables and commands, and the
//! device's DMA goes where they say.
//!
//! What cannot be tested in the lab, as QEMU's SMMUv3 has none of it: ATS (nor has the device), substreams
//! (`SMMU_IDR1.SSIDSIZE` is 0), stalls (`SMMU_IDR0.STALL_MODEL` is 1) and PRI. Of these there are tests over a host that
//! is played, and of what the kernel is given for them.

use std::rc::Rc;
use std::time::Duration;

use examples::guest::AddressSpace;
use iommufd::smmuv3::Smmuv3;
use iommufd::smmuv3::relay::{Place, RelayedDevice, Stop};
use iommufd::{Error, FaultQueue, Leaks};
use smmuv3_types::{
    Asid, BadCommand, Command, CommandWords, Event, Gbpa, InputAddress, NestedSte, QueueIndex,
    Requester, Vmid,
};
use tests::edu::lone;
use tests::raw;
use tests::relay::{CHANGED, COMMANDS, Machine, STREAM, SYNC, of_page};
use tests::smmu::VA;

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_is_where_the_guests_registers_and_tables_say() {
    let (mut machine, slot) = Machine::new();
    let pages @ [first, second] = [(); 2].map(|()| machine.memory.0.page().unwrap());

    // The SMMU is off: by guest physical address, or not at all.
    assert_eq!(machine.relay.place(&slot.port), Some(Place::Bypass));
    assert_eq!(
        machine.lands(&slot.engine, of_page(first), &pages),
        Some(first)
    );
    machine.relay.set_gbpa(Gbpa::from_bits(0).with_abort(true));
    assert_eq!(machine.lands(&slot.engine, of_page(first), &pages), None);
    machine.relay.set_gbpa(Gbpa::from_bits(0));
    assert_eq!(
        machine.lands(&slot.engine, of_page(second), &pages),
        Some(second)
    );

    // On, before the device has a number, and with an entry that is not valid: nowhere.
    machine.switch_on();
    assert_eq!(machine.lands(&slot.engine, of_page(first), &pages), None);
    machine.number(&slot);
    assert_eq!(machine.lands(&slot.engine, of_page(first), &pages), None);
    let bad = machine.relay.take_event().unwrap().decode().unwrap();
    let requester = Requester {
        stream: STREAM,
        substream: None,
    };
    assert_eq!(bad, Event::BadSte(requester));

    // The guest has written the entry: from the SYNC on it counts.
    machine.write_entry(&machine.entry_to(1, first));
    assert_eq!(machine.lands(&slot.engine, VA, &pages), None);
    machine.say(&[CHANGED]);
    assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(first));
    assert_eq!(machine.lands(&slot.engine, of_page(first), &pages), None);
    assert!(machine.events.wait(Some(Duration::from_secs(30))).unwrap());
    machine.events.read().unwrap();

    // Another entry, with other tables and another ASID.
    machine.enter(&machine.entry_to(2, second));
    assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(second));

    // One that bypasses, one that aborts, from there to one that translates; and off again.
    machine.enter(&NestedSte::bypass().ste());
    assert_eq!(
        machine.lands(&slot.engine, of_page(first), &pages),
        Some(first)
    );
    machine.enter(&NestedSte::abort().ste());
    assert_eq!(machine.lands(&slot.engine, of_page(first), &pages), None);
    machine.enter(&machine.entry_to(3, first));
    assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(first));
    machine.switch_off();
    assert_eq!(
        machine.lands(&slot.engine, of_page(second), &pages),
        Some(second)
    );

    // Unplugged it is nowhere, and whose it was.
    let device = machine.relay.unplug(slot.port).unwrap().into_device();
    assert_eq!(device, *slot.device.iommu());
    assert!(!device.is_attached());
    assert_eq!(machine.lands(&slot.engine, of_page(first), &pages), None);
    let _attachment = device.attach(&machine.parent).unwrap();
    let landed = machine.lands(&slot.engine, of_page(first), &pages);
    assert_eq!(landed, Some(first));
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_a_guest_invalidates_is_gone_when_its_sync_is_complete() {
    let (mut machine, slot) = Machine::new();
    let pages @ [first, second] = [(); 2].map(|()| machine.memory.0.page().unwrap());
    machine.switch_on();
    machine.number(&slot);
    machine.relay.take_event();
    let memory = Rc::clone(&machine.memory.0);
    let space = AddressSpace::new(&memory, Asid::new(1)).unwrap();
    space.map(VA, first).unwrap();
    machine.write_entry(&space.entry().unwrap());
    machine.say(&[Command::CfgiAll]);
    assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(first));
    let (vmid, asid) = (Vmid::new(0), Asid::new(1));
    let of_address = Command::TlbiNhVa {
        vmid,
        asid,
        address: InputAddress::new(VA.get() & !0xfff),
        leaf: true,
        range: None,
    };
    for (command, to) in [
        (of_address, second),
        (Command::TlbiNhAsid { vmid, asid }, first),
        (Command::TlbiNhAll { vmid }, second),
        (Command::TlbiNsnhAll, first),
    ] {
        space.map(VA, to).unwrap();
        machine.say(&[command]);
        assert_eq!(
            machine.lands(&slot.engine, VA, &pages),
            Some(to),
            "{command:?}"
        );
    }

    // A bad command among good ones: those before it count, and it is named.
    space.map(VA, second).unwrap();
    let all = Command::TlbiNsnhAll.encode();
    let before = machine.prod.index(COMMANDS);
    let bad = CommandWords::from_words([0xff, 0]);
    let ran = machine.issue(&[all, SYNC.encode(), bad, all, SYNC.encode()]);
    assert_eq!(ran.stop, Stop::Illegal(BadCommand::Unknown(0xff)));
    assert_eq!(ran.signals.len(), 1);
    let at: QueueIndex = before.next().next();
    assert_eq!(machine.cons.index(COMMANDS), at);
    assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(second));
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
    let objects = raw::objects(&machine.iommufd);
    machine.relay.unplug(slot.port).unwrap();
    assert!(raw::objects(&machine.iommufd) < objects);
}

/// Where nothing stalls a queue changes nothing: faults are events as ever.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_that_never_stalls_can_have_a_fault_queue() {
    let (mut machine, device) = Machine::beside(lone());
    let queue = FaultQueue::new(&machine.iommufd).unwrap();
    let given = queue.clone();
    let slot = machine.plug_as(device, None, |relayed| relayed.with_fault_queue(given));
    let page = machine.memory.0.page().unwrap();
    machine.write_entry(&machine.entry_to(1, page));
    machine.switch_on();
    machine.number(&slot);
    assert_eq!(machine.lands(&slot.engine, VA, &[page]), Some(page));
    assert_eq!(machine.lands(&slot.engine, of_page(page), &[page]), None);
    assert!(machine.events.wait(Some(Duration::from_secs(30))).unwrap());
    assert_eq!(queue.read().unwrap().len(), 0);
    machine.enter(&NestedSte::abort().ste());
    machine.enter(&machine.entry_to(2, page));
    assert_eq!(machine.lands(&slot.engine, VA, &[page]), Some(page));
    drop((machine, slot));
    queue.try_close().unwrap().try_destroy().unwrap();
}

/// The kernel says that the lab's device has no ATS, so nobody can say that it has.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_without_ats_is_not_given_any() {
    let (_machine, device) = Machine::beside(lone());
    let relayed = RelayedDevice::<Smmuv3>::new(device.iommu().clone());
    let refused = relayed.with_ats().unwrap_err();
    assert!(matches!(refused.error(), Error::AtsNotSupported));
}
