//! What a PASID table entry comes to.

use super::{FirstStageLevels, PasidEntry, PasidTranslationType};
use crate::{DomainId, FaultReason, Features, FirstStage, SecondStage};

/// What a valid entry makes of the requests of a PASID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PasidTranslation {
    /// The tag of the translations: `PASIDTE.DID`.
    pub domain: DomainId,
    /// Where requests go: `PASIDTE.PGTT`.
    pub config: PasidConfig,
    /// Whether faults are not recorded: `PASIDTE.FPD`.
    pub faults_disabled: bool,
}

/// Where the requests of a PASID go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PasidConfig {
    /// The first stage translates.
    FirstStage(FirstStage),
    /// The second stage translates.
    SecondStage(SecondStage),
    /// Both stages translate: what the first puts out, and where its tables are, is translated by
    /// the second.
    Nested(FirstStage, SecondStage),
    /// They go through untranslated.
    PassThrough,
}

/// Why a PASID table entry is not valid. Requests are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadPasidEntry {
    /// `PASIDTE.P` is 0.
    #[error("the PASID table entry is not present: PASIDTE.P is 0")]
    NotPresent,
    /// Bits are set that are reserved, as such or for want of a capability.
    #[error("word {word} of the PASID table entry has the reserved bits {bits:#x}")]
    Reserved {
        /// Which word, from 0.
        word: u8,
        /// Those bits.
        bits: u64,
    },
    /// `PASIDTE.PGTT` is reserved, or a type that is not there.
    #[error("PASIDTE.PGTT is {0:#05b}, a type of translation that is not there")]
    TranslationType(u8),
    /// `PASIDTE.AW` is reserved, or a shape that is not there.
    #[error("PASIDTE.AW is {0:#05b}, a width that is not there")]
    AddressWidth(u8),
    /// `PASIDTE.FSPM` is reserved, or five levels are not there.
    #[error("PASIDTE.FSPM is {0:#04b}, a number of levels that is not there")]
    Levels(u8),
}

impl BadPasidEntry {
    /// The fault that a request is blocked with.
    #[must_use]
    pub const fn reason(&self) -> FaultReason {
        match self {
            Self::NotPresent => FaultReason::Spt2,
            Self::Reserved { .. } => FaultReason::Spt3,
            Self::TranslationType(_) | Self::AddressWidth(_) | Self::Levels(_) => FaultReason::Spt4,
        }
    }
}

/// The bits of each word that are reserved on any unit, but for those of addresses: 11:10; 22:16;
/// 11:8; all of the rest.
const RESERVED: [u64; 8] = [
    0xc00,
    0x7f_0000,
    0xf00,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
];

/// `CD`, `EMTE`, `EMT`, `PWT`, `PCD` and `PAT`, of word 1.
const MEMORY_TYPES: u64 = 0xffff_ffff_fe00_0000;
/// `SSEE` of word 0.
const SSEE: u64 = 1 << 5;
/// `ERE`, `NXE` and `SMEP` of word 2.
const EXECUTE: u64 = 1 << 1 | 1 << 5 | 1 << 6;

impl PasidEntry {
    /// The bits of each word that are reserved on a unit with these features.
    const fn reserved(features: &Features) -> [u64; 8] {
        let ecap = features.ecap();
        let beyond = features.width().beyond();
        let [mut word0, mut word1, mut word2, rest @ ..] = RESERVED;
        word0 |= beyond;
        word2 |= beyond;
        if !ecap.ers() {
            word0 |= SSEE;
            word2 |= EXECUTE;
        }
        if !ecap.ssads() {
            word0 |= 1 << 9;
        }
        if !ecap.smpwcs() {
            word1 |= 1 << 23;
        }
        if !ecap.sc() {
            word1 |= 1 << 24;
        }
        if !ecap.mts() {
            word1 |= MEMORY_TYPES;
        }
        if !ecap.srs() {
            word2 |= 1;
        }
        if !ecap.eafs() {
            word2 |= 1 << 7;
        }
        let [word3, word4, word5, word6, word7] = rest;
        [word0, word1, word2, word3, word4, word5, word6, word7]
    }

    /// What the entry comes to on a unit with these features (9.6).
    ///
    /// A field whose capability is not there is reserved. Fields that the type of translation has
    /// no use for are not looked at besides: `AW` and `SSPTPTR` where only the first stage
    /// translates, `FSPM` and `FSPTPTR` where only the second does. That `DID` is below the number
    /// of domains is not checked.
    ///
    /// # Errors
    /// Why requests are blocked.
    ///
    /// ```
    /// use vtd_types::{BadPasidEntry, Capabilities, Features, HostAddressWidth, PasidConfig, PasidEntry};
    ///
    /// // ECAP: FSTS, SMTS.
    /// let capabilities = Capabilities::from_bits(0, 1 << 47 | 1 << 43);
    /// let features = Features::new(capabilities, HostAddressWidth::MAX)?;
    /// // PGTT 1, domain 5, the table at 0x1234_5000.
    /// let entry = PasidEntry::from_words([0x41, 5, 0x1234_5000, 0, 0, 0, 0, 0]);
    /// let PasidConfig::FirstStage(stage) = entry.decode(&features)?.config else {
    ///     panic!("the first stage");
    /// };
    /// assert_eq!(stage.table.get(), 0x1234_5000);
    /// // There is no ECAP.SRS.
    /// assert_eq!(
    ///     entry.with_sre(true).decode(&features),
    ///     Err(BadPasidEntry::Reserved { word: 2, bits: 1 }),
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(&self, features: &Features) -> Result<PasidTranslation, BadPasidEntry> {
        if !self.p() {
            return Err(BadPasidEntry::NotPresent);
        }
        let words = self.words().into_iter();
        for (word, (bits, reserved)) in (0..).zip(words.zip(Self::reserved(features))) {
            if bits & reserved != 0 {
                return Err(BadPasidEntry::Reserved {
                    word,
                    bits: bits & reserved,
                });
            }
        }
        let ecap = features.ecap();
        let config = match self.pgtt() {
            Ok(PasidTranslationType::FirstStage) if ecap.fsts() => {
                PasidConfig::FirstStage(self.first_stage(features)?)
            }
            Ok(PasidTranslationType::SecondStage) if ecap.ssts() => {
                PasidConfig::SecondStage(self.second_stage(features)?)
            }
            Ok(PasidTranslationType::Nested) if ecap.nest() => {
                PasidConfig::Nested(self.first_stage(features)?, self.second_stage(features)?)
            }
            Ok(PasidTranslationType::PassThrough) if ecap.pt() => PasidConfig::PassThrough,
            Ok(other) => return Err(BadPasidEntry::TranslationType(other.bits())),
            Err(reserved) => {
                return Err(BadPasidEntry::TranslationType(reserved.value() as u8));
            }
        };
        Ok(PasidTranslation {
            domain: self.did(),
            config,
            faults_disabled: self.fpd(),
        })
    }

    fn first_stage(&self, features: &Features) -> Result<FirstStage, BadPasidEntry> {
        let levels = match self.fspm() {
            Ok(levels) if features.has_levels(levels) => levels,
            Ok(FirstStageLevels::Four | FirstStageLevels::Five) => {
                return Err(BadPasidEntry::Levels(FirstStageLevels::Five.bits()));
            }
            Err(reserved) => return Err(BadPasidEntry::Levels(reserved.value() as u8)),
        };
        Ok(FirstStage {
            supervisor: self.sre(),
            write_protect: self.wpe(),
            execute: self.ere(),
            no_execute: self.nxe(),
            supervisor_no_user_execute: self.smep(),
            extended_accessed: self.eafe(),
            ..FirstStage::new(self.fsptptr(), levels, features)
        })
    }

    fn second_stage(&self, features: &Features) -> Result<SecondStage, BadPasidEntry> {
        let aw = match self.aw() {
            Ok(aw) if features.has(aw) => aw,
            Ok(other) => return Err(BadPasidEntry::AddressWidth(other.bits())),
            Err(reserved) => return Err(BadPasidEntry::AddressWidth(reserved.value() as u8)),
        };
        Ok(SecondStage {
            execute: self.ssee(),
            accessed_dirty: self.ssade(),
            ..SecondStage::scalable(self.ssptptr(), aw, features)
        })
    }
}
