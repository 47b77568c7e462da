//! DMA through a guest's own page tables, walked by the hardware, and through stage 2 under them.

use examples::edu::BUFFER_LEN;
use examples::guest::PAGE;
use iommufd::smmuv3::{Invalidation, StaleAsids};
use iommufd::{Access, Iova};
use smmuv3_types::{EventKind, Granule, InputAddress, Ipa, Level, NestedSte, TableDescriptor};
use tests::edu::{memory_with, pattern};
use tests::smmu::{Guest, RAM, VA, further, translate, within};

/// The address of guest memory, for a device that has no stage 1.
fn physical(page: Ipa) -> InputAddress {
    InputAddress::new(page.get())
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn dma_goes_where_both_stages_lead_and_nowhere_else() {
    let guest = Guest::new();
    let space = guest.space(1);
    // Two neighbours for the device are none in memory.
    let [second, gap, first, source] = guest.pages();
    space.map(VA, first).unwrap();
    space.map(further(VA, PAGE as u64), second).unwrap();
    let from = InputAddress::new(0x7fff_0000_0000);
    space.map(from, source).unwrap();
    guest.memory.write(source, &pattern(1)).unwrap();
    for page in [first, gap, second] {
        guest.memory.write(page, &pattern(9)).unwrap();
    }
    let _attachment = guest.enter(&space);
    guest.engine.fetch(from, BUFFER_LEN);
    guest.engine.store(VA, BUFFER_LEN);

    let offset = (VA.get() % PAGE as u64) as usize;
    let (head, tail) = (&pattern(1)[..PAGE - offset], &pattern(1)[PAGE - offset..]);
    let read = |page| guest.memory.read::<PAGE>(page).unwrap();
    assert_eq!(read(first)[..offset], pattern(9)[..offset]);
    assert_eq!(read(first)[offset..], *head);
    assert_eq!(read(second)[..offset], *tail);
    assert_eq!(read(second)[offset..], pattern(9)[offset..]);
    assert_eq!(read(gap)[..], pattern(9));
    assert_eq!(read(source)[..], pattern(1));
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn by_an_entry_that_bypasses_stage_1_addresses_are_those_of_guest_memory() {
    let guest = Guest::new();
    let pages: [Ipa; 2] = guest.pages();
    let _attachment = guest.attach(&NestedSte::bypass());
    for page in pages {
        assert_eq!(guest.lands(physical(page), &pages), Some(page));
    }
    // Stage 2 is still there: the guest has no more memory than that.
    let end = guest.ram.range().last().get() + 1;
    assert_eq!(guest.lands(InputAddress::new(end), &pages), None);
    guest.told_nothing();
}

/// The architecture has no event for an abort. For an entry that is not valid it has one, which the VMM is to make.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn by_an_entry_that_aborts_or_is_not_valid_nothing_arrives_and_nobody_is_told() {
    let guest = Guest::new();
    let page = guest.page();
    for entry in [NestedSte::abort(), NestedSte::invalid()] {
        let attachment = guest.attach(&entry);
        assert_eq!(guest.lands(physical(page), &[page]), None, "{entry:?}");
        guest.told_nothing();
        attachment.detach().unwrap();
    }
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn stage_2_is_the_limit_whatever_the_guests_tables_say() {
    let guest = Guest::new();
    let space = guest.space(1);
    // Beside the guest's memory there is some that is not the guest's, and some that it may only read.
    let (outside, read_only) = (0x5000_0000, 0x6000_0000);
    let memory = memory_with(&[0; PAGE]);
    let mapping = guest
        .ioas
        .map_at(Iova::new(read_only), &memory, Access::Read);
    let mapping = mapping.unwrap();
    let own = guest.page();
    space.map(VA, Ipa::new(outside).unwrap()).unwrap();
    let next = further(VA, PAGE as u64);
    space.map(next, Ipa::new(read_only).unwrap()).unwrap();
    let _attachment = guest.enter(&space);
    guest.engine.store(VA, 8);
    guest.engine.store(next, 8);
    assert_eq!(
        memory
            .read::<u64>((VA.get() % PAGE as u64) as usize)
            .unwrap(),
        0
    );
    mapping.unmap().unwrap();
    // Such faults are the host's to know, not the guest's: they tell of addresses that a guest has never heard of.
    guest.told_nothing();
    let third = further(next, PAGE as u64);
    space.map(third, own).unwrap();
    assert_eq!(guest.lands(third, &[own]), Some(own));
}

/// The kernel does not hold them there. The guest's own DMA is all that ends with them.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn tables_that_are_unmapped_under_the_hardware_end_the_guests_dma_and_nothing_else() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &[page]), Some(page));
    let start = guest.ram.iova();
    let Guest {
        ram,
        ioas,
        memory,
        engine,
        ..
    } = guest;
    ram.unmap().unwrap();
    let read = |at| memory.read::<8>(within(at, VA)).unwrap();
    memory.write(within(page, VA), &[0; 8]).unwrap();
    engine.store(VA, 8);
    assert_eq!(read(page), [0; 8]);
    // And it begins again when they are back.
    assert_eq!(start.get(), RAM.get());
    let _ram = ioas
        .map_at(start, memory.shared(), Access::ReadWrite)
        .unwrap();
    engine.store(VA, 8);
    assert_eq!(read(page), pattern(7)[..8]);
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_is_moved_between_entries_of_all_kinds() {
    let guest = Guest::new();
    let (one, other) = (guest.space(1), guest.space(2));
    let pages @ [first, second] = guest.pages();
    one.map(VA, first).unwrap();
    other.map(VA, second).unwrap();
    let through = |entry: &NestedSte| {
        let stale = StaleAsids::GuestInvalidates;
        guest.vdevice.through(&guest.table(entry), stale)
    };
    let mut attachment = guest.attach(&NestedSte::bypass());
    assert_eq!(guest.lands(physical(first), &pages), Some(first));
    attachment.replace(through(&translate(&one))).unwrap();
    assert_eq!(guest.lands(VA, &pages), Some(first));
    attachment.replace(through(&translate(&other))).unwrap();
    assert_eq!(guest.lands(VA, &pages), Some(second));
    attachment.replace(through(&NestedSte::abort())).unwrap();
    assert_eq!(guest.lands(VA, &pages), None);
    attachment.replace(&guest.parent).unwrap();
    assert_eq!(guest.lands(physical(second), &pages), Some(second));
    attachment.replace(&guest.ioas).unwrap();
    assert_eq!(guest.lands(physical(first), &pages), Some(first));
    attachment.replace(through(&translate(&other))).unwrap();
    assert_eq!(guest.lands(VA, &pages), Some(second));
    guest.told_nothing();
}

/// The hardware reads descriptors where the guest wrote them: one is taken out at each level.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn every_level_of_the_guests_tables_is_walked() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let _attachment = guest.enter(&space);
    let mut table = space.root();
    for level in [Level::Level0, Level::Level1, Level::Level2, Level::Level3] {
        let index = 511 & (VA.get() >> (39 - 9 * u64::from(level.number())));
        let at = table.checked_add(index * 8).unwrap();
        let bytes = guest.memory.read::<8>(at).unwrap();
        guest.invalidate(&[Invalidation::tlbi_nh_all()]);
        guest.memory.write(at, &[0; 8]).unwrap();
        assert_eq!(guest.lands(VA, &[page]), None, "{level:?}");
        let fault = guest.event();
        assert_eq!(fault.kind(), EventKind::Translation);
        guest.memory.write(at, &bytes).unwrap();
        assert_eq!(guest.lands(VA, &[page]), Some(page), "{level:?}");
        table = TableDescriptor::from_bytes(&bytes).table(Granule::Kib4, false);
    }
}
