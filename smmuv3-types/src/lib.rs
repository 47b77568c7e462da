//! The structures of Arm's System MMU version 3, as they lie in memory and in its registers.
//!
//! For a VMM that gives a guest an SMMU, of the hardware's by iommufd or of its own; for a program
//! that writes the tables of stage 1 itself. No allocation, no panics, no access to memory: what a
//! structure points to is read by the caller.
//!
//! There are two layers:
//!
//! - A *raw* type for each structure and register: [`Ste`], [`Cd`], [`Idr0`] … It keeps every bit,
//!   and has a getter and a setter for each field. A field with reserved encodings gives a
//!   [`Reserved`] that names it.
//! - What it *means*: [`Ste::decode`], [`Cd::decode`], [`StreamTable::locate`],
//!   [`Stage1::locate`], [`Context::walk`]. Only fields that count are looked at, and what the
//!   document calls ILLEGAL is an error that says which event an SMMU records. What counts depends
//!   on the SMMU: on its [`Features`].
//!
//! Section numbers are of the architecture document, Arm IHI 0070, issue G.b.
//!
//! # A guest's entry for the kernel
//!
//! A guest has written a stream table entry. What iommufd takes of it is a [`NestedSte`]:
//!
//! ```
//! use smmuv3_types::{BadSte, Features, IdRegisters, NestedConfig, Reduced, Ste, Vouched};
//!
//! # let reported = [0x0d44_101b, 0x0273_0010, 0, 0x1414, 0, 0x74];
//! # let wanted = IdRegisters::from_bits(reported, 0, 1);
//! // What the hardware's registers, as the kernel reports them, allow to tell a guest.
//! let registers = Vouched::new(reported).offer(&wanted)?;
//! let features = Features::new(registers)?;
//!
//! // An entry with stage 1 at 0x4000_1000, and with MEV, which is not the guest's to set.
//! let written = [0x4000_100b, 0x0008_00d4, 0, 0, 0, 0, 0, 0];
//! let Reduced::Install(nested) = Ste::from_words(written).reduce(&features) else {
//!     panic!("a good entry");
//! };
//! assert_eq!(nested.words(), [0x4000_100b, 0xd4]);
//! assert!(matches!(nested.config(), NestedConfig::Translate(_)));
//!
//! // An entry that is not valid: the kernel aborts silently, and the VMM tells the guest.
//! let written = Ste::from_words([0; 8]);
//! assert_eq!(
//!     written.reduce(&features),
//!     Reduced::AbortWithBadSte(BadSte::Invalid)
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![doc = include_str!("coverage.md")]
#![no_std]
#![forbid(unsafe_code)]

mod address;
mod attributes;
mod bits;
mod cd;
mod command;
#[cfg(test)]
mod coverage;
mod encoding;
mod entry;
mod event;
mod field;
mod ids;
mod invalidation;
mod numbered;
mod page_request;
#[cfg(test)]
mod positions;
mod queue;
mod record;
mod registers;
mod reserved;
mod ste;
mod strtab;
#[cfg(test)]
mod testing;
mod vmsa;

pub use address::{InputAddress, Ipa};
pub use attributes::{Cacheability, Shareability};
pub use cd::{
    BadCd, BadRoot, Cd, CdConfig, CdDescriptorLookup, CdLookup, CdTable, CdTableFormat, Context,
    ContextPointer, FaultPolicy, L1ContextDescriptor, MisalignedCdTable, NoContext, SubstreamBits,
    Tree,
};
pub use command::{
    AtcSpan, BadCommand, Command, CommandWords, MsiAttributes, Opcode, ResumeAction, StreamRange,
    SyncMsi, SyncSignal, TlbiRange,
};
pub use event::{
    AccessAttributes, BadEvent, Event, EventKind, EventRecord, ExpectedAccess, Fault, FaultClass,
    FetchAbort, Requester, Stage2Fault, TableAccess,
};
pub use ids::{Asid, PageRequestGroup, Stag, StreamId, SubstreamId, Vmid};
pub use invalidation::{Invalidation, InvalidationLimits, NotForwarded, NotForwardedReason};
pub use page_request::{PriMessage, PriRecord, PriRequest, PriResponse};
pub use queue::{
    CmdqCons, CmdqProd, CommandError, EntrySize, GlobalErrorRegisters, GlobalErrors, OutputCons,
    OutputProd, QueueBase, QueueIndex, QueueIndices, QueueSize,
};
pub use registers::{
    AddressSize, Aidr, BadFeatures, BreakBeforeMake, CannotOffer, ControlCacheability, Cr0, Cr1,
    Cr2, Features, Gbpa, IdRegisters, Idr0, Idr1, Idr2, Idr3, Idr4, Idr5, Iidr, InputSize,
    StallModel, StreamTableFormat, StreamTableLevels, StreamTableSplit, StrtabBase, StrtabBaseCfg,
    TableEndianness, TableUpdate, VmidWildcard, Vouched,
};
pub use reserved::Reserved;
pub use ste::{
    AllocationHints, AtsMode, BadSte, DefaultSubstream, IncomingOverride, NestedConfig, NestedSte,
    Reduced, RefusedSte, ShareabilityOverride, Stage1, Stage2, Ste, SteConfig, StreamConfig,
};
pub use strtab::{
    BadStreamId, L1StreamDescriptor, StreamDescriptorLookup, StreamLookup, StreamTable,
};
pub use vmsa::{
    Access, BadDescriptor, BadGeometry, DeviceMemory, Entry, FaultKind, Geometry, Granule,
    LeafDescriptor, Level, Mair, MemoryType, NormalCache, Permissions, Rights, TableDescriptor,
    Translation, Walk, WalkFault, WalkStep,
};
