//! The stream table: from the number of a stream to its entry (3.3.1, 5.1).

mod descriptor;

pub use descriptor::L1StreamDescriptor;

use hardware_records::bits;

use crate::{
    AddressSize, Features, Ipa, Ste, StreamId, StreamTableFormat, StreamTableLevels,
    StreamTableSplit, StrtabBase, StrtabBaseCfg,
};

/// A stream table as the registers describe it.
///
/// It reads no memory: [`Self::locate`] says what to read.
///
/// ```
/// use smmuv3_types::{
///     Features, IdRegisters, Ipa, L1StreamDescriptor, StreamId, StreamLookup, StreamTable,
///     StrtabBase, StrtabBaseCfg,
/// };
///
/// // Two levels: LOG2SIZE 16, SPLIT 8, FMT 1.
/// let features = Features::new(IdRegisters::from_bits([0x0d44101b, 0x10, 0, 0, 0, 0x74], 0, 1))?;
/// let table = StreamTable::from_registers(
///     StrtabBase::from_bits(0x4000_0000),
///     StrtabBaseCfg::from_bits(1 << 16 | 8 << 6 | 16),
///     &features,
/// );
/// let StreamLookup::Descriptor(lookup) = table.locate(StreamId::new(0x0102))? else {
///     panic!("a table of two levels");
/// };
/// assert_eq!(lookup.address(), Ipa::new(0x4000_0008).expect("of 52 bits"));
/// // … read 8 bytes there …
/// let read = 0x5000_0009_u64.to_le_bytes();
/// let entry = lookup.resolve(L1StreamDescriptor::from_bytes(&read))?;
/// assert_eq!(entry, Ipa::new(0x5000_0080).expect("of 52 bits"));
/// // … read the 64 bytes of the entry there.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamTable {
    base: Ipa,
    stream_bits: u8,
    split: Option<StreamTableSplit>,
    size: AddressSize,
}

/// What comes next on the way to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum StreamLookup {
    /// Read the 64 bytes of the [`Ste`] here.
    Entry(Ipa),
    /// Read a descriptor of level 1.
    Descriptor(StreamDescriptorLookup),
}

/// A lookup that needs a descriptor of level 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct StreamDescriptorLookup {
    stream: StreamId,
    address: Ipa,
    split: StreamTableSplit,
    size: AddressSize,
}

/// There is no entry for a stream. What comes on it is aborted, and `C_BAD_STREAMID` recorded if
/// `SMMU_CR2.RECINVSID` is set (7.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadStreamId {
    /// The stream is beyond the table.
    #[error("stream {stream} is beyond the table of 2^{bits} streams")]
    BeyondTable {
        /// The stream.
        stream: StreamId,
        /// How many bits of a stream number the table takes.
        bits: u8,
    },
    /// Its level 1 descriptor has no array of entries, or one that is larger than can be.
    #[error("stream {stream} has a descriptor of level 1 with a Span of {span}")]
    NoArray {
        /// The stream.
        stream: StreamId,
        /// `L1STD.Span`.
        span: u8,
    },
    /// The stream is beyond the array of its level 1 descriptor.
    #[error(
        "stream {stream} is beyond the array of its descriptor of level 1, with a Span of {span}"
    )]
    BeyondArray {
        /// The stream.
        stream: StreamId,
        /// `L1STD.Span`.
        span: u8,
    },
}

const ENTRY_BITS: u32 = Ste::BYTES.trailing_zeros();
const DESCRIPTOR_BITS: u32 = L1StreamDescriptor::BYTES.trailing_zeros();

/// The address, cut to what the SMMU has: what it may do with one that is beyond (3.4.3).
const fn cut(address: u64, size: AddressSize) -> Ipa {
    Ipa::masked(address & bits::low(size.width()))
}

impl StreamTable {
    /// The table that the registers describe (6.3.24, 6.3.25). Reserved encodings are taken for
    /// what they behave as; two levels, where the SMMU has only one, for a linear table. The base
    /// is aligned as the SMMU aligns it, and cut to the output size.
    #[must_use]
    pub fn from_registers(base: StrtabBase, cfg: StrtabBaseCfg, features: &Features) -> Self {
        let two_levels = features.stream_table() == StreamTableLevels::Two
            && cfg.fmt() == Ok(StreamTableFormat::TwoLevel);
        let split = two_levels.then(|| cfg.split().unwrap_or(StreamTableSplit::Bits6));
        let log2size = cfg.log2size();
        // The alignment goes by what the register says, also beyond SIDSIZE.
        let table_bits = match split {
            None => u32::from(log2size).saturating_add(ENTRY_BITS),
            Some(split) => u32::from(log2size.saturating_sub(split.bits()))
                .saturating_add(DESCRIPTOR_BITS)
                .max(6),
        };
        let size = features.output_size();
        Self {
            base: cut(base.addr().get() & !bits::low(table_bits), size),
            stream_bits: log2size.min(features.stream_bits()),
            split,
            size,
        }
    }

    /// How many bits of a stream number it takes.
    #[must_use]
    pub const fn stream_bits(&self) -> u8 {
        self.stream_bits
    }

    /// Where it is: the array of entries, or that of level 1.
    #[must_use]
    pub const fn base(&self) -> Ipa {
        self.base
    }

    /// Where the entry of a stream is, or what must be read to know it.
    ///
    /// A read that fails is `F_STE_FETCH`, which is for the caller to record.
    ///
    /// # Errors
    /// The stream is beyond the table: `C_BAD_STREAMID`.
    pub fn locate(&self, stream: StreamId) -> Result<StreamLookup, BadStreamId> {
        let number = u64::from(stream.get());
        if bits::from(number, self.stream_bits.into()) != 0 {
            return Err(BadStreamId::BeyondTable {
                stream,
                bits: self.stream_bits,
            });
        }
        let at = |index: u64, bits: u32| {
            // At most 2^38, and the base is of 52 bits.
            cut(self.base.get().wrapping_add(index << bits), self.size)
        };
        Ok(match self.split {
            None => StreamLookup::Entry(at(number, ENTRY_BITS)),
            Some(split) => StreamLookup::Descriptor(StreamDescriptorLookup {
                stream,
                address: at(bits::from(number, split.bits().into()), DESCRIPTOR_BITS),
                split,
                size: self.size,
            }),
        })
    }
}

impl StreamDescriptorLookup {
    /// Where the 8 bytes of the [`L1StreamDescriptor`] are.
    #[must_use]
    pub const fn address(&self) -> Ipa {
        self.address
    }

    /// Where the 64 bytes of the entry are, with the descriptor as it was read.
    ///
    /// # Errors
    /// The descriptor has no entry for the stream: `C_BAD_STREAMID` (5.1.1).
    pub const fn resolve(self, descriptor: L1StreamDescriptor) -> Result<Ipa, BadStreamId> {
        let stream = self.stream;
        let span = descriptor.span();
        // 12 and more are reserved and behave as 0; SPLIT is at most 10.
        if span == 0 || span > 11 || span > self.split.bits() + 1 {
            return Err(BadStreamId::NoArray { stream, span });
        }
        let array_bits = (span - 1) as u32;
        let index = stream.get() as u64 & bits::low(self.split.bits() as u32);
        if bits::from(index, array_bits) != 0 {
            return Err(BadStreamId::BeyondArray { stream, span });
        }
        let array = descriptor.l2_ptr().get() & !bits::low(ENTRY_BITS + array_bits);
        // The array is aligned to its size.
        Ok(cut(array | index << ENTRY_BITS, self.size))
    }
}
