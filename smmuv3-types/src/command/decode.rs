//! What the words of a command mean.

use super::fields::{self, LEAF};
use super::{AtcSpan, CommandFeatures, MsiAttributes, ResumeAction, StreamRange, SyncMsi};
use crate::{
    Asid, BadCommand, Command, CommandWords, Features, Opcode, PriResponse, Shareability, Stag,
    SubstreamId, SyncSignal, TlbiRange, Vmid, entry, page_request,
};

impl Command {
    /// What the command means on the Non-secure queue of an SMMU with these features.
    ///
    /// Bits that are RES0 or IGNORED are not looked at. Numbers that are out of range of what the
    /// features say, such as a stream, are not an error of the queue (4.1.7) and are given as they
    /// are. A virtual SMMU decodes by what it advertises to its guest, not by what the hardware
    /// has. What counts of it:
    ///
    /// | field | without it |
    /// |---|---|
    /// | `SMMU_IDR0.S1P` | `CFGI_CD*` and `TLBI_NH_*` are illegal |
    /// | `SMMU_IDR0.S2P` | `TLBI_S2_IPA` and `TLBI_S12_VMALL` are illegal, and no command has a VMID |
    /// | `SMMU_IDR0.Hyp` | `TLBI_EL2_*` are illegal |
    /// | `SMMU_IDR0.ATS` | `ATC_INV` is illegal |
    /// | `SMMU_IDR0.PRI` | `PRI_RESP` is illegal |
    /// | `SMMU_IDR0.STALL_MODEL` other than `0b01` | `RESUME` and `STALL_TERM` are illegal |
    /// | `SMMU_IDR3.MPAM` | `CFGI_VMS_PIDM` is illegal |
    /// | `SMMU_IDR0.ASID16`, `VMID16` | the upper 8 bits of an ASID, of a VMID are ignored |
    /// | `SMMU_IDR0.MSI` | the MSI of a `SYNC` is ignored |
    /// | `SMMU_IDR0.SEV` | a `SYNC` that asks for an event signals nothing |
    /// | `SMMU_IDR0.TERM_MODEL` | `RESUME.Ab` counts; with it, a terminated transaction always aborts |
    /// | `SMMU_IDR1.SSIDSIZE` | `SSV` counts as 0, and the substream of `CFGI_CD` as 0 |
    /// | `SMMU_IDR3.RIL` | ranges and level hints are ignored |
    /// | `SMMU_IDR5.DS` | a range has a scale of 5 bits, and no hint at level 1 of 16 KiB |
    ///
    /// ```
    /// use smmuv3_types::{Asid, BadCommand, Command, Features, IdRegisters, Idr0, Vmid};
    ///
    /// let features = Features::new(IdRegisters {
    ///     idr0: Idr0::default().with_s1p(true).with_asid16(true),
    ///     ..IdRegisters::default()
    /// })?;
    /// assert_eq!(
    ///     Command::decode([0x0123_0000_0000_0011, 0], &features),
    ///     Ok(Command::TlbiNhAsid { vmid: Vmid::new(0), asid: Asid::new(0x123) }),
    /// );
    /// assert_eq!(Command::decode([0xff, 0], &features), Err(BadCommand::Unknown(0xff)));
    /// # Ok::<(), smmuv3_types::BadFeatures>(())
    /// ```
    ///
    /// # Errors
    /// The command is to raise `CERROR_ILL`, for the reason that the error names.
    #[inline]
    pub fn decode(words: impl Into<CommandWords>, features: &Features) -> Result<Self, BadCommand> {
        Self::decode_with(words, features.commands())
    }

    /// As [`Self::decode`], with what counts of the features.
    #[inline]
    pub(crate) fn decode_with(
        words: impl Into<CommandWords>,
        features: &CommandFeatures,
    ) -> Result<Self, BadCommand> {
        let [first, second] = words.into().words();
        decode(first, second, features)
    }
}

const fn decode(
    first: u64,
    second: u64,
    features: &CommandFeatures,
) -> Result<Command, BadCommand> {
    let number = entry::ID.get(first) as u8;
    let Kind { opcode, needs } = KINDS[number as usize];
    let Some(opcode) = opcode else {
        return Err(BadCommand::Unknown(number));
    };
    if !features.has(needs) {
        return Err(if opcode.is_secure() {
            BadCommand::Secure(opcode)
        } else {
            BadCommand::NotImplemented(opcode)
        });
    }
    if entry::SSEC.is_set(first) && names_security(opcode) {
        return Err(BadCommand::SecureStream(opcode));
    }

    let stream = entry::stream(first);
    let leaf = LEAF.is_set(second);
    Ok(match opcode {
        Opcode::PrefetchConfig => Command::PrefetchConfig {
            stream,
            substream: substream(first, features),
        },
        Opcode::PrefetchAddr => Command::PrefetchAddr {
            stream,
            substream: substream(first, features),
            address: fields::address(second),
            size: fields::PREFETCH_SIZE.get(second) as u8,
        },
        Opcode::CfgiSte => Command::CfgiSte { stream, leaf },
        Opcode::CfgiSteRange => {
            match StreamRange::new(stream, fields::STREAM_RANGE.get(second) as u8) {
                Some(range) => Command::CfgiSteRange(range),
                None => Command::CfgiAll,
            }
        }
        Opcode::CfgiCd => Command::CfgiCd {
            stream,
            substream: cd_index(first, features),
            leaf,
        },
        Opcode::CfgiCdAll => Command::CfgiCdAll { stream },
        Opcode::CfgiVmsPidm => Command::CfgiVmsPidm {
            vmid: vmid(first, features),
        },
        Opcode::TlbiNhAll => Command::TlbiNhAll {
            vmid: vmid(first, features),
        },
        Opcode::TlbiNhAsid => Command::TlbiNhAsid {
            vmid: vmid(first, features),
            asid: asid(first, features),
        },
        Opcode::TlbiNhVa => match range(opcode, first, second, features) {
            Ok(range) => Command::TlbiNhVa {
                vmid: vmid(first, features),
                asid: asid(first, features),
                address: fields::address(second),
                leaf,
                range,
            },
            Err(error) => return Err(error),
        },
        Opcode::TlbiNhVaa => match range(opcode, first, second, features) {
            Ok(range) => Command::TlbiNhVaa {
                vmid: vmid(first, features),
                address: fields::address(second),
                leaf,
                range,
            },
            Err(error) => return Err(error),
        },
        Opcode::TlbiEl2All => Command::TlbiEl2All,
        Opcode::TlbiEl2Asid => Command::TlbiEl2Asid {
            asid: asid(first, features),
        },
        Opcode::TlbiEl2Va => match range(opcode, first, second, features) {
            Ok(range) => Command::TlbiEl2Va {
                asid: asid(first, features),
                address: fields::address(second),
                leaf,
                range,
            },
            Err(error) => return Err(error),
        },
        Opcode::TlbiEl2Vaa => match range(opcode, first, second, features) {
            Ok(range) => Command::TlbiEl2Vaa {
                address: fields::address(second),
                leaf,
                range,
            },
            Err(error) => return Err(error),
        },
        Opcode::TlbiS12Vmall => Command::TlbiS12Vmall {
            vmid: vmid(first, features),
        },
        Opcode::TlbiS2Ipa => match range(opcode, first, second, features) {
            Ok(range) => Command::TlbiS2Ipa {
                vmid: vmid(first, features),
                address: fields::ipa(second, fields::IPA),
                leaf,
                range,
            },
            Err(error) => return Err(error),
        },
        Opcode::TlbiNsnhAll => Command::TlbiNsnhAll,
        Opcode::AtcInv => {
            let size = fields::ATC_SIZE.get(second) as u8;
            let Some(span) = AtcSpan::new(size) else {
                return Err(BadCommand::Span(size));
            };
            let substream = substream(first, features);
            Command::AtcInv {
                stream,
                substream,
                global: substream.is_some() && fields::ATC_GLOBAL.is_set(first),
                address: fields::address(second),
                span,
            }
        }
        Opcode::PriResp => {
            let Some(response) = PriResponse::from_bits(fields::PRI_RESP.get(second)) else {
                return Err(BadCommand::Response);
            };
            Command::PriResp {
                stream,
                substream: substream(first, features),
                group: page_request::group(fields::PRG_INDEX.get(second)),
                response,
            }
        }
        Opcode::Resume => Command::Resume {
            stream,
            stag: Stag::new(fields::STAG.get(second) as u16),
            action: action(first, features),
        },
        Opcode::StallTerm => Command::StallTerm { stream },
        Opcode::Sync => match signal(first, second, features) {
            Some(signal) => Command::Sync(signal),
            None => return Err(BadCommand::Signal),
        },
        // Never implemented, so answered above.
        _ => return Err(BadCommand::NotImplemented(opcode)),
    })
}

/// What a number stands for, and the features that the Non-secure queue takes it with.
struct Kind {
    opcode: Option<Opcode>,
    needs: u16,
}

/// All of them: one look instead of a decision for each.
static KINDS: [Kind; 256] = {
    let mut kinds = [const {
        Kind {
            opcode: None,
            needs: CommandFeatures::NEVER,
        }
    }; 256];
    let mut next = 0;
    while next < Opcode::ALL.len() {
        let opcode = Opcode::ALL[next];
        kinds[opcode.number() as usize] = Kind {
            opcode: Some(opcode),
            needs: needs(opcode),
        };
        next += 1;
    }
    kinds
};

/// The features that the Non-secure queue takes it with.
const fn needs(opcode: Opcode) -> u16 {
    match opcode {
        Opcode::CfgiCd
        | Opcode::CfgiCdAll
        | Opcode::TlbiNhAll
        | Opcode::TlbiNhAsid
        | Opcode::TlbiNhVa
        | Opcode::TlbiNhVaa => CommandFeatures::S1P,
        Opcode::TlbiEl2All | Opcode::TlbiEl2Asid | Opcode::TlbiEl2Va | Opcode::TlbiEl2Vaa => {
            CommandFeatures::HYP
        }
        Opcode::TlbiS12Vmall | Opcode::TlbiS2Ipa => CommandFeatures::S2P,
        Opcode::CfgiVmsPidm => CommandFeatures::MPAM,
        Opcode::AtcInv => CommandFeatures::ATS,
        Opcode::PriResp => CommandFeatures::PRI,
        Opcode::Resume | Opcode::StallTerm => CommandFeatures::STALL,
        Opcode::PrefetchConfig
        | Opcode::PrefetchAddr
        | Opcode::CfgiSte
        | Opcode::CfgiSteRange
        | Opcode::TlbiNsnhAll
        | Opcode::Sync => 0,
        Opcode::TlbiEl3All
        | Opcode::TlbiEl3Va
        | Opcode::TlbiSEl2All
        | Opcode::TlbiSEl2Asid
        | Opcode::TlbiSEl2Va
        | Opcode::TlbiSEl2Vaa
        | Opcode::TlbiSS12Vmall
        | Opcode::TlbiSS2Ipa
        | Opcode::TlbiSnhAll
        | Opcode::DptiAll
        | Opcode::DptiPa => CommandFeatures::NEVER,
    }
}

/// Whether it has a field `SSec` (4.2, 4.3, 4.7). In the others that bit is RES0.
const fn names_security(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::PrefetchConfig
            | Opcode::PrefetchAddr
            | Opcode::CfgiSte
            | Opcode::CfgiSteRange
            | Opcode::CfgiCd
            | Opcode::CfgiCdAll
            | Opcode::CfgiVmsPidm
            | Opcode::Resume
            | Opcode::StallTerm
    )
}

const fn substream(first: u64, features: &CommandFeatures) -> Option<SubstreamId> {
    if features.substream_bits() == 0 {
        None
    } else {
        entry::substream(first)
    }
}

/// `CFGI_CD` has no `SSV`: its substream is an index, which is 0 where there is one CD (4.3.3).
const fn cd_index(first: u64, features: &CommandFeatures) -> SubstreamId {
    if features.substream_bits() == 0 {
        entry::substream_number(0)
    } else {
        entry::any_substream(first)
    }
}

const fn vmid(first: u64, features: &CommandFeatures) -> Vmid {
    if !features.stage2() {
        return Vmid::new(0);
    }
    let vmid = fields::VMID.get(first) as u16;
    Vmid::new(if features.vmid16() { vmid } else { vmid & 0xff })
}

const fn asid(first: u64, features: &CommandFeatures) -> Asid {
    let asid = fields::ASID.get(first) as u16;
    Asid::new(if features.asid16() { asid } else { asid & 0xff })
}

#[inline]
const fn range(
    opcode: Opcode,
    first: u64,
    second: u64,
    features: &CommandFeatures,
) -> Result<Option<TlbiRange>, BadCommand> {
    if !features.ril() {
        return Ok(None);
    }
    match TlbiRange::decode([first, second], features.ds()) {
        Ok(range) => Ok(range),
        Err(super::range::Reserved) => Err(BadCommand::EmptyRange(opcode)),
    }
}

const fn action(first: u64, features: &CommandFeatures) -> ResumeAction {
    if fields::RESUME_AC.is_set(first) {
        ResumeAction::Retry
    } else if fields::RESUME_AB.is_set(first) || features.term_model() {
        ResumeAction::Abort
    } else {
        ResumeAction::ReadZeroIgnoreWrite
    }
}

const fn signal(first: u64, second: u64, features: &CommandFeatures) -> Option<SyncSignal> {
    match fields::SYNC_CS.get(first) {
        0b00 => Some(SyncSignal::None),
        0b01 if features.msi() => Some(SyncSignal::Irq(SyncMsi::new(
            fields::ipa(second, fields::SYNC_MSI_ADDRESS),
            fields::SYNC_MSI_DATA.get(first) as u32,
            match Shareability::decode("SYNC.MSH", fields::SYNC_MSH.get(first)) {
                Ok(shareability) => shareability,
                Err(_) => Shareability::NonShareable,
            },
            MsiAttributes::truncated(fields::SYNC_MSI_ATTR.get(first)),
        ))),
        0b01 => Some(SyncSignal::Irq(None)),
        0b10 if features.sev() => Some(SyncSignal::Sev),
        // No event to send: it signals nothing.
        0b10 => Some(SyncSignal::None),
        _ => None,
    }
}
