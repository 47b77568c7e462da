//! What iommufd vouches for of the hardware's registers.

use crate::{
    BreakBeforeMake, IdRegisters, Idr0, Idr1, Idr3, Idr5, InputSize, Reserved, StallModel,
    StreamTableLevels, TableEndianness,
};

/// The bits of the hardware's `SMMU_IDR0` to `SMMU_IDR5` that iommufd lets a VMM read.
///
/// The kernel reports the registers raw, and says that only these fields are to be used: the
/// others may be wrong for a guest, or become so. Here the others cannot be read. That stage 1 and
/// coherent access are there goes without saying where a nested table can be made; what a device
/// can do by ATS is the device's.
#[doc(alias = "iommu_hw_info_arm_smmuv3")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vouched {
    idr0: Idr0,
    idr1: Idr1,
    idr3: Idr3,
    idr5: Idr5,
}

/// What a VMM wants to offer cannot be offered on this hardware, nor less of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CannotOffer {
    /// A field of the hardware's, or of what is wanted, holds what is reserved.
    #[error(transparent)]
    Reserved(#[from] Reserved),
    /// The hardware behaves in another way than this field would say.
    #[error("the hardware does not behave as the {0} that is to be offered says")]
    Differs(&'static str),
    /// Nothing would be left of this field.
    #[error("the hardware has none of the {0} that are to be offered")]
    Nothing(&'static str),
}

impl Vouched {
    /// `ST_LEVEL` 28:27, `TERM_MODEL` 26, `STALL_MODEL` 25:24, `TTENDIAN` 22:21, `CD2L` 19,
    /// `ASID16` 12, `TTF` 3:2.
    pub const IDR0: u32 = 0x1f68_100c;
    /// `SSIDSIZE` 10:6, `SIDSIZE` 5:0.
    pub const IDR1: u32 = 0x0000_07ff;
    /// `BBML` 12:11, `RIL` 10.
    pub const IDR3: u32 = 0x0000_1c00;
    /// `VAX` 11:10, `DS` 7, `GRAN64K` 6, `GRAN16K` 5, `GRAN4K` 4. `DS` since Linux 7.3.
    pub const IDR5: u32 = 0x0000_0cf0;

    /// Of what [`Self::offer`] is given, the bits that are the VMM's own to answer for, since it
    /// is its emulation that has them: `ST_LEVEL`, `PRI`, `SEV`, `MSI`, `ATS`, `COHACC`.
    const EMULATED_IDR0: u32 = 0x1801_6410;
    /// All but `ATTR_TYPES_OVR`, `ATTR_PERMS_OVR` and `SSIDSIZE`.
    const EMULATED_IDR1: u32 = 0xf3ff_f83f;
    /// `PPS`.
    const EMULATED_IDR3: u32 = 0x0000_0020;
    /// `STALL_MAX` and `OAS`.
    const EMULATED_IDR5: u32 = 0xffff_0007;

    /// What is vouched for of the registers that the kernel reports.
    #[must_use]
    pub const fn new(idr: [u32; 6]) -> Self {
        let [idr0, idr1, _, idr3, _, idr5] = idr;
        Self {
            idr0: Idr0::from_bits(idr0 & Self::IDR0),
            idr1: Idr1::from_bits(idr1 & Self::IDR1),
            idr3: Idr3::from_bits(idr3 & Self::IDR3),
            idr5: Idr5::from_bits(idr5 & Self::IDR5),
        }
    }

    /// The shapes of the stream table: `SMMU_IDR0.ST_LEVEL`.
    ///
    /// # Errors
    /// The encoding is reserved.
    pub const fn st_level(&self) -> Result<StreamTableLevels, Reserved> {
        self.idr0.st_level()
    }

    /// That a terminated transaction is always aborted: `SMMU_IDR0.TERM_MODEL`.
    #[must_use]
    pub const fn term_model(&self) -> bool {
        self.idr0.term_model()
    }

    /// What can become of a transaction that faults: `SMMU_IDR0.STALL_MODEL`.
    ///
    /// # Errors
    /// The encoding is reserved.
    pub const fn stall_model(&self) -> Result<StallModel, Reserved> {
        self.idr0.stall_model()
    }

    /// The byte orders of translation tables: `SMMU_IDR0.TTENDIAN`.
    ///
    /// # Errors
    /// The encoding is reserved.
    pub const fn ttendian(&self) -> Result<TableEndianness, Reserved> {
        self.idr0.ttendian()
    }

    /// Two-level tables of context descriptors: `SMMU_IDR0.CD2L`.
    #[must_use]
    pub const fn cd2l(&self) -> bool {
        self.idr0.cd2l()
    }

    /// ASIDs of 16 bits: `SMMU_IDR0.ASID16`.
    #[must_use]
    pub const fn asid16(&self) -> bool {
        self.idr0.asid16()
    }

    /// Translation tables of VMSAv8-32 LPAE: `SMMU_IDR0.TTF[0]`.
    #[must_use]
    pub const fn ttf_aarch32(&self) -> bool {
        self.idr0.ttf_aarch32()
    }

    /// Translation tables of VMSAv8-64: `SMMU_IDR0.TTF[1]`.
    #[must_use]
    pub const fn ttf_aarch64(&self) -> bool {
        self.idr0.ttf_aarch64()
    }

    /// The bits of a substream number: `SMMU_IDR1.SSIDSIZE`.
    #[must_use]
    pub const fn ssidsize(&self) -> u8 {
        self.idr1.ssidsize()
    }

    /// The bits of a stream number: `SMMU_IDR1.SIDSIZE`.
    #[must_use]
    pub const fn sidsize(&self) -> u8 {
        self.idr1.sidsize()
    }

    /// Invalidations of ranges: `SMMU_IDR3.RIL`.
    #[must_use]
    pub const fn ril(&self) -> bool {
        self.idr3.ril()
    }

    /// What may be left out of a change of a block: `SMMU_IDR3.BBML`.
    ///
    /// # Errors
    /// The encoding is reserved.
    pub const fn bbml(&self) -> Result<BreakBeforeMake, Reserved> {
        self.idr3.bbml()
    }

    /// The granule of 4 KiB: `SMMU_IDR5.GRAN4K`.
    #[must_use]
    pub const fn gran4k(&self) -> bool {
        self.idr5.gran4k()
    }

    /// The granule of 16 KiB: `SMMU_IDR5.GRAN16K`.
    #[must_use]
    pub const fn gran16k(&self) -> bool {
        self.idr5.gran16k()
    }

    /// The granule of 64 KiB: `SMMU_IDR5.GRAN64K`.
    #[must_use]
    pub const fn gran64k(&self) -> bool {
        self.idr5.gran64k()
    }

    /// Addresses of 52 bits with granules of 4 and 16 KiB: `SMMU_IDR5.DS`.
    #[must_use]
    pub const fn ds(&self) -> bool {
        self.idr5.ds()
    }

    /// The bits of an input address: `SMMU_IDR5.VAX`.
    ///
    /// # Errors
    /// The encoding is reserved, or not covered.
    pub const fn vax(&self) -> Result<InputSize, Reserved> {
        self.idr5.vax()
    }

    /// What a guest can be told, of what a VMM wants to tell it: nothing of stage 1 that the
    /// hardware, which walks the guest's tables, does not do.
    ///
    /// Of a field that is vouched for, the guest gets what both have; of `STALL_MODEL` and
    /// `TTENDIAN` what is wanted, if the hardware can behave so; `TERM_MODEL` is set if either is.
    /// Fields of the VMM's own emulation stay as they are wanted: queues, the shape and size of
    /// the stream table (which the VMM reads), `ATS`, `PRI`, `MSI`, `SEV`, `COHACC`, `STALL_MAX`,
    /// `OAS`, and `SMMU_IIDR` and `SMMU_AIDR`. `S1P` is set. All else is cleared, for the hardware
    /// would have to do it and nobody vouches that it can: stage 2, EL2, `HTTU`, `HAD` and so on.
    ///
    /// # Errors
    /// No table that a guest makes in accordance with what is wanted would work on the hardware,
    /// or a field holds what is reserved.
    pub const fn offer(&self, wanted: &IdRegisters) -> Result<IdRegisters, CannotOffer> {
        macro_rules! known {
            ($value:expr) => {
                match $value {
                    Ok(value) => value,
                    Err(reserved) => return Err(CannotOffer::Reserved(reserved)),
                }
            };
        }
        let stall_model = known!(wanted.idr0.stall_model());
        match (known!(self.stall_model()), stall_model) {
            (StallModel::Both, StallModel::Both | StallModel::TerminateOnly)
            | (StallModel::TerminateOnly, StallModel::TerminateOnly)
            | (StallModel::Both | StallModel::StallOnly, StallModel::StallOnly) => {}
            _ => return Err(CannotOffer::Differs("SMMU_IDR0.STALL_MODEL")),
        }
        let endianness = known!(wanted.idr0.ttendian());
        match (known!(self.ttendian()), endianness) {
            (TableEndianness::Mixed, _)
            | (TableEndianness::Little, TableEndianness::Little)
            | (TableEndianness::Big, TableEndianness::Big) => {}
            _ => return Err(CannotOffer::Differs("SMMU_IDR0.TTENDIAN")),
        }
        let idr0 = Idr0::from_bits(wanted.idr0.bits() & Self::EMULATED_IDR0)
            .with_s1p(true)
            .with_stall_model(stall_model)
            .with_ttendian(endianness)
            .with_term_model(self.term_model() || wanted.idr0.term_model())
            .with_cd2l(self.cd2l() && wanted.idr0.cd2l())
            .with_asid16(self.asid16() && wanted.idr0.asid16())
            .with_ttf_aarch32(self.ttf_aarch32() && wanted.idr0.ttf_aarch32())
            .with_ttf_aarch64(self.ttf_aarch64() && wanted.idr0.ttf_aarch64());
        if !idr0.ttf_aarch32() && !idr0.ttf_aarch64() {
            return Err(CannotOffer::Nothing("SMMU_IDR0.TTF"));
        }

        let ssidsize = if wanted.idr1.ssidsize() < self.ssidsize() {
            wanted.idr1.ssidsize()
        } else {
            self.ssidsize()
        };
        let idr1 =
            Idr1::from_bits(wanted.idr1.bits() & Self::EMULATED_IDR1).with_ssidsize(ssidsize);

        let bbml = match (known!(self.bbml()), known!(wanted.idr3.bbml())) {
            (BreakBeforeMake::Level0, _) | (_, BreakBeforeMake::Level0) => BreakBeforeMake::Level0,
            (BreakBeforeMake::Level1, _) | (_, BreakBeforeMake::Level1) => BreakBeforeMake::Level1,
            (BreakBeforeMake::Level2, BreakBeforeMake::Level2) => BreakBeforeMake::Level2,
        };
        let idr3 = Idr3::from_bits(wanted.idr3.bits() & Self::EMULATED_IDR3)
            .with_ril(self.ril() && wanted.idr3.ril())
            .with_bbml(bbml);

        let vax = match (known!(self.vax()), known!(wanted.idr5.vax())) {
            (InputSize::Bits52, InputSize::Bits52) => InputSize::Bits52,
            _ => InputSize::Bits48,
        };
        let idr5 = Idr5::from_bits(wanted.idr5.bits() & Self::EMULATED_IDR5)
            .with_vax(vax)
            .with_ds(self.ds() && wanted.idr5.ds())
            .with_gran4k(self.gran4k() && wanted.idr5.gran4k())
            .with_gran16k(self.gran16k() && wanted.idr5.gran16k())
            .with_gran64k(self.gran64k() && wanted.idr5.gran64k());
        if !idr5.gran4k() && !idr5.gran16k() && !idr5.gran64k() {
            return Err(CannotOffer::Nothing("SMMU_IDR5.GRAN*"));
        }

        Ok(IdRegisters {
            idr0,
            idr1,
            idr2: crate::Idr2::from_bits(0),
            idr3,
            idr4: crate::Idr4::from_bits(0),
            idr5,
            iidr: wanted.iidr,
            aidr: wanted.aidr,
        })
    }
}
