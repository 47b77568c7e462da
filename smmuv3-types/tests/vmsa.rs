//! Translation tables: their geometry and their descriptors.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use smmuv3_types::{
    AddressSize, BadDescriptor, Entry, Geometry, Granule, InputAddress, Ipa, LeafDescriptor, Level,
    Shareability, TableDescriptor,
};

fn ipa(address: u64) -> Ipa {
    Ipa::new(address).unwrap()
}

#[test]
fn the_start_and_size_of_every_tree() {
    for &granule in Granule::ALL {
        let (least, most) = if granule == Granule::Kib64 {
            (17, 52)
        } else {
            (16, 48)
        };
        for bits in 0..=64 {
            let made = Geometry::new(granule, bits);
            assert_eq!(made.is_ok(), (least..=most).contains(&bits));
            let Ok(geometry) = made else { continue };
            // From the pages up, as long as one table does not take what is left.
            let per_table = granule.page_bits() - 3;
            let mut level = 3;
            let mut left = bits - granule.page_bits();
            while left > per_table {
                left -= per_table;
                level -= 1;
            }
            assert_eq!(u32::from(geometry.start().number()), level, "{geometry:?}");
            assert_eq!(geometry.entries(geometry.start()), 1 << left);
            assert_eq!(geometry.root_alignment(false), 8 << left);
            assert_eq!(geometry.root_alignment(true), (8 << left).max(64));
            assert_eq!(u32::from(geometry.t_sz()), 64 - bits);
            // The indices of an address put together are the address.
            for address in [0, u64::MAX, 0x5a5a_a5a5_1234_5678] {
                let mut rebuilt = 0;
                for &level in Level::ALL.iter().filter(|l| **l >= geometry.start()) {
                    let index = geometry.index(level, InputAddress::new(address));
                    assert!(index < geometry.entries(level));
                    rebuilt |= index << granule.span_bits(level);
                }
                let taken = (1_u64 << bits) - (1 << granule.page_bits());
                assert_eq!(rebuilt, address & taken);
            }
        }
    }
}

#[test]
fn descriptors_byte_for_byte() {
    // Page of 4 KiB at 0x12345678_9000, attribute 3 (0xc), SH inner (0x300), AF (0x400), nG
    // (0x800), AP[2:1] = 0b11 (0xc0), type 0b11; DBM 51, contiguous 52, PXN 53, UXN 54.
    let page = LeafDescriptor::new(Granule::Kib4, Level::Level3, ipa(0x1234_5678_9000))
        .unwrap()
        .with_attr_indx(3)
        .with_sh(Shareability::Inner)
        .with_af(true)
        .with_ng(true)
        .with_unprivileged(true)
        .with_read_only(true)
        .with_dbm(true)
        .with_contiguous(true)
        .with_pxn(true)
        .with_uxn(true);
    assert_eq!(page.words(), [0x0078_1234_5678_9fcf]);
    // Block of 1 GiB: type 0b01.
    let block = LeafDescriptor::new(Granule::Kib4, Level::Level1, ipa(0x40_0000_0000)).unwrap();
    assert_eq!(block.words(), [0x40_0000_0001]);
    // 64 KiB: bits 51:48 of the address in bits 15:12.
    let wide = LeafDescriptor::new(Granule::Kib64, Level::Level3, ipa(0x000a_1234_5678_0000));
    assert_eq!(wide.unwrap().words(), [0x1234_5678_a003]);
    let table = TableDescriptor::new(Granule::Kib64, Level::Level1, ipa(0x000f_0000_0001_0000))
        .unwrap()
        .with_pxn_table(true)
        .with_uxn_table(true)
        .with_ap_table_privileged(true)
        .with_ap_table_read_only(true)
        .with_ns_table(true);
    assert_eq!(table.words(), [0xf800_0000_0001_f003]);
}

#[test]
fn there_are_blocks_where_the_manual_has_them() {
    use Level::{Level1, Level2};
    for &granule in Granule::ALL {
        for &level in Level::ALL {
            for wide in [false, true] {
                let expected = match granule {
                    Granule::Kib4 => [Level1, Level2].contains(&level),
                    Granule::Kib16 => level == Level2,
                    Granule::Kib64 => level == Level2 || wide && level == Level1,
                };
                let size = if wide {
                    AddressSize::Bits52
                } else {
                    AddressSize::Bits48
                };
                let entry = Entry::decode(0b01, granule, level, size);
                assert_eq!(entry != Entry::Invalid, expected);
                for bits in [0b00, 0b10] {
                    assert_eq!(Entry::decode(bits, granule, level, size), Entry::Invalid);
                }
                let entry = Entry::decode(0b11, granule, level, size);
                assert_eq!(matches!(entry, Entry::Leaf(_)), level == Level::Level3);
            }
            let made = LeafDescriptor::new(granule, level, ipa(0));
            assert_eq!(
                made.is_ok(),
                level == Level::Level3 || granule.has_block(level, true)
            );
            assert_eq!(
                TableDescriptor::new(granule, level, ipa(0)).is_ok(),
                level != Level::Level3
            );
        }
    }
    // 1 GiB, 2 MiB, 4 KiB; 32 MiB, 16 KiB; 4 TiB, 512 MiB, 64 KiB.
    let spans = |granule: Granule| Level::ALL.iter().map(move |l| granule.span_bits(*l));
    assert!(spans(Granule::Kib4).eq([39, 30, 21, 12]));
    assert!(spans(Granule::Kib16).eq([47, 36, 25, 14]));
    assert!(spans(Granule::Kib64).eq([55, 42, 29, 16]));
}

#[test]
fn an_address_that_a_descriptor_cannot_hold_is_refused() {
    for &granule in Granule::ALL {
        for &level in Level::ALL {
            let Ok(_) = LeafDescriptor::new(granule, level, ipa(0)) else {
                continue;
            };
            let span = granule.span_bits(level);
            for bit in 0..52 {
                let address = ipa(1 << bit);
                let made = LeafDescriptor::new(granule, level, address);
                if bit < span {
                    let alignment = 1 << span;
                    assert_eq!(made, Err(BadDescriptor::Misaligned { address, alignment }));
                } else if bit >= 48 && granule != Granule::Kib64 {
                    assert_eq!(made, Err(BadDescriptor::Beyond { address, granule }));
                } else {
                    assert_eq!(made.unwrap().output(granule, level, true), address);
                }
            }
        }
    }
}
