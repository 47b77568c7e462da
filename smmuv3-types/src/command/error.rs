//! Why a command is illegal.

use crate::Opcode;

/// The command raises `CERROR_ILL` (7.1): the queue stops at it, with that code in
/// `SMMU_CMDQ_CONS.ERR`, until the guest acknowledges `SMMU_GERROR.CMDQ_ERR`.
///
/// A bit that is RES0 or IGNORED is never the reason: an implementation may ignore both (4.1.5),
/// and this one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BadCommand {
    /// The opcode is reserved, or IMPLEMENTATION DEFINED (4.1.1).
    #[error("{0:#04x} is not the opcode of a command")]
    Unknown(u8),

    /// Only the Secure command queue takes it (4.4).
    #[error("{0} is for the Secure command queue")]
    Secure(Opcode),

    /// The SMMU has not what it is for: see [`Command::decode`](crate::Command::decode).
    #[error("this SMMU has no {0}")]
    NotImplemented(Opcode),

    /// Its `SSec` says that the stream is Secure, which the Non-secure queue must not (4.1.6).
    #[error("{0} names a Secure stream")]
    SecureStream(Opcode),

    /// A range with `TG` but `NUM`, `SCALE` and `TTL` all 0 (4.4.1.1).
    #[error("{0} has TG, but NUM, SCALE and TTL are 0")]
    EmptyRange(Opcode),

    /// `ATC_INV.Size` is more than 52 (4.5.1). An implementation may do something else; Linux
    /// refuses it.
    #[error("CMD_ATC_INV has the size {0}: 52 is all there is")]
    Span(u8),

    /// `PRI_RESP.Resp` is `0b11` (4.5.2).
    #[error("CMD_PRI_RESP has the reserved response 0b11")]
    Response,

    /// `SYNC.CS` is `0b11` (4.7.3).
    #[error("CMD_SYNC has the reserved signal 0b11")]
    Signal,
}
