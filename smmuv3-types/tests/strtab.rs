//! From the number of a stream to its entry.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use smmuv3_types::{
    AddressSize, BadStreamId, Features, IdRegisters, Idr5, Ipa, L1StreamDescriptor, StreamId,
    StreamLookup, StreamRange, StreamTable, StrtabBase, StrtabBaseCfg,
};

fn features(sidsize: u32, two_levels: bool, size: AddressSize) -> Features {
    let idr0 = u32::from(two_levels) << 27 | 1 << 1 | 2 << 2 | 2 << 21;
    let idr5 = Idr5::from_bits(0x70).with_oas(size).bits();
    Features::new(IdRegisters::from_bits([idr0, sidsize, 0, 0, 0, idr5], 0, 1)).unwrap()
}

fn table(base: u64, fmt: u32, split: u32, log2size: u32, features: &Features) -> StreamTable {
    StreamTable::from_registers(
        StrtabBase::from_bits(base),
        StrtabBaseCfg::from_bits(fmt << 16 | split << 6 | log2size),
        features,
    )
}

#[test]
fn a_linear_table_is_an_array_aligned_to_its_size() {
    for sidsize in [0, 6, 16, 32] {
        let features = features(sidsize, true, AddressSize::Bits52);
        // All 52 bits that the base can have, and what is not address.
        let base = u64::MAX;
        for log2size in 0..64 {
            // Reserved formats behave as linear.
            for fmt in [0, 2, 3] {
                let table = table(base, fmt, 8, log2size, &features);
                let bits = log2size.min(sidsize);
                let aligned = if log2size + 6 >= 52 {
                    0
                } else {
                    ((1_u64 << 52) - 1) >> (log2size + 6) << (log2size + 6)
                };
                assert_eq!(table.base().get(), aligned);
                let last = ((1_u64 << bits) - 1) as u32;
                for stream in [0, last / 2, last] {
                    assert_eq!(
                        table.locate(StreamId::new(stream)),
                        Ok(StreamLookup::Entry(
                            Ipa::new(aligned + u64::from(stream) * 64).unwrap()
                        ))
                    );
                }
                if let Some(beyond) = last.checked_add(1) {
                    assert_eq!(
                        table.locate(StreamId::new(beyond)),
                        Err(BadStreamId::BeyondTable {
                            stream: StreamId::new(beyond),
                            bits: bits as u8
                        })
                    );
                }
            }
        }
    }
}

#[test]
fn two_levels_are_linear_where_the_smmu_has_one() {
    let table = table(0x1000, 1, 6, 4, &features(16, false, AddressSize::Bits48));
    assert!(matches!(
        table.locate(StreamId::new(0)),
        Ok(StreamLookup::Entry(_))
    ));
}

#[test]
fn an_address_beyond_the_output_size_is_cut() {
    let table = table(
        0x8_0000_0000,
        0,
        0,
        4,
        &features(16, true, AddressSize::Bits32),
    );
    assert_eq!(table.base().get(), 0);
}

#[test]
fn every_descriptor_and_stream_of_a_two_level_table() {
    let features = features(16, true, AddressSize::Bits48);
    let array = 0x0000_5555_5555_ffc0;
    // Reserved splits behave as 6.
    for (written, split) in [(6, 6), (8, 8), (10, 10), (0, 6), (7, 6), (31, 6)] {
        let table = table(0x1_2345_6789_abc0, 1, written, 12, &features);
        // Level 1 has 2^(12 - split) descriptors of 8 bytes, and is aligned to 64 bytes at least.
        let alignment = (8 << (12 - split)).max(64);
        assert_eq!(table.base().get(), 0x2345_6789_abc0 & !(alignment - 1));
        for stream in 0..1 << 12 {
            let Ok(StreamLookup::Descriptor(lookup)) = table.locate(StreamId::new(stream)) else {
                panic!("{stream}");
            };
            assert_eq!(
                lookup.address().get(),
                table.base().get() + u64::from(stream >> split) * 8
            );
            for span in 0..32_u8 {
                let descriptor = L1StreamDescriptor::from_words([array | u64::from(span)]);
                let index = u64::from(stream) % (1 << split);
                let resolved = lookup.resolve(descriptor);
                let stream = StreamId::new(stream);
                if !(1..=11).contains(&span) || u32::from(span) > split + 1 {
                    assert_eq!(resolved, Err(BadStreamId::NoArray { stream, span }));
                } else if index >= 1 << (span - 1) {
                    assert_eq!(resolved, Err(BadStreamId::BeyondArray { stream, span }));
                } else {
                    let aligned = array & !((64 << (span - 1)) - 1);
                    assert_eq!(resolved, Ok(Ipa::new(aligned + index * 64).unwrap()));
                }
            }
        }
    }
}

#[test]
fn a_split_above_the_size_leaves_one_descriptor() {
    let table = table(0x1000, 1, 10, 4, &features(16, true, AddressSize::Bits48));
    for stream in 0..16 {
        let Ok(StreamLookup::Descriptor(lookup)) = table.locate(StreamId::new(stream)) else {
            panic!("{stream}");
        };
        assert_eq!(lookup.address().get(), 0x1000);
    }
    assert!(table.locate(StreamId::new(16)).is_err());
}

#[test]
fn a_range_is_aligned_to_its_size() {
    for range in 0..=30 {
        for stream in [0, 1, 0x1235, 0x8000_0000, u32::MAX] {
            let covered = StreamRange::new(StreamId::new(stream), range).unwrap();
            let number = 1_u64 << (range + 1);
            let first = u64::from(stream) / number * number;
            assert_eq!(u64::from(covered.first().get()), first);
            assert_eq!(u64::from(covered.last().get()), first + number - 1);
            assert!(covered.contains(StreamId::new(stream)));
            for outside in [first.checked_sub(1), first.checked_add(number)] {
                if let Some(outside) = outside.and_then(|o| u32::try_from(o).ok()) {
                    assert!(!covered.contains(StreamId::new(outside)));
                }
            }
        }
    }
    assert_eq!(StreamRange::new(StreamId::new(7), 31), None);
}
