//! What the host's SMMU can be asked to forget.

use crate::command::fields;
use crate::{Invalidation, TlbiRange, entry};

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
    pub const fn permit(&self, invalidation: &Invalidation) -> bool {
        let words = invalidation.words();
        let [first, _] = words;
        match entry::ID.get(first) {
            CFGI_CD => self.substreams || entry::SSID.get(first) == 0,
            TLBI_NH_ASID => self.permit_asid(first),
            TLBI_NH_VA => self.permit_asid(first) && self.permit_range(words),
            TLBI_NH_VAA => self.permit_range(words),
            ATC_INV => self.ats && (self.substreams || !entry::SSV.is_set(first)),
            // All that is in the others every SMMU has.
            _ => true,
        }
    }

    const fn permit_asid(&self, first: u64) -> bool {
        self.asid16 || first & WIDE_ASID == 0
    }

    const fn permit_range(&self, words: [u64; 2]) -> bool {
        !TlbiRange::is_in(words) || self.ril && (self.ds || !TlbiRange::takes_ds(words))
    }

    /// The number of the first of these invalidations that Linux does not take on such a host;
    /// `None` if it takes them all.
    ///
    /// It is one pass with hardly more than a look at each, where they are what drivers send most.
    #[must_use]
    #[inline]
    pub fn first_refused(&self, invalidations: &[Invalidation]) -> Option<usize> {
        match invalidations.len() {
            0..=FEW => invalidations.iter().position(|one| !self.permit(one)),
            _ => self.first_refused_of_many(invalidations),
        }
    }

    /// The same, with a look at what some have in common, and at each only if that is in question.
    fn first_refused_of_many(&self, invalidations: &[Invalidation]) -> Option<usize> {
        let [in_first, in_second] = self.in_question();
        let mut before = 0;
        for some in invalidations.chunks(AT_ONCE) {
            let [mut first, mut second] = [0; 2];
            for one in some {
                let words = one.words();
                first |= words[0];
                second |= words[1];
            }
            if first & in_first != 0 || second & in_second != 0 {
                let refused = some.iter().position(|one| !self.permit(one));
                if let Some(index) = refused {
                    return Some(before + index);
                }
            }
            before += some.len();
        }
        None
    }

    /// Bits of the words of invalidations: one that has none of them is permitted, whichever it is.
    const fn in_question(&self) -> [u64; 2] {
        let [mut first, mut second] = [0; 2];
        if !self.asid16 {
            first |= WIDE_ASID;
        }
        if !self.substreams {
            first |= ONLY_CFGI | entry::SSV.mask();
        }
        if !self.ats {
            first |= ONLY_ATC_INV;
        }
        let [in_first, in_second] = match (self.ril, self.ds) {
            (false, _) => TlbiRange::MASKS,
            (true, false) => TlbiRange::MASKS_OF_DS,
            (true, true) => [0; 2],
        };
        first |= in_first;
        second |= in_second;
        [first, second]
    }
}

/// So few are looked at one by one.
const FEW: usize = 4;
/// How many of more are looked at at once.
const AT_ONCE: usize = 64;

/// What an ASID of 8 bits has not.
const WIDE_ASID: u64 = fields::ASID.mask() & fields::ASID.mask() << 8;

const CFGI_CD: u64 = 0x05;
const TLBI_NH_ASID: u64 = 0x11;
const TLBI_NH_VA: u64 = 0x12;
const TLBI_NH_VAA: u64 = 0x13;
const ATC_INV: u64 = 0x40;
/// Of the eight opcodes two have it: 0x05 and 0x06.
const ONLY_CFGI: u64 = 0x04;
/// Of the eight opcodes this one alone has it.
const ONLY_ATC_INV: u64 = 0x40;
