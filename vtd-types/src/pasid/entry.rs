//! A PASID table entry as it lies in memory.

use crate::encoding::encoding;
use crate::record::record;
use crate::{Agaw, DomainId};

encoding! {
    /// What is done with the requests of a PASID: `PASIDTE.PGTT` (9.6). Others are reserved.
    pub enum PasidTranslationType {
        /// The first stage translates. Where there is `ECAP_REG.FSTS`.
        FirstStage = 0b001,
        /// The second stage translates. Where there is `ECAP_REG.SSTS`.
        SecondStage = 0b010,
        /// Both translate. Where there is `ECAP_REG.NEST`.
        Nested = 0b011,
        /// Requests go through untranslated. Where there is `ECAP_REG.PT`.
        PassThrough = 0b100,
    }
}

encoding! {
    /// How many levels a first-stage table has: `PASIDTE.FSPM` (9.6). Others are reserved.
    pub enum FirstStageLevels {
        /// Four, 48 bits.
        Four = 0b00,
        /// Five, 57 bits. Where there is `CAP_REG.FS5LP`.
        Five = 0b01,
    }
}

impl FirstStageLevels {
    /// How many bits of an address its tables take.
    #[must_use]
    pub const fn bits_of_address(self) -> u32 {
        match self {
            Self::Four => 48,
            Self::Five => 57,
        }
    }
}

record! {
    /// A PASID table entry: what becomes of the requests of a PASID, in scalable mode.
    ///
    /// Which of the fields mean something depends on others and on the unit:
    /// [`PasidEntry::decode`] says what an entry comes to. Words 3 to 7 are reserved.
    pub struct PasidEntry([u64; 8]), "PASIDTE", "9.6";

    /// Whether there is anything.
    flag p, with_p: "P", 0 [0];
    /// Whether faults of requests with this PASID are not recorded, as far as they are qualified.
    flag fpd, with_fpd: "FPD", 0 [1];
    /// The shape of the second-stage table.
    coded(Agaw) aw, with_aw: "AW", 0 [4:2];
    /// Whether the second stage allows to execute by its `X` flags.
    flag ssee, with_ssee: "SSEE", 0 [5];
    /// What is done with requests.
    coded(PasidTranslationType) pgtt, with_pgtt: "PGTT", 0 [8:6];
    /// Whether accessed and dirty flags of the second stage are set.
    flag ssade, with_ssade: "SSADE", 0 [9];
    /// Where the second-stage table is.
    gpa ssptptr, with_ssptptr: "SSPTPTR", 0 [51:12];

    /// The domain: the tag of the translations.
    id(DomainId) did, with_did: "DID", 1 [15:0];
    /// Whether accesses to the tables are snooped.
    flag pwsnp, with_pwsnp: "PWSNP", 1 [23];
    /// Whether requests are snooped, whatever they say.
    flag pgsnp, with_pgsnp: "PGSNP", 1 [24];
    /// Whether caches are not filled.
    flag cd, with_cd: "CD", 1 [25];
    /// Whether second-stage pages have extended memory types.
    flag emte, with_emte: "EMTE", 1 [26];
    /// The extended memory type of accesses to second-stage tables.
    num(u8) emt, with_emt: "EMT", 1 [29:27];
    /// Whether the first first-stage table is written through.
    flag pwt, with_pwt: "PWT", 1 [30];
    /// Whether the first first-stage table is not cached.
    flag pcd, with_pcd: "PCD", 1 [31];
    /// The page attribute table of the first stage: eight memory types of four bits.
    num(u32) pat, with_pat: "PAT", 1 [63:32];

    /// Whether requests of the supervisor are allowed.
    flag sre, with_sre: "SRE", 2 [0];
    /// Whether requests to execute are allowed.
    flag ere, with_ere: "ERE", 2 [1];
    /// How many levels the first-stage table has.
    coded(FirstStageLevels) fspm, with_fspm: "FSPM", 2 [3:2];
    /// Whether the supervisor cannot write what is read only.
    flag wpe, with_wpe: "WPE", 2 [4];
    /// Whether the `XD` flags of the first stage count.
    flag nxe, with_nxe: "NXE", 2 [5];
    /// Whether the supervisor cannot execute what is the user's.
    flag smep, with_smep: "SMEP", 2 [6];
    /// Whether extended accessed flags of the first stage are set.
    flag eafe, with_eafe: "EAFE", 2 [7];
    /// Where the first-stage table is.
    gpa fsptptr, with_fsptptr: "FSPTPTR", 2 [51:12];
}
