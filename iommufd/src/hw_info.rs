//! What the IOMMU behind a device is and can do.

mod amd;
mod ask;
mod kind;
mod smmuv3;
mod tegra241;
mod vendor;
mod vtd;

use std::fmt;

use bitflags::bitflags;
use iommufd_sys::iommufd as sys;

use crate::context::Iommufd;
use crate::error::{Error, Result};

use ask::Answer;

pub use amd::AmdInfo;
pub use kind::HwInfoType;
pub use smmuv3::{Smmuv3Flags, Smmuv3Info};
pub use tegra241::Tegra241CmdqvInfo;
pub use vendor::{VendorDescription, VendorInfo};
pub use vtd::{VtdFlags, VtdInfo};

bitflags! {
    /// What the kernel can do with a device's IOMMU.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Capabilities: u64 {
        /// Page tables can track what devices have written. Since Linux 6.7.
        const DIRTY_TRACKING = sys::IOMMU_HW_CAP_DIRTY_TRACKING as u64;
        /// The device may ask for execute permission in requests with a PASID. It means nothing
        /// where [`HwInfo::pasid_bits`] is 0. Since Linux 6.15.
        const PASID_EXECUTE = sys::IOMMU_HW_CAP_PCI_PASID_EXEC as u64;
        /// The device may ask for privileged mode in requests with a PASID. It means nothing where
        /// [`HwInfo::pasid_bits`] is 0. Since Linux 6.15.
        const PASID_PRIVILEGED = sys::IOMMU_HW_CAP_PCI_PASID_PRIV as u64;
        /// The device cannot cache translations (ATS) here. Kernels before 7.2 do not tell.
        const ATS_NOT_SUPPORTED = sys::IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED as u64;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// The hardware behind a device, as the kernel describes it.
///
/// Got from [`Device::hw_info`](crate::Device::hw_info), which lets the kernel choose the type of
/// the description, or [`Device::hw_info_of`](crate::Device::hw_info_of), which names it.
///
/// Since Linux 6.6.
///
/// ```no_run
/// # fn example(device: &iommufd::Device) -> iommufd::Result<()> {
/// use iommufd::VendorInfo;
///
/// let info = device.hw_info()?;
/// match info.vendor {
///     VendorInfo::Vtd(vtd) => println!("{} address bits", vtd.cap().input_bits()),
///     VendorInfo::Smmuv3(smmu) => println!("IDR0 is {:#x}", smmu.idr0()),
///     _ => println!("{info}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "iommu_hw_info")]
pub struct HwInfo {
    /// The vendor's registers, where this version of the crate knows their type.
    pub vendor: VendorInfo,
    /// The type of the vendor's part; `None` if the driver of the IOMMU describes nothing.
    pub kind: Option<HwInfoType>,
    /// The vendor's part, byte by byte: with what a newer kernel has added behind what
    /// [`vendor`](Self::vendor) knows.
    pub data: Vec<u8>,
    /// What the kernel can do with it. Since Linux 6.7; nothing before.
    pub capabilities: Capabilities,
    /// How many bits a PASID has on this device: the device may use so many PASIDs as that gives,
    /// at the least. 0 if it has none, or none are enabled. Since Linux 6.15; 0 before.
    pub pasid_bits: u8,
}

impl HwInfo {
    /// What the kernel tells of its own accord.
    pub(crate) fn of(iommufd: &Iommufd, device: u32) -> Result<Self> {
        ask::any_type(iommufd, device).map(Self::from)
    }

    /// The description of this type, and of no other.
    pub(crate) fn of_type(iommufd: &Iommufd, device: u32, kind: HwInfoType) -> Result<Self> {
        ask::exactly(iommufd, device, kind).map(Self::from)
    }
}

/// The vendor's part alone, of exactly this type.
pub(crate) fn described<T: VendorDescription>(iommufd: &Iommufd, device: u32) -> Result<T> {
    let answer = ask::exactly(iommufd, device, T::KIND)?;
    vendor::decode(&answer.data).ok_or(Error::HwInfoTooShort {
        kind: T::KIND,
        len: answer.data.len(),
        needed: size_of::<T::Raw>(),
    })
}

impl From<Answer> for HwInfo {
    fn from(answer: Answer) -> Self {
        Self {
            vendor: VendorInfo::parse(answer.kind, &answer.data),
            kind: answer.kind,
            data: answer.data,
            capabilities: answer.capabilities,
            pasid_bits: answer.pasid_bits,
        }
    }
}

impl fmt::Display for HwInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.vendor.fmt(f)?;
        if let VendorInfo::Other(_) = self.vendor {
            write!(f, " ({} bytes of description)", self.data.len())?;
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

/// What becomes of a kernel's answer of these bytes, which says that it has `has` of them.
#[cfg(fuzzing)]
pub(crate) fn answered(arg: sys::iommu_hw_info, bytes: &[u8]) -> Result<HwInfo> {
    ask::answered(arg, bytes).map(HwInfo::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_answer_can_be_reached() {
        let info = HwInfo::from(Answer {
            kind: HwInfoType::new(0xfeed_beef),
            data: vec![1, 2, 3],
            capabilities: Capabilities::from_bits_retain(1 << 63 | 1),
            pasid_bits: 20,
        });
        assert_eq!(info.kind.unwrap().get(), 0xfeed_beef);
        assert_eq!(info.data, [1, 2, 3]);
        assert_eq!(info.capabilities.bits(), 1 << 63 | 1);
        assert_eq!(
            info.to_string(),
            "an IOMMU of type 0xfeedbeef (3 bytes of description); PASIDs of 20 bits; dirty tracking"
        );
    }
}
