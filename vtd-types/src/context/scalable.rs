//! Context entries of scalable mode.

use crate::record::record;
use crate::{FaultReason, Features, Gpa, HostAddressWidth, Pasid};

record! {
    /// A context entry of scalable mode: where the PASID directory of a device is.
    pub struct ScalableContextEntry([u64; 4]), "SMCE", "9.4";

    /// Whether there is anything.
    flag p, with_p: "P", 0 [0];
    /// Whether faults of the device's requests are not recorded, as far as they are qualified.
    flag fpd, with_fpd: "FPD", 0 [1];
    /// Whether device-TLBs are allowed. Where there is `ECAP_REG.DT`.
    flag dte, with_dte: "DTE", 0 [2];
    /// Whether requests with a PASID are allowed. Where there is `ECAP_REG.PASID`.
    flag paside, with_paside: "PASIDE", 0 [3];
    /// Whether page requests are allowed. Where there is `ECAP_REG.PRS`.
    flag pre, with_pre: "PRE", 0 [4];
    /// How many entries the PASID directory has: 2<sup>`PDTS + 7`</sup>, each of 64 PASIDs.
    num(u8) pdts, with_pdts: "PDTS", 0 [11:9];
    /// Where the PASID directory is.
    gpa pasiddirptr, with_pasiddirptr: "PASIDDIRPTR", 0 [51:12];

    /// The PASID that requests without one are translated with. Where there is `ECAP_REG.RPS`.
    pasid rid_pasid, with_rid_pasid: "RID_PASID", 1 [19:0];
    /// Whether requests without a PASID are of the supervisor. Where there is `ECAP_REG.RPRIVS`.
    flag rid_priv, with_rid_priv: "RID_PRIV", 1 [20];
}

/// What a valid context entry of scalable mode says: where the PASID directory of a device is, and
/// what the device may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PasidDirectory {
    /// Where it is: `SMCE.PASIDDIRPTR`.
    pub base: Gpa,
    /// How many bits of a PASID it takes, with the tables it points to: `SMCE.PDTS + 13`, from 13
    /// to 20.
    pub pasid_bits: u8,
    /// The PASID that requests without one are translated with: `SMCE.RID_PASID`, or 0 where that
    /// is not there.
    pub rid_pasid: Pasid,
    /// Whether requests without a PASID are of the supervisor: `SMCE.RID_PRIV`.
    pub rid_privileged: bool,
    /// Whether requests with a PASID are allowed: `SMCE.PASIDE`.
    pub pasids: bool,
    /// Whether device-TLBs are allowed: `SMCE.DTE`.
    pub device_tlb: bool,
    /// Whether page requests are allowed: `SMCE.PRE`.
    pub page_requests: bool,
    /// Whether faults are not recorded: `SMCE.FPD`.
    pub faults_disabled: bool,
    /// How many bits a physical address has.
    pub width: HostAddressWidth,
}

/// Why a context entry of scalable mode is not valid. Requests are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadScalableContextEntry {
    /// `SMCE.P` is 0.
    #[error("the context entry is not present: SMCE.P is 0")]
    NotPresent,
    /// Bits are set that are reserved, as such or for want of a capability.
    #[error("word {word} of the context entry has the reserved bits {bits:#x}")]
    Reserved {
        /// Which word, from 0.
        word: u8,
        /// Those bits.
        bits: u64,
    },
}

impl BadScalableContextEntry {
    /// The fault that a request is blocked with.
    #[must_use]
    pub const fn reason(&self) -> FaultReason {
        match self {
            Self::NotPresent => FaultReason::Sct2,
            Self::Reserved { .. } => FaultReason::Sct3,
        }
    }
}

impl ScalableContextEntry {
    /// Bits 8:5 of word 0.
    const RESERVED_0: u64 = 0x1e0;
    /// Bits 63:21 of word 1.
    const RESERVED_1: u64 = 0xffff_ffff_ffe0_0000;

    /// The bits of each word that are reserved on a unit with these features.
    const fn reserved(features: &Features) -> [u64; 4] {
        let ecap = features.ecap();
        let mut word0 = Self::RESERVED_0 | features.width().beyond();
        if !ecap.dt() {
            word0 |= 1 << 2;
        }
        if !ecap.pasid() {
            word0 |= 1 << 3;
        }
        if !ecap.prs() {
            word0 |= 1 << 4;
        }
        let mut word1 = Self::RESERVED_1;
        if !ecap.rprivs() {
            word1 |= 1 << 20;
        }
        [word0, word1, u64::MAX, u64::MAX]
    }

    /// What the entry comes to on a unit with these features (9.4).
    ///
    /// # Errors
    /// Why requests are blocked.
    pub fn decode(&self, features: &Features) -> Result<PasidDirectory, BadScalableContextEntry> {
        if !self.p() {
            return Err(BadScalableContextEntry::NotPresent);
        }
        let words = self.words().into_iter();
        for (word, (bits, reserved)) in (0..).zip(words.zip(Self::reserved(features))) {
            if bits & reserved != 0 {
                return Err(BadScalableContextEntry::Reserved {
                    word,
                    bits: bits & reserved,
                });
            }
        }
        Ok(PasidDirectory {
            base: self.pasiddirptr(),
            pasid_bits: self.pdts() + 13,
            rid_pasid: if features.ecap().rps() {
                self.rid_pasid()
            } else {
                Pasid::ZERO
            },
            rid_privileged: self.rid_priv(),
            pasids: self.paside(),
            device_tlb: self.dte(),
            page_requests: self.pre(),
            faults_disabled: self.fpd(),
            width: features.width(),
        })
    }
}
