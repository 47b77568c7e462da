//! Extended capabilities: those of the IOMMU's world, and SR-IOV.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::config::{ConfigSpace, ExtendedCapabilityId};
use crate::error::Result;
use crate::ids::PciIds;
use crate::query::malformed;

/// The ATS capability: the device caches translations (PCI Express Base, "ATS Extended
/// Capability").
///
/// The kernel drives it; it cannot be written through VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ats {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many invalidations the device takes at once: 1 to 32.
    pub queue_depth: u8,
    /// Whether the addresses it asks for are always aligned to pages of 4 KiB.
    pub page_aligned: bool,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// The capability of page requests (PCI Express Base, "PRI Extended Capability Structure").
///
/// The kernel drives it; it cannot be written through VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageRequests {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether the device waits for no answer any more, as it does some time after it was
    /// disabled.
    pub stopped: bool,
    /// Whether answers carry the PASID of their request.
    pub answer_has_pasid: bool,
    /// How many requests the device can have under way.
    pub capacity: u32,
    /// How many it may have.
    pub allocation: u32,
}

/// The PASID capability (PCI Express Base, "PASID Extended Capability Structure").
///
/// The kernel drives it; it cannot be written through VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasidCapability {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bits a PASID of the device has: at most 20.
    pub width: u8,
    /// Whether it can ask for permission to execute.
    pub execute: bool,
    /// Whether it can ask as privileged.
    pub privileged: bool,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// The SR-IOV capability of a physical function (PCI Express Base, "SR-IOV Extended Capability").
///
/// It cannot be written through VFIO: virtual functions are enabled through sysfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SrIov {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Whether there are virtual functions.
    pub enabled: bool,
    /// Whether the virtual functions answer accesses of their memory.
    pub memory_decode: bool,
    /// How many virtual functions there can be.
    pub total: u16,
    /// How many there are, if it is enabled.
    pub enabled_count: u16,
    /// How far the first is from the physical function, in numbers of functions.
    pub first: u16,
    /// How far each is from the one before.
    pub stride: u16,
    /// What a virtual function is; its vendor is the physical function's.
    pub ids: PciIds,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawAts {
    head: u32,
    capability: u16,
    control: u16,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawPageRequests {
    head: u32,
    control: u16,
    status: u16,
    capacity: u32,
    allocation: u32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawPasid {
    head: u32,
    capability: u16,
    control: u16,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawSrIov {
    head: u32,
    capabilities: u32,
    control: u16,
    status: u16,
    initial: u16,
    total: u16,
    count: u16,
    link: u16,
    first: u16,
    stride: u16,
    reserved: u16,
    device: u16,
}

fn ats(offset: u64, raw: &RawAts) -> Ats {
    let [depth, _] = (raw.capability & 0x1f).to_le_bytes();
    Ats {
        offset,
        queue_depth: if depth == 0 { 32 } else { depth },
        page_aligned: raw.capability & 1 << 5 != 0,
        enabled: raw.control & 1 << 15 != 0,
    }
}

fn page_requests(offset: u64, raw: &RawPageRequests) -> PageRequests {
    PageRequests {
        offset,
        enabled: raw.control & 1 != 0,
        stopped: raw.status & 1 << 8 != 0,
        answer_has_pasid: raw.status & 1 << 15 != 0,
        capacity: raw.capacity,
        allocation: raw.allocation,
    }
}

fn pasid(offset: u64, raw: &RawPasid) -> Result<PasidCapability> {
    let [_, width] = raw.capability.to_le_bytes();
    let width = width & 0x1f;
    if width > 20 {
        return Err(malformed("the PASID capability", "more than 20 bits"));
    }
    Ok(PasidCapability {
        offset,
        width,
        execute: raw.capability & 1 << 1 != 0,
        privileged: raw.capability & 1 << 2 != 0,
        enabled: raw.control & 1 != 0,
    })
}

fn sriov(offset: u64, raw: &RawSrIov, vendor: u16) -> Result<SrIov> {
    if raw.count > raw.total {
        return Err(malformed(
            "the SR-IOV capability",
            "more virtual functions than there can be",
        ));
    }
    Ok(SrIov {
        offset,
        enabled: raw.control & 1 != 0,
        memory_decode: raw.control & 1 << 3 != 0,
        total: raw.total,
        enabled_count: raw.count,
        first: raw.first,
        stride: raw.stride,
        ids: PciIds {
            vendor,
            device: raw.device,
        },
    })
}

impl ConfigSpace {
    /// The ATS capability, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn ats(&self) -> Result<Option<Ats>> {
        self.extended(ExtendedCapabilityId::ATS, |offset, raw| {
            Ok(ats(offset, &raw))
        })
    }

    /// The capability of page requests, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn page_requests(&self) -> Result<Option<PageRequests>> {
        self.extended(ExtendedCapabilityId::PRI, |offset, raw| {
            Ok(page_requests(offset, &raw))
        })
    }

    /// The PASID capability, if there is one and the kernel shows it: `vfio-pci` of Linux 7.3 hides
    /// it. [`iommufd::Device::hw_info`] tells how many bits a PASID may have.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn pasid(&self) -> Result<Option<PasidCapability>> {
        self.extended(ExtendedCapabilityId::PASID, |offset, raw| {
            pasid(offset, &raw)
        })
    }

    /// The SR-IOV capability, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn sriov(&self) -> Result<Option<SrIov>> {
        let vendor = self.ids()?.vendor;
        self.extended(ExtendedCapabilityId::SRIOV, |offset, raw| {
            sriov(offset, &raw, vendor)
        })
    }
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed(id: ExtendedCapabilityId, offset: u64, bytes: &[u8]) -> bool {
    match id {
        ExtendedCapabilityId::ATS => RawAts::read_from_prefix(bytes)
            .is_ok_and(|(raw, _)| ats(offset, &raw).queue_depth <= 32),
        ExtendedCapabilityId::PRI => RawPageRequests::read_from_prefix(bytes)
            .is_ok_and(|(raw, _)| page_requests(offset, &raw).offset == offset),
        ExtendedCapabilityId::PASID => {
            RawPasid::read_from_prefix(bytes).is_ok_and(|(raw, _)| pasid(offset, &raw).is_ok())
        }
        ExtendedCapabilityId::SRIOV => RawSrIov::read_from_prefix(bytes)
            .is_ok_and(|(raw, _)| sriov(offset, &raw, 0x8086).is_ok()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn fields_are_where_they_are() {
        let raw = RawAts {
            head: 0,
            capability: 0x0020,
            control: 0x8000,
        };
        let found = ats(0x100, &raw);
        assert_eq!(found.queue_depth, 32);
        assert!(found.page_aligned && found.enabled);

        let raw = RawPageRequests {
            head: 0,
            control: 1,
            status: 0x8100,
            capacity: 512,
            allocation: 32,
        };
        let found = page_requests(0, &raw);
        assert!(found.enabled && found.stopped && found.answer_has_pasid);
        assert_eq!((found.capacity, found.allocation), (512, 32));

        let raw = |capability| RawPasid {
            head: 0,
            capability,
            control: 1,
        };
        let found = pasid(0, &raw(0x1406)).unwrap();
        assert_eq!(found.width, 20);
        assert!(found.execute && found.privileged && found.enabled);
        assert!(pasid(0, &raw(0x1500)).is_err());

        let mut bytes = [0; 28];
        bytes[8] = 0b1001;
        bytes[0xe..0x12].copy_from_slice(&[8, 0, 2, 0]);
        bytes[0x14..0x18].copy_from_slice(&[0x80, 0, 2, 0]);
        bytes[0x1a..].copy_from_slice(&[0xca, 0x10]);
        let found = sriov(0, &RawSrIov::read_from_bytes(&bytes).unwrap(), 0x8086).unwrap();
        assert!(found.enabled && found.memory_decode);
        assert_eq!((found.total, found.enabled_count), (8, 2));
        assert_eq!((found.first, found.stride), (0x80, 2));
        assert_eq!(found.ids.to_string(), "8086:10ca");
        bytes[0x10] = 9;
        assert!(sriov(0, &RawSrIov::read_from_bytes(&bytes).unwrap(), 0).is_err());
    }

    #[test]
    fn whatever_a_function_answers_is_within_its_limits() {
        let mut random = Random::new(3);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..28).map(|_| random.next().to_le_bytes()[2]).collect();
            let found = ats(0, &RawAts::read_from_bytes(&bytes[..8]).unwrap());
            assert!((1..=32).contains(&found.queue_depth));
            if let Ok(found) = pasid(0, &RawPasid::read_from_bytes(&bytes[..8]).unwrap()) {
                assert!(found.width <= 20);
            }
            if let Ok(found) = sriov(0, &RawSrIov::read_from_bytes(&bytes).unwrap(), 0) {
                assert!(found.enabled_count <= found.total);
            }
            page_requests(0, &RawPageRequests::read_from_bytes(&bytes[..16]).unwrap());
        }
    }
}
