//! Safe, owned Linux VFIO devices over iommufd: enough to write a driver in user space.
//!
//! - [`Readiness`] tells why a PCI function cannot be used yet, and what to do about it;
//! - a [`Cdev`] is an open character device that is not bound yet;
//! - a [`Device`] is bound to an [`iommufd::Iommufd`], and can be attached to an address space; a
//!   [`MediatedDevice`] is one that the kernel emulates, and a [`NoIommuDevice`] one that nothing
//!   confines; what they have in common is a [`OpenDevice`];
//! - a [`PreBound`] is one that somebody else has bound, and a [`KvmVfio`] tells KVM of one;
//! - a [`BarMapping`] is its registers, a [`ConfigSpace`] its configuration space, and a
//!   [`Region`] any part of it, read and written by system call;
//! - [`Interrupts`] are its MSI or MSI-X vectors, as eventfds, and a [`Signal`] tells that the device
//!   has failed, or is to be unplugged.
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
//! how), it knows no legacy groups and containers, and in safe code it drives no device without an IOMMU.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("vfio is for 64-bit little-endian Linux");

mod address;
mod bar;
mod bar_access;
mod bound;
mod buffer;
mod capability;
mod cause;
mod cdev;
mod config;
mod device;
mod device_file;
mod error;
mod eventfd;
mod gate;
mod holders;
mod identity;
mod ids;
mod info;
mod ioctl;
mod irq;
mod kvm;
mod pre_bound;
mod query;
mod readiness;
mod refused_bind;
mod region;
mod signal;
mod sysfs;
mod vf_token;

pub use address::{InvalidPciAddress, PciAddress};
pub use bar::BarMapping;
pub use bar_access::BarAccess;
pub use capability::BrokenChain;
pub use cdev::{BindError, Cdev};
pub use config::{Capability, CapabilityId, ConfigSpace, ExtendedCapability, ExtendedCapabilityId};
pub use device::{AnyDevice, Device, IoasAttachment, MediatedDevice, NoIommuDevice, OpenDevice};
pub use error::{Error, Refused, Result};
pub use gate::Revocation;
pub use holders::Holders;
pub use ids::PciIds;
pub use info::{AtomicCompletion, DeviceFlags, DeviceInfo};
pub use iommufd::volatile::Word;
pub use irq::{Interrupts, IrqFlags, IrqInfo, IrqKind, Vector};
pub use kvm::{KvmVfio, KvmVfioDevice};
pub use pre_bound::PreBound;
pub use readiness::{Blocker, MsiIsolation, Readiness, Sibling};
pub use region::{Area, Region, RegionFlags, RegionIndex, RegionInfo, RegionKind};
pub use signal::{Signal, SignalKind};
pub use vf_token::{InvalidVfToken, VfToken};
