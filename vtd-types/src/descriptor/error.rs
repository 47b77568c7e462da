//! Why a descriptor is invalid.

use crate::{DescriptorKind, QueueError};

/// The descriptor is invalid: the queue stops at it, with `FSTS_REG.IQE` set, until the guest clears
/// that (6.5.2.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BadDescriptor {
    /// The type is reserved.
    #[error("{0:#04x} is not the type of a descriptor")]
    Unknown(u8),

    /// It is of scalable mode, and the unit is in legacy mode.
    #[error("{0} in legacy mode")]
    Mode(DescriptorKind),

    /// The unit has not what it is for: see
    /// [`DescriptorFeatures`](crate::DescriptorFeatures).
    #[error("this unit has no {0}")]
    NotImplemented(DescriptorKind),

    /// Bits are set that are reserved, as such or for want of a capability.
    #[error("word {word} of {kind} has the reserved bits {bits:#x}")]
    Reserved {
        /// Its kind.
        kind: DescriptorKind,
        /// Which word, from 0.
        word: u8,
        /// Those bits.
        bits: u64,
    },

    /// `G` is reserved.
    #[error("{kind} has the reserved granularity {granularity:#04b}")]
    Granularity {
        /// Its kind.
        kind: DescriptorKind,
        /// `G`.
        granularity: u8,
    },

    /// `AM` of `iotlb_inv_dsc` is more than `CAP_REG.MAMV`.
    #[error("iotlb_inv_dsc has the address mask {mask}, above CAP_REG.MAMV of {most}")]
    AddressMask {
        /// `AM`.
        mask: u8,
        /// `CAP_REG.MAMV`.
        most: u8,
    },

    /// `S` is 1 and all bits of the address are: there is no such range.
    #[error("{0} has S and an address of ones, which is no range")]
    Range(DescriptorKind),

    /// `RC` is reserved.
    #[error("page_grp_resp_dsc has the reserved response {0:#06b}")]
    Response(u8),
}

impl BadDescriptor {
    /// What `IQERCD_REG.IQEI` says of it.
    ///
    /// What the document gives no code for is [`QueueError::NotAvailable`], as it always may be.
    #[must_use]
    pub const fn error(&self) -> QueueError {
        match self {
            Self::Unknown(_) | Self::NotImplemented(_) => QueueError::Type,
            Self::Mode(_) => QueueError::Mode,
            Self::Reserved { .. } | Self::Granularity { .. } | Self::Response(_) => {
                QueueError::Reserved
            }
            Self::AddressMask { .. } | Self::Range(_) => QueueError::NotAvailable,
        }
    }
}
