//! Commands that the kernel does not take, and what becomes of them.

use crate::{Command, Invalidation};

/// A guest's command cannot be handed to the kernel as it is.
///
/// [`reason`](Self::reason) says why and what the VMM is to do; [`instead`](Self::instead) gives
/// what it is to forward in the command's place, if there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{} cannot be forwarded: {reason}", command.opcode())]
pub struct NotForwarded {
    pub(super) command: Command,
    pub(super) reason: NotForwardedReason,
}

impl NotForwarded {
    /// The command.
    #[must_use]
    pub const fn command(&self) -> Command {
        self.command
    }

    /// Why the kernel does not take it.
    #[must_use]
    pub const fn reason(&self) -> NotForwardedReason {
        self.reason
    }

    /// An invalidation that the kernel takes on any SMMU, and that covers what the command asks
    /// for of the host's caches. `None` if there is none, or nothing that it could cover.
    ///
    /// - For a `TLBI_NH_*`: all stage-1 translations of the guest.
    /// - For a `CFGI_CD`: all CDs of its stream.
    /// - For a `CFGI_STE`: all CDs of its stream, which that command covers too. It is to be
    ///   forwarded *beside* the replacing of the stream's table: where the guest's STE has not
    ///   changed, the kernel changes nothing, and forgets nothing.
    #[must_use]
    pub const fn instead(&self) -> Option<Invalidation> {
        match self.command {
            Command::TlbiNhAsid { .. } | Command::TlbiNhVa { .. } | Command::TlbiNhVaa { .. } => {
                Some(Invalidation::tlbi_nh_all())
            }
            Command::CfgiCd { stream, .. } | Command::CfgiSte { stream, .. } => {
                Some(Invalidation::cfgi_cd_all(stream))
            }
            _ => None,
        }
    }
}

/// Why a command cannot be forwarded, and what the VMM is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NotForwardedReason {
    /// Linux takes no command of this kind from user space. The VMM does what it asks for:
    ///
    /// | command | what the VMM does |
    /// |---|---|
    /// | `CFGI_STE` | Read the guest's STE anew and replace the stream's table by one made of it. Forward [`NotForwarded::instead`] too. |
    /// | `CFGI_STE_RANGE`, `CFGI_ALL` | The same for every stream of the range that has a device. Forward [`Invalidation::cfgi_cd_all`] for each. |
    /// | `SYNC` | Forward what was gathered; when the call returns, it is complete. Then signal as the command asks. |
    /// | `RESUME`, `STALL_TERM` | Answer the page request groups of the stream's fault queue. |
    /// | `PRI_RESP` | Answer the page request group. Linux forwards no requests by PRI so far. |
    /// | `PREFETCH_*` | Nothing: they are hints. |
    /// | `TLBI_EL2_*`, `TLBI_S2_IPA`, `TLBI_S12_VMALL`, `CFGI_VMS_PIDM` | Not advertise what they are for: Linux has no EL2 contexts, stage 2 or MPAM for a guest. |
    #[error("Linux takes no command of this kind")]
    Emulated,

    /// The ASID has more than 8 bits and the host's have not. The guest was told of more than
    /// there is. Forward [`NotForwarded::instead`].
    #[error("the host's ASIDs have 8 bits")]
    WideAsid,

    /// The range has more than one granule, and the host has no range invalidation. The guest was
    /// told of more than there is. Forward [`NotForwarded::instead`], or one command for each
    /// granule.
    #[error("the host's SMMU has no range invalidation")]
    Range,

    /// The range's scale is more than 31, and the host has no `SMMU_IDR5.DS`. The guest was told
    /// of more than there is. Forward [`NotForwarded::instead`].
    #[error("the host's SMMU has no scale of more than 31")]
    Scale,

    /// A substream is named, and the host has none. The guest was told of more than there is. An
    /// `ATC_INV` needs nothing: no device can have translations of a substream. For a `CFGI_CD`
    /// forward [`NotForwarded::instead`].
    #[error("the host's SMMU has no substreams")]
    Substream,

    /// The host has no ATS. Nothing need be done: no device can have translations.
    #[error("the host's SMMU has no ATS")]
    Ats,
}
