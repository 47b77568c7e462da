//! The second stage: tables of VT-d's own (3.7, 9.8).

mod entry;
mod walk;

pub use entry::{SecondStageEntry, SecondStageLeaf, SecondStageTable};
pub use walk::{
    SecondStageFault, SecondStageFaultKind, SecondStageStep, SecondStageTranslation,
    SecondStageWalk,
};

use crate::{Agaw, Features, Gpa, HostAddressWidth};

/// How the second stage translates requests, or what the first stage puts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SecondStage {
    /// The first table: `CE.SSPTPTR`, `PASIDTE.SSPTPTR`.
    pub table: Gpa,
    /// Its shape: `CE.AW`, `PASIDTE.AW`.
    pub agaw: Agaw,
    /// How many bits an input address can have: those of the shape, and no more than
    /// `CAP_REG.MGAW` has.
    pub input_bits: u32,
    /// Whether it is of scalable mode: what faults are called.
    pub scalable: bool,
    /// Whether `X` flags count: `PASIDTE.SSEE`.
    pub execute: bool,
    /// Whether accessed and dirty flags are set: `PASIDTE.SSADE`.
    pub accessed_dirty: bool,
    /// Whether pages can have `SNP`: `ECAP_REG.SC`.
    pub snoop_control: bool,
    /// Whether there are pages of 2 MiB: `CAP_REG.SSLPS`.
    pub megabyte_pages: bool,
    /// Whether there are pages of 1 GiB: `CAP_REG.SSLPS`.
    pub gigabyte_pages: bool,
    /// How many bits a physical address has.
    pub width: HostAddressWidth,
}

impl SecondStage {
    /// The second stage of legacy mode by this table.
    #[must_use]
    pub const fn legacy(table: Gpa, agaw: Agaw, features: &Features) -> Self {
        let (shape, most) = (agaw.bits_of_address(), features.cap().input_bits());
        Self {
            table,
            agaw,
            input_bits: if shape < most { shape } else { most },
            scalable: false,
            execute: false,
            accessed_dirty: false,
            snoop_control: features.ecap().sc(),
            megabyte_pages: features.cap().sslps_2m(),
            gigabyte_pages: features.cap().sslps_1g(),
            width: features.width(),
        }
    }

    /// The second stage of scalable mode by this table, with all that is optional off.
    #[must_use]
    pub const fn scalable(table: Gpa, agaw: Agaw, features: &Features) -> Self {
        let mut stage = Self::legacy(table, agaw, features);
        stage.scalable = true;
        stage
    }
}
