extern crate std;

use std::vec::Vec;

use zerocopy::IntoBytes;

use super::*;
use crate::testing::Random;
use crate::{
    AddressMask, ContextCacheScope, DescriptorFeatures, DomainId, FunctionMask, Pasid,
    PasidCacheScope, SourceId,
};

/// Whether Linux 7.3 takes an invalidation, and forgets what is meant: written down from the
/// description of its rules, and that a range must end in the address space and not be empty.
fn kernel_takes(made: &Invalidation) -> bool {
    let (addr, npages) = (made.address().get(), made.npages());
    if addr % 4096 != 0 || made.flags() & !1 != 0 || npages == 0 {
        return false;
    }
    if npages == u64::MAX {
        return addr == 0;
    }
    u128::from(addr) + u128::from(npages) * 4096 <= 1 << 64
}

fn pages(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

#[test]
fn the_bytes_are_those_of_the_kernels_structure() {
    // addr 0, npages 8, flags 16, reserved 20.
    let made = Invalidation::pages(InputAddress::new(0x1234_5000), pages(0x102), true).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(0x1234_5000_u64.to_le_bytes());
    bytes.extend(0x102_u64.to_le_bytes());
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(made.as_bytes(), bytes);
    let mut bytes = [0; 24];
    bytes[8..16].fill(0xff);
    assert_eq!(Invalidation::ALL.as_bytes(), bytes);
}

#[test]
fn a_range_ends_at_the_last_address_at_most() {
    for log2 in 0..64 {
        let number = 1_u64 << log2;
        for address in [0, 0x1000, 1 << 47, u64::MAX << 12, u64::MAX << 13, 1 << 63] {
            let made = Invalidation::pages(InputAddress::new(address), pages(number), false);
            let fits = u128::from(address) + (u128::from(number) << 12) <= 1 << 64;
            assert_eq!(made.is_ok(), fits, "{address:#x} {number:#x}");
            if let Ok(made) = made {
                assert!(kernel_takes(&made));
            }
        }
    }
    let everything = Invalidation::pages(InputAddress::new(0), pages(1 << 52), true);
    assert_eq!(everything, Ok(Invalidation::ALL));
    let address = InputAddress::new(0x1001);
    assert_eq!(
        Invalidation::pages(address, pages(1), false),
        Err(BadRange::Misaligned(address))
    );
    let address = InputAddress::new(0x1000);
    let pages = pages(u64::MAX);
    assert_eq!(
        Invalidation::pages(address, pages, false),
        Err(BadRange::Beyond { address, pages })
    );
}

#[test]
fn every_selection_covers_what_is_selected() {
    for mask in 0..=52 {
        for address in [0, 0x1234_5678_9abc_d000, u64::MAX, 0xffff_8000_0000_0000] {
            for leaf in [false, true] {
                let address = InputAddress::new(address);
                let mask = AddressMask::new(mask).unwrap();
                let selection = PageSelection::new(address, mask, leaf);
                let made = Invalidation::selection(&selection);
                assert!(kernel_takes(&made));
                assert_eq!(made.is_all(), mask == AddressMask::ALL);
                if !made.is_all() {
                    assert_eq!((made.npages(), made.leaf()), (mask.pages(), leaf));
                    let first = made.address().get();
                    let last = first + (made.npages() * 4096 - 1);
                    assert!((first..=last).contains(&address.get()));
                }
            }
        }
    }
}

#[test]
fn what_any_descriptor_becomes_is_taken() {
    let features = DescriptorFeatures::SCALABLE
        .with_device_tlb(true)
        .with_interrupt_remapping(true)
        .with_page_requests(true)
        .with_page_request_drain(true)
        .with_max_address_mask(63);
    let mut random = Random::new(11);
    let mut forwarded = 0;
    for _ in 0..500_000 {
        let [first, second]: [u64; 2] = random.words();
        let first = first & 0x000f_ffff_ffff_0030 | [2, 6][random.below(2) as usize];
        let words = [first, second & !0xf80, 0, 0];
        let Ok(descriptor) = Descriptor::decode(words, &features) else {
            continue;
        };
        match Invalidation::from_descriptor(&descriptor) {
            Ok(made) => {
                assert!(kernel_takes(&made), "{made:?}");
                forwarded += 1;
            }
            Err(refused) => assert_eq!(refused.reason(), NotForwardedReason::SecondStage),
        }
    }
    assert!(forwarded > 50_000, "{forwarded}");
}

#[test]
fn a_refusal_says_what_to_do() {
    let features = DescriptorFeatures::SCALABLE
        .with_device_tlb(true)
        .with_interrupt_remapping(true)
        .with_page_requests(true);
    let everything = Some(Invalidation::ALL);
    for (first, reason, instead) in [
        (0x11, NotForwardedReason::Emulated, None),
        (0x32, NotForwardedReason::SecondStage, everything),
        (0x03, NotForwardedReason::DeviceTlb, None),
        (0x04, NotForwardedReason::Emulated, None),
        (0x05, NotForwardedReason::Emulated, None),
        (0x37, NotForwardedReason::Emulated, None),
        (0x08, NotForwardedReason::DeviceTlb, None),
        (0x09, NotForwardedReason::Emulated, None),
    ] {
        let descriptor = Descriptor::decode([first, 0, 0, 0], &features).unwrap();
        let refused = Invalidation::from_descriptor(&descriptor).unwrap_err();
        assert_eq!((refused.reason(), refused.instead()), (reason, instead));
        assert_eq!(refused.descriptor(), descriptor);
    }
}

#[test]
fn tables_that_a_descriptor_is_about() {
    let source = SourceId::new(0x0018);
    let (domain, other_domain) = (DomainId::new(3), DomainId::new(4));
    let (pasid, other_pasid) = (Pasid::new(5).unwrap(), Pasid::ZERO);
    let iotlb = |scope| Descriptor::Iotlb {
        scope,
        drain_reads: false,
        drain_writes: false,
    };
    // Whether each is about the table of the domain and PASID, of the other domain, of the other
    // PASID, and of another device.
    let cases = [
        (iotlb(IotlbScope::Global), [true, true, true, true]),
        (iotlb(IotlbScope::Domain(domain)), [true, false, true, true]),
        (
            Descriptor::PasidIotlb {
                domain,
                pasid,
                pages: None,
            },
            [true, false, false, true],
        ),
        (
            Descriptor::PasidCache(PasidCacheScope::Pasid { domain, pasid }),
            [true, false, false, true],
        ),
        (
            Descriptor::ContextCache(ContextCacheScope::Device {
                domain,
                source,
                functions: FunctionMask::None,
            }),
            [true, true, true, false],
        ),
        (
            Descriptor::ContextCache(ContextCacheScope::Domain(domain)),
            [true, true, true, true],
        ),
    ];
    for (descriptor, expected) in cases {
        let scope = descriptor.tables().unwrap();
        let is = [
            scope.contains(source, domain, pasid),
            scope.contains(source, other_domain, pasid),
            scope.contains(source, domain, other_pasid),
            scope.contains(SourceId::new(0x0019), domain, pasid),
        ];
        assert_eq!(is, expected, "{descriptor:?}");
    }
    assert_eq!(Descriptor::InterruptEntryCache(None).tables(), None);
}
