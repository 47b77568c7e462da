//! From the number of a substream to its context descriptor.

use hardware_records::{bits, record};

use crate::{CdTable, ContextPointer, DefaultSubstream, Features, Ipa, Stage1, SubstreamId};

record! {
    /// What level 1 of a table of context descriptors says of a stretch of substreams: where
    /// their descriptors are.
    pub struct L1ContextDescriptor([u64; 1]), "L1CD", "5.3";

    /// Whether there are any.
    flag v, with_v: "V", 0 [0];
    /// Where the leaf is, which has them.
    address(Ipa) l2_ptr, with_l2_ptr: "L2Ptr", 0 [51:12];
}

/// What comes next on the way to a context descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum CdLookup {
    /// There is none: the transaction bypasses stage 1.
    Bypass,
    /// Read the 64 bytes of the [`Cd`](crate::Cd) here.
    Context(ContextPointer),
    /// Read a descriptor of level 1.
    Descriptor(CdDescriptorLookup),
}

/// A lookup that needs a descriptor of level 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct CdDescriptorLookup {
    substream: SubstreamId,
    address: Ipa,
    leaf_bits: u8,
}

/// A transaction has no context descriptor. It is aborted, and the event of this name recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoContext {
    /// `C_BAD_SUBSTREAMID` (7.3.9): the stream has no substreams, or not this one.
    #[error("the stream has no substream {0}")]
    BadSubstreamId(SubstreamId),
    /// `F_STREAM_DISABLED` (7.3.7): the stream has substreams, and takes no transactions without
    /// one; or it does, and substream 0 is theirs.
    #[error("STE.S1DSS has no context for {0:?}")]
    StreamDisabled(Option<SubstreamId>),
}

impl Stage1 {
    /// Where the context descriptor of a transaction is, or what must be read to know it. The
    /// transaction is of this substream, or of none (5.2, `STE.S1DSS`).
    ///
    /// A read that fails is `F_CD_FETCH`, which is for the caller to record.
    ///
    /// # Errors
    /// There is none, and not for lack of a level 1 descriptor.
    pub fn locate(&self, substream: Option<SubstreamId>) -> Result<CdLookup, NoContext> {
        let table = self.table();
        let has_substreams = table.substreams().get() != 0;
        match (substream, has_substreams, self.default_substream()) {
            (None, false, _) => Ok(CdLookup::Context(table.pointer())),
            (None, true, DefaultSubstream::Terminate) => Err(NoContext::StreamDisabled(None)),
            (None, true, DefaultSubstream::Bypass) => Ok(CdLookup::Bypass),
            (None, true, DefaultSubstream::Substream0) => table.locate(SubstreamId::ZERO),
            (Some(SubstreamId::ZERO), true, DefaultSubstream::Substream0) => {
                Err(NoContext::StreamDisabled(substream))
            }
            (Some(substream), false, _) => Err(NoContext::BadSubstreamId(substream)),
            (Some(substream), true, _) => table.locate(substream),
        }
    }
}

impl CdTable {
    /// Where the descriptor of a substream is, or what must be read to know it. A table without
    /// substreams has one, of substream 0. The descriptor that a transaction uses is found by
    /// [`Stage1::locate`].
    ///
    /// # Errors
    /// The substream is beyond the table.
    pub fn locate(&self, substream: SubstreamId) -> Result<CdLookup, NoContext> {
        if !self.substreams().has(substream) {
            return Err(NoContext::BadSubstreamId(substream));
        }
        let base = self.pointer().address().get();
        let number = u64::from(substream.get());
        // The table is aligned to its size.
        Ok(match self.format().leaf_bits() {
            None => CdLookup::Context(ContextPointer::aligned_down(
                Ipa::masked(base | number << 6),
                ContextPointer::ALIGNMENT,
            )),
            Some(leaf_bits) => CdLookup::Descriptor(CdDescriptorLookup {
                substream,
                address: Ipa::masked(base | bits::from(number, leaf_bits.into()) << 3),
                leaf_bits,
            }),
        })
    }
}

impl CdDescriptorLookup {
    /// Where the 8 bytes of the [`L1ContextDescriptor`] are.
    #[must_use]
    pub const fn address(&self) -> Ipa {
        self.address
    }

    /// Where the 64 bytes of the context descriptor are, with the descriptor as it was read.
    ///
    /// # Errors
    /// It has no leaf (5.3.1), or one beyond the output size, which SMMUv3.1 treats the same
    /// (3.4.3).
    pub fn resolve(
        self,
        descriptor: L1ContextDescriptor,
        features: &Features,
    ) -> Result<ContextPointer, NoContext> {
        let leaf = descriptor.l2_ptr();
        if !descriptor.v() || !features.output_size().holds(leaf) {
            return Err(NoContext::BadSubstreamId(self.substream));
        }
        let leaf_bits = u32::from(self.leaf_bits);
        let index = u64::from(self.substream.get()) & bits::low(leaf_bits);
        // Bits below the size of the leaf are reserved or taken for 0.
        Ok(ContextPointer::aligned_down(
            Ipa::masked(leaf.get() & !bits::low(leaf_bits.saturating_add(6)) | index << 6),
            ContextPointer::ALIGNMENT,
        ))
    }
}
