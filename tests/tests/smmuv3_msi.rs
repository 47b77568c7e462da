//! Interrupts of a device that a guest's tables translate for: its writes to the interrupt controller go through them.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use examples::edu::Edu;
use examples::guest::AddressSpace;
use iommufd::smmuv3::{Invalidation, MSI_WINDOW, StaleAsids};
use iommufd::{Access, Ioas, Iova, IovaRange};
use rustix::io::Errno;
use smmuv3_types::{Event, EventKind, InputAddress, Ipa, NestedSte};
use tests::edu::{attached, lone, memory_with};
use tests::refused;
use tests::smmu::{Guest, VA, further, translate};

/// For an interrupt that does not come.
const NEVER: Duration = Duration::from_millis(500);

/// Where devices find the interrupt controller, for stage 1.
fn window() -> InputAddress {
    InputAddress::new(MSI_WINDOW.start().get())
}

/// And for stage 2.
fn controller() -> Ipa {
    Ipa::new(MSI_WINDOW.start().get()).unwrap()
}

/// Has the device raise its interrupt; says whether it arrives.
fn arrives(edu: &Edu) -> bool {
    edu.raise().unwrap();
    let vector = edu.interrupts().vector(0).unwrap();
    let arrived = vector.wait(NEVER).unwrap().is_some();
    edu.acknowledge().unwrap();
    arrived
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_interrupt_goes_through_stage_1_where_the_guest_maps_the_window() {
    let guest = Guest::new();
    let space = guest.space(1);
    space.map(window(), controller()).unwrap();
    let _attachment = guest.enter(&space);
    let edu = Edu::new(&guest.device).unwrap();
    assert!(arrives(&edu));
    // Also that of a transfer.
    let page = guest.page();
    space.map(VA, page).unwrap();
    edu.store(Iova::new(VA.get()), 8).unwrap();
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_interrupt_is_a_fault_where_the_guest_does_not() {
    let guest = Guest::new();
    let space = guest.space(1);
    let _attachment = guest.enter(&space);
    let edu = Edu::new(&guest.device).unwrap();
    assert!(!arrives(&edu));
    let told = guest.event();
    // Where in the page the controller takes interrupts is the machine's: on this one, at 0x40.
    let Event::Translation(fault) = told else {
        panic!("{told:?}");
    };
    assert_eq!(fault.address, further(window(), 0x40));
    assert!(!fault.access.read);
    // It is lost; the next one is not.
    space.map(window(), controller()).unwrap();
    assert!(arrives(&edu));
    guest.told_nothing();
}

/// A guest takes another address for the doorbell: the VMM maps what it took to the window. Only stage 1 knows.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_is_mapped_over_the_window_gets_the_interrupts_data() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(window(), page).unwrap();
    let _attachment = guest.enter(&space);
    let edu = Edu::new(&guest.device).unwrap();
    let doorbell = page.checked_add(0x40).unwrap();
    guest.memory.write(doorbell, &[0xff; 4]).unwrap();
    assert!(!arrives(&edu));
    // The number of the interrupt within the device, which has one.
    assert_eq!(guest.memory.read::<4>(doorbell).unwrap(), [0; 4]);
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn without_stage_1_an_interrupt_needs_nothing_of_the_guest() {
    let guest = Guest::new();
    let attachment = guest.attach(&NestedSte::bypass());
    let edu = Edu::new(&guest.device).unwrap();
    assert!(arrives(&edu));
    drop(edu);
    attachment.detach().unwrap();
    let _attachment = guest.attach(&NestedSte::abort());
    let edu = Edu::new(&guest.device).unwrap();
    assert!(!arrives(&edu));
    guest.told_nothing();
}

/// The kernel has put the controller into the address space of guest memory, where it stays.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn interrupts_that_are_enabled_follow_the_device_from_table_to_table() {
    let guest = Guest::new();
    let (with, without): (AddressSpace<'_>, AddressSpace<'_>) = (guest.space(1), guest.space(2));
    with.map(window(), controller()).unwrap();
    let through = |entry: &NestedSte| {
        let stale = StaleAsids::GuestInvalidates;
        guest.vdevice.through(&guest.table(entry), stale)
    };
    let mut attachment = guest.attach(&NestedSte::bypass());
    let edu = Edu::new(&guest.device).unwrap();
    assert!(arrives(&edu));
    attachment.replace(through(&translate(&with))).unwrap();
    assert!(arrives(&edu));
    attachment.replace(through(&translate(&without))).unwrap();
    assert!(!arrives(&edu));
    assert_eq!(guest.event().kind(), EventKind::Translation);
    attachment.replace(through(&translate(&with))).unwrap();
    assert!(arrives(&edu));
    attachment.replace(&guest.ioas).unwrap();
    assert!(arrives(&edu));
    // To another guest memory, where nobody has put the controller yet.
    let other = Ioas::new(&guest.iommufd).unwrap();
    attachment.replace(&other).unwrap();
    assert!(arrives(&edu));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn the_window_is_not_for_memory_while_a_device_is_there() {
    let guest = Guest::new();
    let memory = memory_with(&[0; 4096]);
    let _attachment = guest.attach(&NestedSte::bypass());
    let ranges = guest.ioas.iova_ranges().unwrap();
    let meets =
        |range: IovaRange| range.start() <= MSI_WINDOW.last() && MSI_WINDOW.start() <= range.last();
    assert!(!ranges.iter().any(meets), "{ranges:?}");
    let touches = |place: u64| {
        ranges
            .iter()
            .any(|range| [range.start(), range.last()].contains(&Iova::new(place)))
    };
    assert!(touches(MSI_WINDOW.start().get() - 1) && touches(MSI_WINDOW.last().get() + 1));
    let last_page = Iova::new(MSI_WINDOW.last().get() - 0xfff);
    for at in [MSI_WINDOW.start(), last_page] {
        refused(guest.ioas.map_at(at, &memory, Access::Read), Errno::INVAL);
    }
    let behind = Iova::new(MSI_WINDOW.last().get() + 1);
    guest
        .ioas
        .map_at(behind, &memory, Access::Read)
        .unwrap()
        .unmap()
        .unwrap();
}

/// As it is without any guest: there the kernel alone translates.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn on_an_address_space_alone_an_interrupt_needs_nothing_either() {
    let (device, attachment) = attached(lone());
    let edu = Edu::new(&device).unwrap();
    assert!(arrives(&edu));
    drop(edu);
    attachment.detach().unwrap();
}

/// The hardware remembers the way of interrupts as it does that of all writes.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_interrupt_goes_the_old_way_until_the_guest_invalidates() {
    let guest = Guest::new();
    let space = guest.space(1);
    space.map(window(), controller()).unwrap();
    let _attachment = guest.enter(&space);
    let edu = Edu::new(&guest.device).unwrap();
    assert!(arrives(&edu));
    space.map(window(), guest.page()).unwrap();
    assert!(arrives(&edu), "it is remembered");
    guest.invalidate(&[Invalidation::tlbi_nh_all()]);
    assert!(!arrives(&edu));
}
