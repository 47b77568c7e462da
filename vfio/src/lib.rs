//! Safe, owned Linux VFIO devices over iommufd: enough to write a driver in user space.
//!
//! - a [`PciFunction`], an [`IommuGroup`] and a [`VfioNode`] are what there is on a machine;
//! - [`Readiness`] tells why a PCI function cannot be used yet, and what to do about it;
//! - a [`Takeover`] gives a function to a VFIO driver, and back, and [`Sriov`] makes virtual functions;
//! - a [`Cdev`] is an open character device that is not bound yet;
//! - a [`Device`] is bound to an [`iommufd::Iommufd`], and can be attached to an address space; a
//!   [`MediatedDevice`] is one that the kernel emulates, and a [`NoIommuDevice`] one that nothing
//!   confines; what they have in common is a [`OpenDevice`];
//! - a [`PreBound`] is one that somebody else has bound, and a [`KvmVfio`] tells KVM of one;
//! - a [`BarMapping`] is its registers, a [`ConfigSpace`] its configuration space, and a
//!   [`Region`] any part of it, read and written by system call; a [`Register`] names one of them;
//! - a [`BarDmaBuf`] is registers for other devices to reach;
//! - [`Interrupts`] are its MSI or MSI-X vectors, an [`Intx`] its interrupt pin, and an [`IrqLine`] an
//!   interrupt of what is no PCI function, as eventfds; a
//!   [`Signal`] tells that the device has failed, or is to be unplugged;
//! - an [`IoEventFd`] has an eventfd write to a register;
//! - [`OpenDevice::reset`] resets the function alone, [`Device::hot_reset`] and
//!   [`GroupDevice::hot_reset`] all on its bus;
//! - optional [features](Feature) of a device: its [migration], a record of what it writes
//!   ([`DmaLogging`]), low power ([`LowPower`]) and more;
//! - an [`OpenDevice`] is what all of these take: a [`Device`], a [`GroupDevice`], or
//!   another that is open.
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
//! # Features
//! - `tokio`: interrupts and signals as asynchronous streams, in a tokio runtime.
//!
//! # What it does not do
//!
//! It does nothing through sysfs that it was not asked for: nothing is taken from its driver, or given
//! back, by being opened or dropped. No safe code of it drives a device without an IOMMU.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("vfio is for 64-bit little-endian Linux");

mod address;
mod bar;
mod bar_access;
mod binding;
mod bound;
mod buffer;
mod capability;
mod cause;
mod cdev;
mod config;
mod container;
mod device;
mod device_file;
mod discovery;
mod dma_buf;
mod dma_logging;
mod error;
mod eventfd;
mod feature;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod group;
mod holders;
mod hot_reset;
mod identity;
mod ids;
mod in_use;
mod info;
mod ioctl;
mod ioeventfd;
mod irq;
mod kvm;
mod low_power;
pub mod migration;
pub mod pci;
mod pre_bound;
mod query;
#[cfg(test)]
mod random;
mod readiness;
mod refused_bind;
mod region;
mod registers;
mod signal;
#[cfg(feature = "tokio")]
mod stream;
mod switches;
mod sysfs;
mod vf_token;

pub use address::{InvalidPciAddress, PciAddress};
pub use bar::BarMapping;
pub use bar_access::BarAccess;
pub use binding::{
    DriverName, Former, InvalidDriverName, Pending, RebindError, Sriov, SysfsRefusal, Takeover,
    User, Waited,
};
pub use capability::BrokenChain;
pub use cdev::{BindError, Cdev};
pub use config::{Capability, CapabilityId, ConfigSpace, ExtendedCapability, ExtendedCapabilityId};
pub use container::{
    Container, ContainerDirtyTracking, ContainerInfo, ContainerMapping, DirtyLimits,
};
pub use device::{AnyDevice, Device, IoasAttachment, MediatedDevice, NoIommuDevice, OpenDevice};
pub use discovery::{
    IommuGroup, IommuGroupType, IommuKind, IommuUnit, PciClass, PciFunction, ReservedKind,
    ReservedRegion, ResetMethod, VfioNode,
};
pub use dma_buf::{BarDmaBuf, BarDmaMapping};
pub use dma_logging::{DmaLogging, LogReadFailed, RecordLost};
pub use error::{Error, Refused, Result};
pub use feature::{BusMaster, Feature, FeatureAccess, FeatureError, Guarded, ZpciError};
pub use gate::Revocation;
pub use group::{GroupDevice, HeldGroup, MemberGroup, VfioGroup};
pub use holders::Holders;
pub use hot_reset::{
    AffectedFunction, FunctionOwner, GroupFunction, GroupResetScope, HotResetScope,
};
pub use ids::PciIds;
pub use info::{AtomicCompletion, DeviceFlags, DeviceInfo};
pub use ioeventfd::IoEventFd;
pub use iommufd::volatile::Word;
pub use irq::{
    Interrupts, Intx, IrqFlags, IrqIndex, IrqInfo, IrqKind, IrqLine, MsiKind, OwnedVector, Vector,
};
pub use kvm::{KvmVfio, KvmVfioDevice};
pub use low_power::{LowPower, LowPowerUntilWoken};
pub use pre_bound::PreBound;
pub use readiness::{Blocker, MsiIsolation, Readiness, Sibling};
pub use region::{Area, Region, RegionFlags, RegionIndex, RegionInfo, RegionKind};
pub use registers::{
    ReadOnly, ReadWrite, Readable, Register, RegisterBlock, Registers, Writable, WriteOnly,
};
pub use signal::{Signal, SignalKind};
#[cfg(feature = "tokio")]
pub use stream::{Fires, Firings};
pub use vf_token::{InvalidVfToken, VfToken};
