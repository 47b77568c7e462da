//! What the host's SMMU demands of the commands that are passed on to it.

use smmuv3_types::{Invalidation, InvalidationLimits};

use crate::format::Demands;
use crate::hw_info::{Smmuv3Flags, Smmuv3Info};

/// What the host's SMMU demands of invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smmuv3Demands {
    limits: InvalidationLimits,
    twice: bool,
}

impl Smmuv3Demands {
    pub(super) fn of(info: &Smmuv3Info) -> Self {
        Self {
            limits: info.invalidation_limits(),
            twice: info.flags().contains(Smmuv3Flags::REPEAT_TLBI_CFGI),
        }
    }

    /// What it has, to make an [`Invalidation`] with.
    #[must_use]
    pub fn limits(&self) -> &InvalidationLimits {
        &self.limits
    }
}

impl Demands<Invalidation> for Smmuv3Demands {
    fn has(&self, invalidation: &Invalidation) -> bool {
        self.limits.permit(invalidation)
    }

    /// For erratum T264-SMMU-3 (`REPEAT_TLBI_CFGI`).
    fn twice(&self) -> bool {
        self.twice
    }
}
