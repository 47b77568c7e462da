//! Context entries of legacy mode.

use crate::encoding::encoding;
use crate::record::record;
use crate::{Agaw, DomainId, FaultReason, Features, SecondStage};

encoding! {
    /// What is done with a device's requests in legacy mode: `CE.TT` (9.3). `0b11` is reserved.
    pub enum TranslationType {
        /// The second stage translates. Translation requests and translated requests of
        /// device-TLBs are blocked.
        SecondStage = 0b00,
        /// The second stage translates, also for device-TLBs. Where there is `ECAP_REG.DT`.
        WithDeviceTlb = 0b01,
        /// Requests go through untranslated. Where there is `ECAP_REG.PT`.
        PassThrough = 0b10,
    }
}

record! {
    /// A context entry: what becomes of the requests of a device, in legacy mode.
    pub struct ContextEntry([u64; 2]), "CE", "9.3";

    /// Whether there is anything.
    flag p, with_p: "P", 0 [0];
    /// Whether faults of the device's requests are not recorded, as far as they are qualified.
    flag fpd, with_fpd: "FPD", 0 [1];
    /// What is done with requests.
    coded(TranslationType) tt, with_tt: "TT", 0 [3:2];
    /// Where the second-stage table is.
    gpa ssptptr, with_ssptptr: "SSPTPTR", 0 [51:12];

    /// The shape of the second-stage table.
    coded(Agaw) aw, with_aw: "AW", 1 [2:0];
    /// Software's own.
    num(u8) avail, with_avail: "AVAIL", 1 [6:3];
    /// The domain: the tag of the translations.
    id(DomainId) did, with_did: "DID", 1 [23:8];
}

/// What a valid context entry makes of a device's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// The tag of the translations: `CE.DID`.
    pub domain: DomainId,
    /// Where requests go: `CE.TT`.
    pub translation: ContextTranslation,
    /// Whether faults are not recorded: `CE.FPD`.
    pub faults_disabled: bool,
}

/// Where the requests of a device go, in legacy mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContextTranslation {
    /// The second stage translates.
    SecondStage {
        /// The table.
        stage: SecondStage,
        /// Whether device-TLBs are allowed.
        device_tlb: bool,
    },
    /// They go through untranslated.
    PassThrough,
}

/// Why a context entry of legacy mode is not valid. Requests are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadContextEntry {
    /// `CE.P` is 0.
    #[error("the context entry is not present: CE.P is 0")]
    NotPresent,
    /// Bits are set that are reserved.
    #[error("word {word} of the context entry has the reserved bits {bits:#x}")]
    Reserved {
        /// Which word, from 0.
        word: u8,
        /// Those bits.
        bits: u64,
    },
    /// `CE.TT` is reserved, or a type that is not there.
    #[error("CE.TT is {0:#04b}, a type of translation that is not there")]
    TranslationType(u8),
    /// `CE.AW` is reserved, or a shape that is not there.
    #[error("CE.AW is {0:#05b}, a width that is not there")]
    AddressWidth(u8),
}

impl BadContextEntry {
    /// The fault that a request is blocked with.
    #[must_use]
    pub const fn reason(&self) -> FaultReason {
        match self {
            Self::NotPresent => FaultReason::Lct2,
            Self::Reserved { .. } => FaultReason::Lct3,
            Self::TranslationType(_) | Self::AddressWidth(_) => FaultReason::Lct4,
        }
    }
}

impl ContextEntry {
    /// Bits 11:4 of word 0.
    const RESERVED_0: u64 = 0xff0;
    /// Bits 63:24 and 7 of word 1.
    const RESERVED_1: u64 = 0xffff_ffff_ff00_0080;

    /// What the entry comes to on a unit with these features (9.3).
    ///
    /// That `DID` is below the number of domains is not checked, nor that `AW` is the largest there
    /// is where requests pass through.
    ///
    /// # Errors
    /// Why requests are blocked.
    pub fn decode(&self, features: &Features) -> Result<Context, BadContextEntry> {
        if !self.p() {
            return Err(BadContextEntry::NotPresent);
        }
        let words = self.words();
        let reserved = [
            Self::RESERVED_0 | features.width().beyond(),
            Self::RESERVED_1,
        ];
        for (word, (bits, reserved)) in (0..).zip(words.into_iter().zip(reserved)) {
            if bits & reserved != 0 {
                return Err(BadContextEntry::Reserved {
                    word,
                    bits: bits & reserved,
                });
            }
        }
        let (translates, device_tlb) = match self.tt() {
            Ok(TranslationType::SecondStage) => (true, false),
            Ok(TranslationType::WithDeviceTlb) if features.ecap().dt() => (true, true),
            Ok(TranslationType::PassThrough) if features.ecap().pt() => (false, false),
            Ok(other) => return Err(BadContextEntry::TranslationType(other.bits())),
            Err(reserved) => {
                return Err(BadContextEntry::TranslationType(reserved.value() as u8));
            }
        };
        let aw = match self.aw() {
            Ok(aw) if features.has(aw) => aw,
            Ok(other) => return Err(BadContextEntry::AddressWidth(other.bits())),
            Err(reserved) => return Err(BadContextEntry::AddressWidth(reserved.value() as u8)),
        };
        Ok(Context {
            domain: self.did(),
            translation: if translates {
                ContextTranslation::SecondStage {
                    stage: SecondStage::legacy(self.ssptptr(), aw, features),
                    device_tlb,
                }
            } else {
                ContextTranslation::PassThrough
            },
            faults_disabled: self.fpd(),
        })
    }
}
