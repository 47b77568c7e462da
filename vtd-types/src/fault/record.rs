//! Fault records.

use super::FaultReason;
use crate::encoding::encoding;
use crate::record::record;
use crate::{InputAddress, InterruptIndex, Pasid, SourceId};

encoding! {
    /// The address of a request that faulted: `FRCD_REG.AT` (11.4.7). `0b11` is reserved.
    pub enum AddressType {
        /// It is not translated.
        Untranslated = 0b00,
        /// The request is one for a translation, of a device-TLB.
        TranslationRequest = 0b01,
        /// A device-TLB translated it.
        Translated = 0b10,
    }
}

record! {
    /// A fault recording register, or a record of the fault log (9.9), which has no `F`.
    pub struct FaultRecord([u64; 2]), "FRCD_REG", "11.4.7";

    /// The page of the address. Of an interrupt its index, in the upper 16 bits.
    num(u64) fi, with_fi: "FI", 0 [63:12];

    /// The requester.
    id(SourceId) sid, with_sid: "SID", 1 [15:0];
    /// The kind of request: the second bit.
    flag t2, with_t2: "T2", 1 [28];
    /// Whether the request was of the supervisor.
    flag privileged, with_privileged: "PRIV", 1 [29];
    /// Whether the request was to execute.
    flag exe, with_exe: "EXE", 1 [30];
    /// Whether the request had a PASID.
    flag pp, with_pp: "PP", 1 [31];
    /// Why it was blocked: the number of a [`FaultReason`].
    num(u8) fr, with_fr: "FR", 1 [39:32];
    /// The PASID of the request.
    pasid pv, with_pv: "PV", 1 [59:40];
    /// What its address is.
    coded(AddressType) at, with_at: "AT", 1 [61:60];
    /// The kind of request: the first bit.
    flag t1, with_t1: "T1", 1 [62];
    /// Whether there is a fault in the register. Cleared by writing 1.
    flag f, with_f: "F", 1 [63];
}

/// The kind of a request that faulted: `T1` and `T2`, bits 62 and 28 of the second word (11.4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// A write, `0b00`.
    Write,
    /// A page request, `0b01`.
    PageRequest,
    /// A read, `0b10`.
    Read,
    /// An atomic operation, `0b11`.
    AtomicOp,
}

/// A request that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestFault {
    /// Why: `FR`, bits 39:32 of the second word.
    pub reason: FaultReason,
    /// Whose it was: `SID`, bits 15:0 of the second word.
    pub source: SourceId,
    /// Its PASID: `PV`, bits 59:40 of the second word, if `PP`, bit 31, is 1.
    pub pasid: Option<Pasid>,
    /// The page of its address: `FI`, bits 63:12 of the first word.
    pub address: InputAddress,
    /// What the address is: `AT`, bits 61:60 of the second word.
    pub address_type: AddressType,
    /// Its kind.
    pub kind: RequestKind,
    /// Whether it was to execute: `EXE`, bit 30 of the second word. Not without a PASID.
    pub execute: bool,
    /// Whether it was of the supervisor: `PRIV`, bit 29 of the second word. Not without a PASID.
    pub privileged: bool,
}

/// A fault, as what it means.
///
/// ```
/// use vtd_types::{
///     AddressType, Fault, FaultReason, InputAddress, RequestFault, RequestKind, SourceId,
/// };
///
/// // A device wrote where nothing is mapped.
/// let fault = Fault::Request(RequestFault {
///     reason: FaultReason::Sfs2,
///     source: SourceId::new(0x0018),
///     pasid: None,
///     address: InputAddress::new(0xdead_b000),
///     address_type: AddressType::Untranslated,
///     kind: RequestKind::Write,
///     execute: false,
///     privileged: false,
/// });
/// let record = fault.encode();
/// assert_eq!(record.words(), [0xdead_b000, 0x8000_0071_0000_0018]);
/// assert_eq!(record.decode(), Ok(fault));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Of a request to memory.
    Request(RequestFault),
    /// Of an interrupt request.
    Interrupt {
        /// Why: `FR`, bits 39:32 of the second word, `0x20` to `0x2f`.
        reason: FaultReason,
        /// Whose it was: `SID`, bits 15:0 of the second word.
        source: SourceId,
        /// Its index: bits 63:48 of the first word. It means nothing for `0x25`.
        index: InterruptIndex,
    },
}

/// What a fault record says cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadFault {
    /// There is none: `FRCD_REG.F` is 0.
    #[error("there is no fault: FRCD_REG.F is 0")]
    None,
    /// The number is reserved.
    #[error("{0:#04x} is not the number of a fault reason")]
    Unknown(u8),
    /// The type of the address is reserved.
    #[error(transparent)]
    AddressType(#[from] crate::Reserved),
}

impl FaultRecord {
    /// What it says. Bits that are reserved are not looked at.
    ///
    /// # Errors
    /// There is no fault in it, or not one that the specification has.
    pub fn decode(&self) -> Result<Fault, BadFault> {
        if !self.f() {
            return Err(BadFault::None);
        }
        let reason = FaultReason::from_number(self.fr()).ok_or(BadFault::Unknown(self.fr()))?;
        if reason.is_interrupt() {
            let [index, ..] = self.words();
            return Ok(Fault::Interrupt {
                reason,
                source: self.sid(),
                index: InterruptIndex::new((index >> 48) as u16),
            });
        }
        Ok(Fault::Request(RequestFault {
            reason,
            source: self.sid(),
            pasid: self.pp().then(|| self.pv()),
            address: InputAddress::new(self.fi() << 12),
            address_type: self.at()?,
            kind: match (self.t1(), self.t2()) {
                (false, false) => RequestKind::Write,
                (false, true) => RequestKind::PageRequest,
                (true, false) => RequestKind::Read,
                (true, true) => RequestKind::AtomicOp,
            },
            execute: self.pp() && self.exe(),
            privileged: self.pp() && self.privileged(),
        }))
    }
}

impl Fault {
    /// Its record, with `F` set. Every bit that is not of a field is 0.
    #[must_use]
    pub const fn encode(&self) -> FaultRecord {
        match *self {
            Self::Request(fault) => fault.encode(),
            Self::Interrupt {
                reason,
                source,
                index,
            } => FaultRecord::from_words([(index.get() as u64) << 48, 0])
                .with_sid(source)
                .with_fr(reason.number())
                .with_f(true),
        }
    }
}

impl RequestFault {
    const fn encode(&self) -> FaultRecord {
        let record = FaultRecord::from_words([self.address.page().get(), 0])
            .with_sid(self.source)
            .with_fr(self.reason.number())
            .with_at(self.address_type)
            .with_t1(matches!(
                self.kind,
                RequestKind::Read | RequestKind::AtomicOp
            ))
            .with_t2(matches!(
                self.kind,
                RequestKind::PageRequest | RequestKind::AtomicOp
            ))
            .with_f(true);
        match self.pasid {
            Some(pasid) => record
                .with_pp(true)
                .with_pv(pasid)
                .with_exe(self.execute)
                .with_privileged(self.privileged),
            None => record,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn vectors() {
        // By hand: FI 63:12; SID 15:0, T2 28, PRIV 29, EXE 30, PP 31, FR 39:32, PV 59:40, AT 61:60,
        // T1 62, F 63.
        let fault = RequestFault {
            reason: FaultReason::Sgn6,
            source: SourceId::new(0x3afe),
            pasid: Pasid::new(0xa_bcde),
            address: InputAddress::new(0xffff_8000_1234_5000),
            address_type: AddressType::Translated,
            kind: RequestKind::AtomicOp,
            execute: true,
            privileged: true,
        };
        let vectors = [
            (
                Fault::Request(fault),
                [0xffff_8000_1234_5000, 0xeabc_de85_f000_3afe],
            ),
            (
                Fault::Request(RequestFault {
                    reason: FaultReason::Lgn3,
                    pasid: None,
                    address_type: AddressType::TranslationRequest,
                    kind: RequestKind::Read,
                    execute: false,
                    privileged: false,
                    ..fault
                }),
                [0xffff_8000_1234_5000, 0xd000_0006_0000_3afe],
            ),
            (
                Fault::Interrupt {
                    reason: FaultReason::Ir22,
                    source: SourceId::new(0x00f8),
                    index: InterruptIndex::new(0x1234),
                },
                [0x1234_0000_0000_0000, 0x8000_0022_0000_00f8],
            ),
        ];
        for (fault, words) in vectors {
            assert_eq!(fault.encode().words(), words, "{fault:?}");
            assert_eq!(FaultRecord::from_words(words).decode(), Ok(fault));
            let bytes = fault.encode().to_bytes();
            assert_eq!(bytes[..8], words[0].to_le_bytes());
            assert_eq!(FaultRecord::from_bytes(&bytes), fault.encode());
        }
    }

    #[test]
    fn decoding_what_is_encoded_gives_the_fault_for_any_words() {
        let mut random = Random::new(9);
        let mut decoded = 0;
        for _ in 0..500_000 {
            let record = FaultRecord::from_words(random.words());
            match record.decode() {
                Ok(fault) => {
                    assert_eq!(fault.encode().decode(), Ok(fault), "{record:?}");
                    decoded += 1;
                }
                Err(BadFault::None) => assert!(!record.f()),
                Err(BadFault::Unknown(number)) => {
                    assert_eq!(FaultReason::from_number(number), None);
                }
                Err(BadFault::AddressType(reserved)) => assert_eq!(reserved.value(), 3),
            }
        }
        assert!(decoded > 40_000, "{decoded}");
    }
}
