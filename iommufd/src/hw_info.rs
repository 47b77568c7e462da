//! What the IOMMU behind a device is and can do.

mod vtd;

use std::fmt;

use bitflags::bitflags;
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use zerocopy::FromBytes;

use crate::context::Iommufd;
use crate::error::Result;
use crate::funnel;

pub use vtd::VtdInfo;

/// As much as is believed of a kernel's structure, in bytes.
const LONGEST: usize = 1 << 16;

bitflags! {
    /// What the kernel can do with a device's IOMMU.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Capabilities: u64 {
        /// Page tables can track what devices have written. Since Linux 6.7.
        const DIRTY_TRACKING = sys::IOMMU_HW_CAP_DIRTY_TRACKING as u64;
        /// The device may ask for execute permission in requests with a PASID. Since Linux 6.15.
        const PASID_EXECUTE = sys::IOMMU_HW_CAP_PCI_PASID_EXEC as u64;
        /// The device may ask for privileged mode in requests with a PASID. Since Linux 6.15.
        const PASID_PRIVILEGED = sys::IOMMU_HW_CAP_PCI_PASID_PRIV as u64;
        /// The device cannot cache translations (ATS) here. Kernels before 7.2 do not tell.
        const ATS_NOT_SUPPORTED = sys::IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED as u64;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// The hardware behind a device, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HwInfo {
    /// The vendor's registers.
    pub vendor: VendorInfo,
    /// What the kernel can do with it. Since Linux 6.7; nothing before.
    pub capabilities: Capabilities,
    /// How many bits a PASID has on this device; 0 if it has none. Since Linux 6.15.
    pub pasid_bits: u8,
}

/// The vendor's part of the hardware information.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VendorInfo {
    /// The driver of the IOMMU tells nothing.
    None,
    /// Intel VT-d.
    Vtd(VtdInfo),
    /// Something that this version of the crate has no type for.
    Other {
        /// The kernel's number of the type (`IOMMU_HW_INFO_TYPE_*`).
        kind: u32,
        /// What came with it.
        data: Vec<u8>,
    },
}

impl HwInfo {
    pub(crate) fn of(iommufd: &Iommufd, device: u32) -> Result<Self> {
        let context = iommufd.context();
        // Longer than any vendor's structure of today; a longer one is asked for once again.
        let mut room = 64;
        loop {
            let mut data = vec![0; room];
            let mut arg = sys::iommu_hw_info::sized();
            arg.dev_id = device;
            context.checked(&nr::GET_HW_INFO, &mut context.notices(), |fd| {
                funnel::hw_info(fd, &mut arg, &mut data)
            })?;
            let kernel_has = arg.data_len as usize;
            if (room + 1..=LONGEST).contains(&kernel_has) {
                room = kernel_has;
                continue;
            }
            data.truncate(kernel_has);
            return Ok(Self {
                vendor: VendorInfo::parse(arg.out_data_type(), data),
                capabilities: Capabilities::from_bits_retain(arg.out_capabilities),
                pasid_bits: arg.out_max_pasid_log2,
            });
        }
    }
}

impl VendorInfo {
    fn parse(kind: u32, data: Vec<u8>) -> Self {
        match kind {
            sys::IOMMU_HW_INFO_TYPE_NONE => Self::None,
            sys::IOMMU_HW_INFO_TYPE_INTEL_VTD => {
                match sys::iommu_hw_info_vtd::read_from_prefix(&data) {
                    Ok((raw, _)) => Self::Vtd(VtdInfo::new(raw.cap_reg, raw.ecap_reg)),
                    Err(_) => Self::Other { kind, data },
                }
            }
            _ => Self::Other { kind, data },
        }
    }
}

impl fmt::Display for HwInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vendor {
            VendorInfo::None => f.write_str("an IOMMU that does not describe itself")?,
            VendorInfo::Vtd(vtd) => vtd.fmt(f)?,
            VendorInfo::Other { kind, data } => {
                write!(
                    f,
                    "an IOMMU of type {kind} ({} bytes of description)",
                    data.len()
                )?;
            }
        }
        match self.pasid_bits {
            0 => f.write_str("; no PASIDs")?,
            bits => write!(f, "; PASIDs of {bits} bits")?,
        }
        if self.capabilities.contains(Capabilities::DIRTY_TRACKING) {
            f.write_str("; dirty tracking")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_answer_is_kept_as_bytes() {
        let info = VendorInfo::parse(sys::IOMMU_HW_INFO_TYPE_INTEL_VTD, vec![1, 2, 3]);
        assert!(matches!(info, VendorInfo::Other { kind: 1, .. }));
    }

    #[test]
    fn a_longer_structure_of_a_newer_kernel_is_understood() {
        let mut data = vec![0; 40];
        data[8..16].copy_from_slice(&0x00d2_0000_0040_0400_u64.to_le_bytes());
        let VendorInfo::Vtd(vtd) = VendorInfo::parse(sys::IOMMU_HW_INFO_TYPE_INTEL_VTD, data)
        else {
            panic!("it is VT-d");
        };
        assert_eq!(vtd.capability(), 0x00d2_0000_0040_0400);
    }
}
