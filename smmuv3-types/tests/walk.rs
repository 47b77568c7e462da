//! Translation tables: walks through tables in memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the test's own constants"
)]

mod common;

use common::{Memory, context, ipa, translate};
use hardware_records::testing::Random;
use smmuv3_types::{
    Access, AddressSize, Cd, Context, DeviceMemory, FaultKind, Geometry, Granule, InputAddress,
    LeafDescriptor, Level, Mair, MemoryType, NormalCache, Rights, TableDescriptor, TableUpdate,
    WalkFault,
};

const READ: Access = Access {
    rights: Rights::READ,
    privileged: true,
};
const WRITE: Access = Access {
    rights: Rights::WRITE,
    privileged: true,
};

fn fault(kind: FaultKind, level: Level) -> WalkFault {
    WalkFault { kind, level }
}

#[test]
fn every_level_of_every_tree_is_walked() {
    for &granule in Granule::ALL {
        for bits in 17..=if granule == Granule::Kib64 { 52 } else { 48 } {
            let geometry = Geometry::new(granule, bits).unwrap();
            for &last in Level::ALL.iter().filter(|l| **l >= geometry.start()) {
                if LeafDescriptor::new(granule, last, ipa(0)).is_err() {
                    continue;
                }
                let context = context(geometry, AddressSize::Bits52, |cd| cd);
                let input = 0x000a_5a5a_5a5a_5a5a & ((1 << bits) - 1);
                let highest = granule.output_size().width() - 1;
                let output =
                    (1 << highest) | 0x3c00_0000_0000 & !((1 << granule.span_bits(last)) - 1);
                let leaf = LeafDescriptor::new(granule, last, ipa(output))
                    .unwrap()
                    .with_af(true);
                let mut memory = Memory::default();
                memory.map(&context, input, last, leaf);
                let done = translate(&context, &memory, input, READ).unwrap();
                let within = input & ((1 << granule.span_bits(last)) - 1);
                assert_eq!(done.output, ipa(output | within), "{geometry:?} {last:?}");
                assert_eq!((done.level, done.leaf), (last, leaf));
                assert_eq!(done.span_bits, granule.span_bits(last));
                assert_eq!(done.update, None);
                // What is next to it is not mapped.
                if granule.span_bits(last) < bits {
                    let other = input ^ 1 << granule.span_bits(last);
                    assert_eq!(
                        translate(&context, &memory, other, READ),
                        Err(fault(FaultKind::Translation, last))
                    );
                }
            }
        }
    }
}

/// A page at `0x8000` for input `0x3000`, changed by the caller.
fn one_page(
    change_cd: impl FnOnce(Cd) -> Cd,
    change: impl FnOnce(LeafDescriptor) -> LeafDescriptor,
) -> (Context, Memory) {
    let geometry = Geometry::new(Granule::Kib4, 39).unwrap();
    let context = context(geometry, AddressSize::Bits40, change_cd);
    let leaf = LeafDescriptor::new(Granule::Kib4, Level::Level3, ipa(0x8000))
        .unwrap()
        .with_af(true);
    let mut memory = Memory::default();
    if context.low.is_some() {
        memory.map(&context, 0x3000, Level::Level3, change(leaf));
    }
    (context, memory)
}

#[test]
fn an_address_outside_of_the_trees_faults() {
    let (plain, memory) = one_page(|cd| cd, |leaf| leaf);
    let outside = Err(fault(FaultKind::Translation, Level::Level0));
    for bit in 39..64 {
        let got = translate(&plain, &memory, 0x3000 | 1 << bit, READ);
        assert_eq!(got, outside, "{bit}");
    }
    let (tagged, memory) = one_page(|cd| cd.with_tbi0(true), |leaf| leaf);
    for bit in 39..64 {
        let got = translate(&tagged, &memory, 0x3000 | 1 << bit, READ);
        assert_eq!(got.is_ok(), bit >= 56, "{bit}");
    }
    let (closed, memory) = one_page(
        |cd| cd.with_e0pd0(true),
        |leaf| leaf.with_unprivileged(true),
    );
    assert!(translate(&closed, &memory, 0x3000, READ).is_ok());
    let unprivileged = Access {
        privileged: false,
        ..READ
    };
    assert_eq!(translate(&closed, &memory, 0x3000, unprivileged), outside);
}

#[test]
fn the_upper_half_has_a_tree_of_its_own() {
    let high = |cd: Cd| {
        cd.with_epd0(true)
            .with_epd1(false)
            .with_tg1(Granule::Kib4.tg1())
            .with_t1sz(25)
            .with_ttb1(ipa(0x10_0000))
    };
    let (context, mut memory) = one_page(high, |leaf| leaf);
    let leaf = LeafDescriptor::new(Granule::Kib4, Level::Level3, ipa(0x9000))
        .unwrap()
        .with_af(true);
    let address = u64::MAX << 39 | 0x5123;
    memory.map(&context, address, Level::Level3, leaf);
    let done = translate(&context, &memory, address, READ).unwrap();
    assert_eq!(done.output, ipa(0x9123));
    let outside = Err(fault(FaultKind::Translation, Level::Level0));
    assert_eq!(translate(&context, &memory, 0x3000, READ), outside);
    let hole = address & !(1 << 60);
    assert_eq!(translate(&context, &memory, hole, READ), outside);
}

#[test]
fn tables_can_be_big_endian() {
    let (context, memory) = one_page(|cd| cd.with_endi(true), |leaf| leaf);
    assert!(context.big_endian);
    assert_eq!(
        translate(&context, &memory, 0x3123, READ).unwrap().output,
        ipa(0x8123)
    );
}

#[test]
fn an_address_beyond_the_output_size_faults() {
    for bit in 12..48 {
        let output = ipa(1 << bit);
        let (context, memory) = one_page(
            |cd| cd,
            |_| {
                LeafDescriptor::new(Granule::Kib4, Level::Level3, output)
                    .unwrap()
                    .with_af(true)
            },
        );
        let got = translate(&context, &memory, 0x3000, READ);
        if bit < 40 {
            assert_eq!(got.unwrap().output, output);
        } else {
            assert_eq!(got, Err(fault(FaultKind::AddressSize, Level::Level3)));
        }
        // The same of a table.
        let mut memory = memory;
        let table = TableDescriptor::new(Granule::Kib4, Level::Level1, output).unwrap();
        memory.write(&context, context.low.unwrap().table.get(), table.words()[0]);
        let got = translate(&context, &memory, 0x3000, READ);
        assert_eq!(
            got == Err(fault(FaultKind::AddressSize, Level::Level1)),
            bit >= 40,
            "{bit}"
        );
    }
}

#[test]
fn bits_15_to_12_are_address_only_with_52_bits() {
    let geometry = Geometry::new(Granule::Kib64, 42).unwrap();
    let leaf = LeafDescriptor::new(Granule::Kib64, Level::Level3, ipa(0x000c_0000_0001_0000))
        .unwrap()
        .with_af(true);
    for (size, expected) in [
        (AddressSize::Bits52, Ok(ipa(0x000c_0000_0001_0000))),
        (
            AddressSize::Bits48,
            Err(fault(FaultKind::AddressSize, Level::Level3)),
        ),
    ] {
        let context = context(geometry, size, |cd| cd);
        let mut memory = Memory::default();
        memory.map(&context, 0, Level::Level3, leaf);
        let got = translate(&context, &memory, 0, READ).map(|done| done.output);
        assert_eq!(got, expected);
        // An SMMU without 52 bits does not know of them.
        let narrow = common::context_with(geometry, size, AddressSize::Bits48, |cd| cd);
        let got = translate(&narrow, &memory, 0, READ).map(|done| done.output);
        assert_eq!(got, Ok(ipa(0x1_0000)));
    }
}

#[test]
fn an_access_flag_of_0_faults_unless_something_sees_to_it() {
    for (affd, ha, expected) in [
        (
            false,
            false,
            Err(fault(FaultKind::AccessFlag, Level::Level3)),
        ),
        (true, false, Ok(false)),
        (false, true, Ok(true)),
        (true, true, Ok(true)),
    ] {
        let (context, memory) = one_page(
            |cd| cd.with_affd(affd).with_ha(ha),
            |leaf| leaf.with_af(false),
        );
        let got = translate(&context, &memory, 0x3000, READ);
        assert_eq!(
            got.map(|done| done.update.is_some_and(|leaf| leaf.af())),
            expected
        );
    }
}

#[test]
fn a_clean_page_becomes_writable_by_being_written() {
    let clean = |leaf: LeafDescriptor| leaf.with_read_only(true).with_dbm(true);
    let (context, memory) = one_page(|cd| cd.with_ha(true).with_hd(true), clean);
    assert_eq!(context.update, TableUpdate::Dirty);
    let done = translate(&context, &memory, 0x3000, WRITE).unwrap();
    assert_eq!(done.update, Some(done.leaf.with_read_only(false)));
    assert_eq!(done.descriptor, memory.last.get());
    let done = translate(&context, &memory, 0x3000, READ).unwrap();
    assert_eq!(done.update, None);
    // Without dirty state in hardware it is read only.
    let (context, memory) = one_page(|cd| cd.with_ha(true), clean);
    assert_eq!(
        translate(&context, &memory, 0x3000, WRITE),
        Err(fault(FaultKind::Permission, Level::Level3))
    );
}

#[test]
fn every_combination_of_permissions() {
    for case in 0..1_u32 << 12 {
        let bit = |n: u32| case >> n & 1 == 1;
        let [unprivileged, read_only, pxn, uxn] = [0, 1, 2, 3].map(bit);
        let [table_private, table_read_only, table_pxn, table_uxn] = [4, 5, 6, 7].map(bit);
        let [wxn, pan, epan, had] = [8, 9, 10, 11].map(bit);
        let (context, mut memory) = one_page(
            |cd| {
                cd.with_wxn(wxn)
                    .with_pan(pan)
                    .with_epan(epan)
                    .with_had0(had)
            },
            |leaf| {
                leaf.with_unprivileged(unprivileged)
                    .with_read_only(read_only)
                    .with_pxn(pxn)
                    .with_uxn(uxn)
            },
        );
        // Each limit in a table of another level.
        memory.limit(&context, 0x3000, Level::Level1, |table| {
            table
                .with_ap_table_privileged(table_private)
                .with_pxn_table(table_pxn)
        });
        memory.limit(&context, 0x3000, Level::Level2, |table| {
            table
                .with_ap_table_read_only(table_read_only)
                .with_uxn_table(table_uxn)
        });

        let el0 = unprivileged && (had || !table_private);
        let writable = !read_only && (had || !table_read_only);
        let el0_write = el0 && writable;
        let el0_execute = !(uxn || !had && table_uxn || wxn && el0_write);
        let el1_execute = !(pxn || !had && table_pxn || el0_write || wxn && writable);
        let el1_data = !(pan && (el0 || epan && el0_execute));
        for (privileged, rights, allowed) in [
            (false, Rights::READ, el0),
            (false, Rights::WRITE, el0_write),
            (false, Rights::EXECUTE, el0_execute),
            (true, Rights::READ, el1_data),
            (true, Rights::WRITE, el1_data && writable),
            (true, Rights::EXECUTE, el1_execute),
        ] {
            let access = Access { rights, privileged };
            let got = translate(&context, &memory, 0x3000, access);
            if allowed {
                assert!(got.is_ok(), "{case:#b} {access:?} {got:?}");
            } else {
                let denied = fault(FaultKind::Permission, Level::Level3);
                assert_eq!(got, Err(denied), "{case:#b} {access:?}");
            }
        }
    }
}

#[test]
fn every_memory_attribute() {
    let cache = |bits: u8| {
        let (read_allocate, write_allocate) = (bits & 2 != 0, bits & 1 != 0);
        match bits {
            // Reserved for inner caches: write-through, transient, RW = 0b11.
            0 => NormalCache::WriteThrough {
                transient: true,
                read_allocate: true,
                write_allocate: true,
            },
            1..=3 | 8..=11 => NormalCache::WriteThrough {
                transient: bits < 4,
                read_allocate,
                write_allocate,
            },
            4 => NormalCache::NonCacheable,
            _ => NormalCache::WriteBack {
                transient: bits < 8,
                read_allocate,
                write_allocate,
            },
        }
    };
    for attribute in 0..=u8::MAX {
        for index in 0..8 {
            let mair = Mair::new(u64::MAX).with(index, attribute);
            assert_eq!(mair.attribute(index), attribute);
            assert_eq!(mair.get() | 0xff << (8 * index), u64::MAX);
            let expected = match attribute {
                0x00..=0x03 => MemoryType::Device(DeviceMemory::NGnRnE),
                0x04..=0x07 => MemoryType::Device(DeviceMemory::NGnRE),
                0x08..=0x0b => MemoryType::Device(DeviceMemory::NGRE),
                0x0c..=0x0f => MemoryType::Device(DeviceMemory::GRE),
                _ => MemoryType::Normal {
                    outer: cache(attribute >> 4),
                    inner: cache(attribute & 0xf),
                },
            };
            assert_eq!(mair.memory_type(index), expected);
        }
    }
    let (context, memory) = one_page(
        |cd| cd.with_mair(Mair::default().with(5, Mair::NON_CACHEABLE)),
        |leaf| leaf.with_attr_indx(5),
    );
    assert_eq!(
        translate(&context, &memory, 0x3000, READ).unwrap().memory,
        MemoryType::Normal {
            outer: NormalCache::NonCacheable,
            inner: NormalCache::NonCacheable
        }
    );
}

#[test]
fn whatever_is_in_memory_a_walk_ends() {
    let mut random = Random::new(1);
    let mut done = 0;
    for _ in 0..100_000 {
        let granule = Granule::ALL[(random.word() % 3) as usize];
        let geometry = Geometry::new(granule, 17 + (random.word() % 32) as u32).unwrap();
        let context = context(geometry, AddressSize::Bits52, |cd| cd.with_affd(true));
        let input = random.word() & ((1 << geometry.input_bits()) - 1);
        let mut walk = context.walk(InputAddress::new(input), READ).unwrap();
        for reads in 1.. {
            assert!(reads <= 4);
            match walk.resume((random.word() | 3).to_le_bytes()) {
                Ok(smmuv3_types::WalkStep::Read(next)) => walk = next,
                Ok(smmuv3_types::WalkStep::Done(_)) => {
                    done += 1;
                    break;
                }
                Err(_) => break,
            }
        }
    }
    assert!(done > 10_000, "{done}");
}
