//! Safe, owned Linux VFIO devices over iommufd: enough to write a driver in user space.
//!
//! - [`Readiness`] tells why a PCI function cannot be used yet, and what to do about it;
//! - a [`Cdev`] is an open character device that is not bound yet;
//! - a [`Device`] is bound to an [`iommufd::Iommufd`], and can be attached to an address space;
//! - a [`BarMapping`] is its registers, a [`ConfigSpace`] its configuration space, and a
//!   [`Region`] any part of it, read and written by system call;
//! - [`Interrupts`] are its MSI or MSI-X vectors, as eventfds, and a [`Signal`] tells that the device
//!   has failed, or is to be unplugged;
//! - an [`OpenDevice`] is what all of these take: a [`Device`], or a [`GroupDevice`].
//!
//! For those who must, VFIO's older interface: a [`VfioGroup`] joins a [`Container`], and its devices
//! are opened as [`GroupDevice`]s. [`Container`] shows how a program falls back to it.
//!
//! Everything that is made of a device holds it open, so it can be dropped in any order. All of it
//! is `Send`, `Sync` and `'static`, to be kept in structs.
//!
//! Device and guest are not trusted here: whatever a device does, it reaches only the memory that
//! is mapped where it is attached, and nothing that it or the kernel answers makes this crate
//! panic.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::{Access, DmaBuffer, Ioas, Iommufd};
//! use vfio::{Cdev, RegionIndex};
//!
//! let iommufd = Iommufd::open()?;
//! let device = Cdev::open_pci("0000:00:04.0".parse()?)?.bind(&iommufd)?;
//!
//! let ioas = Ioas::new(&iommufd)?;
//! let attachment = device.attach(&ioas)?;
//! let buffer = DmaBuffer::new(4096)?.share();
//! let mapping = ioas.map(&buffer, Access::ReadWrite)?;
//!
//! device.config()?.enable_bus_master()?;
//! let registers = device.map_bar(RegionIndex::BAR0)?;
//! registers.write(0x80, mapping.iova().get())?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! It does not bind functions to `vfio-pci` (that takes root, and a decision; [`Readiness`] says
//! how), and no safe code of it drives a device without an IOMMU.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("vfio is for 64-bit little-endian Linux");

mod address;
mod bar;
mod bound;
mod buffer;
mod capability;
mod cause;
mod cdev;
mod config;
mod container;
mod device;
mod error;
mod eventfd;
mod group;
mod holders;
mod ids;
mod info;
mod ioctl;
mod irq;
mod query;
mod readiness;
mod region;
mod signal;
mod sysfs;

pub use address::{InvalidPciAddress, PciAddress};
pub use bar::BarMapping;
pub use capability::BrokenChain;
pub use cdev::{BindError, Cdev};
pub use config::{Capability, CapabilityId, ConfigSpace, ExtendedCapability, ExtendedCapabilityId};
pub use container::{
    Container, ContainerDirtyTracking, ContainerInfo, ContainerMapping, DirtyLimits,
};
pub use device::{Device, OpenDevice};
pub use error::{Error, Refused, Result};
pub use group::{GroupDevice, MemberGroup, VfioGroup};
pub use holders::Holders;
pub use ids::PciIds;
pub use info::{AtomicCompletion, DeviceFlags, DeviceInfo};
pub use iommufd::volatile::Word;
pub use irq::{Interrupts, IrqFlags, IrqInfo, IrqKind, Vector};
pub use readiness::{Blocker, MsiIsolation, Readiness, Sibling};
pub use region::{Area, Region, RegionFlags, RegionIndex, RegionInfo, RegionKind};
pub use signal::{Signal, SignalKind};
