//! Intel VT-d: the two capability registers, and what of a guest's tables they allow.

use std::fmt;

use bitflags::bitflags;
use iommufd_sys::iommufd as sys;
use vtd_types::{Cap, Capabilities, Ecap, FirstStageLevels, HostCapabilities, NestedPasidEntry};

use super::HwInfoType;
use super::vendor::sealed::Sealed;
use crate::error::{Error, Result};

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
/// They are the hardware's. What of it a VMM can offer a guest says [`HostCapabilities::offer`], of
/// [`host`](Self::host).
///
/// Since Linux 6.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "iommu_hw_info_vtd")]
pub struct VtdInfo {
    flags: VtdFlags,
    capabilities: Capabilities,
}

impl Sealed for VtdInfo {
    type Raw = sys::iommu_hw_info_vtd;
    const KIND: HwInfoType = HwInfoType::VTD;

    fn new(raw: Self::Raw) -> Self {
        Self {
            flags: VtdFlags::from_bits_retain(raw.flags),
            capabilities: Capabilities::from_bits(raw.cap_reg, raw.ecap_reg),
        }
    }
}

impl VtdInfo {
    /// What the kernel says besides: errata.
    #[must_use]
    pub fn flags(&self) -> VtdFlags {
        self.flags
    }

    /// Both registers.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// `CAP_REG`.
    #[must_use]
    pub fn cap(&self) -> Cap {
        self.capabilities.cap
    }

    /// `ECAP_REG`.
    #[must_use]
    pub fn ecap(&self) -> Ecap {
        self.capabilities.ecap
    }

    /// The registers, as those of hardware that walks a guest's tables.
    #[must_use]
    pub fn host(&self) -> HostCapabilities {
        HostCapabilities::new(self.capabilities)
    }

    /// Whether the unit can do what a guest's first stage asks for.
    ///
    /// The kernel asks only when a device is attached, and answers `EINVAL` then. So
    /// [`NestedHwPt::new`](crate::NestedHwPt::new) asks here, and so does an attach.
    ///
    /// # Errors
    /// [`Error::LacksCapability`]: the unit nests nothing (`ECAP_REG.SMTS`, `ECAP_REG.NEST`), or has
    /// not five levels (`CAP_REG.FS5LP`), requests of the supervisor (`ECAP_REG.SRS`) or extended
    /// accessed flags (`ECAP_REG.EAFS`), and the entry asks for that.
    pub fn fits(&self, entry: &NestedPasidEntry) -> Result<()> {
        let Capabilities { cap, ecap } = self.capabilities;
        let five = entry.levels() == FirstStageLevels::Five;
        for (wanted, has, capability) in [
            (true, ecap.smts(), "ECAP_REG.SMTS"),
            (true, ecap.nest(), "ECAP_REG.NEST"),
            (five, cap.fs5lp(), "CAP_REG.FS5LP"),
            (entry.supervisor(), ecap.srs(), "ECAP_REG.SRS"),
            (entry.extended_accessed(), ecap.eafs(), "ECAP_REG.EAFS"),
        ] {
            if wanted && !has {
                return Err(Error::LacksCapability { capability });
            }
        }
        Ok(())
    }
}

impl fmt::Display for VtdInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Intel VT-d, {} address bits, pages of 4 KiB",
            self.cap().input_bits()
        )?;
        let Capabilities { cap, ecap } = self.capabilities;
        let features = [
            (cap.sslps_2m(), ", 2 MiB"),
            (cap.sslps_1g(), ", 1 GiB"),
            (ecap.smts(), "; scalable mode"),
            (ecap.nest(), "; nested translation"),
            (ecap.dt(), "; device TLBs"),
        ];
        for (_, name) in features.iter().filter(|(has, _)| *has) {
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vtd_types::{Features, FirstStage, Gpa, HostAddressWidth};

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
        assert_eq!(info.cap().bits(), 0x00d2_000c_0040_0400);
        assert_eq!(info.ecap().bits(), 0x8000_0800_04f0_0f5a);
        assert_eq!(info.host().capabilities(), info.capabilities());
    }

    #[test]
    fn it_is_told_in_words() {
        assert_eq!(
            vtd(0, 0).to_string(),
            "Intel VT-d, 1 address bits, pages of 4 KiB"
        );
        let some = vtd(47 << 16 | 1 << 34, 1 << 26 | 1 << 43);
        assert_eq!(
            some.to_string(),
            "Intel VT-d, 48 address bits, pages of 4 KiB, 2 MiB; scalable mode; nested translation"
        );
        assert!(!vtd(u64::MAX, u64::MAX).to_string().is_empty());
    }

    /// Everything that a nested table can ask for, and what it takes, bit by bit.
    #[test]
    fn what_a_table_asks_for_the_unit_has_or_is_said_not_to_have() {
        const FS5LP: u64 = 1 << 60;
        const NESTS: u64 = 1 << 43 | 1 << 26;
        const SRS: u64 = 1 << 31;
        const EAFS: u64 = 1 << 34;
        let plain = stage(FirstStageLevels::Four);
        let five = stage(FirstStageLevels::Five);
        let mut supervisor = plain;
        supervisor.supervisor = true;
        supervisor.write_protect = true;
        let mut accessed = plain;
        accessed.extended_accessed = true;
        let all = u64::MAX;
        for (stage, cap, ecap, lacks) in [
            (plain, 0, NESTS, None),
            (plain, all, !(1 << 43), Some("ECAP_REG.SMTS")),
            (plain, all, !(1 << 26), Some("ECAP_REG.NEST")),
            (five, FS5LP, NESTS, None),
            (five, !FS5LP, all, Some("CAP_REG.FS5LP")),
            (supervisor, 0, NESTS | SRS, None),
            (supervisor, all, !SRS, Some("ECAP_REG.SRS")),
            (accessed, 0, NESTS | EAFS, None),
            (accessed, all, !EAFS, Some("ECAP_REG.EAFS")),
        ] {
            let entry = NestedPasidEntry::new(&stage).unwrap();
            let said = match vtd(cap, ecap).fits(&entry) {
                Ok(()) => None,
                Err(Error::LacksCapability { capability }) => Some(capability),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(said, lacks, "{entry:?}");
        }
    }

    fn stage(levels: FirstStageLevels) -> FirstStage {
        let all = Capabilities::from_bits(1 << 60, 0);
        let features = Features::new(all, HostAddressWidth::MAX).unwrap();
        FirstStage::new(Gpa::new(0x1000).unwrap(), levels, &features)
    }
}
