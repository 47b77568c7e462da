//! From the number of a substream to its context descriptor, by 5.2 and 5.3.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use smmuv3_types::{
    AddressSize, CdLookup, CdTable, CdTableFormat, ContextPointer, DefaultSubstream, Features,
    IdRegisters, Ipa, L1ContextDescriptor, NoContext, Stage1, SubstreamBits, SubstreamId,
};

fn ipa(address: u64) -> Ipa {
    Ipa::new(address).unwrap()
}

fn pointer(address: u64) -> ContextPointer {
    ContextPointer::new(ipa(address)).unwrap()
}

#[test]
fn a_table_is_aligned_to_its_size() {
    for bits in 1..=20 {
        let bits = SubstreamBits::new(bits).unwrap();
        for &format in CdTableFormat::ALL {
            let alignment = format.alignment(bits);
            assert!(CdTable::new(pointer(alignment), format, bits).is_ok());
            let half = pointer(alignment | alignment >> 1 & !63);
            let made = CdTable::new(half, format, bits);
            assert_eq!(made.is_err(), alignment > 64, "{format:?} {bits:?}");
            assert_eq!(
                CdTable::aligned_down(half, format, bits).pointer(),
                pointer(alignment)
            );
        }
    }
}

#[test]
fn every_substream_of_every_table() {
    let mut registers = IdRegisters::default();
    registers.idr0 = registers.idr0.with_ttf_aarch64(true);
    registers.idr5 = registers.idr5.with_oas(AddressSize::Bits48);
    let features = Features::new(registers).unwrap();
    let base = 0x0000_1234_5400_0000;
    for bits in [1, 5, 6, 7, 10, 11, 20] {
        for &format in CdTableFormat::ALL {
            let table =
                CdTable::new(pointer(base), format, SubstreamBits::new(bits).unwrap()).unwrap();
            let end = 1_u32 << bits;
            let substreams = [0, 1, 63, 64, 1023, 1024, end / 2, end - 1];
            for number in substreams.into_iter().filter(|number| *number < end) {
                let substream = SubstreamId::new(number).unwrap();
                let number = u64::from(number);
                let found = table.locate(substream).unwrap();
                let Some(leaf_bits) = format.leaf_bits() else {
                    assert_eq!(found, CdLookup::Context(pointer(base + number * 64)));
                    continue;
                };
                let CdLookup::Descriptor(lookup) = found else {
                    panic!("{found:?}");
                };
                assert_eq!(lookup.address(), ipa(base + (number >> leaf_bits) * 8));
                // All bits of the pointer: those below the size of the leaf do not count.
                let descriptor = L1ContextDescriptor::from_words([0x0000_ffff_ffff_ffff]);
                let leaf = 0x0001_0000_0000_0000 - (64 << leaf_bits);
                assert_eq!(
                    lookup.resolve(descriptor, &features),
                    Ok(pointer(leaf + number % (1 << leaf_bits) * 64))
                );
                let bad = Err(NoContext::BadSubstreamId(substream));
                assert_eq!(lookup.resolve(descriptor.with_v(false), &features), bad);
                let beyond = descriptor.with_l2_ptr(ipa(1 << 48));
                assert_eq!(lookup.resolve(beyond, &features), bad);
            }
            if let Some(beyond) = SubstreamId::new(end) {
                assert_eq!(table.locate(beyond), Err(NoContext::BadSubstreamId(beyond)));
            }
        }
    }
}

#[test]
fn a_transaction_with_and_without_a_substream() {
    let zero = SubstreamId::ZERO;
    let one = SubstreamId::new(1).unwrap();
    // Without substreams only transactions without one.
    for &dss in DefaultSubstream::ALL {
        let single = Stage1::new(CdTable::single(pointer(0x40))).with_default_substream(dss);
        assert_eq!(single.locate(None), Ok(CdLookup::Context(pointer(0x40))));
        assert_eq!(
            single.locate(Some(zero)),
            Err(NoContext::BadSubstreamId(zero))
        );
    }
    let table = CdTable::new(
        pointer(0x80),
        CdTableFormat::Linear,
        SubstreamBits::new(1).unwrap(),
    )
    .unwrap();
    let at = |address| Ok(CdLookup::Context(pointer(address)));
    for (dss, none, of_zero) in [
        (
            DefaultSubstream::Terminate,
            Err(NoContext::StreamDisabled(None)),
            at(0x80),
        ),
        (DefaultSubstream::Bypass, Ok(CdLookup::Bypass), at(0x80)),
        (
            DefaultSubstream::Substream0,
            at(0x80),
            Err(NoContext::StreamDisabled(Some(zero))),
        ),
    ] {
        let stage1 = Stage1::new(table).with_default_substream(dss);
        assert_eq!(stage1.locate(None), none);
        assert_eq!(stage1.locate(Some(zero)), of_zero);
        assert_eq!(stage1.locate(Some(one)), at(0xc0));
    }
}
