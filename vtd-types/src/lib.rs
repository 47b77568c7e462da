//! The structures of Intel's Virtualization Technology for Directed I/O, VT-d, as they lie in memory
//! and in the registers of a remapping unit.
//!
//! For a VMM that gives a guest a VT-d, of the hardware's by iommufd or of its own; for a program
//! that writes the tables of the first stage itself. No allocation, no panics, no access to memory:
//! what a structure points to is read by the caller.
//!
//! There are two layers:
//!
//! - A *raw* type for each structure and register: [`PasidEntry`], [`ContextEntry`], [`Ecap`] … It
//!   keeps every bit, and has a getter and a setter for each field. A field with reserved encodings
//!   gives a [`Reserved`] that names it.
//! - What it *means*: [`RootTable::locate`], [`ScalableContextEntry::decode`],
//!   [`PasidEntry::decode`], [`FirstStage::walk`], [`Descriptor::decode`]. Only fields that count
//!   are looked at, and what the document calls an error is one that says which fault a unit
//!   records. What counts depends on the unit: on its [`Features`].
//!
//! Section numbers are of Intel's *Virtualization Technology for Directed I/O Architecture
//! Specification*, revision 4.1.
//!
//! # A guest's tables and invalidations for the kernel
//!
//! A guest has written a PASID table entry. What iommufd takes of it is a [`NestedPasidEntry`]; of a
//! descriptor in its invalidation queue, an [`Invalidation`]:
//!
//! ```
//! use vtd_types::{
//!     BadPasidEntry, Capabilities, Descriptor, Features, HostAddressWidth, HostCapabilities,
//!     Invalidation, NestedPasidEntry, NotNested, PasidEntry, TableMode,
//! };
//!
//! # let reported = Capabilities::from_bits(0x19ed_008c_4078_0c66, 0x0003_ef9e_86f0_50df);
//! # let wanted = reported;
//! // What the kernel reports of the hardware, and what the VMM wants to offer.
//! let offered = HostCapabilities::new(reported).offer(wanted)?;
//! let features = Features::new(offered, HostAddressWidth::new(46).expect("from 12 to 52"))?;
//!
//! // An entry with a first stage of five levels at 0x1_2345_6000, domain 3.
//! let written = PasidEntry::from_words([0x41, 3, 0x1_2345_6004, 0, 0, 0, 0, 0]);
//! let nested = NestedPasidEntry::from_entry(&written, &features)?;
//! assert_eq!((nested.table().get(), nested.address_width()), (0x1_2345_6000, 57));
//!
//! // An entry that is not present: the VMM blocks the device, and tells the guest.
//! assert_eq!(
//!     NestedPasidEntry::from_entry(&PasidEntry::default(), &features),
//!     Err(NotNested::Bad(BadPasidEntry::NotPresent)),
//! );
//!
//! // Forget everything of domain 3, PASID 1.
//! let words = [0x0000_0001_0003_0026, 0, 0, 0];
//! let descriptor = Descriptor::decode(words, &features.descriptors(TableMode::Scalable))?;
//! assert_eq!(Invalidation::from_descriptor(&descriptor), Ok(Invalidation::ALL));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![doc = include_str!("coverage.md")]
#![no_std]
#![forbid(unsafe_code)]

mod address;
mod bits;
mod context;
mod descriptor;
mod encoding;
mod fault;
mod field;
mod first_stage;
mod ids;
mod invalidation;
mod numbered;
mod page_request;
mod paging;
mod pasid;
#[cfg(test)]
mod positions;
mod queue;
mod record;
mod registers;
mod reserved;
mod root;
mod second_stage;
#[cfg(test)]
mod testing;

pub use address::{Gpa, HostAddressWidth, InputAddress};
pub use context::{
    BadContextEntry, BadScalableContextEntry, Context, ContextEntry, ContextTranslation,
    PasidDirectory, ScalableContextEntry, TranslationType,
};
pub use descriptor::{
    AddressMask, BadDescriptor, ContextCacheScope, Descriptor, DescriptorFeatures, DescriptorKind,
    DescriptorWords, DeviceTlbRange, FunctionMask, IndexMask, InterruptRange, IotlbScope,
    PageSelection, PasidCacheScope, StatusWrite,
};
pub use fault::{
    AddressType, BadFault, Fault, FaultReason, FaultRecord, RequestFault, RequestKind,
};
pub use first_stage::{
    FirstStage, FirstStageEntry, FirstStageFault, FirstStageFaultKind, FirstStageLeaf,
    FirstStageStep, FirstStageTable, FirstStageTranslation, FirstStageWalk,
};
pub use ids::{DomainId, InterruptIndex, PageRequestGroup, Pasid, SourceId};
pub use invalidation::{BadRange, Invalidation, NotForwarded, NotForwardedReason, TableScope};
pub use page_request::{BadPageRequest, PageMessage, PageRequest, PageRequestRecord, PageResponse};
pub use paging::{Access, BadPagingEntry, EntryUpdate, Level, Permissions, Rights};
pub use pasid::{
    BadPasidEntry, FirstStageLevels, NestedPasidEntry, NoPasidEntry, NotNested, PasidConfig,
    PasidDirectoryEntry, PasidEntry, PasidLookup, PasidTranslation, PasidTranslationType,
};
pub use queue::{
    BadOffset, DescriptorWidth, EntrySize, Ics, Iqa, Iqercd, Pqa, Prs, QueueError, QueueOffset,
    Ring, RingIndices,
};
pub use registers::{
    Agaw, CannotOffer, Cap, Capabilities, Ecap, EventControl, Features, Fsts, Gcmd, Gsts,
    HostCapabilities, Rtaddr, TableMode,
};
pub use reserved::Reserved;
pub use root::{
    BadRootEntry, BadRootTable, LegacyRootLookup, RootEntry, RootLookup, RootTable,
    ScalableRootEntry, ScalableRootLookup,
};
pub use second_stage::{
    SecondStage, SecondStageEntry, SecondStageFault, SecondStageFaultKind, SecondStageLeaf,
    SecondStageStep, SecondStageTable, SecondStageTranslation, SecondStageWalk,
};
