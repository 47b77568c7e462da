//! The commands that Linux takes from user space for a virtual SMMU.

mod limits;
mod refused;
#[cfg(test)]
mod tests;

pub use limits::InvalidationLimits;
pub use refused::{NotForwarded, NotForwardedReason};

use core::fmt;

use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes, KnownLayout};

use crate::command::fields::{self, LEAF};
use crate::{
    Asid, AtcSpan, Command, Granule, InputAddress, Level, StreamId, SubstreamId, TlbiRange, Vmid,
    entry,
};

/// One of the eight commands that a VMM forwards for its guest
/// (`struct iommu_viommu_arm_smmuv3_invalidate`), as the bytes that the kernel reads.
///
/// The kernel refuses a command with a bit that it does not know or that the host's SMMU has no
/// use for, and with it the rest of a batch (EIO; before Linux 7.3 it looked at the opcode only,
/// and the host's queue stopped at a bad one). This type is made from what the architecture lets a
/// guest write, and holds what the kernel takes.
///
/// Streams are the guest's: the kernel puts the host's in their place, and refuses a stream that
/// has no virtual device on the vIOMMU (EIO). It puts in the VMID. Addresses and substreams that
/// are out of range are not refused: they harm nobody but the guest.
///
/// # Invariants
/// No bit is set that Linux refuses on an SMMU with the [`InvalidationLimits`] it was made for.
///
/// ```
/// use smmuv3_types::{Command, Features, IdRegisters, Idr0, Invalidation, InvalidationLimits};
///
/// // What the guest's SMMU offers it.
/// let features = Features::new(IdRegisters {
///     idr0: Idr0::default().with_s1p(true),
///     ..IdRegisters::default()
/// })?;
/// // A guest's TLBI_NH_VA, with a VMID that means nothing and a bit that is RES0.
/// let words = [0x0007_1234_8000_0012, 0x0000_7f00_0000_1001];
/// let command = Command::decode(words, &features)?;
/// let invalidation = Invalidation::from_command(&command, &InvalidationLimits::NONE)?;
/// assert_eq!(invalidation.words(), [0x0007_0000_0000_0012, 0x0000_7f00_0000_1001]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[doc(alias = "iommu_viommu_arm_smmuv3_invalidate")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Invalidation([U64; 2]);

impl Invalidation {
    /// Forget a CD: the one of a substream, or with `None` the one that transactions without a
    /// substream use, which is the first (4.3.3).
    ///
    /// # Errors
    /// The host has no substreams.
    #[doc(alias = "CMDQ_OP_CFGI_CD")]
    pub const fn cfgi_cd(
        stream: StreamId,
        substream: Option<SubstreamId>,
        leaf: bool,
        limits: &InvalidationLimits,
    ) -> Result<Self, NotForwarded> {
        let substream = match substream {
            Some(substream) => substream,
            None => SubstreamId::ZERO,
        };
        Self::from_command(
            &Command::CfgiCd {
                stream,
                substream,
                leaf,
            },
            limits,
        )
    }

    /// Forget the CDs of a stream (4.3.4).
    #[doc(alias = "CMDQ_OP_CFGI_CD_ALL")]
    #[must_use]
    pub const fn cfgi_cd_all(stream: StreamId) -> Self {
        Self::of(&Command::CfgiCdAll { stream })
    }

    /// Forget the stage-1 translations of the guest (4.4.2.1).
    #[doc(alias = "CMDQ_OP_TLBI_NH_ALL")]
    #[must_use]
    pub const fn tlbi_nh_all() -> Self {
        Self::of(&Command::TlbiNhAll { vmid: NO_VMID })
    }

    /// Forget the stage-1 translations of an ASID that are not global (4.4.2.2).
    ///
    /// # Errors
    /// The ASID has more bits than the host's have.
    #[doc(alias = "CMDQ_OP_TLBI_NH_ASID")]
    pub const fn tlbi_nh_asid(
        asid: Asid,
        limits: &InvalidationLimits,
    ) -> Result<Self, NotForwarded> {
        Self::from_command(
            &Command::TlbiNhAsid {
                vmid: NO_VMID,
                asid,
            },
            limits,
        )
    }

    /// Forget the stage-1 translations of an address, or of a range that starts there, that are
    /// global or of an ASID (4.4.2.4). The low 12 bits of the address do not count.
    ///
    /// # Errors
    /// The ASID or the range is more than the host has.
    #[doc(alias = "CMDQ_OP_TLBI_NH_VA")]
    pub const fn tlbi_nh_va(
        asid: Asid,
        address: InputAddress,
        leaf: bool,
        range: Option<TlbiRange>,
        limits: &InvalidationLimits,
    ) -> Result<Self, NotForwarded> {
        Self::from_command(
            &Command::TlbiNhVa {
                vmid: NO_VMID,
                asid,
                address,
                leaf,
                range,
            },
            limits,
        )
    }

    /// Forget the stage-1 translations of an address, or of a range that starts there, of all
    /// ASIDs (4.4.2.3). The low 12 bits of the address do not count.
    ///
    /// # Errors
    /// The range is more than the host has.
    #[doc(alias = "CMDQ_OP_TLBI_NH_VAA")]
    pub const fn tlbi_nh_vaa(
        address: InputAddress,
        leaf: bool,
        range: Option<TlbiRange>,
        limits: &InvalidationLimits,
    ) -> Result<Self, NotForwarded> {
        Self::from_command(
            &Command::TlbiNhVaa {
                vmid: NO_VMID,
                address,
                leaf,
                range,
            },
            limits,
        )
    }

    /// Forget the translations of the guest (4.4.4.1). The kernel makes a
    /// [`tlbi_nh_all`](Self::tlbi_nh_all) of it, so that other guests keep theirs.
    #[doc(alias = "CMDQ_OP_TLBI_NSNH_ALL")]
    #[must_use]
    pub const fn tlbi_nsnh_all() -> Self {
        Self::of(&Command::TlbiNsnhAll)
    }

    /// Have a device forget translations (4.5.1): those without a substream, or those of one.
    ///
    /// Only for a device that has ATS on: another answers late or not at all, and the host's queue
    /// waits.
    ///
    /// # Errors
    /// The host has no ATS, or no substreams.
    #[doc(alias = "CMDQ_OP_ATC_INV")]
    pub const fn atc_inv(
        stream: StreamId,
        substream: Option<SubstreamId>,
        address: InputAddress,
        span: AtcSpan,
        limits: &InvalidationLimits,
    ) -> Result<Self, NotForwarded> {
        Self::from_command(
            &Command::AtcInv {
                stream,
                substream,
                global: false,
                address,
                span,
            },
            limits,
        )
    }

    /// What the kernel takes for a guest's command.
    ///
    /// The VMID is dropped, as the kernel puts in its own. What the host cannot do and need not is
    /// reduced to what covers it: a level hint is dropped where the host has no level hints, or
    /// none for level 1 of 16 KiB.
    ///
    /// # Errors
    /// The kernel takes nothing that covers the command and is of its kind.
    /// [`NotForwarded`] says what to do.
    pub const fn from_command(
        command: &Command,
        limits: &InvalidationLimits,
    ) -> Result<Self, NotForwarded> {
        let (mut first, mut second) = command.words();
        match *command {
            Command::TlbiNsnhAll | Command::CfgiCdAll { .. } => {}
            Command::TlbiNhAll { .. } => first = fields::VMID.put(first, 0),
            Command::CfgiCd { substream, .. } => {
                if substream.get() != 0 && !limits.substreams() {
                    return refuse(command, NotForwardedReason::Substream);
                }
            }
            Command::TlbiNhAsid { asid, .. } => {
                if too_wide(asid, limits) {
                    return refuse(command, NotForwardedReason::WideAsid);
                }
                first = fields::VMID.put(first, 0);
            }
            Command::TlbiNhVa { range, .. } | Command::TlbiNhVaa { range, .. } => {
                if let Command::TlbiNhVa { asid, .. } = *command
                    && too_wide(asid, limits)
                {
                    return refuse(command, NotForwardedReason::WideAsid);
                }
                match reduce(range, limits) {
                    Ok(range) => [first, second] = TlbiRange::replace([first, second], range),
                    Err(reason) => return refuse(command, reason),
                }
                first = fields::VMID.put(first, 0);
            }
            Command::AtcInv { substream, .. } => {
                if !limits.ats() {
                    return refuse(command, NotForwardedReason::Ats);
                }
                if substream.is_some() && !limits.substreams() {
                    return refuse(command, NotForwardedReason::Substream);
                }
            }
            _ => return refuse(command, NotForwardedReason::Emulated),
        }
        Ok(Self([U64::new(first), U64::new(second)]))
    }

    /// The command, which is one of the eight.
    const fn of(command: &Command) -> Self {
        let (first, second) = command.words();
        Self([U64::new(first), U64::new(second)])
    }

    /// Its words, as numbers.
    #[must_use]
    pub const fn words(&self) -> [u64; 2] {
        [self.0[0].get(), self.0[1].get()]
    }

    /// The command that it is. Its VMID is 0.
    #[must_use]
    pub const fn command(&self) -> Command {
        let [first, second] = self.words();
        let stream = entry::stream(first);
        let asid = Asid::new(fields::ASID.get(first) as u16);
        let address = fields::address(second);
        let leaf = LEAF.is_set(second);
        // A hint for level 1 of 16 KiB is there only if the host has it.
        let range = match TlbiRange::decode([first, second], true) {
            Ok(range) => range,
            Err(_) => None,
        };
        match entry::ID.get(first) {
            0x05 => Command::CfgiCd {
                stream,
                substream: entry::any_substream(first),
                leaf,
            },
            0x06 => Command::CfgiCdAll { stream },
            0x10 => Command::TlbiNhAll { vmid: NO_VMID },
            0x11 => Command::TlbiNhAsid {
                vmid: NO_VMID,
                asid,
            },
            0x12 => Command::TlbiNhVa {
                vmid: NO_VMID,
                asid,
                address,
                leaf,
                range,
            },
            0x13 => Command::TlbiNhVaa {
                vmid: NO_VMID,
                address,
                leaf,
                range,
            },
            0x40 => Command::AtcInv {
                stream,
                substream: entry::substream(first),
                global: fields::ATC_GLOBAL.is_set(first),
                address,
                span: match AtcSpan::new(fields::ATC_SIZE.get(second) as u8) {
                    Some(span) => span,
                    None => AtcSpan::ALL,
                },
            },
            // 0x30: there is no other.
            _ => Command::TlbiNsnhAll,
        }
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Invalidation")
            .field(&self.command())
            .finish()
    }
}

/// The kernel puts its own in.
const NO_VMID: Vmid = Vmid::new(0);

const fn refuse(
    command: &Command,
    reason: NotForwardedReason,
) -> Result<Invalidation, NotForwarded> {
    Err(NotForwarded {
        command: *command,
        reason,
    })
}

const fn too_wide(asid: Asid, limits: &InvalidationLimits) -> bool {
    asid.get() > 0xff && !limits.asid16()
}

/// A range that covers this one and that the host's SMMU has.
const fn reduce(
    range: Option<TlbiRange>,
    limits: &InvalidationLimits,
) -> Result<Option<TlbiRange>, NotForwardedReason> {
    let Some(range) = range else { return Ok(None) };
    if !limits.ril() {
        // One granule with a hint: the command without a range forgets entries of any level.
        return if range.granules() == 1 {
            Ok(None)
        } else {
            Err(NotForwardedReason::Range)
        };
    }
    if limits.ds() {
        return Ok(Some(range));
    }
    if range.scale() > TlbiRange::MAX_SCALE_WITHOUT_DS {
        return Err(NotForwardedReason::Scale);
    }
    if matches!(range.granule(), Granule::Kib16) && matches!(range.level(), Some(Level::Level1)) {
        // Of one granule nothing is left but the address, which covers it.
        return Ok(range.without_level());
    }
    Ok(Some(range))
}
