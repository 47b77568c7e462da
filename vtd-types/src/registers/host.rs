//! What of the hardware's capabilities a guest can be offered.

use crate::{Cap, Capabilities, Ecap, Features, HostAddressWidth, Reserved};

/// The hardware's capability registers, as the kernel reports them
/// (`struct iommu_hw_info_vtd`), for a VMM that lets the hardware walk a guest's first-stage
/// tables.
#[doc(alias = "iommu_hw_info_vtd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostCapabilities(Capabilities);

/// What a VMM wants to offer cannot be offered on this hardware, nor less of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CannotOffer {
    /// A field of the hardware's, or of what is wanted, holds what is reserved.
    #[error(transparent)]
    Reserved(#[from] Reserved),
    /// The hardware has not what a nested table needs: the field is 0.
    #[error("the hardware has no {0}, which a nested table needs")]
    Nothing(&'static str),
}

/// A flag of which the guest gets what both have.
macro_rules! both {
    ($host:expr, $wanted:expr, $register:expr; $($get:ident $with:ident),+ $(,)?) => {{
        let register = $register;
        $(let register = register.$with($host.$get() && $wanted.$get());)+
        register
    }};
}

const fn least(one: u8, other: u8) -> u8 {
    if one < other { one } else { other }
}

impl HostCapabilities {
    /// The bits of `CAP_REG` that are the VMM's own to answer for, since it is its emulation that
    /// has them: `ND`, `AFL`, `PLMR`, `PHMR`, `CM`, `SAGAW`, `FRO`, `SSLPS`, `PSI`, `NFR`, `MAMV`,
    /// `PI`, `ESIRTPS`, `ESRTPS`.
    pub const EMULATED_CAP: u64 = 0xc83f_ffbf_ff00_1fef;
    /// The same of `ECAP_REG`: `C`, `QI`, `IR`, `EIM`, `PT`, `IRO`, `MHMV`, `PDS`, `VCS`, `SSTS`,
    /// `RPS`, `ADMS`.
    pub const EMULATED_ECAP: u64 = 0x0012_5400_00f3_ff5b;

    /// The registers `CAP_REG` and `ECAP_REG` that the kernel reports.
    #[must_use]
    pub const fn new(capabilities: Capabilities) -> Self {
        Self(capabilities)
    }

    /// All that they hold.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.0
    }

    /// Whether nested tables can be made: `ECAP_REG.SMTS` and `ECAP_REG.NEST`. The kernel's own
    /// use of scalable mode may be switched off besides, and then it makes none.
    #[must_use]
    pub const fn nests(&self) -> bool {
        self.0.ecap.smts() && self.0.ecap.nest()
    }

    /// Whether the kernel can track what a device writes: `ECAP_REG.SSADS` and
    /// `ECAP_REG.SMPWCS`, in scalable mode.
    #[must_use]
    pub const fn tracks_dirty(&self) -> bool {
        self.0.ecap.smts() && self.0.ecap.ssads() && self.0.ecap.smpwcs()
    }

    /// What a guest can be told, of what a VMM wants to tell it: nothing of the first stage, of
    /// device-TLBs and of page requests that the hardware, which has to do it, does not do.
    ///
    /// | field | what the guest gets |
    /// |---|---|
    /// | `ZLR`, `DWD`, `DRD`, `FS1GP`, `FS5LP`; `DT`, `PRS`, `SRS`, `NWFS`, `EAFS`, `PASID`, `DIT`, `SMTS`, `FSTS`, `SMPWCS` | what both have |
    /// | `MGAW`, `PSS` | the smaller |
    /// | `RWBF` | set if either is |
    /// | [`Self::EMULATED_CAP`], [`Self::EMULATED_ECAP`] | what is wanted |
    /// | `SC`, `MTS`, `ERS`, `RPRIVS` | 0: nothing in `struct iommu_hwpt_vtd_s1` carries what the guest would ask for |
    /// | `NEST`, `SSADS` | 0: the guest's second stage is the VMM's to emulate, and no table of the hardware's |
    /// | `ECMDS`, `TDXIO`, `PMS`, and what is reserved | 0 |
    ///
    /// # Errors
    /// The hardware makes no nested tables, or has no first stage, or a field holds what is
    /// reserved.
    ///
    /// ```
    /// use vtd_types::{Capabilities, HostCapabilities};
    ///
    /// // What a server reports: 20 bits of PASIDs, five levels. The VMM wants 16 bits, and four.
    /// let host = Capabilities::from_bits(0x19ed_008c_4078_0c66, 0x0003_ef9e_86f0_50df);
    /// let wanted = Capabilities {
    ///     cap: host.cap.with_fs5lp(false),
    ///     ecap: host.ecap.with_pss(15),
    /// };
    /// let offered = HostCapabilities::new(host).offer(wanted)?;
    /// assert_eq!(offered.ecap.pasid_bits(), 16);
    /// assert!(!offered.cap.fs5lp() && offered.ecap.fsts() && !offered.ecap.nest());
    /// # Ok::<(), vtd_types::CannotOffer>(())
    /// ```
    pub const fn offer(&self, wanted: Capabilities) -> Result<Capabilities, CannotOffer> {
        if let Err(reserved) = Features::new(self.0, HostAddressWidth::MAX) {
            return Err(CannotOffer::Reserved(reserved));
        }
        if let Err(reserved) = Features::new(wanted, HostAddressWidth::MAX) {
            return Err(CannotOffer::Reserved(reserved));
        }
        let Capabilities { cap, ecap } = self.0;
        if !ecap.smts() {
            return Err(CannotOffer::Nothing("ECAP_REG.SMTS"));
        }
        if !ecap.nest() {
            return Err(CannotOffer::Nothing("ECAP_REG.NEST"));
        }
        if !ecap.fsts() {
            return Err(CannotOffer::Nothing("ECAP_REG.FSTS"));
        }

        let offered_cap = both!(
            cap, wanted.cap, Cap::from_bits(wanted.cap.bits() & Self::EMULATED_CAP);
            zlr with_zlr, dwd with_dwd, drd with_drd, fs1gp with_fs1gp, fs5lp with_fs5lp,
        )
        .with_rwbf(cap.rwbf() || wanted.cap.rwbf())
        .with_mgaw(least(cap.mgaw(), wanted.cap.mgaw()));

        let pasids = ecap.pasid() && wanted.ecap.pasid();
        let offered_ecap = both!(
            ecap, wanted.ecap, Ecap::from_bits(wanted.ecap.bits() & Self::EMULATED_ECAP);
            dt with_dt, prs with_prs, srs with_srs, nwfs with_nwfs, eafs with_eafs, dit with_dit,
            smts with_smts, fsts with_fsts, smpwcs with_smpwcs,
        )
        .with_pasid(pasids)
        .with_pss(if pasids {
            least(ecap.pss(), wanted.ecap.pss())
        } else {
            0
        });

        Ok(Capabilities {
            cap: offered_cap,
            ecap: offered_ecap,
        })
    }
}
