//! The first stage: the tables of x86's paging (3.6, 9.7).

mod entry;
mod walk;

pub use entry::{FirstStageEntry, FirstStageLeaf, FirstStageTable};
pub use walk::{
    FirstStageFault, FirstStageFaultKind, FirstStageStep, FirstStageTranslation, FirstStageWalk,
};

use crate::{Features, FirstStageLevels, Gpa, HostAddressWidth};

/// How the first stage translates the requests of a PASID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FirstStage {
    /// The first table: `PASIDTE.FSPTPTR`.
    pub table: Gpa,
    /// How many levels there are: `PASIDTE.FSPM`.
    pub levels: FirstStageLevels,
    /// Whether requests of the supervisor are allowed: `PASIDTE.SRE`.
    pub supervisor: bool,
    /// Whether the supervisor cannot write what is read only: `PASIDTE.WPE`.
    pub write_protect: bool,
    /// Whether requests to execute are allowed: `PASIDTE.ERE`.
    pub execute: bool,
    /// Whether `XD` flags count: `PASIDTE.NXE`.
    pub no_execute: bool,
    /// Whether the supervisor cannot execute what is the user's: `PASIDTE.SMEP`.
    pub supervisor_no_user_execute: bool,
    /// Whether extended accessed flags are set: `PASIDTE.EAFE`.
    pub extended_accessed: bool,
    /// Whether there are pages of 1 GiB: `CAP_REG.FS1GP`.
    pub gigabyte_pages: bool,
    /// How many bits a physical address has.
    pub width: HostAddressWidth,
}

impl FirstStage {
    /// The first stage by this table, with all that is optional off: only the user reads and
    /// writes.
    #[must_use]
    pub const fn new(table: Gpa, levels: FirstStageLevels, features: &Features) -> Self {
        Self {
            table,
            levels,
            supervisor: false,
            write_protect: false,
            execute: false,
            no_execute: false,
            supervisor_no_user_execute: false,
            extended_accessed: false,
            gigabyte_pages: features.cap().fs1gp(),
            width: features.width(),
        }
    }
}
