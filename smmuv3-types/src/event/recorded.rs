//! Which event an SMMU records of what is wrong with a structure or a walk.

use crate::{BadCd, BadSte, BadStreamId, EventKind, FaultKind, NoContext, WalkFault};

impl BadStreamId {
    /// The event that is recorded: `C_BAD_STREAMID`, if `SMMU_CR2.RECINVSID` is set.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        EventKind::BadStreamId
    }
}

impl BadSte {
    /// The event that is recorded: `C_BAD_STE`.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        EventKind::BadSte
    }
}

impl NoContext {
    /// The event that is recorded: `C_BAD_SUBSTREAMID` or `F_STREAM_DISABLED`.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        match self {
            Self::BadSubstreamId(_) => EventKind::BadSubstreamId,
            Self::StreamDisabled(_) => EventKind::StreamDisabled,
        }
    }
}

impl BadCd {
    /// The event that is recorded: `C_BAD_CD`.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        EventKind::BadCd
    }
}

impl FaultKind {
    /// The event that is recorded, if [`Context::faults`](crate::Context::faults) has it recorded.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        match self {
            Self::Translation => EventKind::Translation,
            Self::AddressSize => EventKind::AddrSize,
            Self::AccessFlag => EventKind::Access,
            Self::Permission => EventKind::Permission,
        }
    }
}

impl WalkFault {
    /// The event that is recorded, if [`Context::faults`](crate::Context::faults) has it recorded.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        self.kind.event_kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn a_fault_has_the_event_that_the_document_names() {
        for (kind, name) in [
            (FaultKind::Translation, "F_TRANSLATION"),
            (FaultKind::AddressSize, "F_ADDR_SIZE"),
            (FaultKind::AccessFlag, "F_ACCESS"),
            (FaultKind::Permission, "F_PERMISSION"),
        ] {
            let level = Level::Level2;
            assert_eq!(WalkFault { kind, level }.event_kind().name(), name);
        }
    }
}
