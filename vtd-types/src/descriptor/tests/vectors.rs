extern crate std;

use std::collections::HashSet;

use super::{ADDRESS, ALL, DOMAIN, FUNCTION, SOURCE, pasid};
use crate::*;

#[test]
fn vectors() {
    // Composed by hand from the bits that 6.5.2 and 7.6 give: type 3:0, G 5:4, DID 31:16, PASID
    // 51:32, SID 47:32 or 31:16, FM 49:48, PFSID 63:52 and 15:12, MIP 20:16 or 8:4; AM 5:0, IH 6,
    // address 63:12.
    let mask = AddressMask::new(9).unwrap();
    let pages = PageSelection::new(ADDRESS, mask, true);
    let page = PageSelection::new(ADDRESS, AddressMask::PAGE, false);
    let vectors = [
        (
            Descriptor::ContextCache(ContextCacheScope::Global),
            [0x11, 0],
        ),
        (
            Descriptor::ContextCache(ContextCacheScope::Domain(DOMAIN)),
            [0x0000_0000_8123_0021, 0],
        ),
        (
            Descriptor::ContextCache(ContextCacheScope::Device {
                domain: DOMAIN,
                source: SOURCE,
                functions: FunctionMask::Bits2To1,
            }),
            [0x0002_3afe_8123_0031, 0],
        ),
        (
            Descriptor::PasidCache(PasidCacheScope::Domain(DOMAIN)),
            [0x0000_0000_8123_0007, 0],
        ),
        (
            Descriptor::PasidCache(PasidCacheScope::Pasid {
                domain: DOMAIN,
                pasid: pasid(),
            }),
            [0x000a_bcde_8123_0017, 0],
        ),
        (Descriptor::PasidCache(PasidCacheScope::Global), [0x37, 0]),
        (
            Descriptor::Iotlb {
                scope: IotlbScope::Global,
                drain_reads: true,
                drain_writes: true,
            },
            [0xd2, 0],
        ),
        (
            Descriptor::Iotlb {
                scope: IotlbScope::Domain(DOMAIN),
                drain_reads: true,
                drain_writes: false,
            },
            [0x0000_0000_8123_00a2, 0],
        ),
        (
            Descriptor::Iotlb {
                scope: IotlbScope::Pages {
                    domain: DOMAIN,
                    pages: page,
                },
                drain_reads: false,
                drain_writes: true,
            },
            [0x0000_0000_8123_0072, 0xffff_8000_1234_5000],
        ),
        (
            Descriptor::PasidIotlb {
                domain: DOMAIN,
                pasid: pasid(),
                pages: None,
            },
            [0x000a_bcde_8123_0026, 0],
        ),
        (
            Descriptor::PasidIotlb {
                domain: DOMAIN,
                pasid: pasid(),
                pages: Some(pages),
            },
            // AM 9, IH; 2 MiB around the address.
            [0x000a_bcde_8123_0036, 0xffff_8000_1220_0049],
        ),
        (
            Descriptor::DeviceTlb {
                source: SOURCE,
                physical_function: FUNCTION,
                max_pending: 0x15,
                range: DeviceTlbRange::new(ADDRESS, 0).unwrap(),
            },
            // PFSID 0x3af1: 0x3af << 52, 1 << 12.
            [0x3af0_3afe_0015_1003, 0xffff_8000_1234_5000],
        ),
        (
            Descriptor::DeviceTlb {
                source: SOURCE,
                physical_function: SourceId::new(0),
                max_pending: 0,
                range: DeviceTlbRange::ALL,
            },
            [0x0000_3afe_0000_0003, 0x7fff_ffff_ffff_f001],
        ),
        (
            Descriptor::PasidDeviceTlb {
                source: SOURCE,
                physical_function: FUNCTION,
                max_pending: 0x15,
                pasid: Some(pasid()),
                range: DeviceTlbRange::new(ADDRESS, 9).unwrap(),
            },
            // MIP 0x15 << 4. 512 pages: bits 19:12 ones, bit 20 zero.
            [0x3afa_bcde_3afe_1158, 0xffff_8000_122f_f800],
        ),
        (
            Descriptor::PasidDeviceTlb {
                source: SOURCE,
                physical_function: SourceId::new(0),
                max_pending: 0,
                pasid: None,
                range: DeviceTlbRange::ALL,
            },
            [0x0000_0000_3afe_0008, 0x7fff_ffff_ffff_f801],
        ),
        (Descriptor::InterruptEntryCache(None), [0x04, 0]),
        (
            Descriptor::InterruptEntryCache(Some(InterruptRange::new(
                InterruptIndex::new(0x1234),
                IndexMask::new(2).unwrap(),
            ))),
            [0x0000_1234_1000_0014, 0],
        ),
        (
            Descriptor::Wait {
                interrupt: true,
                status: None,
                fence: true,
                drain_page_requests: true,
            },
            [0xd5, 0],
        ),
        (
            Descriptor::Wait {
                interrupt: false,
                status: StatusWrite::new(Gpa::new(0xf_edcb_a987_6544).unwrap(), 0xdead_beef),
                fence: false,
                drain_page_requests: false,
            },
            [0xdead_beef_0000_0025, 0x000f_edcb_a987_6544],
        ),
        (
            Descriptor::PageGroupResponse {
                source: SOURCE,
                pasid: Some(pasid()),
                group: PageRequestGroup::new(0x1ab).unwrap(),
                response: PageResponse::Failure,
            },
            [0x000a_bcde_3afe_f019, 0xd58],
        ),
        (
            Descriptor::PageGroupResponse {
                source: SOURCE,
                pasid: None,
                group: PageRequestGroup::new(0).unwrap(),
                response: PageResponse::InvalidRequest,
            },
            [0x0000_0000_3afe_1009, 0],
        ),
    ];
    let mut kinds = HashSet::new();
    for (descriptor, [first, second]) in vectors {
        let words = [first, second, 0, 0];
        assert_eq!(descriptor.encode().words(), words, "{descriptor:?}");
        assert_eq!(Descriptor::decode(words, &ALL), Ok(descriptor));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..16].copy_from_slice(&second.to_le_bytes());
        assert_eq!(descriptor.encode().to_bytes(), bytes);
        assert_eq!(DescriptorWords::from_bytes(&bytes).words(), words);
        let narrow: [u8; 16] = bytes[..16].try_into().unwrap();
        assert_eq!(descriptor.encode().to_narrow_bytes(), narrow);
        assert_eq!(
            DescriptorWords::from_narrow_bytes(&narrow),
            DescriptorWords::from([first, second])
        );
        assert_eq!(descriptor.encode().kind(), Some(descriptor.kind()));
        kinds.insert(descriptor.kind());
    }
    assert_eq!(kinds.len(), DescriptorKind::ALL.len());
}

#[test]
fn what_a_driver_was_seen_to_write() {
    // From the kernel's debugfs, in legacy mode: a global context-cache and a global IOTLB
    // invalidation with draining, a global one of interrupts, and waits with status 2.
    let features = ALL.with_scalable(false);
    for (words, expected) in [
        (
            [0x11, 0],
            Descriptor::ContextCache(ContextCacheScope::Global),
        ),
        (
            [0xd2, 0],
            Descriptor::Iotlb {
                scope: IotlbScope::Global,
                drain_reads: true,
                drain_writes: true,
            },
        ),
        (
            [0x0000_0002_0000_0025, 0x0000_0001_672b_e804],
            Descriptor::Wait {
                interrupt: false,
                status: StatusWrite::new(Gpa::new(0x1_672b_e804).unwrap(), 2),
                fence: false,
                drain_page_requests: false,
            },
        ),
        ([0x04, 0], Descriptor::InterruptEntryCache(None)),
        (
            // 2^1 entries from 4 on: index-selective.
            [0x0000_0004_0800_0014, 0],
            Descriptor::InterruptEntryCache(Some(InterruptRange::new(
                InterruptIndex::new(4),
                IndexMask::new(1).unwrap(),
            ))),
        ),
    ] {
        assert_eq!(Descriptor::decode(words, &features), Ok(expected));
    }
}
