//! `CAP_REG`.

use crate::encoding::encoding;
use crate::record::record;

encoding! {
    /// The shape of a second-stage table: how many levels it has, and how many bits of an address
    /// they take. `CE.AW` (9.3), `PASIDTE.AW` (9.6). Others are reserved.
    pub enum Agaw {
        /// Three levels, 39 bits.
        Three = 0b001,
        /// Four levels, 48 bits.
        Four = 0b010,
        /// Five levels, 57 bits.
        Five = 0b011,
    }
}

impl Agaw {
    /// How many bits of an address its tables take.
    #[must_use]
    pub const fn bits_of_address(self) -> u32 {
        match self {
            Self::Three => 39,
            Self::Four => 48,
            Self::Five => 57,
        }
    }
}

record! {
    /// What a remapping unit can do: the first of two registers, at offset 0x8.
    pub struct Cap(u64), "CAP_REG", "11.4.2";

    /// How many bits a domain identifier has: `4 + 2 * ND`. 7 is reserved.
    num(u8) nd, with_nd: "ND", 0 [2:0];
    /// Advanced fault logging: faults are written to memory.
    flag afl, with_afl: "AFL", 0 [3];
    /// That software must flush the write buffer after it changed a table.
    flag rwbf, with_rwbf: "RWBF", 0 [4];
    /// The protected low-memory region.
    flag plmr, with_plmr: "PLMR", 0 [5];
    /// The protected high-memory region.
    flag phmr, with_phmr: "PHMR", 0 [6];
    /// Caching mode: entries that are not present may be cached, so that software must invalidate
    /// also what it adds. Of virtual units only.
    flag cm, with_cm: "CM", 0 [7];
    /// Second-stage tables of three levels, 39 bits.
    flag sagaw_39, with_sagaw_39: "SAGAW[1]", 0 [9];
    /// Second-stage tables of four levels, 48 bits.
    flag sagaw_48, with_sagaw_48: "SAGAW[2]", 0 [10];
    /// Second-stage tables of five levels, 57 bits.
    flag sagaw_57, with_sagaw_57: "SAGAW[3]", 0 [11];
    /// How many bits an input address of the second stage can have, less 1.
    num(u8) mgaw, with_mgaw: "MGAW", 0 [21:16];
    /// Reads of zero length are let through to pages that can only be written.
    flag zlr, with_zlr: "ZLR", 0 [22];
    /// Where the fault recording registers are, in units of 16 bytes.
    num(u16) fro, with_fro: "FRO", 0 [33:24];
    /// Second-stage pages of 2 MiB.
    flag sslps_2m, with_sslps_2m: "SSLPS[0]", 0 [34];
    /// Second-stage pages of 1 GiB.
    flag sslps_1g, with_sslps_1g: "SSLPS[1]", 0 [35];
    /// Invalidations of pages, by the IOTLB invalidate descriptor.
    flag psi, with_psi: "PSI", 0 [39];
    /// How many fault recording registers there are, less 1.
    num(u8) nfr, with_nfr: "NFR", 0 [47:40];
    /// The largest address mask of the IOTLB invalidate descriptor. The one that is PASID-based
    /// may have any.
    num(u8) mamv, with_mamv: "MAMV", 0 [53:48];
    /// An invalidation can wait for writes that are under way.
    flag dwd, with_dwd: "DWD", 0 [54];
    /// An invalidation can wait for reads that are under way.
    flag drd, with_drd: "DRD", 0 [55];
    /// First-stage pages of 1 GiB.
    flag fs1gp, with_fs1gp: "FS1GP", 0 [56];
    /// Posted interrupts.
    flag pi, with_pi: "PI", 0 [59];
    /// First-stage tables of five levels.
    flag fs5lp, with_fs5lp: "FS5LP", 0 [60];
    /// Enhanced commands.
    flag ecmds, with_ecmds: "ECMDS", 0 [61];
    /// That setting the interrupt remapping table invalidates what was cached of the last one.
    flag esirtps, with_esirtps: "ESIRTPS", 0 [62];
    /// That setting the root table invalidates what was cached of the last one.
    flag esrtps, with_esrtps: "ESRTPS", 0 [63];
}

impl Cap {
    /// How many bits an input address of the second stage can have: `MGAW + 1`.
    #[must_use]
    pub const fn input_bits(self) -> u32 {
        self.mgaw() as u32 + 1
    }

    /// How many fault recording registers there are: `NFR + 1`.
    #[must_use]
    pub const fn fault_records(self) -> u16 {
        self.nfr() as u16 + 1
    }

    /// Where the first fault recording register is, in bytes: `16 * FRO`.
    #[must_use]
    pub const fn fault_record_offset(self) -> u32 {
        (self.fro() as u32) << 4
    }

    /// Whether second-stage tables of this shape are there: `SAGAW`.
    #[must_use]
    pub const fn has(self, agaw: Agaw) -> bool {
        match agaw {
            Agaw::Three => self.sagaw_39(),
            Agaw::Four => self.sagaw_48(),
            Agaw::Five => self.sagaw_57(),
        }
    }
}
