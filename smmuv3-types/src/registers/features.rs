//! What an SMMU offers, as far as it decides what tables mean.

use crate::command::CommandFeatures;
use crate::{
    AddressSize, IdRegisters, InputSize, Reserved, StallModel, StreamTableLevels, SubstreamBits,
    TableEndianness, TableUpdate,
};

/// What an SMMU offers, read from its identification registers: what decides whether a structure
/// is valid. A VMM makes it of the registers that *its guest* reads, not of the hardware's.
///
/// # Invariants
/// Its registers hold nothing reserved, and nothing that changes what this crate decodes without
/// being covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    registers: IdRegisters,
    stall_model: StallModel,
    endianness: TableEndianness,
    stream_table: StreamTableLevels,
    substream_bits: SubstreamBits,
    stream_bits: u8,
    input_size: InputSize,
    output_size: AddressSize,
    commands: CommandFeatures,
}

/// Identification registers that no SMMU has, or none that is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadFeatures {
    /// A field holds what is reserved.
    #[error(transparent)]
    Reserved(#[from] Reserved),
    /// The feature of this field changes what tables mean, and this crate does not know how.
    #[error("{0} is a feature that is not covered")]
    NotCovered(&'static str),
}

impl Features {
    /// What these registers offer.
    ///
    /// # Errors
    /// A field holds a reserved value: `ST_LEVEL`, `STALL_MODEL`, `TTENDIAN`, `SIDSIZE` over 32,
    /// `SSIDSIZE` over 20, `VAX`, `OAS`. Or a feature is on that changes what tables mean and
    /// is not covered: `SMMU_IDR0.HTTU` of `0b11` ([`TableUpdate::TableAccessFlag`]),
    /// `SMMU_IDR5.D128`, `SMMU_IDR3.S1PI`, `SMMU_IDR3.AIE`, `SMMU_IDR3.THE`, `SMMU_IDR3.DPT`.
    pub const fn new(registers: IdRegisters) -> Result<Self, BadFeatures> {
        // No `?` in a `const fn`.
        macro_rules! known {
            ($value:expr) => {
                match $value {
                    Ok(value) => value,
                    Err(reserved) => return Err(BadFeatures::Reserved(reserved)),
                }
            };
        }
        let IdRegisters {
            idr0,
            idr1,
            idr3,
            idr5,
            ..
        } = registers;
        // With it `CD.HAFT` has the SMMU write to tables that a walk goes through, not only to the
        // block or page at its end.
        if matches!(idr0.httu(), TableUpdate::TableAccessFlag) {
            return Err(BadFeatures::NotCovered("SMMU_IDR0.HTTU"));
        }
        if idr5.d128() {
            return Err(BadFeatures::NotCovered("SMMU_IDR5.D128"));
        }
        if idr3.s1pi() {
            return Err(BadFeatures::NotCovered("SMMU_IDR3.S1PI"));
        }
        if idr3.aie() {
            return Err(BadFeatures::NotCovered("SMMU_IDR3.AIE"));
        }
        if idr3.the() {
            return Err(BadFeatures::NotCovered("SMMU_IDR3.THE"));
        }
        if idr3.dpt() {
            return Err(BadFeatures::NotCovered("SMMU_IDR3.DPT"));
        }
        let Some(substream_bits) = SubstreamBits::new(idr1.ssidsize()) else {
            return Err(BadFeatures::Reserved(Reserved::new(
                "SMMU_IDR1.SSIDSIZE",
                idr1.ssidsize() as u64,
            )));
        };
        if idr1.sidsize() > 32 {
            return Err(BadFeatures::Reserved(Reserved::new(
                "SMMU_IDR1.SIDSIZE",
                idr1.sidsize() as u64,
            )));
        }
        let stall_model = known!(idr0.stall_model());
        Ok(Self {
            registers,
            commands: super::commands::features(&registers, stall_model, substream_bits),
            stall_model,
            endianness: known!(idr0.ttendian()),
            stream_table: known!(idr0.st_level()),
            substream_bits,
            stream_bits: idr1.sidsize(),
            input_size: known!(idr5.vax()),
            output_size: known!(idr5.oas()),
        })
    }

    /// What they say about the commands that the SMMU takes.
    pub(crate) const fn commands(&self) -> &CommandFeatures {
        &self.commands
    }

    /// The registers it was read from.
    #[must_use]
    pub const fn registers(&self) -> &IdRegisters {
        &self.registers
    }

    /// What can become of a transaction that faults: `SMMU_IDR0.STALL_MODEL`.
    #[must_use]
    pub const fn stall_model(&self) -> StallModel {
        self.stall_model
    }

    /// The byte orders of translation tables: `SMMU_IDR0.TTENDIAN`.
    #[must_use]
    pub const fn endianness(&self) -> TableEndianness {
        self.endianness
    }

    /// The shapes of the stream table: `SMMU_IDR0.ST_LEVEL`.
    #[must_use]
    pub const fn stream_table(&self) -> StreamTableLevels {
        self.stream_table
    }

    /// The flags that the SMMU writes into translation tables: `SMMU_IDR0.HTTU`. Never
    /// [`TableUpdate::TableAccessFlag`].
    #[must_use]
    pub const fn table_update(&self) -> TableUpdate {
        self.registers.idr0.httu()
    }

    /// The bits of a substream number: `SMMU_IDR1.SSIDSIZE`.
    #[must_use]
    pub const fn substream_bits(&self) -> SubstreamBits {
        self.substream_bits
    }

    /// The bits of a stream number, at most 32: `SMMU_IDR1.SIDSIZE`.
    #[must_use]
    pub const fn stream_bits(&self) -> u8 {
        self.stream_bits
    }

    /// The bits of an input address for each translation table: `SMMU_IDR5.VAX`.
    #[must_use]
    pub const fn input_size(&self) -> InputSize {
        self.input_size
    }

    /// The bits of an output address: `SMMU_IDR5.OAS`.
    #[must_use]
    pub const fn output_size(&self) -> AddressSize {
        self.output_size
    }
}
