//! The table of a stream's context descriptors.

use crate::{CdTableFormat, ContextPointer, SubstreamBits};

/// The context descriptors of a stream: one, an array, or two levels (5.2, `STE.S1Fmt`).
///
/// # Invariants
/// The pointer is aligned as the shape asks. A table of one descriptor is linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CdTable {
    pointer: ContextPointer,
    format: CdTableFormat,
    substreams: SubstreamBits,
}

/// The pointer is not a multiple of what the table's shape asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a table of context descriptors at {} is not aligned to {alignment:#x} bytes", pointer.address())]
pub struct MisalignedCdTable {
    /// Where the table was to be.
    pub pointer: ContextPointer,
    /// Of how many bytes that must be a multiple.
    pub alignment: u64,
}

impl CdTable {
    /// The one descriptor at `pointer`, for a stream without substreams.
    #[must_use]
    pub const fn single(pointer: ContextPointer) -> Self {
        Self {
            pointer,
            format: CdTableFormat::Linear,
            substreams: SubstreamBits::NONE,
        }
    }

    /// The table of 2<sup>`substreams`</sup> descriptors at `pointer`. Without substreams it is
    /// one descriptor, whatever the format: the SMMU ignores it then.
    ///
    /// # Errors
    /// The pointer is not aligned as the format asks ([`CdTableFormat::alignment`]).
    pub const fn new(
        pointer: ContextPointer,
        format: CdTableFormat,
        substreams: SubstreamBits,
    ) -> Result<Self, MisalignedCdTable> {
        if substreams.get() == 0 {
            return Ok(Self::single(pointer));
        }
        let alignment = format.alignment(substreams);
        if !pointer.address().is_aligned_to(alignment) {
            return Err(MisalignedCdTable { pointer, alignment });
        }
        Ok(Self {
            pointer,
            format,
            substreams,
        })
    }

    /// As [`Self::new`], with the low bits of the pointer taken as 0 as far as they must be. That
    /// is one of the things an SMMU may do with them (5.2, `STE.S1Fmt`).
    #[must_use]
    pub const fn aligned_down(
        pointer: ContextPointer,
        format: CdTableFormat,
        substreams: SubstreamBits,
    ) -> Self {
        if substreams.get() == 0 {
            return Self::single(pointer);
        }
        Self {
            pointer: ContextPointer::aligned_down(pointer.address(), format.alignment(substreams)),
            format,
            substreams,
        }
    }

    /// Where it is: the only descriptor, the array of them, or the array of level 1.
    #[must_use]
    pub const fn pointer(self) -> ContextPointer {
        self.pointer
    }

    /// Its shape.
    #[must_use]
    pub const fn format(self) -> CdTableFormat {
        self.format
    }

    /// How many bits of a substream number it takes.
    #[must_use]
    pub const fn substreams(self) -> SubstreamBits {
        self.substreams
    }
}
