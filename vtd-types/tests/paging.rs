//! Entries of both stages, and the shape of their tables.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use vtd_types::{
    Agaw, BadPagingEntry, Cap, Capabilities, Ecap, Features, FirstStageEntry, FirstStageLeaf,
    FirstStageTable, Gpa, HostAddressWidth, InputAddress, Level, SecondStage, SecondStageEntry,
    SecondStageLeaf, SecondStageTable,
};

fn gpa(address: u64) -> Gpa {
    Gpa::new(address).unwrap()
}

fn width(bits: u8) -> HostAddressWidth {
    HostAddressWidth::new(bits).unwrap()
}

fn second_stage(pages: bool, snoop: bool) -> SecondStage {
    let cap = Cap::default()
        .with_sslps_2m(pages)
        .with_sslps_1g(pages)
        .with_mgaw(47);
    let ecap = Ecap::default().with_sc(snoop);
    let features = Features::new(Capabilities { cap, ecap }, width(46)).unwrap();
    SecondStage::scalable(gpa(0), Agaw::Four, &features)
}

#[test]
fn indices_put_together_are_the_address() {
    for address in [0, u64::MAX, 0x5a5a_a5a5_1234_5678] {
        let mut rebuilt = address & 0xfff;
        for level in Level::ALL {
            let index = level.index(InputAddress::new(address));
            assert!(index < 512);
            rebuilt |= index << level.span_bits();
        }
        assert_eq!(rebuilt, address & ((1 << 57) - 1));
    }
    // 4 KiB, 2 MiB, 1 GiB, 512 GiB, 256 TiB.
    let spans = Level::ALL.iter().map(|level| level.span_bits());
    assert!(spans.eq([12, 21, 30, 39, 48]));
    for level in Level::ALL {
        let next = level.next().map_or(0, Level::number);
        assert_eq!(level.number(), next + 1);
    }
}

#[test]
fn entries_byte_for_byte() {
    // A first-stage page of 4 KiB: P 0, R/W 1, U/S 2, PWT 3, PCD 4, A 5, D 6, PAT 7, G 8, EA 10, XD 63.
    let page = FirstStageLeaf::new(Level::Level1, gpa(0x1234_5678_9000))
        .unwrap()
        .with_rw(true)
        .with_us(true)
        .with_pcd(true)
        .with_a(true)
        .with_d(true)
        .with_g(true)
        .with_ea(true)
        .with_xd(true);
    assert_eq!(page.words(), [0x8000_1234_5678_9577]);
    // A page of 1 GiB: PS 7, and PAT in bit 12.
    let page = FirstStageLeaf::new(Level::Level3, gpa(0x40_4000_0000)).unwrap();
    assert_eq!(page.words(), [0x40_4000_0081]);
    assert_eq!(page.pat_index(Level::Level3), 0);
    let page = FirstStageLeaf::from_words([page.words()[0] | 1 << 12 | 1 << 3]);
    assert_eq!(page.pat_index(Level::Level3), 0b101);
    assert_eq!(page.output(Level::Level3), gpa(0x40_4000_0000));
    assert_eq!(
        FirstStageLeaf::from_words([0x91]).pat_index(Level::Level1),
        0b110
    );
    let table = FirstStageTable::new(Level::Level5, gpa(0xf_ffff_ffff_f000)).unwrap();
    assert_eq!(table.words(), [0x000f_ffff_ffff_f007]);

    // A second-stage page of 2 MiB: R 0, W 1, X 2, EMT 5:3, IPAT 6, PS 7, A 8, D 9, SNP 11.
    let page = SecondStageLeaf::new(Level::Level2, gpa(0x1234_5660_0000))
        .unwrap()
        .with_r(true)
        .with_x(true)
        .with_emt(6)
        .with_ipat(true)
        .with_a(true)
        .with_d(true)
        .with_snp(true);
    assert_eq!(page.words(), [0x1234_5660_0bf5]);
    let table = SecondStageTable::new(Level::Level2, gpa(0x5000)).unwrap();
    assert_eq!(table.with_a(true).words(), [0x5103]);
}

#[test]
fn an_address_that_an_entry_cannot_hold_is_refused() {
    for &level in Level::ALL {
        let has_pages = level <= Level::Level3;
        for bit in 12..52 {
            let address = gpa(1 << bit);
            let expected = if !has_pages {
                Err(BadPagingEntry::Level(level))
            } else if bit < level.span_bits() {
                let alignment = 1 << level.span_bits();
                Err(BadPagingEntry::Misaligned { address, alignment })
            } else {
                Ok(address)
            };
            let first = FirstStageLeaf::new(level, address).map(|leaf| leaf.output(level));
            let second = SecondStageLeaf::new(level, address).map(|leaf| leaf.output(level));
            assert_eq!((first, second), (expected, expected));
            let table = FirstStageTable::new(level, address).map(|table| table.addr());
            let other = SecondStageTable::new(level, address).map(|table| table.addr());
            let expected = if level == Level::Level1 {
                Err(BadPagingEntry::Level(level))
            } else {
                Ok(address)
            };
            assert_eq!((table, other), (expected, expected));
        }
    }
}

#[test]
fn every_reserved_bit_of_the_first_stage() {
    for gigabyte in [false, true] {
        for &level in Level::ALL {
            for ps in [false, true] {
                for bit in 0..64 {
                    let bits = 1 | u64::from(ps) << 7 | 1 << bit;
                    let ps = bits & 1 << 7 != 0;
                    let can_be_page = match level {
                        Level::Level1 | Level::Level2 => true,
                        Level::Level3 => gigabyte,
                        _ => false,
                    };
                    let is_page = level == Level::Level1 || ps && can_be_page;
                    // PS where there are no pages; beyond the width; between PAT and the page.
                    let mut reserved = 0;
                    if ps && !can_be_page {
                        reserved |= 1 << 7;
                    }
                    if (46..52).contains(&bit) {
                        reserved |= 1 << bit;
                    }
                    if is_page && (13..level.span_bits()).contains(&bit) {
                        reserved |= 1 << bit;
                    }
                    let expected = if reserved != 0 {
                        FirstStageEntry::Reserved(reserved)
                    } else if is_page {
                        FirstStageEntry::Leaf(FirstStageLeaf::from_words([bits]))
                    } else {
                        FirstStageEntry::Table(FirstStageTable::from_words([bits]))
                    };
                    let got = FirstStageEntry::decode(bits, level, gigabyte, width(46));
                    assert_eq!(got, expected, "{level:?} {bits:#x}");
                    let got = FirstStageEntry::decode(bits & !1, level, gigabyte, width(46));
                    assert_eq!(got, FirstStageEntry::NotPresent);
                }
            }
        }
    }
}

#[test]
fn every_reserved_bit_of_the_second_stage() {
    for (pages, snoop) in [(false, false), (false, true), (true, false), (true, true)] {
        let stage = second_stage(pages, snoop);
        for &level in Level::ALL {
            for ps in [false, true] {
                for bit in 0..64 {
                    let bits = 1 | u64::from(ps) << 7 | 1 << bit;
                    let ps = bits & 1 << 7 != 0;
                    let can_be_page = match level {
                        Level::Level1 => true,
                        Level::Level2 | Level::Level3 => pages,
                        _ => false,
                    };
                    let is_page = level == Level::Level1 || ps && can_be_page;
                    let mut reserved = 0;
                    if ps && !can_be_page {
                        reserved |= 1 << 7;
                    }
                    if bit == 62 || (46..52).contains(&bit) {
                        reserved |= 1 << bit;
                    }
                    if bit == 11 && !(is_page && snoop) {
                        reserved |= 1 << 11;
                    }
                    if is_page && (12..level.span_bits()).contains(&bit) {
                        reserved |= 1 << bit;
                    }
                    let expected = if reserved != 0 {
                        SecondStageEntry::Reserved(reserved)
                    } else if is_page {
                        SecondStageEntry::Leaf(SecondStageLeaf::from_words([bits]))
                    } else {
                        SecondStageEntry::Table(SecondStageTable::from_words([bits]))
                    };
                    let got = SecondStageEntry::decode(bits, level, &stage);
                    assert_eq!(got, expected, "{level:?} {bits:#x}");
                    // X alone does not make an entry present where it does not count.
                    let got = SecondStageEntry::decode(bits & !3, level, &stage);
                    assert_eq!(got, SecondStageEntry::NotPresent);
                }
            }
        }
    }
    let mut executes = second_stage(true, true);
    executes.execute = true;
    assert!(matches!(
        SecondStageEntry::decode(4, Level::Level1, &executes),
        SecondStageEntry::Leaf(_)
    ));
}
