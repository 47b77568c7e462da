//! What outlives a table in the TLBs.

use smmuv3_types::{Asid, Invalidation, InvalidationLimits};

/// What becomes of the ASIDs that outlive a table.
///
/// The SMMU tags translations of stage 1 with the ASIDs in the guest's context descriptors. When a
/// device leaves a table, the kernel does not invalidate them (Linux 7.3 does, but only when no
/// device is left on the same [`NestParent`](crate::NestParent)). A table that comes after it, for
/// this device or for another behind the same parent, and uses one of these ASIDs for other page
/// tables, would be given the translations of before. So whoever brings a device to a table says
/// what becomes of them: see [`VDevice::through`](crate::VDevice::through).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StaleAsids {
    /// The tables are a guest's, which invalidates by itself before it uses an ASID again, and its
    /// commands are passed on.
    GuestInvalidates,
    /// Translations by these ASIDs are invalidated when the device has come. Those of ASIDs that the
    /// SMMU has not, as they have more than 8 bits, are invalidated with all others.
    Invalidate(Vec<Asid>),
    /// All translations of stage 1 are invalidated when the device has come.
    InvalidateAll,
}

impl StaleAsids {
    pub(super) fn invalidations(&self, limits: &InvalidationLimits) -> Vec<Invalidation> {
        let all = || vec![Invalidation::tlbi_nh_all()];
        match self {
            Self::GuestInvalidates => Vec::new(),
            Self::Invalidate(asids) => asids
                .iter()
                .map(|asid| Invalidation::tlbi_nh_asid(*asid, limits))
                .collect::<Result<_, _>>()
                .unwrap_or_else(|_| all()),
            Self::InvalidateAll => all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stale_is_invalidated_and_of_what_the_smmu_has_not_all() {
        let narrow = &InvalidationLimits::NONE;
        let asids = StaleAsids::Invalidate(vec![Asid::new(1), Asid::new(0x1ff)]);
        assert_eq!(StaleAsids::GuestInvalidates.invalidations(narrow), []);
        assert_eq!(asids.invalidations(narrow), [Invalidation::tlbi_nh_all()]);
        assert_eq!(
            StaleAsids::InvalidateAll.invalidations(narrow),
            [Invalidation::tlbi_nh_all()]
        );
        let words: Vec<_> = asids
            .invalidations(&narrow.with_asid16(true))
            .iter()
            .map(Invalidation::words)
            .collect();
        assert_eq!(
            words,
            [[0x0001_0000_0000_0011, 0], [0x01ff_0000_0000_0011, 0]]
        );
    }
}
