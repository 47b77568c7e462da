//! What a nested stream table entry holds, bit by bit.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use smmuv3_types::{
    AtsMode, Cacheability, CdTable, CdTableFormat, ContextPointer, DefaultSubstream, Ipa,
    NestedConfig, NestedSte, RefusedSte, Shareability, Stage1, Ste, StreamConfig, SubstreamBits,
};
use zerocopy::IntoBytes;

fn pointer(address: u64) -> ContextPointer {
    Ipa::new(address).and_then(ContextPointer::new).unwrap()
}

/// What the kernel checks, written again from the description in the uAPI reference: the bits it
/// allows in both words, and the values of `Config` and `EATS`.
fn kernel_takes(words: [u64; 2]) -> bool {
    let v = words[0] & 1 == 1;
    let config = words[0] >> 1 & 7;
    let eats = words[1] >> 28 & 3;
    !v || (words[0] & !0xf80f_ffff_ffff_ffff == 0
        && words[1] & !0x3800_00ff == 0
        && [0, 4, 5].contains(&config)
        && eats < 2)
}

#[test]
fn the_bytes_are_the_little_endian_words() {
    // V = 1 in bit 0, Config = 0b101 in bits 3:1: 0b1011. S1Fmt = 2 in bits 5:4: 0x20. The pointer
    // in bits 51:6. S1CDMax = 20 in bits 63:59: 20 << 59 = 0xa000... S1DSS = 2, S1CIR = 1 (0x4),
    // S1COR = 2 (0x20), S1CSH = 3 (0xc0); S1STALLD bit 27, EATS = 1 in bits 29:28.
    let ste = NestedSte::translate(
        Stage1::new(
            CdTable::new(
                pointer(0x000f_ffff_ffff_e000),
                CdTableFormat::TwoLevel64K,
                SubstreamBits::MAX,
            )
            .unwrap(),
        )
        .with_default_substream(DefaultSubstream::Substream0)
        .with_cacheability(Cacheability::WriteBack, Cacheability::WriteThrough)
        .with_shareability(Shareability::Inner)
        .with_stall_disabled(true)
        .with_full_ats(true),
    );
    assert_eq!(ste.words(), [0xa00f_ffff_ffff_e02b, 0x1800_00e6]);
    assert_eq!(
        ste.as_bytes(),
        [
            0x2b, 0xe0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xa0, 0xe6, 0x00, 0x00, 0x18, 0, 0, 0, 0
        ]
    );
}

#[test]
fn invalid_abort_and_bypass_are_as_the_specification_writes_them() {
    assert_eq!(NestedSte::invalid().words(), [0, 0]);
    assert_eq!(NestedSte::abort().words(), [0b0001, 0]);
    assert_eq!(NestedSte::bypass().words(), [0b1001, 0]);
    assert_eq!(NestedSte::invalid().config(), NestedConfig::Invalid);
    assert_eq!(NestedSte::abort().config(), NestedConfig::Abort);
    assert_eq!(NestedSte::bypass().config(), NestedConfig::Bypass);
}

#[test]
fn every_stage_1_that_can_be_built_is_taken_and_read_back() {
    let shareabilities = Shareability::ALL.iter().copied();
    for shareability in shareabilities {
        for &inner in Cacheability::ALL {
            for &outer in Cacheability::ALL {
                for &dss in DefaultSubstream::ALL {
                    for flags in 0..4 {
                        for bits in 0..=20 {
                            for &format in CdTableFormat::ALL {
                                let table = CdTable::aligned_down(
                                    pointer(0x000f_ffff_ffff_ffc0),
                                    format,
                                    SubstreamBits::new(bits).unwrap(),
                                );
                                let stage1 = Stage1::new(table)
                                    .with_cacheability(inner, outer)
                                    .with_shareability(shareability)
                                    .with_default_substream(dss)
                                    .with_stall_disabled(flags & 1 == 1)
                                    .with_full_ats(flags & 2 == 2);
                                let ste = NestedSte::translate(stage1);
                                assert!(kernel_takes(ste.words()), "{ste:?}");
                                assert_eq!(ste.config(), NestedConfig::Translate(stage1));
                                assert_eq!(NestedSte::from_words(ste.words()), Ok(ste));
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn each_bit_that_is_not_the_guests_is_refused() {
    let translate = NestedSte::translate(Stage1::new(CdTable::single(pointer(0x1000)))).words();
    for word in 0..2 {
        for bit in 0..64 {
            let mut words = translate;
            words[word] |= 1 << bit;
            let made = NestedSte::from_words(words);
            // Config 7, S1CDMax of 24 and more (bit 63 with 16 is still below 20), and so on: what
            // is made is never more than what the kernel takes.
            if made.is_ok() {
                assert!(kernel_takes(words), "{words:#x?}");
            } else if kernel_takes(words) {
                panic!("the kernel takes {words:#x?}, {made:?}");
            }
        }
    }
    assert_eq!(
        NestedSte::from_words([translate[0], 1 << 19]),
        Err(RefusedSte::Bits {
            word: 1,
            bits: 1 << 19
        })
    );
    assert_eq!(
        NestedSte::from_words([0b1111, 0]),
        Err(RefusedSte::Config(7))
    );
    assert_eq!(
        NestedSte::from_words([0b0101, 0]),
        Err(RefusedSte::Config(2))
    );
    assert_eq!(
        NestedSte::from_words([0b1011, 2 << 28]),
        Err(RefusedSte::Ats(2))
    );
    assert_eq!(
        NestedSte::from_words([0b1011 | 21 << 59, 0]),
        Err(RefusedSte::Substreams(21))
    );
}

#[test]
fn an_invalid_entry_becomes_zero_whatever_else_it_holds() {
    assert_eq!(NestedSte::from_words([!1, !0]), Ok(NestedSte::invalid()));
}

#[test]
fn what_behaves_as_something_else_is_read_as_that() {
    // S1Fmt = 3, S1CDMax = 1, S1DSS = 3, S1CSH = 1.
    let ste = NestedSte::from_words([0b1011 | 3 << 4 | 0x1000 | 1 << 59, 3 | 1 << 6]).unwrap();
    let NestedConfig::Translate(stage1) = ste.config() else {
        panic!("{ste:?}");
    };
    assert_eq!(stage1.table().format(), CdTableFormat::Linear);
    assert_eq!(stage1.default_substream(), DefaultSubstream::Terminate);
    assert_eq!(stage1.shareability(), Shareability::NonShareable);
}

#[test]
fn the_raw_entry_has_the_same_fields() {
    let ste = Ste::valid(StreamConfig::Stage1).with_eats(AtsMode::Full);
    assert_eq!(ste.words()[1], 1 << 28);
    assert_eq!(NestedSte::bypass().ste(), Ste::valid(StreamConfig::Bypass));
}
