//! Intel VT-d: the two capability registers, as far as a user of address spaces wants to know.

use std::fmt;

use bitflags::bitflags;
use iommufd_sys::iommufd as sys;

use super::HwInfoType;
use super::vendor::sealed::Sealed;

bitflags! {
    /// What the kernel says of a VT-d unit besides its registers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct VtdFlags: u32 {
        /// Erratum 772415: a table that others nest in takes no memory that devices may only read
        /// (`EINVAL`). Linux says so of every VT-d unit, whether it has the erratum or not. Since
        /// Linux 6.7; kernels before do not tell.
        #[doc(alias = "IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17")]
        const NO_READ_ONLY_IN_NEST_PARENT = sys::IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// The capability registers of an Intel VT-d unit (VT-d specification 11.4.2 and 11.4.3).
///
/// Since Linux 6.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "iommu_hw_info_vtd")]
pub struct VtdInfo {
    flags: VtdFlags,
    capability: u64,
    extended: u64,
}

impl Sealed for VtdInfo {
    type Raw = sys::iommu_hw_info_vtd;
    const KIND: HwInfoType = HwInfoType::VTD;

    fn new(raw: Self::Raw) -> Self {
        Self {
            flags: VtdFlags::from_bits_retain(raw.flags),
            capability: raw.cap_reg,
            extended: raw.ecap_reg,
        }
    }
}

impl VtdInfo {
    /// What the kernel says besides: errata.
    #[must_use]
    pub fn flags(&self) -> VtdFlags {
        self.flags
    }

    /// `CAP_REG`, raw.
    #[must_use]
    pub fn capability(&self) -> u64 {
        self.capability
    }

    /// `ECAP_REG`, raw.
    #[must_use]
    pub fn extended_capability(&self) -> u64 {
        self.extended
    }

    /// How many bits an address has that the unit can translate: `CAP_REG.MGAW` (21:16) plus one.
    #[must_use]
    pub fn address_bits(&self) -> u8 {
        ((self.capability >> 16) & 0x3f) as u8 + 1
    }

    /// Whether second-stage tables can have 2 MiB pages: `CAP_REG.SSLPS` (bit 34).
    #[must_use]
    pub fn second_stage_2m(&self) -> bool {
        self.capability & (1 << 34) != 0
    }

    /// Whether second-stage tables can have 1 GiB pages: `CAP_REG.SSLPS` (bit 35).
    #[must_use]
    pub fn second_stage_1g(&self) -> bool {
        self.capability & (1 << 35) != 0
    }

    /// Whether the unit can nest a guest's first stage in a second: `ECAP_REG.NEST` (bit 26).
    #[must_use]
    pub fn nested_translation(&self) -> bool {
        self.extended & (1 << 26) != 0
    }

    /// Whether it has scalable mode: `ECAP_REG.SMTS` (bit 43).
    #[must_use]
    pub fn scalable_mode(&self) -> bool {
        self.extended & (1 << 43) != 0
    }

    /// Whether it serves device TLBs: `ECAP_REG.DT` (bit 2).
    #[must_use]
    pub fn device_tlb(&self) -> bool {
        self.extended & (1 << 2) != 0
    }
}

impl fmt::Display for VtdInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Intel VT-d, {} address bits, pages of 4 KiB",
            self.address_bits()
        )?;
        let features = [
            (self.second_stage_2m(), ", 2 MiB"),
            (self.second_stage_1g(), ", 1 GiB"),
            (self.scalable_mode(), "; scalable mode"),
            (self.nested_translation(), "; nested translation"),
            (self.device_tlb(), "; device TLBs"),
        ];
        for (_, name) in features.iter().filter(|(has, _)| *has) {
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw_info::vendor::decode;

    fn vtd(cap_reg: u64, ecap_reg: u64) -> VtdInfo {
        VtdInfo::new(sys::iommu_hw_info_vtd {
            flags: 0,
            __reserved: 0,
            cap_reg,
            ecap_reg,
        })
    }

    #[test]
    fn the_registers_are_where_the_structure_has_them() {
        let data = [
            0x01, 0x00, 0x00, 0x40, // flags
            0xee, 0xee, 0xee, 0xee, // reserved
            0x00, 0x04, 0x40, 0x00, 0x0c, 0x00, 0xd2, 0x00, // CAP_REG
            0x5a, 0x0f, 0xf0, 0x04, 0x00, 0x08, 0x00, 0x80, // ECAP_REG
        ];
        let info: VtdInfo = decode(&data).unwrap();
        assert_eq!(info.flags().bits(), 0x4000_0001);
        assert!(info.flags().contains(VtdFlags::NO_READ_ONLY_IN_NEST_PARENT));
        assert_eq!(info.capability(), 0x00d2_000c_0040_0400);
        assert_eq!(info.extended_capability(), 0x8000_0800_04f0_0f5a);
    }

    #[test]
    fn the_fields_are_where_the_specification_has_them() {
        let none = vtd(0, 0);
        assert_eq!(none.address_bits(), 1);
        assert_eq!(
            none.to_string(),
            "Intel VT-d, 1 address bits, pages of 4 KiB"
        );
        let some = vtd(47 << 16 | 1 << 34, 1 << 26 | 1 << 43);
        assert_eq!(some.address_bits(), 48);
        assert!(some.second_stage_2m() && !some.second_stage_1g());
        assert!(some.nested_translation() && some.scalable_mode() && !some.device_tlb());
        assert_eq!(vtd(u64::MAX, u64::MAX).address_bits(), 64);
    }
}
