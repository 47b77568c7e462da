//! AMD IOMMU: its two feature registers.

use std::fmt;

use iommufd_sys::iommufd as sys;

use super::HwInfoType;
use super::vendor::sealed::Sealed;

/// The extended feature registers of an AMD IOMMU (AMD publication 48882), raw.
///
/// They are the hardware's. Of what is in them a VMM shows its guest at most `PPRSup` (bit 1),
/// `GTSup` (4), `GASup` (7), `GATS` (13:12), `GLX` (15:14), `PASmax` (36:32), `GioSup` (48) and
/// `EPHSup` (50) of `EFR`.
///
/// Since Linux 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "iommu_hw_info_amd")]
pub struct AmdInfo {
    efr: u64,
    efr2: u64,
}

impl Sealed for AmdInfo {
    type Raw = sys::iommu_hw_info_amd;
    const KIND: HwInfoType = HwInfoType::AMD;

    fn new(raw: Self::Raw) -> Self {
        Self {
            efr: raw.efr,
            efr2: raw.efr2,
        }
    }
}

impl AmdInfo {
    /// The extended feature register (MMIO offset 0x30), raw.
    #[must_use]
    pub fn efr(&self) -> u64 {
        self.efr
    }

    /// The extended feature 2 register (MMIO offset 0x1a0), raw. Nothing in it is for a guest.
    #[must_use]
    pub fn efr2(&self) -> u64 {
        self.efr2
    }
}

impl fmt::Display for AmdInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AMD IOMMU, EFR {:#x}, EFR2 {:#x}", self.efr, self.efr2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw_info::vendor::decode;

    #[test]
    fn the_registers_are_where_the_structure_has_them() {
        let data = [
            0xda, 0x5a, 0x0f, 0xf7, 0x4f, 0x22, 0x9a, 0x25, // EFR
            0x0a, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x80, // EFR2
        ];
        let info: AmdInfo = decode(&data).unwrap();
        assert_eq!(info.efr(), 0x259a_224f_f70f_5ada);
        assert_eq!(info.efr2(), 0x8000_0010_0000_000a);
        assert_eq!(
            info.to_string(),
            "AMD IOMMU, EFR 0x259a224ff70f5ada, EFR2 0x800000100000000a"
        );
    }
}
