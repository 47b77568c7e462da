//! What the host's SMMU demands of what is passed on to it.

use smmuv3_types::{Invalidation, InvalidationLimits, NestedConfig, NestedSte, StallModel};

use crate::format::Demands;
use crate::hw_info::{Smmuv3Flags, Smmuv3Info};

/// What the host's SMMU demands of invalidations, and of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smmuv3Demands {
    limits: InvalidationLimits,
    twice: bool,
    stall_model: Option<StallModel>,
}

impl Smmuv3Demands {
    pub(super) fn of(info: &Smmuv3Info) -> Self {
        Self {
            limits: info.invalidation_limits(),
            twice: info.flags().contains(Smmuv3Flags::REPEAT_TLBI_CFGI),
            stall_model: info.vouched().stall_model().ok(),
        }
    }

    /// What it has, to make an [`Invalidation`] with.
    #[must_use]
    pub fn limits(&self) -> &InvalidationLimits {
        &self.limits
    }

    /// What can become of a transaction that faults: the host's `SMMU_IDR0.STALL_MODEL`. `None` if
    /// that is reserved; the kernel takes it for [`StallModel::TerminateOnly`].
    #[must_use]
    pub fn stall_model(&self) -> Option<StallModel> {
        self.stall_model
    }

    /// The entry for a table without a fault queue.
    ///
    /// Where the host's SMMU has both models, a guest's context descriptor alone (`CD.S`) has a
    /// transaction stall that faults. For a table without a queue the kernel ends the stall only if
    /// the firmware has said that the device can stall; of any other device it warns, and nothing
    /// ends it (Linux 7.3). So in this entry stalls are disabled (`STE.S1STALLD`): such a descriptor
    /// is a bad one, of which the guest is told by `C_BAD_CD`. A guest that is offered
    /// [`StallModel::TerminateOnly`] makes none, and expects just that of it. One that is offered
    /// [`StallModel::StallOnly`] makes no others.
    ///
    /// Where the host's SMMU has one model only, the entry is as it was. If that is
    /// [`StallModel::StallOnly`], all faults stall, and the kernel takes all devices for ones that
    /// can: it ends the stalls that no queue takes, and terminates the transactions. That is safe,
    /// but no event tells of these faults.
    #[must_use]
    pub fn without_stalls(&self, ste: &NestedSte) -> NestedSte {
        match (self.stall_model, ste.config()) {
            (Some(StallModel::Both), NestedConfig::Translate(stage1)) => {
                NestedSte::translate(stage1.with_stall_disabled(true))
            }
            _ => *ste,
        }
    }
}

impl Demands<Invalidation> for Smmuv3Demands {
    fn has(&self, invalidation: &Invalidation) -> bool {
        self.limits.permit(invalidation)
    }

    fn first_lacking(&self, invalidations: &[Invalidation]) -> Option<usize> {
        self.limits.first_refused(invalidations)
    }

    /// For erratum T264-SMMU-3 (`REPEAT_TLBI_CFGI`).
    fn twice(&self) -> bool {
        self.twice
    }
}
