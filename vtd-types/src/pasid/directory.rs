//! From a PASID to its table entry.

use crate::record::record;
use crate::{FaultReason, Gpa, HostAddressWidth, Pasid, PasidDirectory, bits};

record! {
    /// An entry of the PASID directory: where the table entries of 64 PASIDs are.
    pub struct PasidDirectoryEntry([u64; 1]), "PASIDDE", "9.5";

    /// Whether there are any.
    flag p, with_p: "P", 0 [0];
    /// Whether faults of requests with these PASIDs are not recorded, as far as they are qualified.
    flag fpd, with_fpd: "FPD", 0 [1];
    /// Where the table is.
    gpa smptblptr, with_smptblptr: "SMPTBLPTR", 0 [51:12];
}

/// A lookup that needs a [`PasidDirectoryEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct PasidLookup {
    pasid: Pasid,
    address: Gpa,
    width: HostAddressWidth,
}

/// A request has no PASID table entry. It is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoPasidEntry {
    /// It has a PASID, and the device may not: `SMCE.PASIDE` is 0.
    #[error("SMCE.PASIDE is 0, and the request has {0}")]
    NotEnabled(Pasid),
    /// The PASID is beyond the directory.
    #[error("PASID {pasid} is beyond the directory, of {bits} bits")]
    BeyondDirectory {
        /// The PASID.
        pasid: Pasid,
        /// How many bits of a PASID the directory takes.
        bits: u8,
    },
    /// It has no PASID, and `SMCE.RID_PASID` is beyond the directory.
    #[error("SMCE.RID_PASID {0} is beyond the directory")]
    RidPasid(Pasid),
    /// `PASIDDE.P` is 0.
    #[error("the PASID directory entry is not present: PASIDDE.P is 0")]
    NotPresent,
    /// Bits of the directory entry are set that are reserved.
    #[error("the PASID directory entry has the reserved bits {0:#x}")]
    Reserved(u64),
}

impl NoPasidEntry {
    /// The fault that the request is blocked with.
    #[must_use]
    pub const fn reason(&self) -> FaultReason {
        match self {
            Self::NotEnabled(_) => FaultReason::Sct6,
            Self::BeyondDirectory { .. } => FaultReason::Sct7,
            Self::RidPasid(_) => FaultReason::Sct9,
            Self::NotPresent => FaultReason::Spd2,
            Self::Reserved(_) => FaultReason::Spd3,
        }
    }
}

impl PasidDirectory {
    /// Where the directory entry of a request is: one of this PASID, or of none (3.4.3).
    ///
    /// A read that fails is [`FaultReason::Spd1`], which is for the caller to record.
    ///
    /// # Errors
    /// There is none.
    pub const fn locate(&self, pasid: Option<Pasid>) -> Result<PasidLookup, NoPasidEntry> {
        let number = match pasid {
            Some(pasid) if !self.pasids => return Err(NoPasidEntry::NotEnabled(pasid)),
            Some(pasid) => pasid,
            None => self.rid_pasid,
        };
        if bits::from(number.get() as u64, self.pasid_bits as u32) != 0 {
            return Err(match pasid {
                Some(pasid) => NoPasidEntry::BeyondDirectory {
                    pasid,
                    bits: self.pasid_bits,
                },
                None => NoPasidEntry::RidPasid(number),
            });
        }
        // At most 2^14 entries of 8 bytes, from a page on: the directory need not be aligned to its
        // size. What is past the last address is cut as hardware cuts it.
        let offset = bits::from(number.get() as u64, 6) << 3;
        Ok(PasidLookup {
            pasid: number,
            address: self.width.cut(self.base.get().wrapping_add(offset)),
            width: self.width,
        })
    }
}

impl PasidLookup {
    /// Where the 8 bytes of the [`PasidDirectoryEntry`] are.
    #[must_use]
    pub const fn address(&self) -> Gpa {
        self.address
    }

    /// The PASID whose entry it is.
    #[must_use]
    pub const fn pasid(&self) -> Pasid {
        self.pasid
    }

    /// Where the 64 bytes of the [`PasidEntry`](crate::PasidEntry) are, with the directory entry as
    /// it was read.
    ///
    /// A read that fails is [`FaultReason::Spt1`], which is for the caller to record.
    ///
    /// # Errors
    /// The directory entry has no table, or is malformed.
    pub const fn resolve(self, entry: PasidDirectoryEntry) -> Result<Gpa, NoPasidEntry> {
        if !entry.p() {
            return Err(NoPasidEntry::NotPresent);
        }
        let reserved = entry.words()[0] & (0xffc | self.width.beyond());
        if reserved != 0 {
            return Err(NoPasidEntry::Reserved(reserved));
        }
        // The table is a page of 64 entries.
        let index = self.pasid.get() as u64 & 0x3f;
        Ok(Gpa::masked(entry.smptblptr().get() | index << 6))
    }
}
