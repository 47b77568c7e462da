//! All identification registers together.

use crate::{Aidr, Idr0, Idr1, Idr2, Idr3, Idr4, Idr5, Iidr};

/// The registers by which an SMMU says what it is and can do (6.3.1 to 6.3.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdRegisters {
    /// `SMMU_IDR0`, at offset 0x0.
    pub idr0: Idr0,
    /// `SMMU_IDR1`, at offset 0x4.
    pub idr1: Idr1,
    /// `SMMU_IDR2`, at offset 0x8.
    pub idr2: Idr2,
    /// `SMMU_IDR3`, at offset 0xc.
    pub idr3: Idr3,
    /// `SMMU_IDR4`, at offset 0x10.
    pub idr4: Idr4,
    /// `SMMU_IDR5`, at offset 0x14.
    pub idr5: Idr5,
    /// `SMMU_IIDR`, at offset 0x18.
    pub iidr: Iidr,
    /// `SMMU_AIDR`, at offset 0x1c.
    pub aidr: Aidr,
}

impl IdRegisters {
    /// The registers with these bits: `SMMU_IDR0` to `SMMU_IDR5`, `SMMU_IIDR` and `SMMU_AIDR`.
    #[must_use]
    pub const fn from_bits(idr: [u32; 6], iidr: u32, aidr: u32) -> Self {
        let [idr0, idr1, idr2, idr3, idr4, idr5] = idr;
        Self {
            idr0: Idr0::from_bits(idr0),
            idr1: Idr1::from_bits(idr1),
            idr2: Idr2::from_bits(idr2),
            idr3: Idr3::from_bits(idr3),
            idr4: Idr4::from_bits(idr4),
            idr5: Idr5::from_bits(idr5),
            iidr: Iidr::from_bits(iidr),
            aidr: Aidr::from_bits(aidr),
        }
    }

    /// The bits of `SMMU_IDR0` to `SMMU_IDR5`.
    #[must_use]
    pub const fn idr(&self) -> [u32; 6] {
        [
            self.idr0.bits(),
            self.idr1.bits(),
            self.idr2.bits(),
            self.idr3.bits(),
            self.idr4.bits(),
            self.idr5.bits(),
        ]
    }
}
