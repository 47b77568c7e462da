//! Commands: what software puts into the command queue (chapter 4).

mod decode;
mod encode;
mod error;
mod features;
pub(crate) mod fields;
mod opcode;
mod operand;
mod range;
#[cfg(test)]
mod tests;
mod words;

pub use error::BadCommand;
pub(crate) use features::CommandFeatures;
pub use opcode::Opcode;
pub use operand::{AtcSpan, MsiAttributes, ResumeAction, StreamRange, SyncMsi, SyncSignal};
pub use range::TlbiRange;
pub use words::CommandWords;

use crate::{
    Asid, InputAddress, Ipa, PageRequestGroup, PriResponse, Stag, StreamId, SubstreamId, Vmid,
};

/// A command of the Non-secure queue, as what it means (chapter 4).
///
/// [`decode`](Self::decode) makes one of what a guest wrote; [`encode`](Self::encode) writes one.
/// Of a field that means nothing, as its condition is not met, nothing is kept: two commands that
/// mean the same are equal.
///
/// Those that only the Secure queue takes are not here: they decode to
/// [`BadCommand::Secure`], as hardware has it. Nor are `DPTI_*`: they decode to
/// [`BadCommand::NotImplemented`], as on an SMMU without `SMMU_IDR3.DPT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// `CMD_PREFETCH_CONFIG` (4.2.1): the configuration of a stream will be used. A hint.
    PrefetchConfig {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 31:12, if `SSV`, bit 11, is 1.
        substream: Option<SubstreamId>,
    },
    /// `CMD_PREFETCH_ADDR` (4.2.2): translations will be used. A hint, so `Stride` and `NS` are
    /// not looked at.
    PrefetchAddr {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 31:12, if `SSV`, bit 11, is 1.
        substream: Option<SubstreamId>,
        /// `Addr`, bits 63:12 of the second word.
        address: InputAddress,
        /// `Size`, bits 4:0 of the second word: the logarithm of the number of translations.
        size: u8,
    },

    /// `CMD_CFGI_STE` (4.3.1): forget an STE, and the CDs that were found through it.
    CfgiSte {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `Leaf`, bit 0 of the second word: the descriptors of level 1 may be kept.
        leaf: bool,
    },
    /// `CMD_CFGI_STE_RANGE` (4.3.2): the same for a range of streams.
    CfgiSteRange(StreamRange),
    /// `CMD_CFGI_ALL` (4.3.6): the same for all streams. Encoded as `CFGI_STE_RANGE` with the
    /// range 31.
    CfgiAll,
    /// `CMD_CFGI_CD` (4.3.3): forget a CD.
    CfgiCd {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 31:12: the index of the CD. 0 where there are no substreams.
        substream: SubstreamId,
        /// `Leaf`, bit 0 of the second word: the descriptors of level 1 may be kept.
        leaf: bool,
    },
    /// `CMD_CFGI_CD_ALL` (4.3.4): forget the CDs of a stream.
    CfgiCdAll {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
    },
    /// `CMD_CFGI_VMS_PIDM` (4.3.5): forget the PARTID map of a virtual machine.
    CfgiVmsPidm {
        /// `VMID`, bits 47:32 of the first word.
        vmid: Vmid,
    },

    /// `CMD_TLBI_NH_ALL` (4.4.2.1): forget the stage-1 translations of a VMID.
    TlbiNhAll {
        /// `VMID`, bits 47:32 of the first word. 0 where there is no stage 2.
        vmid: Vmid,
    },
    /// `CMD_TLBI_NH_ASID` (4.4.2.2): forget those of an ASID that are not global.
    TlbiNhAsid {
        /// `VMID`, bits 47:32 of the first word. 0 where there is no stage 2.
        vmid: Vmid,
        /// `ASID`, bits 63:48 of the first word.
        asid: Asid,
    },
    /// `CMD_TLBI_NH_VA` (4.4.2.4): forget those of an address that are global or of an ASID.
    TlbiNhVa {
        /// `VMID`, bits 47:32 of the first word. 0 where there is no stage 2.
        vmid: Vmid,
        /// `ASID`, bits 63:48 of the first word.
        asid: Asid,
        /// `Address`, bits 63:12 of the second word.
        address: InputAddress,
        /// `Leaf`, bit 0 of the second word: what the walk read of tables may be kept.
        leaf: bool,
        /// `NUM`, `SCALE`, `TG` and `TTL`, if `TG` is not 0.
        range: Option<TlbiRange>,
    },
    /// `CMD_TLBI_NH_VAA` (4.4.2.3): forget those of an address, of all ASIDs.
    TlbiNhVaa {
        /// `VMID`, bits 47:32 of the first word. 0 where there is no stage 2.
        vmid: Vmid,
        /// `Address`, bits 63:12 of the second word.
        address: InputAddress,
        /// `Leaf`, bit 0 of the second word: what the walk read of tables may be kept.
        leaf: bool,
        /// `NUM`, `SCALE`, `TG` and `TTL`, if `TG` is not 0.
        range: Option<TlbiRange>,
    },

    /// `CMD_TLBI_EL2_ALL` (4.4.2.7): forget the translations of EL2.
    TlbiEl2All,
    /// `CMD_TLBI_EL2_ASID` (4.4.2.10): forget those of an ASID that are not global.
    TlbiEl2Asid {
        /// `ASID`, bits 63:48 of the first word.
        asid: Asid,
    },
    /// `CMD_TLBI_EL2_VA` (4.4.2.8): forget those of an address that are global or of an ASID.
    TlbiEl2Va {
        /// `ASID`, bits 63:48 of the first word.
        asid: Asid,
        /// `Address`, bits 63:12 of the second word.
        address: InputAddress,
        /// `Leaf`, bit 0 of the second word: what the walk read of tables may be kept.
        leaf: bool,
        /// `NUM`, `SCALE`, `TG` and `TTL`, if `TG` is not 0.
        range: Option<TlbiRange>,
    },
    /// `CMD_TLBI_EL2_VAA` (4.4.2.9): forget those of an address, of all ASIDs.
    TlbiEl2Vaa {
        /// `Address`, bits 63:12 of the second word.
        address: InputAddress,
        /// `Leaf`, bit 0 of the second word: what the walk read of tables may be kept.
        leaf: bool,
        /// `NUM`, `SCALE`, `TG` and `TTL`, if `TG` is not 0.
        range: Option<TlbiRange>,
    },

    /// `CMD_TLBI_S12_VMALL` (4.4.3.2): forget the translations of both stages of a VMID.
    TlbiS12Vmall {
        /// `VMID`, bits 47:32 of the first word.
        vmid: Vmid,
    },
    /// `CMD_TLBI_S2_IPA` (4.4.3.1): forget the stage-2 translations of an address.
    TlbiS2Ipa {
        /// `VMID`, bits 47:32 of the first word.
        vmid: Vmid,
        /// `Address`, bits 51:12 of the second word.
        address: Ipa,
        /// `Leaf`, bit 0 of the second word: what the walk read of tables may be kept.
        leaf: bool,
        /// `NUM`, `SCALE`, `TG` and `TTL`, if `TG` is not 0.
        range: Option<TlbiRange>,
    },
    /// `CMD_TLBI_NSNH_ALL` (4.4.4.1): forget all translations but those of EL2.
    TlbiNsnhAll,

    /// `CMD_ATC_INV` (4.5.1): have a device forget translations.
    AtcInv {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 31:12, if `SSV`, bit 11, is 1: the PASID of the request.
        substream: Option<SubstreamId>,
        /// `Global`, bit 9 of the first word. Means nothing, and is not kept, without a substream.
        global: bool,
        /// `Address`, bits 63:12 of the second word. Those below the span do not count.
        address: InputAddress,
        /// `Size`, bits 5:0 of the second word.
        span: AtcSpan,
    },
    /// `CMD_PRI_RESP` (4.5.2): answer a page request group.
    PriResp {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 31:12, if `SSV`, bit 11, is 1: the PASID of the answer.
        substream: Option<SubstreamId>,
        /// `PRGIndex`, bits 8:0 of the second word.
        group: PageRequestGroup,
        /// `Resp`, bits 13:12 of the second word.
        response: PriResponse,
    },

    /// `CMD_RESUME` (4.7.1): resume a stalled transaction.
    Resume {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `STAG`, bits 15:0 of the second word.
        stag: Stag,
        /// `Ac` and `Ab`, bits 12 and 13 of the first word.
        action: ResumeAction,
    },
    /// `CMD_STALL_TERM` (4.7.2): abort the stalled transactions of a stream.
    StallTerm {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
    },
    /// `CMD_SYNC` (4.7.3): complete when all commands before it are.
    Sync(SyncSignal),
}

impl Command {
    /// Its opcode.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::PrefetchConfig { .. } => Opcode::PrefetchConfig,
            Self::PrefetchAddr { .. } => Opcode::PrefetchAddr,
            Self::CfgiSte { .. } => Opcode::CfgiSte,
            Self::CfgiSteRange(_) | Self::CfgiAll => Opcode::CfgiSteRange,
            Self::CfgiCd { .. } => Opcode::CfgiCd,
            Self::CfgiCdAll { .. } => Opcode::CfgiCdAll,
            Self::CfgiVmsPidm { .. } => Opcode::CfgiVmsPidm,
            Self::TlbiNhAll { .. } => Opcode::TlbiNhAll,
            Self::TlbiNhAsid { .. } => Opcode::TlbiNhAsid,
            Self::TlbiNhVa { .. } => Opcode::TlbiNhVa,
            Self::TlbiNhVaa { .. } => Opcode::TlbiNhVaa,
            Self::TlbiEl2All => Opcode::TlbiEl2All,
            Self::TlbiEl2Asid { .. } => Opcode::TlbiEl2Asid,
            Self::TlbiEl2Va { .. } => Opcode::TlbiEl2Va,
            Self::TlbiEl2Vaa { .. } => Opcode::TlbiEl2Vaa,
            Self::TlbiS12Vmall { .. } => Opcode::TlbiS12Vmall,
            Self::TlbiS2Ipa { .. } => Opcode::TlbiS2Ipa,
            Self::TlbiNsnhAll => Opcode::TlbiNsnhAll,
            Self::AtcInv { .. } => Opcode::AtcInv,
            Self::PriResp { .. } => Opcode::PriResp,
            Self::Resume { .. } => Opcode::Resume,
            Self::StallTerm { .. } => Opcode::StallTerm,
            Self::Sync(_) => Opcode::Sync,
        }
    }
}
