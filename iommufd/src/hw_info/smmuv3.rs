//! Arm SMMUv3: its identification registers.

use std::fmt;

use bitflags::bitflags;
use iommufd_sys::iommufd as sys;
use smmuv3_types::{Idr0, InvalidationLimits, Vouched};

use super::HwInfoType;
use super::vendor::sealed::Sealed;

bitflags! {
    /// What the kernel says of an SMMUv3 besides its registers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Smmuv3Flags: u32 {
        /// Erratum T264-SMMU-3: every batch of `TLBI` and `CFGI` commands with its `SYNC` must be
        /// issued twice. Since Linux 7.3; kernels before do not tell.
        #[doc(alias = "IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI")]
        const REPEAT_TLBI_CFGI = sys::IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// The identification registers of an Arm SMMUv3 (Arm IHI 0070, 6.3.1 to 6.3.6 and after), raw.
///
/// They are the hardware's. Not all of it can be used through the kernel, and what can may change,
/// so a VMM reads these fields, and takes the others for absent:
///
/// | register | fields |
/// |---|---|
/// | `IDR0` | `ST_LEVEL` 28:27, `TERM_MODEL` 26, `STALL_MODEL` 25:24, `TTENDIAN` 22:21, `CD2L` 19, `ASID16` 12, `TTF` 3:2 |
/// | `IDR1` | `SSIDSIZE` 10:6, `SIDSIZE` 5:0 |
/// | `IDR3` | `BBML` 12:11, `RIL` 10 |
/// | `IDR5` | `VAX` 11:10, `DS` 7, `GRAN64K` 6, `GRAN16K` 5, `GRAN4K` 4 |
///
/// Stage 1 (`IDR0.S1P`) is there if a nested table can be made; coherent walks (`IDR0.COHACC`)
/// always are; whether translations can be cached (`IDR0.ATS`) depends on the device.
///
/// Since Linux 6.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "iommu_hw_info_arm_smmuv3")]
pub struct Smmuv3Info {
    flags: Smmuv3Flags,
    idr: [u32; 6],
    iidr: u32,
    aidr: u32,
}

impl Sealed for Smmuv3Info {
    type Raw = sys::iommu_hw_info_arm_smmuv3;
    const KIND: HwInfoType = HwInfoType::SMMUV3;

    fn new(raw: Self::Raw) -> Self {
        Self {
            flags: Smmuv3Flags::from_bits_retain(raw.flags),
            idr: raw.idr,
            iidr: raw.iidr,
            aidr: raw.aidr,
        }
    }
}

impl Smmuv3Info {
    /// The fields that a VMM can rely on, and no others.
    #[must_use]
    pub fn vouched(&self) -> Vouched {
        Vouched::new(self.idr)
    }

    /// Which invalidations it has. Whether it has `ATC_INV` is read of `IDR0.ATS`, which the kernel
    /// does not vouch for, but goes by itself.
    #[must_use]
    pub fn invalidation_limits(&self) -> InvalidationLimits {
        let idr0 = Idr0::from_bits(self.idr0());
        self.vouched().invalidation_limits().with_ats(idr0.ats())
    }

    /// What the kernel says besides: errata.
    #[must_use]
    pub fn flags(&self) -> Smmuv3Flags {
        self.flags
    }

    /// `SMMU_IDR0`, raw. For a VMM: `ST_LEVEL`, `TERM_MODEL`, `STALL_MODEL`, `TTENDIAN`, `CD2L`,
    /// `ASID16` and `TTF`.
    #[must_use]
    pub fn idr0(&self) -> u32 {
        self.idr[0]
    }

    /// `SMMU_IDR1`, raw. For a VMM: `SSIDSIZE` and `SIDSIZE`; `CMDQS` (25:21) only for the size of
    /// Tegra241 queues.
    #[must_use]
    pub fn idr1(&self) -> u32 {
        self.idr[1]
    }

    /// `SMMU_IDR2`, raw. Nothing in it is for a VMM.
    #[must_use]
    pub fn idr2(&self) -> u32 {
        self.idr[2]
    }

    /// `SMMU_IDR3`, raw. For a VMM: `BBML` and `RIL`.
    #[must_use]
    pub fn idr3(&self) -> u32 {
        self.idr[3]
    }

    /// `SMMU_IDR4`, raw: the implementation's. Nothing in it is for a VMM.
    #[must_use]
    pub fn idr4(&self) -> u32 {
        self.idr[4]
    }

    /// `SMMU_IDR5`, raw. For a VMM: `VAX`, `GRAN64K`, `GRAN16K`, `GRAN4K`, and since Linux 7.3
    /// `DS`.
    #[must_use]
    pub fn idr5(&self) -> u32 {
        self.idr[5]
    }

    /// `SMMU_IIDR`, raw: who has implemented it, and in which revision.
    #[must_use]
    pub fn iidr(&self) -> u32 {
        self.iidr
    }

    /// `SMMU_AIDR`, raw: the version of the architecture.
    #[must_use]
    pub fn aidr(&self) -> u32 {
        self.aidr
    }
}

impl fmt::Display for Smmuv3Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arm SMMUv3, IDR")?;
        for (register, value) in self.idr.iter().enumerate() {
            write!(f, " {register}: {value:#x}")?;
        }
        if self.flags.contains(Smmuv3Flags::REPEAT_TLBI_CFGI) {
            f.write_str("; invalidations must be repeated")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw_info::vendor::decode;

    /// What an emulated SMMUv3 answers, with each register in its place.
    #[test]
    fn the_registers_are_where_the_structure_has_them() {
        let data = [
            0x01, 0x00, 0x00, 0x80, // flags
            0xee, 0xee, 0xee, 0xee, // reserved
            0x1b, 0x10, 0x44, 0x0d, // IDR0
            0x10, 0x00, 0x73, 0x02, // IDR1
            0x02, 0x02, 0x00, 0x00, // IDR2
            0x14, 0x14, 0x00, 0x00, // IDR3
            0x04, 0x00, 0x00, 0x00, // IDR4
            0x74, 0x00, 0x00, 0x00, // IDR5
            0x3b, 0x14, 0x00, 0x00, // IIDR
            0x05, 0x00, 0x00, 0x00, // AIDR
        ];
        let info: Smmuv3Info = decode(&data).unwrap();
        assert_eq!(info.flags().bits(), 0x8000_0001);
        assert!(info.flags().contains(Smmuv3Flags::REPEAT_TLBI_CFGI));
        assert_eq!(info.idr0(), 0x0d44_101b);
        assert_eq!(info.idr1(), 0x0273_0010);
        assert_eq!(info.idr2(), 0x202);
        assert_eq!(info.idr3(), 0x1414);
        assert_eq!(info.idr4(), 4);
        assert_eq!(info.idr5(), 0x74);
        assert_eq!(info.iidr(), 0x143b);
        assert_eq!(info.aidr(), 5);
    }
}
