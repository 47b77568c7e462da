//! AMD IOMMU: its two feature registers.

use std::fmt;

use iommufd_sys::iommufd as sys;

use super::HwInfoType;
use super::vendor::sealed::Sealed;
use crate::amd::{Efr, Efr2, Gcr3Levels, GuestDte, GuestLevels};
use crate::error::{Error, Result};

/// The extended feature registers of an AMD IOMMU (AMD publication 48882).
///
/// They are the hardware's. What of it a VMM can show its guest says
/// [`Efr::offer`](crate::amd::Efr::offer).
///
/// Since Linux 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "iommu_hw_info_amd")]
pub struct AmdInfo {
    efr: Efr,
    efr2: Efr2,
}

impl Sealed for AmdInfo {
    type Raw = sys::iommu_hw_info_amd;
    const KIND: HwInfoType = HwInfoType::AMD;

    fn new(raw: Self::Raw) -> Self {
        Self {
            efr: Efr::from_bits(raw.efr),
            efr2: Efr2::from_bits(raw.efr2),
        }
    }
}

impl AmdInfo {
    /// The extended feature register.
    #[must_use]
    pub fn efr(&self) -> Efr {
        self.efr
    }

    /// The extended feature 2 register. Nothing in it is for a guest.
    #[must_use]
    pub fn efr2(&self) -> Efr2 {
        self.efr2
    }

    /// Whether the hardware can do what a guest's device table entry asks for. Whether the kernel has
    /// it do so says [`probe_nesting`](crate::amd::probe_nesting).
    ///
    /// # Errors
    /// [`Error::LacksCapability`]: a guest's tables are not nested at all (`EFR.GTSup`, `EFR.GIoSup`,
    /// `EFR2.GCR3TRPMode`), or there are not so many levels of GCR3 tables (`EFR.GLXSup`) or page
    /// tables (`EFR.GATS`), or no page requests (`EFR.PPRSup`), and the entry asks for that.
    pub fn fits(&self, dte: &GuestDte) -> Result<()> {
        let Self { efr, efr2 } = *self;
        let gcr3_levels = match dte.gcr3_levels() {
            Gcr3Levels::One => 0,
            Gcr3Levels::Two => 1,
            Gcr3Levels::Three => 2,
        };
        let five = dte.levels() == GuestLevels::Five;
        for (has, capability) in [
            (efr.gt_sup(), "EFR.GTSup"),
            (efr.gio_sup(), "EFR.GIoSup"),
            (efr2.gcr3_trp_mode(), "EFR2.GCR3TRPMode"),
            (efr.glx_sup() >= gcr3_levels, "EFR.GLXSup"),
            (efr.gats() >= five.into(), "EFR.GATS"),
            (efr.ppr_sup() || !dte.page_requests(), "EFR.PPRSup"),
        ] {
            if !has {
                return Err(Error::LacksCapability { capability });
            }
        }
        Ok(())
    }
}

impl fmt::Display for AmdInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (efr, efr2) = (self.efr.bits(), self.efr2.bits());
        write!(f, "AMD IOMMU, EFR {efr:#x}, EFR2 {efr2:#x}")
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
        assert_eq!(info.efr().bits(), 0x259a_224f_f70f_5ada);
        assert_eq!(info.efr2().bits(), 0x8000_0010_0000_000a);
        assert_eq!(
            info.to_string(),
            "AMD IOMMU, EFR 0x259a224ff70f5ada, EFR2 0x800000100000000a"
        );
    }
    #[test]
    fn what_an_entry_asks_for_the_hardware_has_or_is_said_not_to_have() {
        use crate::Iova;

        let least = Efr::default().with_gt_sup(true).with_gio_sup(true);
        let mode = Efr2::default().with_gcr3_trp_mode(true);
        let all = Efr::from_bits(u64::MAX);
        let of = |levels| GuestDte::new(Iova::new(0x1000), levels).unwrap();
        let plain = of(Gcr3Levels::One);
        let five = plain.with_levels(GuestLevels::Five);
        for (dte, efr, efr2, lacks) in [
            (plain, least, mode, None),
            (plain, all.with_gt_sup(false), mode, Some("EFR.GTSup")),
            (plain, all.with_gio_sup(false), mode, Some("EFR.GIoSup")),
            (plain, all, Efr2::default(), Some("EFR2.GCR3TRPMode")),
            (of(Gcr3Levels::Two), least, mode, Some("EFR.GLXSup")),
            (of(Gcr3Levels::Two), least.with_glx_sup(1), mode, None),
            (
                of(Gcr3Levels::Three),
                least.with_glx_sup(1),
                mode,
                Some("EFR.GLXSup"),
            ),
            (of(Gcr3Levels::Three), least.with_glx_sup(2), mode, None),
            (five, least, mode, Some("EFR.GATS")),
            (five, least.with_gats(1), mode, None),
            (
                plain.with_page_requests(true),
                least,
                mode,
                Some("EFR.PPRSup"),
            ),
            (
                plain.with_page_requests(true),
                least.with_ppr_sup(true),
                mode,
                None,
            ),
        ] {
            let info = AmdInfo { efr, efr2 };
            let said = match info.fits(&dte) {
                Ok(()) => None,
                Err(Error::LacksCapability { capability }) => Some(capability),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(said, lacks, "{dte:?}");
        }
    }
}
