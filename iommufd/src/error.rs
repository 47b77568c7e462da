//! What can go wrong, subject by subject.

mod kernel;
mod locked_memory;
mod refused;
mod translation_lost;

use std::fmt;

use iommufd_sys::ioctl::Linux;

pub use self::kernel::KernelError;
use self::locked_memory::Needed;
pub use self::locked_memory::{Accounting, MemlockLimit};
pub use self::refused::Refused;
pub use self::translation_lost::TranslationLost;
use crate::address::{Iova, IovaRange};
use crate::hw_info::HwInfoType;
use crate::pasid::Pasid;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused the call.
    #[error(transparent)]
    Kernel(#[from] KernelError),

    // What the kernel and the IOMMU have.
    /// This kernel does not have the feature at all: found by asking it, never from its version.
    #[error("this kernel has no {feature} (Linux has it since {since})")]
    #[non_exhaustive]
    Unsupported {
        /// What is missing.
        feature: &'static str,
        /// The first release that has it.
        since: Linux,
    },

    /// The IOMMU behind the device has no description of this type.
    #[error("the IOMMU of the device has no hardware information of {kind}")]
    #[non_exhaustive]
    HwInfoNotOffered {
        /// What was asked for.
        kind: HwInfoType,
    },

    /// The kernel's description is shorter than its type has it.
    #[error("the hardware information of {kind} has {len} bytes where it should have {needed}")]
    #[non_exhaustive]
    HwInfoTooShort {
        /// What was asked for.
        kind: HwInfoType,
        /// The bytes that came.
        len: usize,
        /// The bytes that every kernel with this type has.
        needed: usize,
    },

    /// Pages could not be pinned: the limit of locked memory, or memory itself, is exhausted.
    #[error(
        "{operation}: cannot pin {}: the locked-memory limit (RLIMIT_MEMLOCK) is {limit}, \
         accounted {accounting}; raise it, or give the process CAP_IPC_LOCK (or the kernel is out of memory)",
        Needed(*.needed)
    )]
    #[non_exhaustive]
    LockedMemory {
        /// The ioctl that had to pin.
        operation: &'static str,
        /// Bytes that this operation needed, 0 if that is not known; what is pinned already counts
        /// as well.
        needed: u64,
        /// The limit of this process.
        limit: MemlockLimit,
        /// Whose pinned memory counts against the limit.
        accounting: Accounting,
    },

    // Contexts and processes.
    /// The two objects come from different `/dev/iommu` contexts, whose ids mean different things.
    #[error("the {what} belongs to another iommufd context")]
    #[non_exhaustive]
    ForeignContext {
        /// The object that does not belong.
        what: &'static str,
    },

    /// The context was opened before a fork, and this is the child.
    ///
    /// Both processes would act on the same kernel objects; only the one that made them may.
    #[error("this iommufd context belongs to the parent of a fork; open one in this process")]
    Forked,

    /// The file is not an open `/dev/iommu`.
    #[error("the file descriptor is not an iommufd context (/dev/iommu)")]
    NotIommufd,

    // Memory, mappings and unmaps.
    /// A device was to write to a file that this process may not write.
    #[error("a device cannot be let write to the file: {reason}")]
    #[non_exhaustive]
    NotWritable {
        /// Why it cannot be written.
        reason: &'static str,
    },

    /// A part of a memory region was named that the region does not have.
    #[error("offset {offset:#x} with length {len:#x} is outside of a region of {region:#x} bytes")]
    #[non_exhaustive]
    OutOfBounds {
        /// Where the part begins.
        offset: usize,
        /// Its length in bytes.
        len: usize,
        /// The length of the whole region in bytes.
        region: usize,
    },

    /// An access of a register or word at an offset that its width does not divide.
    #[error("offset {offset:#x} is not aligned to the access width of {width} bytes")]
    #[non_exhaustive]
    Misaligned {
        /// Where the access begins.
        offset: usize,
        /// Its width in bytes.
        width: usize,
    },

    /// A buffer or range of no bytes.
    #[error("the {what} is empty")]
    #[non_exhaustive]
    Empty {
        /// What has no bytes.
        what: &'static str,
    },

    /// The range would cut a mapping in two; the kernel never splits one.
    #[error("the range {range} covers the mapping {mapping} only in part")]
    #[non_exhaustive]
    PartlyCovered {
        /// What was to be unmapped.
        range: IovaRange,
        /// The mapping at its edge.
        mapping: IovaRange,
    },

    /// No mapping lies in the range.
    #[error("nothing is mapped in {range}")]
    #[non_exhaustive]
    NothingMapped {
        /// Where something was looked for.
        range: IovaRange,
    },

    /// The mapping is empty: its memory was unmapped, together with others.
    #[error("the mapping at {range} has been unmapped, by unmap_all or unmap_range")]
    #[non_exhaustive]
    Unmapped {
        /// Where it was.
        range: IovaRange,
    },

    /// The kernel does not know the memory of a mapping by a memfd, so no other process can take
    /// it over (`EINVAL`).
    ///
    /// There may be more such mappings: this is the first by address, in one of the context's
    /// address spaces.
    #[error("the mapping {mapping} is not made from a memfd: it cannot move to another process")]
    #[non_exhaustive]
    CannotMove {
        /// Where it is.
        mapping: IovaRange,
    },

    // Nesting parents.
    /// The address space is under a nesting parent that takes no memory which devices may only
    /// read: see [`NestParent::new`](crate::NestParent::new). The kernel was not asked.
    #[error(
        "a nesting parent of this VT-d unit (erratum 772415) takes no memory that devices may only read; \
         map it to be read and written"
    )]
    ReadOnlyRefused,

    /// Something is mapped that devices may only read, and the nesting parent to be takes none: see
    /// [`NestParent::new`](crate::NestParent::new). The kernel was not asked.
    ///
    /// There may be more such mappings: this is the first by address.
    #[error(
        "devices may only read the mapping {mapping}, and a nesting parent of this VT-d unit (erratum 772415) takes \
         no such memory"
    )]
    #[non_exhaustive]
    ReadOnlyMapping {
        /// Where it is.
        mapping: IovaRange,
    },

    /// The IOMMU has not what a guest's table needs. The kernel was not asked.
    #[error("the IOMMU of the device has no {capability}, which the guest's table needs")]
    #[non_exhaustive]
    LacksCapability {
        /// The field of its registers, as its specification calls it.
        capability: &'static str,
    },

    /// This kernel nests no guest's tables on this IOMMU: it was asked.
    #[error("this kernel nests no guest's tables on an {iommu}")]
    #[non_exhaustive]
    NestingNotOffered {
        /// The IOMMU's kind.
        iommu: HwInfoType,
    },

    // Dirty tracking.
    /// The page table was not allocated so that it can be tracked.
    ///
    /// See [`HwPtBuilder::dirty_tracking`](crate::HwPtBuilder::dirty_tracking).
    #[error("the page table was not allocated for dirty tracking")]
    NotTrackable,

    /// There is a [`DirtyTracking`](crate::DirtyTracking) of the page table already.
    #[error("the page table is tracked already")]
    AlreadyTracked,

    /// No page table of the address space is tracked, so nobody knows what is dirty.
    #[error("no page table of the address space is tracked")]
    NotTracked,

    /// A bitmap of so many bits cannot be had.
    #[error("there is no memory for a bitmap of {range} with a bit for each {granule}")]
    #[non_exhaustive]
    BitmapTooLarge {
        /// What it was to cover.
        range: IovaRange,
        /// What a bit was to stand for.
        granule: crate::Granule,
    },

    /// The words given for a bitmap are too few.
    #[error("the bitmap takes {needed} words of 64 bits, and {given} were given")]
    #[non_exhaustive]
    BitmapTooSmall {
        /// How many words it takes.
        needed: usize,
        /// How many there are.
        given: usize,
    },

    /// A mapping is not covered by the bitmap, or only in part.
    #[error("the bitmap of {bitmap} does not cover all of the mapping {mapping}")]
    #[non_exhaustive]
    NotCovered {
        /// What the bitmap covers.
        bitmap: IovaRange,
        /// The mapping.
        mapping: IovaRange,
    },

    /// The dirty bits of a range were not read; those of ranges before it were.
    #[error("the dirty bits of {range} were not read: {reason}")]
    #[non_exhaustive]
    NotRead {
        /// What was not read, and not cleared.
        range: IovaRange,
        /// Why.
        reason: KernelError,
    },

    // What an unmap has left.
    /// Some mappings of an unmapped range stayed: their guards are as they were.
    #[error("{unmapped} bytes were unmapped, but {} mappings stayed, the first at {first}: {reason}", .remaining)]
    #[non_exhaustive]
    PartlyUnmapped {
        /// Bytes that are gone.
        unmapped: u64,
        /// How many mappings are still there.
        remaining: usize,
        /// Where the first of them begins.
        first: Iova,
        /// Why the kernel kept it.
        reason: KernelError,
    },

    /// An emulated device, such as a mediated one, pins the memory of a mapping, and does not let go of
    /// it when it is asked to: the mapping is not unmapped, and its guard is as it was.
    ///
    /// What is pinned stays so. But no emulated device can pin or access the mapping anew, from then on
    /// until it is unmapped; that can be tried again.
    #[error("an emulated device pins memory of {range}: {reason}")]
    #[non_exhaustive]
    StillPinned {
        /// The mapping.
        range: IovaRange,
        /// The kernel's refusal.
        reason: KernelError,
    },

    // Attachments, and groups.
    /// The device is attached already; use [`Attachment::replace`](crate::Attachment::replace).
    #[error("the device is already attached")]
    AlreadyAttached,

    /// Another device of the same IOMMU group is attached to another page table.
    #[error(
        "another device of IOMMU group {group} is attached elsewhere; one group has one page table"
    )]
    #[non_exhaustive]
    GroupAttachedElsewhere {
        /// The group.
        group: crate::GroupId,
    },

    /// The replace would move other devices too: the kernel attaches whole IOMMU groups, and the
    /// same PASID of all their devices. [`Group::replace`](crate::Group::replace) and
    /// [`Group::replace_pasid`](crate::Group::replace_pasid) move them together; not where nothing
    /// is known of the groups.
    #[error(
        "{members} devices that share an IOMMU group, or may share one, are attached and would all move; \
         use Group::replace, or Group::replace_pasid for a PASID, or say the group when the device is bound"
    )]
    #[non_exhaustive]
    GroupShared {
        /// How many devices would, or might, move.
        members: usize,
    },

    /// The device must be alone in its IOMMU group, as the kernel attaches whole groups, and it is
    /// not, or that is not known.
    #[error(
        "of the device's IOMMU group {siblings} others are, or may be, bound to the context, and it must be alone; \
         say the group when a device is bound, if nothing is known of it"
    )]
    #[non_exhaustive]
    NotAlone {
        /// How many others are, or may be, of its group.
        siblings: usize,
    },

    /// The device cannot cache translations (ATS): it has no ATS, or its root complex or its IOMMU
    /// has not.
    #[error("the device cannot use ATS here")]
    AtsNotSupported,

    /// The kernel refused to move devices to another page table; and when they were to be attached
    /// again to what they had been attached to, as their DMA may have been stopped, that failed.
    ///
    /// Their DMA is refused. Their attachments stay: a
    /// [`replace`](crate::Attachment::replace) attaches them, to where they were or elsewhere, if it
    /// can. (An attachment of them that still has a target is one that the kernel would not detach:
    /// detach it.)
    #[error(transparent)]
    TranslationLost(Box<TranslationLost>),

    /// The kernel knows other attached devices of the IOMMU group by way of this one: it looks at it
    /// when they send page requests, so it stays open until they are detached, or moved by a
    /// replace.
    #[error(
        "{members} attached devices share the device's IOMMU group, or may share it, and the kernel knows them by way \
         of it; detach them first, or replace their page table, or say the group when the device is bound"
    )]
    #[non_exhaustive]
    LeadsGroup {
        /// How many there are, with their PASIDs.
        members: usize,
    },

    // PASIDs.
    /// A page table that was not allocated for PASIDs cannot be attached to one, nor beside one.
    #[error("the {what} was not allocated for PASIDs")]
    #[non_exhaustive]
    NotForPasids {
        /// Which table.
        what: &'static str,
    },

    /// The device has no PASID of this number.
    #[error("the device has no PASID {pasid}{}", has(*.bits))]
    #[non_exhaustive]
    NoSuchPasid {
        /// The PASID.
        pasid: Pasid,
        /// How many bits the device's PASIDs have, rounded down; 0 if it has none, or if the kernel
        /// is older than Linux 6.15 and does not tell.
        bits: u8,
    },

    /// The PASID is [allocated](crate::Pasids::allocate), for this device or another of its IOMMU
    /// group: it is attached by its [`AllocatedPasid`](crate::AllocatedPasid) alone.
    #[error("PASID {pasid} is allocated to somebody else")]
    #[non_exhaustive]
    PasidTaken {
        /// The PASID.
        pasid: Pasid,
    },

    /// The device has no PASID that is free.
    #[error("the device has no PASID that is free{}", has(*.bits))]
    #[non_exhaustive]
    NoPasidLeft {
        /// How many bits the device's PASIDs have, rounded down; 0 if it has none, or if the kernel
        /// is older than Linux 6.15 and does not tell.
        bits: u8,
    },

    /// No device of the group is attached, or has the PASID attached.
    #[error("no device of the group is attached, or has the PASID attached")]
    NotAttached,

    // Virtual devices, invalidations and page requests.
    /// The device has a [`VDevice`](crate::VDevice) already: there is one at most.
    #[error("the device has a virtual device already")]
    HasVDevice,

    /// The virtual device is not the one for what was to be attached.
    #[error("the virtual device is of another {what}")]
    #[non_exhaustive]
    ForeignVDevice {
        /// What it is of another of: `device` or `virtual IOMMU`.
        what: &'static str,
    },

    /// One of several invalidations is none that the physical IOMMU has. The kernel was not asked:
    /// none was carried out.
    #[error("invalidation {index} is none that the IOMMU has; none was carried out")]
    #[non_exhaustive]
    InvalidationNotThere {
        /// Which one, counted from 0.
        index: usize,
    },

    /// A device has come to a guest's table, but what the IOMMU still had by the tags that the table
    /// uses could not be invalidated. Translations of before can be used for it.
    #[error("the device is attached, but stale translations were not invalidated: {cause}")]
    #[non_exhaustive]
    StaleTranslations {
        /// Why not.
        cause: Box<Self>,
    },

    /// The kernel refused one of several invalidations.
    ///
    /// What comes after the refused one was not looked at.
    #[error("invalidation {refused} was refused, after {done} had certainly been done: {reason}")]
    #[non_exhaustive]
    InvalidationRefused {
        /// So many, from the first on, have certainly been carried out. The SMMUv3 driver issues
        /// them in batches of its own: on a refusal it may not have issued all that it had
        /// accepted, and the count does not include them.
        done: usize,
        /// Which one was refused, counted from 0.
        refused: usize,
        /// Why.
        reason: KernelError,
    },

    /// The kernel has answered these page requests by itself: INVALID, as their device was detached
    /// or moved to another page table.
    #[error(
        "the page requests do not wait any more: their device was detached or moved, and so the kernel has answered them"
    )]
    RequestGone,

    // What is the same everywhere.
    /// The kernel answered something that it never should.
    #[error("{operation}: the kernel's answer makes no sense: {reason}")]
    #[non_exhaustive]
    MalformedAnswer {
        /// The system call.
        operation: &'static str,
        /// What is wrong with its answer.
        reason: &'static str,
    },

    /// The handle is not the last one: something else still keeps the object.
    #[error("the {object} is still in use: {holders} other handles or children hold it")]
    #[non_exhaustive]
    InUse {
        /// What was to be destroyed or closed.
        object: &'static str,
        /// How many others hold it.
        holders: usize,
    },
}

/// How large a device's PASIDs are.
fn has(pasid_bits: u8) -> impl fmt::Display {
    fmt::from_fn(move |f| match pasid_bits {
        0 => f.write_str(": it has none at all, or the kernel, before Linux 6.15, attaches none"),
        bits => write!(f, ": they have {bits} bits"),
    })
}
