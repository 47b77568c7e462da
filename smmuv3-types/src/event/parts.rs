//! What several events have in common.

use bitflags::bitflags;

use crate::{InputAddress, Ipa, Stag, StreamId, SubstreamId};

/// Whose transaction led to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Requester {
    /// `StreamID`, bits 63:32 of the first word.
    pub stream: StreamId,
    /// `SubstreamID`, bits 31:12 of the first word, if `SSV`, bit 11, is 1.
    pub substream: Option<SubstreamId>,
}

/// What a transaction is, after what the STE overrides (7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessAttributes {
    /// `RnW`, bit 35 of the second word: it reads.
    pub read: bool,
    /// `InD`, bit 34 of the second word: it fetches instructions.
    pub instruction: bool,
    /// `PnU`, bit 33 of the second word: it is privileged.
    pub privileged: bool,
}

/// What was being translated when a fault of stage 2 happened: `CLASS`, bits 41:40 of the second
/// word (7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// The address of a CD, `0b00`.
    Cd,
    /// The address of a stage-1 table, `0b01`.
    TranslationTable,
    /// The transaction's own address, `0b10`.
    Input,
}

impl FaultClass {
    pub(super) const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            0b00 => Some(Self::Cd),
            0b01 => Some(Self::TranslationTable),
            0b10 => Some(Self::Input),
            _ => None,
        }
    }

    pub(super) const fn bits(self) -> u64 {
        match self {
            Self::Cd => 0b00,
            Self::TranslationTable => 0b01,
            Self::Input => 0b10,
        }
    }
}

/// A fault of stage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage2Fault {
    /// What was being translated.
    pub class: FaultClass,
    /// `IPA`, bits 51:12 of the fourth word: the address that was, of the page.
    pub ipa: Ipa,
}

/// A fault of a translation: what `F_TRANSLATION`, `F_ADDR_SIZE`, `F_ACCESS` and `F_PERMISSION`
/// say (7.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Whose transaction it was.
    pub requester: Requester,
    /// `STAG`, bits 15:0 of the second word, if `Stall`, bit 31, is 1: the transaction waits for a
    /// `RESUME` with this tag. Otherwise it was terminated.
    pub stalled: Option<Stag>,
    /// What the transaction is.
    pub access: AccessAttributes,
    /// `InputAddr`, the third word: the address of the transaction.
    pub address: InputAddress,
    /// Of a fault of stage 2, where `S2`, bit 39 of the second word, is 1. With `None` it is of
    /// stage 1.
    pub stage2: Option<Stage2Fault>,
}

/// A structure could not be read: what `F_STE_FETCH`, `F_CD_FETCH` and `F_VMS_FETCH` say (7.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchAbort {
    /// Whose transaction it was.
    pub requester: Requester,
    /// `Reason`, bits 15:0 of the second word. IMPLEMENTATION DEFINED.
    pub reason: u16,
    /// `GPCF`, bit 16 of the second word: a granule protection check failed.
    pub granule_protection: bool,
    /// `FetchAddr`, bits 51:3 of the fourth word. A physical address, of the guest's for a guest.
    pub fetch_address: Ipa,
}

/// How a stage-1 table was accessed when stage 2 did not permit it: `TTRnW`, bit 44 of the second
/// word (7.3.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableAccess {
    /// It was read, 1.
    Read,
    /// It was written, to set an access flag or dirty state, 0.
    Write,
}

bitflags! {
    /// Accesses that a device will make (7.3.19).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ExpectedAccess: u8 {
        /// It will fetch instructions.
        const EXECUTE = 1 << 0;
        /// It will write.
        const WRITE = 1 << 1;
        /// It will read.
        const READ = 1 << 2;
    }
}
