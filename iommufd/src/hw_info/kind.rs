//! The types of hardware information.

use std::fmt;

use iommufd_sys::iommufd as sys;

/// A type of hardware information: whose registers they are, and in which layout.
///
/// # Invariants
/// The number is not 0, which the kernel takes for "whatever you have", and gives for "nothing".
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "iommu_hw_info_type")]
pub struct HwInfoType(u32);

impl HwInfoType {
    /// Intel VT-d: [`VtdInfo`](crate::VtdInfo). Since Linux 6.6.
    #[doc(alias = "IOMMU_HW_INFO_TYPE_INTEL_VTD")]
    pub const VTD: Self = Self(sys::IOMMU_HW_INFO_TYPE_INTEL_VTD);
    /// Arm SMMUv3: [`Smmuv3Info`](crate::Smmuv3Info). Since Linux 6.13.
    #[doc(alias = "IOMMU_HW_INFO_TYPE_ARM_SMMUV3")]
    pub const SMMUV3: Self = Self(sys::IOMMU_HW_INFO_TYPE_ARM_SMMUV3);
    /// NVIDIA Tegra241 CMDQV: [`Tegra241CmdqvInfo`](crate::Tegra241CmdqvInfo). Since Linux 6.17.
    #[doc(alias = "IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV")]
    pub const TEGRA241_CMDQV: Self = Self(sys::IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV);
    /// AMD IOMMU: [`AmdInfo`](crate::AmdInfo). Since Linux 7.0.
    #[doc(alias = "IOMMU_HW_INFO_TYPE_AMD")]
    pub const AMD: Self = Self(sys::IOMMU_HW_INFO_TYPE_AMD);

    /// The type with the kernel's number (`IOMMU_HW_INFO_TYPE_*`), also if this version of the
    /// crate does not know it; `None` for 0, which is no type.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self(number)),
        }
    }

    /// The kernel's number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for HwInfoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::VTD => f.write_str("Intel VT-d"),
            Self::SMMUV3 => f.write_str("Arm SMMUv3"),
            Self::TEGRA241_CMDQV => f.write_str("Tegra241 CMDQV"),
            Self::AMD => f.write_str("AMD IOMMU"),
            Self(number) => write!(f, "type {number:#x}"),
        }
    }
}

impl fmt::Debug for HwInfoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HwInfoType({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_type() {
        assert_eq!(HwInfoType::new(0), None);
        assert_eq!(HwInfoType::new(3), Some(HwInfoType::TEGRA241_CMDQV));
        assert_eq!(HwInfoType::new(9).unwrap().to_string(), "type 0x9");
    }
}
