//! What a remapping unit offers, as far as it decides what tables and descriptors mean.

use crate::{
    Agaw, Cap, Capabilities, DescriptorFeatures, Ecap, FirstStageLevels, HostAddressWidth,
    Reserved, TableMode,
};

/// What a remapping unit offers, read from its capability registers: what decides whether a
/// structure is valid. A VMM makes it of the registers that *its guest* reads, not of the
/// hardware's.
///
/// # Invariants
/// Its registers hold nothing reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    capabilities: Capabilities,
    width: HostAddressWidth,
}

impl Features {
    /// What these registers offer, where physical addresses have this many bits.
    ///
    /// # Errors
    /// A field holds a reserved value: `CAP_REG.ND` is 7, or `ECAP_REG.PSS` is over 19.
    pub const fn new(
        capabilities: Capabilities,
        width: HostAddressWidth,
    ) -> Result<Self, Reserved> {
        let Capabilities { cap, ecap } = capabilities;
        if cap.nd() == 7 {
            return Err(Reserved::new("CAP_REG.ND", 7));
        }
        if ecap.pasid_bits() > 20 {
            return Err(Reserved::new("ECAP_REG.PSS", ecap.pss() as u64));
        }
        Ok(Self {
            capabilities,
            width,
        })
    }

    /// The registers it was read from.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// `CAP_REG`.
    #[must_use]
    pub const fn cap(&self) -> Cap {
        self.capabilities.cap
    }

    /// `ECAP_REG`.
    #[must_use]
    pub const fn ecap(&self) -> Ecap {
        self.capabilities.ecap
    }

    /// How many bits a physical address has.
    #[must_use]
    pub const fn width(&self) -> HostAddressWidth {
        self.width
    }

    /// How many bits a domain identifier has: `4 + 2 * CAP_REG.ND`, at most 16.
    #[must_use]
    pub const fn domain_bits(&self) -> u8 {
        4 + 2 * self.cap().nd()
    }

    /// Whether second-stage tables of this shape are there: `CAP_REG.SAGAW`.
    #[must_use]
    pub const fn has(&self, agaw: Agaw) -> bool {
        self.cap().has(agaw)
    }

    /// Whether first-stage tables of so many levels are there: always of four, of five by
    /// `CAP_REG.FS5LP`.
    #[must_use]
    pub const fn has_levels(&self, levels: FirstStageLevels) -> bool {
        matches!(levels, FirstStageLevels::Four) || self.cap().fs5lp()
    }

    /// What they say about the descriptors that the invalidation queue takes, in this mode.
    #[must_use]
    pub const fn descriptors(&self, mode: TableMode) -> DescriptorFeatures {
        let ecap = self.ecap();
        DescriptorFeatures::LEGACY
            .with_scalable(matches!(mode, TableMode::Scalable))
            .with_device_tlb(ecap.dt())
            .with_interrupt_remapping(ecap.ir())
            .with_page_requests(ecap.prs())
            .with_page_request_drain(ecap.pds())
            .with_max_address_mask(self.cap().mamv())
            .with_width(self.width)
    }
}
