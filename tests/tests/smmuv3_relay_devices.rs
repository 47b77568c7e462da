//! Devices come behind a relay and go, on the lab's SMMUv3: unplugged while in use, refused, and moved to another machine
//! with their guest.

use std::time::Duration;

use iommufd::smmuv3::relay::{Place, PortError, RelayedDevice, Report, State};
use iommufd::{Error, Leaks};
use rustix::io::Errno;
use smmuv3_types::{Command, Gbpa, NestedSte, Ste};
use tests::edu::{assert_free, bind, lone, pair};
use tests::raw;
use tests::relay::{CHANGED, Machine, STREAM, Slot, of_page};
use tests::smmu::VA;
use tests::unplug::Unplug;
use vfio::SignalKind;

const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel asks for the device, and has it when the VMM has unplugged it from the relay and closed it.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_is_unplugged_wherever_it_is() {
    type Goes = fn(&mut Machine, &Slot);
    let states: [(&str, Goes); 5] = [
        ("bypass", |_, _| {}),
        ("blocked by SMMU_GBPA", |machine, _| {
            machine.relay.set_gbpa(Gbpa::from_bits(0).with_abort(true));
        }),
        ("blocked for want of a number", |machine, _| {
            machine.switch_on();
        }),
        ("blocked by its entry", |machine, slot| {
            machine.write_entry(&NestedSte::abort().ste());
            machine.switch_on();
            machine.number(slot);
        }),
        ("translated", |machine, slot| {
            let page = machine.memory.0.page().unwrap();
            machine.write_entry(&machine.entry_to(1, page));
            machine.switch_on();
            machine.number(slot);
        }),
    ];
    for (what, goes) in states {
        let (mut machine, slot) = Machine::new();
        let page = machine.memory.0.page().unwrap();
        goes(&mut machine, &slot);
        let request = slot.device.signal(SignalKind::Request).unwrap();
        let unplug = Unplug::begin(lone());
        assert!(request.wait(PATIENCE).unwrap().is_some(), "{what}");
        unplug.is_waiting();
        // It is in use to the end.
        slot.engine.start_store(of_page(page), 8);
        let Slot {
            port,
            engine,
            device,
        } = slot;
        let relayed = machine.relay.unplug(port).unwrap().into_device();
        assert!(!relayed.is_attached(), "{what}");
        engine.wait();
        drop((relayed, engine));
        unplug.is_waiting();
        request.disable().unwrap();
        device.try_close().unwrap();
        unplug.done();
        assert!(machine.relay.take_reports().is_empty(), "{what}");
        assert_eq!(machine.iommufd.leaks(), Leaks::default(), "{what}");

        // The relay is there for the next one, which has the same number.
        let device = bind(lone(), &machine.iommufd);
        let slot = machine.plug(device, Some(STREAM));
        machine.switch_off();
        machine.relay.set_gbpa(Gbpa::from_bits(0));
        let landed = machine.lands(&slot.engine, of_page(page), &[page]);
        assert_eq!(landed, Some(page), "{what}");
    }
    assert_free(lone());
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_that_is_attached_already_is_given_back() {
    let (mut machine, device) = Machine::beside(lone());
    let attachment = device.iommu().attach(&machine.parent).unwrap();
    let relayed = RelayedDevice::new(device.iommu().clone());
    let refused = machine
        .relay
        .plug(relayed, Some(STREAM), &machine.memory)
        .unwrap_err();
    assert!(
        matches!(refused.error(), PortError::Enter(Error::AlreadyAttached)),
        "{refused}"
    );
    assert!(device.iommu().is_attached(), "it is where it was");
    drop(attachment);
    let again = refused.into_value();
    let port = machine.relay.plug(again, Some(STREAM), &machine.memory);
    assert_eq!(machine.relay.place(&port.unwrap()), Some(Place::Bypass));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_that_shares_its_group_is_given_back() {
    let [first, second] = pair();
    let (mut machine, device) = Machine::beside(first);
    let sibling = bind(second, &machine.iommufd);
    let objects = raw::objects(&machine.iommufd);
    for device in [&device, &sibling] {
        let relayed = RelayedDevice::new(device.iommu().clone());
        let refused = machine
            .relay
            .plug(relayed, Some(STREAM), &machine.memory)
            .unwrap_err();
        assert!(
            matches!(
                refused.error(),
                PortError::Enter(Error::NotAlone { siblings: 1, .. })
            ),
            "{refused}"
        );
        assert!(!device.iommu().is_attached());
    }
    assert_eq!(raw::objects(&machine.iommufd), objects);
}

/// A group of two of which only one is bound: as the kernel attaches both, and the other has no number, it refuses stage 1.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_stream_whose_configuration_the_kernel_refuses_aborts_and_that_is_reported() {
    let [first, _] = pair();
    let (mut machine, device) = Machine::beside(first);
    let slot = machine.plug(device, None);
    let page = machine.memory.0.page().unwrap();
    machine.write_entry(&NestedSte::bypass().ste());
    machine.switch_on();
    machine.number(&slot);
    let lands = |machine: &Machine| machine.lands(&slot.engine, of_page(page), &[page]);
    assert_eq!(lands(&machine), Some(page));
    for before in [NestedSte::bypass(), NestedSte::abort()] {
        machine.enter(&before.ste());
        machine.write_entry(&machine.entry_to(1, page));
        let reports = machine.reports(&[CHANGED]);
        let [
            Report::PlaceRefused {
                stream: Some(STREAM),
                place: Place::Translated(_),
                error,
            },
        ] = &reports[..]
        else {
            panic!("{reports:?}");
        };
        assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
        assert_eq!(machine.relay.place(&slot.port), Some(Place::Blocked));
        assert!(slot.device.iommu().is_attached());
        assert_eq!(lands(&machine), None);
        assert_eq!(machine.lands(&slot.engine, VA, &[page]), None);
        // Other commands do not change that; another entry does.
        machine.say(&[Command::TlbiNsnhAll]);
        assert_eq!(lands(&machine), None);
        machine.enter(&NestedSte::bypass().ste());
        assert_eq!(lands(&machine), Some(page));
    }
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}

/// The machine is the same, but the share of the SMMU is another, and the relay knows nothing but what was saved.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_guest_that_has_moved_goes_on_where_it_was() {
    let (mut machine, mut slot) = Machine::new();
    let pages @ [first, second] = [(); 2].map(|()| machine.memory.0.page().unwrap());
    machine.write_entry(&machine.entry_to(1, first));
    machine.switch_on();
    machine.number(&slot);
    assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(first));

    // The device is plugged there before the state comes, and after it.
    for early in [true, false] {
        // The guest has written another entry, and has not said so.
        let (asid, before, after) = if early {
            (2, first, second)
        } else {
            (3, second, first)
        };
        machine.write_entry(&machine.entry_to(asid, after));
        let state = machine.relay.quiesce().unwrap().export();
        let state = State::from_bytes(&state.to_bytes()).unwrap();
        let Slot { port, device, .. } = slot;
        drop(machine.relay.unplug(port).unwrap());
        machine.migrates(&device);
        slot = if early {
            let slot = machine.plug(device, Some(STREAM));
            machine.relay.import(&state, &machine.memory).unwrap();
            slot
        } else {
            machine.relay.import(&state, &machine.memory).unwrap();
            machine.plug(device, Some(STREAM))
        };
        assert_eq!(machine.relay.take_event(), None);
        assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(before));
        machine.say(&[CHANGED]);
        assert_eq!(machine.lands(&slot.engine, VA, &pages), Some(after));
    }

    // With a bad entry, of which the guest was told; and off.
    machine.enter(&Ste::from_words([0; 8]));
    assert!(machine.relay.take_event().is_some());
    let state = machine.relay.quiesce().unwrap().export();
    let Slot { port, device, .. } = slot;
    drop(machine.relay.unplug(port).unwrap());
    machine.migrates(&device);
    machine.relay.import(&state, &machine.memory).unwrap();
    let slot = machine.plug(device, Some(STREAM));
    assert_eq!(machine.relay.take_event(), None, "it was told");
    assert_eq!(machine.lands(&slot.engine, VA, &pages), None);
    machine.switch_off();
    let landed = machine.lands(&slot.engine, of_page(second), &pages);
    assert_eq!(landed, Some(second));
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}
