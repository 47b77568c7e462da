mod vectors;

use crate::testing::Random;
use crate::*;

/// A unit with everything.
const ALL: DescriptorFeatures = DescriptorFeatures::SCALABLE
    .with_device_tlb(true)
    .with_interrupt_remapping(true)
    .with_page_requests(true)
    .with_page_request_drain(true)
    .with_max_address_mask(63);

const DOMAIN: DomainId = DomainId::new(0x8123);
const SOURCE: SourceId = SourceId::new(0x3afe);
const FUNCTION: SourceId = SourceId::new(0x3af1);
const ADDRESS: InputAddress = InputAddress::new(0xffff_8000_1234_5000);

fn pasid() -> Pasid {
    Pasid::new(0xa_bcde).unwrap()
}

/// The least that is a descriptor of each type.
fn first_word(kind: DescriptorKind) -> u64 {
    u64::from(kind.number())
        | match kind {
            DescriptorKind::ContextCache | DescriptorKind::Iotlb => 1 << 4,
            DescriptorKind::PasidIotlb => 2 << 4,
            _ => 0,
        }
}

#[test]
fn every_type_is_a_descriptor_or_an_error() {
    for number in 0..=0x7f_u8 {
        // Bits 6:4 of the type are bits 11:9 of the word.
        let first = u64::from(number & 0xf) | u64::from(number >> 4) << 9;
        assert_eq!(
            DescriptorWords::from([first, 0, 0, 0]).type_number(),
            number
        );
        let decoded = Descriptor::decode([first, 0, 0, 0], &ALL);
        match DescriptorKind::from_number(number) {
            None => assert_eq!(decoded, Err(BadDescriptor::Unknown(number))),
            Some(kind) => {
                let decoded = Descriptor::decode([first_word(kind), 0, 0, 0], &ALL);
                assert_eq!(decoded.unwrap().kind(), kind);
            }
        }
    }
}

#[test]
fn every_reserved_bit_is_an_error_that_names_it() {
    // Written once more from 6.5.2 and 7.6: the bits that are reserved, in both words.
    let bits = |last: u32, first: u32| (u64::MAX >> (63 - last)) & (u64::MAX << first);
    for kind in DescriptorKind::ALL.iter().copied() {
        let [first, second] = match kind {
            DescriptorKind::ContextCache => [bits(8, 6) | bits(15, 12) | bits(63, 50), bits(63, 0)],
            DescriptorKind::PasidCache => [bits(8, 6) | bits(15, 12) | bits(63, 52), bits(63, 0)],
            DescriptorKind::Iotlb => [bits(8, 8) | bits(15, 12) | bits(63, 32), bits(11, 7)],
            DescriptorKind::PasidIotlb => [bits(8, 6) | bits(15, 12) | bits(63, 52), bits(11, 7)],
            DescriptorKind::DeviceTlb => [bits(8, 4) | bits(31, 21) | bits(51, 48), bits(11, 1)],
            DescriptorKind::PasidDeviceTlb => [0, bits(10, 1)],
            DescriptorKind::InterruptEntryCache => {
                [bits(8, 5) | bits(26, 12) | bits(63, 48), bits(63, 0)]
            }
            DescriptorKind::Wait => [bits(8, 8) | bits(31, 12), bits(1, 0)],
            DescriptorKind::PageGroupResponse => {
                [bits(8, 5) | bits(63, 52), bits(1, 0) | bits(63, 12)]
            }
        };
        for (word, reserved) in (0..).zip([first, second, u64::MAX, u64::MAX]) {
            for bit in 0..64 {
                let mut words = [first_word(kind), 0, 0, 0];
                words[usize::from(word)] |= 1 << bit;
                if DescriptorWords::from(words).kind() != Some(kind) {
                    continue;
                }
                let decoded = Descriptor::decode(words, &ALL);
                let bits = 1 << bit;
                let expected = BadDescriptor::Reserved { kind, word, bits };
                assert_eq!(decoded == Err(expected), reserved & bits != 0, "{words:x?}");
            }
        }
    }
}

#[test]
fn what_the_unit_has_not_is_an_error() {
    let without: [(DescriptorFeatures, &[u8]); 3] = [
        (ALL.with_device_tlb(false), &[3, 8]),
        (ALL.with_interrupt_remapping(false), &[4]),
        (ALL.with_page_requests(false), &[9]),
    ];
    for (features, missing) in without {
        for kind in DescriptorKind::ALL.iter().copied() {
            let decoded = Descriptor::decode([first_word(kind), 0, 0, 0], &features);
            if missing.contains(&kind.number()) {
                assert_eq!(decoded, Err(BadDescriptor::NotImplemented(kind)));
            } else {
                assert!(decoded.is_ok());
            }
        }
    }
    for kind in DescriptorKind::ALL.iter().copied() {
        let decoded = Descriptor::decode([first_word(kind), 0], &ALL.with_scalable(false));
        if kind.number() >= 6 {
            assert_eq!(decoded, Err(BadDescriptor::Mode(kind)));
        } else {
            assert!(decoded.is_ok());
        }
    }
    let drain = [0x85, 0, 0, 0];
    assert!(Descriptor::decode(drain, &ALL).is_ok());
    assert_eq!(
        Descriptor::decode(drain, &ALL.with_page_request_drain(false)),
        Err(BadDescriptor::Reserved {
            kind: DescriptorKind::Wait,
            word: 0,
            bits: 0x80
        })
    );
}

#[test]
fn granularities_that_are_reserved() {
    let good: [(u64, [bool; 4]); 4] = [
        (1, [false, true, true, true]),
        (2, [false, true, true, true]),
        (6, [false, false, true, true]),
        (7, [true, true, false, true]),
    ];
    for (number, good) in good {
        for (granularity, good) in (0..4_u8).zip(good) {
            let words = [number | u64::from(granularity) << 4, 0, 0, 0];
            let decoded = Descriptor::decode(words, &ALL);
            if good {
                assert_eq!(decoded.unwrap().encode().words(), words);
            } else {
                let kind = DescriptorKind::from_number(number as u8).unwrap();
                assert_eq!(
                    decoded,
                    Err(BadDescriptor::Granularity { kind, granularity })
                );
            }
        }
    }
}

#[test]
fn responses_that_are_reserved() {
    for code in 0..16_u8 {
        let decoded = Descriptor::decode([9 | u64::from(code) << 12, 0, 0, 0], &ALL);
        if matches!(code, 0 | 1 | 15) {
            assert!(decoded.is_ok());
        } else {
            assert_eq!(decoded, Err(BadDescriptor::Response(code)));
        }
    }
    // What older drivers set is ignored.
    assert_eq!(
        Descriptor::decode([9, 4, 0, 0], &ALL),
        Descriptor::decode([9, 0, 0, 0], &ALL)
    );
}

#[test]
fn masks_and_the_most_there_is() {
    for mask in 0..64_u8 {
        let second = 0xffff_ffff_ffff_f000 | u64::from(mask);
        for most in 0..64 {
            let features = ALL.with_max_address_mask(most);
            let iotlb = Descriptor::decode([0x32, second, 0, 0], &features);
            if mask > most {
                assert_eq!(iotlb, Err(BadDescriptor::AddressMask { mask, most }));
            } else {
                assert!(iotlb.is_ok());
            }
        }
        // Those of a PASID may have any.
        let decoded = Descriptor::decode([0x36, second, 0, 0], &ALL.with_max_address_mask(0));
        let Ok(Descriptor::PasidIotlb {
            pages: Some(pages), ..
        }) = decoded
        else {
            panic!("{decoded:?}");
        };
        let expected = if mask < 52 { u64::MAX << 12 << mask } else { 0 };
        assert_eq!(pages.address().get(), expected);
        assert_eq!(pages.mask().pages(), 1 << mask.min(52));
    }
    assert_eq!(AddressMask::new(53), None);
    assert_eq!(IndexMask::new(17), None);
}

#[test]
fn every_range_of_a_device() {
    for pages_log2 in 0..=u8::MAX {
        let made = DeviceTlbRange::new(ADDRESS, pages_log2);
        if pages_log2 > 52 {
            assert_eq!(made, None);
            continue;
        }
        let range = made.unwrap();
        // From the figure of PCI Express's ATS: S, and ones up to the bit that says the size.
        let (ones, size) = match pages_log2 {
            0 => (0, 0),
            _ => ((1_u64 << (pages_log2 - 1)) - 1, 1),
        };
        let low = (1_u128 << (pages_log2 + 12)) - 1;
        let first = ADDRESS.get() & !(low as u64);
        assert_eq!(range.address().get(), first);
        let device = Descriptor::DeviceTlb {
            source: SOURCE,
            physical_function: FUNCTION,
            max_pending: 0,
            range,
        };
        let words = device.encode().words();
        assert_eq!(words[1], first | ones << 12 | size, "{pages_log2}");
        assert_eq!(Descriptor::decode(words, &ALL), Ok(device));
        let device = Descriptor::PasidDeviceTlb {
            source: SOURCE,
            physical_function: FUNCTION,
            max_pending: 31,
            pasid: Some(pasid()),
            range,
        };
        let words = device.encode().words();
        assert_eq!(words[1], first | ones << 12 | size << 11);
        assert_eq!(Descriptor::decode(words, &ALL), Ok(device));
    }
    assert_eq!(DeviceTlbRange::new(ADDRESS, 52), Some(DeviceTlbRange::ALL));
    for (number, size) in [(3, 1), (8, 1 << 11)] {
        let words = [number, 0xffff_ffff_ffff_f000 | size, 0, 0];
        let kind = DescriptorKind::from_number(number as u8).unwrap();
        assert_eq!(
            Descriptor::decode(words, &ALL),
            Err(BadDescriptor::Range(kind))
        );
    }
}

#[test]
fn ranges_of_interrupts() {
    for mask in 0..32_u16 {
        let words = [0x14 | u64::from(mask) << 27 | 0xffff << 32, 0];
        let decoded = Descriptor::decode(words, &ALL);
        let Ok(Descriptor::InterruptEntryCache(Some(range))) = decoded else {
            panic!("{decoded:?}");
        };
        let size = 1_u32 << mask.min(16);
        let first = 0x1_0000 - size;
        assert_eq!(u32::from(range.index().get()), first);
        assert!(range.contains(InterruptIndex::new(u16::MAX)));
        assert_eq!(range.contains(InterruptIndex::new(0)), mask >= 16);
    }
}

#[test]
fn functions_of_a_device() {
    for mask in FunctionMask::ALL.iter().copied() {
        let meant = (0..=u16::MAX)
            .filter(|&other| mask.matches(SOURCE, SourceId::new(other)))
            .count();
        assert_eq!(meant, 1 << mask.bits());
        assert!(mask.matches(SOURCE, SOURCE));
    }
    // 0x3afe is function 6, and with bit 2 not looked at 2 is meant also.
    assert!(FunctionMask::Bit2.matches(SOURCE, SourceId::new(0x3afa)));
    assert!(!FunctionMask::Bit2.matches(SOURCE, SourceId::new(0x3aff)));
}

#[test]
fn a_status_beyond_the_width_is_reserved() {
    let features = ALL.with_width(HostAddressWidth::new(39).unwrap());
    for bit in 2..64 {
        let words = [0x25, 1 << bit, 0, 0];
        let expected = BadDescriptor::Reserved {
            kind: DescriptorKind::Wait,
            word: 1,
            bits: 1 << bit,
        };
        let decoded = Descriptor::decode(words, &features);
        assert_eq!(decoded == Err(expected), bit >= 39, "{decoded:?}");
        // Without a write the address means nothing.
        assert_eq!(
            Descriptor::decode([0x05, 1 << bit, 0, 0], &features),
            Descriptor::decode([0x05, 0, 0, 0], &features)
        );
    }
    assert_eq!(StatusWrite::new(Gpa::new(2).unwrap(), 0), None);
}

#[test]
fn decoding_what_is_encoded_gives_the_descriptor_for_any_words() {
    let mut random = Random::new(3);
    let mut decoded = 0;
    for round in 0..1_000_000u32 {
        let [mut first, second]: [u64; 2] = if round % 2 == 0 {
            random.words()
        } else {
            random.sparse_words()
        };
        let kind = DescriptorKind::ALL[random.below(9) as usize];
        first = first & !0xe0f | u64::from(kind.number());
        // Most would have reserved bits.
        let [allowed_first, allowed_second] = super::fields::allowed(kind);
        let words = if round % 8 != 0 {
            [first & allowed_first, second & allowed_second, 0, 0]
        } else {
            [first, second, 0, 0]
        };
        let bits = random.word();
        let features = DescriptorFeatures::LEGACY
            .with_scalable(bits & 1 != 0)
            .with_device_tlb(bits & 2 != 0)
            .with_interrupt_remapping(bits & 4 != 0)
            .with_page_requests(bits & 8 != 0)
            .with_page_request_drain(bits & 16 != 0)
            .with_max_address_mask((bits >> 8 & 63) as u8);
        let Ok(descriptor) = Descriptor::decode(words, &features) else {
            continue;
        };
        decoded += 1;
        assert_eq!(
            Descriptor::decode(descriptor.encode(), &features),
            Ok(descriptor),
            "{words:x?}"
        );
        // What means nothing is gone: with all features it is the same.
        assert_eq!(
            Descriptor::decode(descriptor.encode(), &ALL),
            Ok(descriptor)
        );
    }
    assert!(decoded > 200_000, "{decoded}");
}

#[test]
fn every_error_has_its_code() {
    let kind = DescriptorKind::Wait;
    for (error, code) in [
        (BadDescriptor::Unknown(0x7f), 3),
        (BadDescriptor::NotImplemented(kind), 3),
        (BadDescriptor::Mode(kind), 7),
        (
            BadDescriptor::Reserved {
                kind,
                word: 0,
                bits: 1,
            },
            4,
        ),
        (BadDescriptor::Range(kind), 0),
    ] {
        assert_eq!(error.error().bits(), code);
    }
}
