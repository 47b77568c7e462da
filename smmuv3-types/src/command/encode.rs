//! The words of a command.

use super::fields::{self, LEAF};
use crate::{
    Asid, Command, CommandWords, InputAddress, ResumeAction, SyncSignal, TlbiRange, Vmid, entry,
};

impl Command {
    /// Its words. Every bit that is not of a field is 0.
    ///
    /// ```
    /// use smmuv3_types::{Command, StreamId};
    ///
    /// let command = Command::CfgiSte { stream: StreamId::new(0x18), leaf: true };
    /// assert_eq!(command.encode().words(), [0x0000_0018_0000_0003, 1]);
    /// ```
    #[must_use]
    pub const fn encode(&self) -> CommandWords {
        let (first, second) = self.words();
        CommandWords::from_words([first, second])
    }

    /// Its words, in registers rather than in memory.
    pub(crate) const fn words(&self) -> (u64, u64) {
        let op = entry::first_word(self.opcode().number());
        let [first, second] = match *self {
            Self::PrefetchConfig { stream, substream } => [
                entry::with_substream(entry::with_stream(op, stream), substream),
                0,
            ],
            Self::PrefetchAddr {
                stream,
                substream,
                address,
                size,
            } => [
                entry::with_substream(entry::with_stream(op, stream), substream),
                fields::PREFETCH_SIZE.put(fields::address_bits(address), size as u64),
            ],
            Self::CfgiSte { stream, leaf } => {
                [entry::with_stream(op, stream), LEAF.put(0, leaf as u64)]
            }
            Self::CfgiSteRange(range) => [
                entry::with_stream(op, range.first()),
                fields::STREAM_RANGE.put(0, range.range() as u64),
            ],
            Self::CfgiAll => [op, fields::STREAM_RANGE.mask()],
            Self::CfgiCd {
                stream,
                substream,
                leaf,
            } => [
                entry::SSID.put(entry::with_stream(op, stream), substream.get() as u64),
                LEAF.put(0, leaf as u64),
            ],
            Self::CfgiCdAll { stream } | Self::StallTerm { stream } => {
                [entry::with_stream(op, stream), 0]
            }
            Self::CfgiVmsPidm { vmid } | Self::TlbiNhAll { vmid } | Self::TlbiS12Vmall { vmid } => {
                [with_vmid(op, vmid), 0]
            }
            Self::TlbiNhAsid { vmid, asid } => [with_asid(with_vmid(op, vmid), asid), 0],
            Self::TlbiNhVa {
                vmid,
                asid,
                address,
                leaf,
                range,
            } => by_address(with_asid(with_vmid(op, vmid), asid), address, leaf, range),
            Self::TlbiNhVaa {
                vmid,
                address,
                leaf,
                range,
            } => by_address(with_vmid(op, vmid), address, leaf, range),
            Self::TlbiEl2All | Self::TlbiNsnhAll => [op, 0],
            Self::TlbiEl2Asid { asid } => [with_asid(op, asid), 0],
            Self::TlbiEl2Va {
                asid,
                address,
                leaf,
                range,
            } => by_address(with_asid(op, asid), address, leaf, range),
            Self::TlbiEl2Vaa {
                address,
                leaf,
                range,
            } => by_address(op, address, leaf, range),
            Self::TlbiS2Ipa {
                vmid,
                address,
                leaf,
                range,
            } => by_address(
                with_vmid(op, vmid),
                InputAddress::new(address.get()),
                leaf,
                range,
            ),
            Self::AtcInv {
                stream,
                substream,
                global,
                address,
                span,
            } => [
                fields::ATC_GLOBAL.put(
                    entry::with_substream(entry::with_stream(op, stream), substream),
                    (global && substream.is_some()) as u64,
                ),
                fields::ATC_SIZE.put(fields::address_bits(address), span.size() as u64),
            ],
            Self::PriResp {
                stream,
                substream,
                group,
                response,
            } => [
                entry::with_substream(entry::with_stream(op, stream), substream),
                fields::PRI_RESP.put(
                    fields::PRG_INDEX.put(0, group.get() as u64),
                    response.bits(),
                ),
            ],
            Self::Resume {
                stream,
                stag,
                action,
            } => [
                entry::with_stream(op, stream)
                    | match action {
                        ResumeAction::Retry => fields::RESUME_AC.mask(),
                        ResumeAction::Abort => fields::RESUME_AB.mask(),
                        ResumeAction::ReadZeroIgnoreWrite => 0,
                    },
                fields::STAG.put(0, stag.get() as u64),
            ],
            Self::Sync(signal) => sync(op, signal),
        };
        (first, second)
    }
}

const fn with_vmid(word: u64, vmid: Vmid) -> u64 {
    fields::VMID.put(word, vmid.get() as u64)
}

const fn with_asid(word: u64, asid: Asid) -> u64 {
    fields::ASID.put(word, asid.get() as u64)
}

const fn by_address(
    first: u64,
    address: InputAddress,
    leaf: bool,
    range: Option<TlbiRange>,
) -> [u64; 2] {
    let range = TlbiRange::encode(range);
    [
        first | range[0],
        fields::address_bits(address) | range[1] | LEAF.put(0, leaf as u64),
    ]
}

const fn sync(op: u64, signal: SyncSignal) -> [u64; 2] {
    match signal {
        SyncSignal::None => [op, 0],
        SyncSignal::Sev => [fields::SYNC_CS.put(op, 0b10), 0],
        SyncSignal::Irq(msi) => {
            let first = fields::SYNC_CS.put(op, 0b01);
            let Some(msi) = msi else { return [first, 0] };
            let first = fields::SYNC_MSH.put(first, msi.shareability().bits() as u64);
            let first = fields::SYNC_MSI_ATTR.put(first, msi.attributes().bits() as u64);
            [
                fields::SYNC_MSI_DATA.put(first, msi.data() as u64),
                msi.address().get(),
            ]
        }
    }
}
