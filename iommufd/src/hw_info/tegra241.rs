//! NVIDIA Tegra241 CMDQV: what it has of command queues for guests.

use std::fmt;

use iommufd_sys::iommufd as sys;

use super::HwInfoType;
use super::vendor::sealed::Sealed;

/// The Tegra241 CMDQV beside an Arm SMMUv3 (NVIDIA Grace and newer): command queues that a guest
/// writes without leaving the guest.
///
/// Told only if it is asked for, by [`Device::vendor_info`](crate::Device::vendor_info):
/// [`Device::hw_info`](crate::Device::hw_info) describes the SMMUv3 there.
///
/// The numbers can be shown to a guest in the `PARAM` register as they are, with one virtual
/// interface (bits 11:08 zero).
///
/// Since Linux 6.17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "iommu_hw_info_tegra241_cmdqv")]
pub struct Tegra241CmdqvInfo {
    flags: u32,
    version: u8,
    log2_vcmdqs: u8,
    log2_vsids: u8,
}

impl Sealed for Tegra241CmdqvInfo {
    type Raw = sys::iommu_hw_info_tegra241_cmdqv;
    const KIND: HwInfoType = HwInfoType::TEGRA241_CMDQV;

    fn new(raw: Self::Raw) -> Self {
        Self {
            flags: raw.flags,
            version: raw.version,
            log2_vcmdqs: raw.log2vcmdqs,
            log2_vsids: raw.log2vsids,
        }
    }
}

impl Tegra241CmdqvInfo {
    /// What the kernel says besides; nothing as yet.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// The version of the hardware: `PARAM` 3:0.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// How many command queues a virtual interface has, as a power of two: `PARAM` 7:4.
    #[must_use]
    pub fn log2_vcmdqs(&self) -> u8 {
        self.log2_vcmdqs
    }

    /// How many virtual stream ids a virtual interface can replace, as a power of two: `PARAM`
    /// 15:12.
    #[must_use]
    pub fn log2_vsids(&self) -> u8 {
        self.log2_vsids
    }
}

impl fmt::Display for Tegra241CmdqvInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tegra241 CMDQV version {}, 2^{} queues and 2^{} stream ids a guest",
            self.version, self.log2_vcmdqs, self.log2_vsids
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw_info::vendor::decode;

    #[test]
    fn the_fields_are_where_the_structure_has_them() {
        let data = [0x04, 0x03, 0x02, 0x01, 1, 2, 4, 0xee];
        let info: Tegra241CmdqvInfo = decode(&data).unwrap();
        assert_eq!(info.flags(), 0x0102_0304);
        assert_eq!(info.version(), 1);
        assert_eq!(info.log2_vcmdqs(), 2);
        assert_eq!(info.log2_vsids(), 4);
        assert_eq!(
            info.to_string(),
            "Tegra241 CMDQV version 1, 2^2 queues and 2^4 stream ids a guest"
        );
    }
}
