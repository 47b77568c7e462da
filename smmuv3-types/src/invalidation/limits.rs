//! What the host's SMMU can be asked to forget.

use crate::Invalidation;

/// What the **host's** SMMU has, as far as it limits which bits of an [`Invalidation`] Linux takes.
///
/// Of the guest's SMMU the same is in its [`Features`](crate::Features): they decide what a command
/// of the guest's means, these what becomes of it on the way to the host. The two are the same only
/// if the guest was offered all that the host has.
///
/// They come from what the kernel reports of the host:
/// [`Vouched::invalidation_limits`](crate::Vouched::invalidation_limits). All but
/// [`ats`](Self::ats) are fields of the ID registers that the kernel vouches for in its hardware
/// information (`struct iommu_hw_info_arm_smmuv3`).
///
/// ```
/// use smmuv3_types::{InvalidationLimits, Vouched};
///
/// // What a host reports that has range invalidation and 16-bit ASIDs.
/// let host = Vouched::new([0x0d44_101b, 0x0273_0010, 0, 0x1414, 0, 0x74]);
/// let limits = host.invalidation_limits();
/// assert_eq!(limits, InvalidationLimits::NONE.with_ril(true).with_asid16(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidationLimits {
    ril: bool,
    ds: bool,
    asid16: bool,
    substreams: bool,
    ats: bool,
}

impl InvalidationLimits {
    /// Of a host whose SMMU has nothing that is optional: what every host takes.
    pub const NONE: Self = Self {
        ril: false,
        ds: false,
        asid16: false,
        substreams: false,
        ats: false,
    };

    /// `SMMU_IDR3.RIL`: `TLBI_NH_VA` and `TLBI_NH_VAA` may have ranges and level hints.
    #[must_use]
    pub const fn ril(&self) -> bool {
        self.ril
    }

    /// With [`Self::ril`] changed.
    #[must_use]
    pub const fn with_ril(mut self, value: bool) -> Self {
        self.ril = value;
        self
    }

    /// `SMMU_IDR5.DS`: a range may have a scale of more than 31, and level 1 with 16 KiB.
    #[must_use]
    pub const fn ds(&self) -> bool {
        self.ds
    }

    /// With [`Self::ds`] changed.
    #[must_use]
    pub const fn with_ds(mut self, value: bool) -> Self {
        self.ds = value;
        self
    }

    /// `SMMU_IDR0.ASID16`: an ASID may be more than 255.
    #[must_use]
    pub const fn asid16(&self) -> bool {
        self.asid16
    }

    /// With [`Self::asid16`] changed.
    #[must_use]
    pub const fn with_asid16(mut self, value: bool) -> Self {
        self.asid16 = value;
        self
    }

    /// `SMMU_IDR1.SSIDSIZE` is not 0: commands may name substreams. How many bits there are is of
    /// no consequence: a substream that is out of range harms nobody but the guest.
    #[must_use]
    pub const fn substreams(&self) -> bool {
        self.substreams
    }

    /// With [`Self::substreams`] changed.
    #[must_use]
    pub const fn with_substreams(mut self, value: bool) -> Self {
        self.substreams = value;
        self
    }

    /// Whether the kernel uses the SMMU's ATS: `SMMU_IDR0.ATS`, and a kernel that was built with
    /// it. Without, the kernel refuses every `ATC_INV`.
    ///
    /// The kernel does not vouch for this field: ATS is a property of each device. It holds if a
    /// device behind this SMMU has ATS turned on.
    #[must_use]
    pub const fn ats(&self) -> bool {
        self.ats
    }

    /// With [`Self::ats`] changed.
    #[must_use]
    pub const fn with_ats(mut self, value: bool) -> Self {
        self.ats = value;
        self
    }

    /// Whether Linux takes this invalidation on such a host.
    ///
    /// One that was made for these limits, it does.
    #[must_use]
    #[inline]
    pub fn permit(&self, invalidation: &Invalidation) -> bool {
        match invalidation.asid_without_range() {
            // What drivers send most: a look at a bit or two, where the rest is read and written again.
            Some(asid) => asid <= 0xff || self.asid16,
            None => self.permit_any(invalidation),
        }
    }

    /// The same, of any.
    pub(super) fn permit_any(&self, invalidation: &Invalidation) -> bool {
        Invalidation::from_command(&invalidation.command(), self)
            .is_ok_and(|taken| taken == *invalidation)
    }
}
