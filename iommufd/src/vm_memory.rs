//! The guest memory of the rust-vmm project (the crate `vm-memory`) as DMA memory.
//!
//! With the feature `vm-memory`. A VMM that keeps its guest's RAM in a
//! [`GuestMemoryMmap`](::vm_memory::GuestMemoryMmap) lets the devices that it assigns reach it by a
//! [`GuestDma`]: there every byte has the guest's physical address as its IOVA, so that the guest
//! programs its devices with the addresses that it knows.
//!
//! ```no_run
//! # fn example(device: &iommufd::Device) -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::vm_memory::{BlockSize, GuestDma};
//! use iommufd::{Access, Ioas};
//! use vm_memory::{GuestAddress, GuestMemoryMmap};
//!
//! // RAM below and above the hole for devices.
//! let memory = GuestMemoryMmap::<()>::from_ranges(&[
//!     (GuestAddress(0), 2 << 30),
//!     (GuestAddress(4 << 30), 6 << 30),
//! ])?;
//! let ioas = Ioas::new(device.iommufd())?;
//! let dma = GuestDma::new(&ioas, BlockSize::SIZE_2M);
//! dma.add_memory(&memory, Access::ReadWrite)?;
//! let attachment = device.attach(&ioas)?;
//! # Ok(())
//! # }
//! ```
//!
//! Memory comes and goes while the guest runs. Map a region before the guest hears of it, and unmap
//! it after the guest has given it up; in between, a snapshot that somebody still holds of a
//! [`GuestMemoryAtomic`](https://docs.rs/vm-memory/0.18/vm_memory/atomic/struct.GuestMemoryAtomic.html)
//! keeps the memory for the CPU, and the address space keeps it for devices, each as long as it
//! needs it.
//!
//! ```no_run
//! # fn example(dma: &iommufd::vm_memory::GuestDma) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use iommufd::Access;
//! use iommufd::vm_memory::GuestRegion;
//! use vm_memory::{
//!     GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap, GuestRegionMmap,
//! };
//!
//! let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 30)])?;
//! dma.add_memory(&ram, Access::ReadWrite)?;
//! let memory = GuestMemoryAtomic::new(ram);
//!
//! // A DIMM is plugged: devices reach it first, then the VMM, then the guest is told.
//! let slot = GuestAddress(4 << 30);
//! let dimm = Arc::new(GuestRegionMmap::from_range(slot, 1 << 30, None)?);
//! dma.add_region(GuestRegion::new(&dimm)?, Access::ReadWrite)?;
//! let larger = memory.memory().insert_region(Arc::clone(&dimm))?;
//! memory.lock().map_err(|_| "poisoned")?.replace(larger);
//!
//! // The guest has given it up: the other way round.
//! let (smaller, _dimm) = memory.memory().remove_region(slot, 1 << 30)?;
//! memory.lock().map_err(|_| "poisoned")?.replace(smaller);
//! dma.remove_region(slot)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The version of vm-memory
//!
//! It is 0.18: the types of another version are other types, and are not taken here. It is not
//! exported again, so depend on it as well.
//!
//! This module has the name of that crate. Where all of this crate is imported (`iommufd::*`), the
//! name alone means neither; two colons before it mean the crate:
//!
//! ```
//! use ::vm_memory::GuestAddress;
//! use iommufd::vm_memory::GuestRange;
//! use iommufd::*;
//!
//! # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! let low = GuestRange::with_len(GuestAddress(0), 2 << 30).ok_or("no such range")?;
//! // A device finds it at the same numbers.
//! assert_eq!(IovaRange::from(low).start(), Iova::new(0));
//! # Ok(())
//! # }
//! ```
//!
//! # What vm-memory does not see
//!
//! A device's writes do not appear in the dirty bitmap of a region (`B`), which records what the
//! VMM itself writes: they are in the page tables ([`DirtyTracking`](crate::DirtyTracking)), and go
//! with a block that is unmapped, unless they are read before
//! ([`GuestDma::unmap_block_reading_dirty`]). A page that is pinned for a device must not be discarded (`MADV_DONTNEED`, a
//! hole punched in its file): unmap its block before.

mod block;
mod books;
mod dirty;
mod dma;
mod error;
mod range;
mod region;
mod unmap;

pub use block::{BlockSize, Blocks};
pub use books::{BlockState, GuestBlock};
pub use dma::GuestDma;
pub use error::{BlockError, GuestDmaError};
pub use range::GuestRange;
pub use region::GuestRegion;
