//! Ranges and descriptors that the kernel does not take, and what becomes of them.

use core::num::NonZeroU64;

use crate::{Descriptor, InputAddress, Invalidation};

/// A range is none of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadRange {
    /// The address is not a multiple of 4 KiB.
    #[error("{0} is not a multiple of 4 KiB")]
    Misaligned(InputAddress),
    /// The range goes beyond the last address.
    #[error("{pages} pages from {address} go beyond the last address")]
    Beyond {
        /// The address.
        address: InputAddress,
        /// How many pages of 4 KiB.
        pages: NonZeroU64,
    },
}

/// A guest's descriptor is not handed to the kernel.
///
/// [`reason`](Self::reason) says why and what the VMM is to do; [`instead`](Self::instead) gives
/// what it may forward in the descriptor's place, if there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{} is not forwarded: {reason}", descriptor.kind())]
pub struct NotForwarded {
    pub(super) descriptor: Descriptor,
    pub(super) reason: NotForwardedReason,
}

impl NotForwarded {
    /// The descriptor.
    #[must_use]
    pub const fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Why the kernel does not take it.
    #[must_use]
    pub const fn reason(&self) -> NotForwardedReason {
        self.reason
    }

    /// An invalidation that covers what the descriptor asks for of the host's caches. `None` if
    /// there is nothing that it could cover.
    ///
    /// For an `iotlb_inv_dsc` of pages it is everything of the domain's tables: more than the
    /// descriptor asks for, and never wrong.
    #[must_use]
    pub const fn instead(&self) -> Option<Invalidation> {
        match self.reason {
            NotForwardedReason::SecondStage => Some(Invalidation::ALL),
            NotForwardedReason::Emulated | NotForwardedReason::DeviceTlb => None,
        }
    }
}

/// Why a descriptor is not forwarded, and what the VMM is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NotForwardedReason {
    /// Linux takes nothing of this kind from user space. The VMM does what it asks for:
    ///
    /// | descriptor | what the VMM does |
    /// |---|---|
    /// | `cc_inv_dsc` | Read the guest's context entries anew, of the devices that [`Descriptor::tables`] names, and then their PASID table entries. |
    /// | `pc_inv_dsc` | Read the guest's PASID table entries anew, of the PASIDs that [`Descriptor::tables`] names, and replace the tables of those that have changed. |
    /// | `iec_inv_dsc` | Read the guest's interrupt remapping table anew. |
    /// | `inv_wait_dsc` | Forward what was gathered; when the calls return, it is complete. Then write and signal as it asks. |
    /// | `page_grp_resp_dsc` | Answer the page request group. |
    #[error("Linux takes nothing of this kind")]
    Emulated,

    /// The kernel has devices forget with every invalidation of a table. Nothing need be done:
    /// what the descriptor asks for was done with the one before it, of the IOTLB.
    #[error("the kernel invalidates device-TLBs itself")]
    DeviceTlb,

    /// It is about pages of the second stage, which for a guest is the VMM's to emulate: the VMM
    /// walks the guest's tables anew, and unmaps what is gone. Nested tables are not affected.
    #[error("it is about the second stage")]
    SecondStage,
}
