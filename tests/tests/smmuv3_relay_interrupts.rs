//! Interrupts of a device behind a relay: wherever the guest puts the device, they can be set up, and they go on. Only
//! where its DMA is aborted do they not arrive, as they are writes, too.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use examples::edu::Edu;
use examples::guest::AddressSpace;
use iommufd::smmuv3::MSI_WINDOW;
use iommufd::smmuv3::relay::Place;
use iommufd::{IovaRange, Leaks};
use smmuv3_types::{Asid, Event, Gbpa, InputAddress, Ipa, NestedSte, Ste};
use tests::relay::{Machine, Slot};

/// For an interrupt that does not come.
const NEVER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// Has the device raise its interrupt; says whether it arrives.
fn arrives(edu: &Edu) -> bool {
    edu.raise().unwrap();
    let vector = edu.interrupts().vector(0).unwrap();
    let arrived = vector.wait(NEVER).unwrap().is_some();
    edu.acknowledge().unwrap();
    arrived
}

/// An entry of stage 1, with the interrupt controller where devices find it, or without.
fn entry(machine: &Machine, asid: u16, controller: bool) -> Ste {
    let space = AddressSpace::new(&machine.memory.0, Asid::new(asid)).unwrap();
    if controller {
        let window = MSI_WINDOW.start().get();
        let to = Ipa::new(window).unwrap();
        space.map(InputAddress::new(window), to).unwrap();
    }
    space.entry().unwrap()
}

/// What the guest does with its SMMU and its device, where that leaves the device, and whether interrupts arrive there.
struct Step {
    what: &'static str,
    does: fn(&mut Machine, &Slot),
    is_at: fn(&Place) -> bool,
    arrives: bool,
}

fn bypasses(place: &Place) -> bool {
    *place == Place::Bypass
}

fn is_blocked(place: &Place) -> bool {
    *place == Place::Blocked
}

fn is_translated(place: &Place) -> bool {
    matches!(place, Place::Translated(_))
}

/// From one to the next the device makes every kind of move.
const STEPS: [Step; 10] = [
    Step {
        what: "the SMMU is off",
        does: |_, _| {},
        is_at: bypasses,
        arrives: true,
    },
    Step {
        what: "SMMU_GBPA.ABORT",
        does: |machine, _| machine.relay.set_gbpa(Gbpa::from_bits(0).with_abort(true)),
        is_at: is_blocked,
        arrives: false,
    },
    Step {
        what: "the same without",
        does: |machine, _| machine.relay.set_gbpa(Gbpa::from_bits(0)),
        is_at: bypasses,
        arrives: true,
    },
    Step {
        what: "the SMMU is on, and the device has no number",
        does: |machine, _| machine.switch_on(),
        is_at: is_blocked,
        arrives: false,
    },
    Step {
        what: "a number, and an entry with stage 1",
        does: |machine, slot| {
            machine.write_entry(&entry(machine, 1, true));
            machine.number(slot);
        },
        is_at: is_translated,
        arrives: true,
    },
    Step {
        what: "another such entry",
        does: |machine, _| machine.enter(&entry(machine, 2, true)),
        is_at: is_translated,
        arrives: true,
    },
    Step {
        what: "an entry that bypasses",
        does: |machine, _| machine.enter(&NestedSte::bypass().ste()),
        is_at: bypasses,
        arrives: true,
    },
    Step {
        what: "an entry with stage 1 again",
        does: |machine, _| machine.enter(&entry(machine, 3, true)),
        is_at: is_translated,
        arrives: true,
    },
    Step {
        what: "an entry that aborts",
        does: |machine, _| machine.enter(&NestedSte::abort().ste()),
        is_at: is_blocked,
        arrives: false,
    },
    Step {
        what: "the SMMU is off again",
        does: |machine, _| machine.switch_off(),
        is_at: bypasses,
        arrives: true,
    },
];

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn interrupts_that_are_set_up_once_go_on_wherever_the_device_is() {
    // Set up in each of the places that come first.
    for set_up in 0..5 {
        let (mut machine, slot) = Machine::new();
        let mut edu = None;
        for (number, step) in STEPS.iter().enumerate() {
            (step.does)(&mut machine, &slot);
            let place = machine.relay.place(&slot.port).unwrap();
            assert!((step.is_at)(&place), "{}: {place:?}", step.what);
            if number == set_up {
                edu = Some(Edu::new(&slot.device).unwrap());
            }
            if let Some(edu) = &edu {
                let said = format!("set up at {set_up}, {}", step.what);
                assert_eq!(arrives(edu), step.arrives, "{said}");
            }
        }
        assert_eq!(machine.iommufd.leaks(), Leaks::default());
    }
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn interrupts_can_be_set_up_anew_wherever_the_device_is() {
    let (mut machine, slot) = Machine::new();
    for step in &STEPS {
        (step.does)(&mut machine, &slot);
        let edu = Edu::new(&slot.device).unwrap();
        assert_eq!(arrives(&edu), step.arrives, "{}", step.what);
    }
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_interrupt_is_a_fault_of_the_guests_where_its_tables_lack_the_window() {
    let (mut machine, slot) = Machine::new();
    machine.write_entry(&entry(&machine, 1, false));
    machine.switch_on();
    machine.number(&slot);
    let edu = Edu::new(&slot.device).unwrap();
    assert!(!arrives(&edu));
    assert!(machine.events.wait(Some(PATIENCE)).unwrap());
    let events = machine.events.read().unwrap();
    let [iommufd::VEvent::Event(record)] = &events[..] else {
        panic!("{events:?}");
    };
    let Event::Translation(fault) = record.decode().unwrap() else {
        panic!("{record:?}");
    };
    assert_eq!(fault.requester.stream, tests::relay::STREAM);
    machine.enter(&entry(&machine, 2, true));
    assert!(arrives(&edu));
}

/// While the device is behind the relay nothing can be mapped where it finds the controller, wherever it is.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn the_window_is_not_for_memory_wherever_the_device_is() {
    let (mut machine, slot) = Machine::new();
    let ioas = machine.parent.ioas().clone();
    let is_free = || {
        let meets = |range: IovaRange| {
            range.start() <= MSI_WINDOW.last() && MSI_WINDOW.start() <= range.last()
        };
        ioas.iova_ranges().unwrap().iter().any(meets)
    };
    for step in &STEPS {
        (step.does)(&mut machine, &slot);
        assert!(!is_free(), "{}", step.what);
    }
    let Slot { port, .. } = slot;
    let _device = machine.relay.unplug(port).unwrap();
    assert!(is_free());
}
