//! `SMMU_IDR5`.

use hardware_records::{bits, encoding, record};

use crate::Ipa;

encoding! {
    /// How many bits an address has: `SMMU_IDR5.OAS`, `CD.IPS`, `STE.S2PS`. `0b111`, 56 bits, is
    /// of SMMUv3.4 with 128-bit descriptors and not covered.
    pub enum AddressSize {
        /// 32 bits.
        Bits32 = 0b000,
        /// 36 bits.
        Bits36 = 0b001,
        /// 40 bits.
        Bits40 = 0b010,
        /// 42 bits.
        Bits42 = 0b011,
        /// 44 bits.
        Bits44 = 0b100,
        /// 48 bits.
        Bits48 = 0b101,
        /// 52 bits.
        Bits52 = 0b110,
    }
}

impl AddressSize {
    /// The number of bits.
    #[must_use]
    pub const fn width(self) -> u32 {
        match self {
            Self::Bits32 => 32,
            Self::Bits36 => 36,
            Self::Bits40 => 40,
            Self::Bits42 => 42,
            Self::Bits44 => 44,
            Self::Bits48 => 48,
            Self::Bits52 => 52,
        }
    }

    /// Whether an address has no bits beyond this size.
    #[must_use]
    pub const fn holds(self, address: Ipa) -> bool {
        bits::from(address.get(), self.width()) == 0
    }

    /// The smaller of the two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if other.width() < self.width() {
            other
        } else {
            self
        }
    }
}

encoding! {
    /// How many bits of an input address one translation table takes at most: `SMMU_IDR5.VAX`.
    /// `0b11` is reserved; `0b10`, 56 bits, is with 128-bit descriptors only and not covered.
    pub enum InputSize {
        /// 48 bits.
        Bits48 = 0b00,
        /// 52 bits.
        Bits52 = 0b01,
    }
}

record! {
    /// What translation the SMMU can do.
    pub struct Idr5(u32), "SMMU_IDR5", "6.3.6";

    /// The bits of an output address.
    coded(AddressSize) oas, with_oas: "OAS", 0 [2:0];
    /// The granule of 4 KiB.
    flag gran4k, with_gran4k: "GRAN4K", 0 [4];
    /// The granule of 16 KiB.
    flag gran16k, with_gran16k: "GRAN16K", 0 [5];
    /// The granule of 64 KiB.
    flag gran64k, with_gran64k: "GRAN64K", 0 [6];
    /// Addresses of 52 bits with granules of 4 and 16 KiB.
    flag ds, with_ds: "DS", 0 [7];
    /// Descriptors of 128 bits.
    flag d128, with_d128: "D128", 0 [8];
    /// The bits of an input address.
    coded(InputSize) vax, with_vax: "VAX", 0 [11:10];
    /// How many transactions can be stalled at once.
    num(u16) stall_max, with_stall_max: "STALL_MAX", 0 [31:16];
}
