//! Safe, owned Linux iommufd: I/O address spaces, DMA memory, page tables, devices.
//!
//! A device reaches exactly the memory that is mapped in the address space to which it is
//! attached. This crate makes that a matter of ownership:
//!
//! - [`Iommufd`] is an open `/dev/iommu`;
//! - an [`Ioas`] is an address space in it, and holds the memory that is mapped there until the
//!   kernel has confirmed the unmap;
//! - a [`DmaBuffer`] is memory that the CPU has to itself, or shares with devices, never both;
//! - a [`Mapping`] puts memory at an [`Iova`], and unmaps it when dropped;
//! - a [`Device`], which a driver such as the `vfio` crate has bound, becomes attached to an
//!   address space or to a page table ([`HwPt`]) by an [`Attachment`];
//! - a [`DirtyTracking`] records which pages devices write, to be read into a [`DirtyBitmap`];
//! - a [`FaultQueue`] delivers what devices ask for that is not mapped, as [`PageRequestGroup`]s to
//!   be answered;
//! - a [`PasidAttachment`] gives one of a device's PASIDs a page table of its own, of those that a
//!   guest has chosen ([`PasidSlot`]) or that are handed out ([`Pasids`]).
//!
//! For a guest whose own page tables the hardware shall walk:
//!
//! - a [`NestParent`] translates the guest's physical addresses;
//! - a [`NestedHwPt`] is a guest's table, nested in it;
//! - a [`Viommu`] is the guest's share of an IOMMU, in which devices have the guest's numbers
//!   ([`VDevice`]), which takes its invalidations, and reports what happens ([`VEventQueue`]);
//! - [`smmuv3`] and [`vtd`] are the formats of all that for Arm's and Intel's hardware;
//!   [`format`](mod@format) is how another vendor's are brought in.
//!
//! Optional features: `vm-memory`, the guest memory of the rust-vmm project as DMA memory; `tokio`,
//! the queues as streams; `tracing`, an observer of all ioctls.
//!
//! Every object holds its parents, so they can be dropped in any order: the kernel always sees
//! children go first. All of them are `Send`, `Sync` and `'static`, to be kept in structs.
//!
//! ```no_run
//! # fn example(device: &iommufd::Device) -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::{Access, DmaBuffer, Ioas, Iommufd};
//!
//! # let iommufd = device.iommufd().clone();
//! let ioas = Ioas::new(&iommufd)?;
//! let attachment = device.attach(&ioas)?;
//!
//! let shared = DmaBuffer::new(64 * 1024)?.share();
//! let mapping = ioas.map(&shared, Access::ReadWrite)?;
//! println!("the device finds the buffer at {}", mapping.iova());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! All off by default.
//!
//! - `tokio`: queues as asynchronous streams, in a tokio runtime.
//! - `tracing`: an observer that makes `tracing` events of ioctls.
//! - `vm-memory`: the guest memory of the rust-vmm project as DMA memory.
//!
//! # What it does not do
//!
//! It binds no device: that is a driver's part. It chooses no page tables for you beyond what the
//! kernel does, hides no errno, and caches no answer about what the kernel supports that the
//! kernel did not give for that very question.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("iommufd is for 64-bit little-endian Linux");

// What is included by tests of other crates, too, has one name for this one.
#[cfg(test)]
extern crate self as iommufd;

mod address;
pub mod amd;
mod attachment;
mod barrier;
mod buffer;
mod by_number;
mod cause;
mod change_process;
mod compat;
mod context;
mod copy;
mod device;
mod devices;
mod dirty;
pub mod driver;
mod error;
mod event_file;
mod event_queue;
mod fault_queue;
mod file;
mod fork;
pub mod format;
mod funnel;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod hw_info;
mod hw_queue;
mod hwpt;
mod invalidate;
mod ioas;
mod ledger;
mod map;
mod mapping;
mod memory;
mod nest_parent;
mod nested;
mod noiommu;
mod object;
mod observe;
mod option;
mod paging;
mod pasid;
mod pasid_attachment;
mod pasid_slot;
mod pasids;
mod refused_option;
mod relay;
pub mod smmuv3;
mod space;
#[cfg(feature = "tokio")]
mod stream;
mod target;
#[cfg(feature = "tracing")]
mod tracing;
mod vdevice;
mod vevent;
mod viommu;
mod viommu_page;
#[cfg(feature = "vm-memory")]
pub mod vm_memory;
pub mod volatile;
pub mod vtd;
mod watch;
#[cfg(feature = "tokio")]
mod watched;

#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;
/// What is said of an ioctl, and of a release of Linux, in errors and to observers.
pub use iommufd_sys::ioctl::{Description, Linux};
/// The kernel's error numbers, as [`KernelError`] has them.
pub use rustix::io::Errno;

pub use address::{Iova, IovaRange};
pub use attachment::Attachment;
pub use buffer::{DmaBuffer, HugePage, SharedBuffer};
pub use context::{Iommufd, IommufdBuilder};
pub use copy::MappingSlice;
pub use device::Device;
pub use devices::DeviceKey;
pub use dirty::{DirtyBitmap, DirtyRuns, DirtyTracking, Granule};
pub use error::{Accounting, Error, KernelError, MemlockLimit, Refused, Result, TranslationLost};
pub use event_queue::ClosedQueue;
pub use fault_queue::{
    FaultQueue, PageRequest, PageRequestGroup, PageResponse, Permissions, RequestGroupId,
};
pub use file::FileRange;
pub use group::{Group, GroupId, GroupIdentity};
pub use hw_info::{
    AmdInfo, Capabilities, HwInfo, HwInfoType, Smmuv3Flags, Smmuv3Info, Tegra241CmdqvInfo,
    VendorDescription, VendorInfo, VtdFlags, VtdInfo,
};
pub use hw_queue::HwQueue;
pub use hwpt::{HwPt, HwPtBuilder};
pub use ioas::{Ioas, IovaRanges, Mapped};
pub use map::Access;
pub use mapping::Mapping;
pub use memory::{DmaMemory, DmaSlice, RawMemory};
pub use nest_parent::{NestParent, NestParentBuilder};
pub use nested::{NestedHwPt, NestedHwPtBuilder, NestingHost};
pub use noiommu::{PhysicalAddress, PhysicalRange};
pub use observe::{DropRefusal, IoctlEvent, Leaks, Observer};
pub use option::IoasBuilder;
pub use pasid::Pasid;
pub use pasid_attachment::{PasidAttachment, PasidTarget};
pub use pasid_slot::PasidSlot;
pub use pasids::{AllocatedPasid, Pasids};
#[cfg(feature = "tokio")]
pub use stream::{EventSource, EventStream};
pub use target::{Nested, Target};
pub use vdevice::VDevice;
pub use vevent::{VEvent, VEventQueue};
pub use viommu::Viommu;
pub use viommu_page::ViommuPage;
