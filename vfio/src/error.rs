//! What can go wrong, subject by subject, and how to get back what an operation had consumed.

mod kernel;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::path::PathBuf;

use iommufd::{KernelError, Linux};

use self::words::{found_at, lines, list, now_with};

use crate::address::PciAddress;
use crate::binding::{DriverName, InvalidDriverName, RebindError, SysfsRefusal};
use crate::capability::BrokenChain;
use crate::feature::FeatureError;
use crate::gate::Revocation;
use crate::holders::Holders;
use crate::hot_reset::GroupFunction;
use crate::irq::{IrqIndex, IrqKind};
use crate::readiness::Blocker;
use crate::region::RegionIndex;
use crate::signal::SignalKind;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The core refused, or the kernel did: a [`KernelError`] names the ioctl, the errno and its
    /// cause.
    #[error(transparent)]
    Iommufd(#[from] iommufd::Error),

    // Finding, opening and binding a device.
    /// A device node could not be opened.
    #[error("{}: {error}", .path.display())]
    #[non_exhaustive]
    Open {
        /// The node.
        path: PathBuf,
        /// The kernel's refusal.
        #[source]
        error: KernelError,
    },

    /// The PCI function exists, but cannot be used yet. The text says what to do.
    #[error("{address} cannot be used yet:{}", lines(.blockers))]
    #[non_exhaustive]
    NotReady {
        /// The function.
        address: PciAddress,
        /// All that has to be dealt with first.
        blockers: Vec<Blocker>,
    },

    /// There is no PCI function at this address.
    #[error("there is no PCI function at {address} (lspci -D lists those there are)")]
    #[non_exhaustive]
    NoSuchDevice {
        /// The address.
        address: PciAddress,
    },

    /// A file of sysfs could not be read.
    #[error("cannot read {} ({error}); is sysfs mounted?", .path.display())]
    #[non_exhaustive]
    Sysfs {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },

    /// The file is not a VFIO character device.
    #[error("not a VFIO character device (/dev/vfio/devices/vfioN)")]
    NotVfio,

    /// The device has no IOMMU: its DMA is by physical address, so no safe code may drive it.
    #[error("a noiommu device: its DMA can reach all of memory, and safe code cannot use it")]
    NoIommu,

    /// Nothing tells whether an IOMMU confines the device: there is neither a sysfs nor a procfs.
    /// [`Cdev::from_fd_with_iommu`](crate::Cdev::from_fd_with_iommu) takes the caller's word. A group of
    /// which nothing tells joins a container of the kernel's own, which refuses what has no IOMMU.
    #[error(
        "neither /sys nor /proc/self/fd tells whether the device is a noiommu one; \
         Cdev::from_fd_with_iommu is for one that is not"
    )]
    MayBeNoIommu,

    /// The node that sysfs named for a PCI function has become another device's.
    #[error("the device node of {address} is another device's by now{}", found_at(.found))]
    #[non_exhaustive]
    AnotherDevice {
        /// The function that was to be opened.
        address: PciAddress,
        /// What was opened, if it is a PCI function; it has been closed again.
        found: Option<PciAddress>,
    },

    /// It is no noiommu device: an IOMMU translates for it, or the kernel emulates it. That is what
    /// [`Cdev`](crate::Cdev) is for.
    #[error("not a noiommu device: open it with vfio::Cdev, which is safe")]
    HasIommu,

    /// A mediated device, behind which there is no IOMMU:
    /// [`Cdev::bind_mediated`](crate::Cdev::bind_mediated) binds one.
    #[error("a mediated device, which the kernel emulates: bind it with vfio::Cdev::bind_mediated")]
    Mediated,

    /// No mediated device, but one with an IOMMU: [`Cdev::bind`](crate::Cdev::bind) binds it.
    #[error("no mediated device, but one behind an IOMMU: bind it with vfio::Cdev::bind")]
    NotMediated,

    /// The device asks for a VF token: it is a virtual function whose physical function is with a
    /// VFIO driver, or a physical function whose virtual functions are in use.
    #[error("{error}; it asks for a VF token: bind it with vfio::Cdev::bind_with_token")]
    #[non_exhaustive]
    VfTokenNeeded {
        /// The kernel's refusal.
        #[source]
        error: KernelError,
    },

    /// The VF token is not the one that the physical function's user has set.
    #[error("{error}; the VF token is another than that of the physical function")]
    #[non_exhaustive]
    VfTokenWrong {
        /// The kernel's refusal.
        #[source]
        error: KernelError,
    },

    /// The device's driver takes no VF token when a device is bound, or the kernel does not; or the
    /// file has been bound meanwhile.
    #[error(
        "the device is not bound with a VF token: its driver takes none, or the kernel (Linux does \
         since {since}), or the file is bound already"
    )]
    #[non_exhaustive]
    NoVfTokens {
        /// Since when Linux takes one.
        since: Linux,
    },

    /// KVM, or what was to tell it, has refused to add or remove the device.
    #[error("KVM did not {operation} the device: {error}")]
    #[non_exhaustive]
    Kvm {
        /// What was asked for.
        operation: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },

    /// KVM was told of the device already.
    #[error("the device is in KVM's hands already")]
    InKvm,

    /// The device has been bound before KVM was told of it: the kernel asks when it binds.
    #[error(
        "the device was bound before KVM was told of it; close it, and tell KVM before the bind"
    )]
    TooLateForKvm,

    /// The file is not KVM's VFIO device of a virtual machine.
    #[error("not KVM's VFIO device of a virtual machine")]
    NotKvmVfio,

    /// The context has no device of the id that was said to be the device's, or one of another kind.
    #[error("the context has no such device under this id")]
    WrongId,

    /// The file, which was to be bound already, is not.
    #[error("the device file is not bound yet: vfio::Cdev::from_fd takes it, and binds it")]
    NotBound,

    /// Somebody has bound the file already, to a context that is not known here. Who knows it takes
    /// the file over by [`PreBound`](crate::PreBound).
    #[error(
        "the device file is bound to an iommufd already; what it is attached to cannot be told \
         (vfio::PreBound is for who knows to which)"
    )]
    AlreadyBound,

    // Answers that make no sense.
    /// The answer of the kernel, or of the device, contradicts itself.
    #[error("{source_of} is malformed: {reason}")]
    #[non_exhaustive]
    Malformed {
        /// What gave the answer.
        source_of: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The chain of capabilities in an answer of the kernel is broken.
    #[error("{operation}: {reason}")]
    #[non_exhaustive]
    BrokenChain {
        /// The ioctl.
        operation: &'static str,
        /// What is wrong with the chain.
        #[source]
        reason: BrokenChain,
    },

    // Regions and registers.
    /// The device has no such region.
    #[error("the device has no {index}")]
    #[non_exhaustive]
    NoRegion {
        /// The region.
        index: RegionIndex,
    },

    /// The kernel does not let the region be mapped at all; read and write it through
    /// [`Region`](crate::Region).
    #[error("{index} cannot be mapped; read and write it through vfio::Region")]
    #[non_exhaustive]
    NotMappable {
        /// The region.
        index: RegionIndex,
    },

    /// The kernel does not let this part of the region be mapped (it may hold the MSI-X table, for
    /// example); read and write it through [`Region`](crate::Region).
    #[error(
        "offset {offset:#x} of {index} is in a part that the kernel does not map; \
         read and write it through vfio::Region"
    )]
    #[non_exhaustive]
    NotMapped {
        /// The region.
        index: RegionIndex,
        /// Where the access begins.
        offset: u64,
    },

    /// An access that passes the end of its region.
    #[error(
        "offset {offset:#x} with length {len:#x} is outside of {index}, which has {size:#x} bytes"
    )]
    #[non_exhaustive]
    OutOfBounds {
        /// The region.
        index: RegionIndex,
        /// Where the access begins.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The length of the region in bytes.
        size: u64,
    },

    /// Mapped registers cannot be accessed now: the kernel would answer with a signal.
    #[error("mapped registers cannot be accessed: {cause}")]
    #[non_exhaustive]
    Revoked {
        /// Why, and with it until when.
        cause: Revocation,
    },

    /// What was asked for stops the accesses of mapped registers, and waits for those that are
    /// under way: this very thread holds one ([`BarAccess`](crate::BarAccess)).
    #[error("this thread holds an access of the device's registers; drop it first")]
    AccessHeld,

    /// An access that passes the end of a [`RegisterBlock`](crate::RegisterBlock), or a block that
    /// passes the end of what it would be a part of.
    #[error("offset {offset:#x} with length {len:#x} is outside of a block of {size:#x} bytes")]
    #[non_exhaustive]
    OutOfBlock {
        /// Where the access begins, in bytes from the start of the block.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The length of the block in bytes.
        size: u64,
    },

    /// An access of a register at an offset that its width does not divide.
    #[error("offset {offset:#x} of {index} is not aligned to the access width of {width} bytes")]
    #[non_exhaustive]
    Misaligned {
        /// The region.
        index: RegionIndex,
        /// Where the access begins.
        offset: u64,
        /// Its width in bytes.
        width: u64,
    },

    /// The kernel transferred less than all, and gave no reason.
    #[error("{operation} at {offset:#x} of {index} moved {moved} of {asked} bytes")]
    #[non_exhaustive]
    ShortTransfer {
        /// The read or write.
        operation: &'static str,
        /// The region.
        index: RegionIndex,
        /// Where the access began.
        offset: u64,
        /// How many bytes were asked for.
        asked: usize,
        /// How many were moved.
        moved: usize,
    },

    /// A bit of a register did not take the value that was written.
    #[error("the device does not let {what} be set")]
    #[non_exhaustive]
    NotTaken {
        /// The bit.
        what: &'static str,
    },

    // Interrupts.
    /// The device is no PCI function: its interrupts are others ([`IrqLine`](crate::IrqLine)), and it has
    /// no [`Signal`](crate::Signal)s.
    #[error("the device is no PCI function, and has no interrupts of these kinds")]
    NotPci,

    /// The device is a PCI function: its interrupts are [`Intx`](crate::Intx) and
    /// [`Interrupts`](crate::Interrupts).
    #[error("the device is a PCI function: its interrupts have kinds")]
    IsPci,

    /// The device has no such interrupt.
    #[error("the device has no interrupt {index}")]
    #[non_exhaustive]
    NoLine {
        /// The interrupt.
        index: IrqIndex,
    },

    /// The interrupt is enabled already.
    #[error("interrupt {index} is enabled already")]
    #[non_exhaustive]
    LineEnabled {
        /// The interrupt.
        index: IrqIndex,
    },

    /// The interrupt cannot be masked: it is no level-triggered line.
    #[error("interrupt {index} cannot be masked")]
    #[non_exhaustive]
    NotMaskable {
        /// The interrupt.
        index: IrqIndex,
    },

    /// The device has no interrupts of this kind.
    #[error("the device has no {kind} interrupts")]
    #[non_exhaustive]
    NoInterrupts {
        /// The kind.
        kind: IrqKind,
    },

    /// There are fewer vectors than asked for; none were enabled.
    #[error("{requested} {kind} vectors were asked for, but only {available} can be had")]
    #[non_exhaustive]
    FewerVectors {
        /// The kind.
        kind: IrqKind,
        /// How many were asked for.
        requested: u32,
        /// How many can be had.
        available: u32,
    },

    /// Interrupts are enabled already; disable them to enable others.
    #[error("{kind} interrupts are enabled already; a device has one kind at a time")]
    #[non_exhaustive]
    InterruptsEnabled {
        /// The kind that is enabled.
        kind: IrqKind,
    },

    /// On Arm, a device has interrupts only while it, or another of its IOMMU group, is attached to
    /// something: the IOMMU translates them as it does all that the device writes.
    #[error(
        "no {kind} interrupts for a device that is not attached: here the IOMMU translates them; attach it first"
    )]
    #[non_exhaustive]
    InterruptsUnattached {
        /// The kind that was asked for.
        kind: IrqKind,
    },

    /// An interrupt vector that is not enabled.
    #[error("vector {vector} is not enabled; {enabled} are")]
    #[non_exhaustive]
    NoVector {
        /// The vector.
        vector: u32,
        /// How many are enabled.
        enabled: u32,
    },

    /// An interrupt vector that the device has not got.
    #[error("there is no {kind} vector {vector}: the device has {available}, from 0 on")]
    #[non_exhaustive]
    VectorOutOfRange {
        /// The kind.
        kind: IrqKind,
        /// The vector.
        vector: u32,
        /// How many the device has.
        available: u32,
    },

    /// An interrupt vector for which there is no room, and none can be made while others are
    /// enabled. Disable them, and enable or reserve as many as may be used.
    #[error(
        "there is room for {room} {kind} vectors, and so none for vector {vector}; here more can be \
         had only after all are disabled"
    )]
    #[non_exhaustive]
    NoRoom {
        /// The kind.
        kind: IrqKind,
        /// The vector.
        vector: u32,
        /// How many there is room for.
        room: u32,
    },

    /// Somebody waits for the vector, who would never hear of it any more: drop what
    /// [`Interrupts::owned`](crate::Interrupts::owned) gave.
    #[error("somebody has a handle of vector {vector} to wait for it")]
    #[non_exhaustive]
    VectorHeld {
        /// The vector.
        vector: u32,
    },

    /// Somebody waits for vectors, who would never hear of them any more: drop what
    /// [`Interrupts::owned`](crate::Interrupts::owned) gave.
    #[error("there are {holders} handles of vectors to wait for them")]
    #[non_exhaustive]
    VectorsHeld {
        /// How many handles.
        holders: usize,
    },

    /// The interrupt signals an eventfd of the caller's, who waits for it.
    #[error("the interrupt signals an eventfd of the caller's, and is waited for there")]
    NotWaitedForHere,

    // What else a device can be told.
    /// Only registers in a BAR can be written by an eventfd.
    #[error("{index} is no BAR that can be written: no eventfd can write to it")]
    #[non_exhaustive]
    NoIoEventFd {
        /// The region.
        index: RegionIndex,
    },

    /// A hot reset would reset functions that are not this context's.
    #[error("a hot reset would reset {}, which this context does not own", list(.functions))]
    #[non_exhaustive]
    HotResetNotOwned {
        /// The functions.
        functions: Vec<PciAddress>,
    },

    /// A hot reset would reset devices of this context that were not named: accesses of their
    /// registers must stop meanwhile.
    #[error("a hot reset would reset {} as well; name the devices", list(.functions))]
    #[non_exhaustive]
    HotResetUnnamed {
        /// The functions.
        functions: Vec<PciAddress>,
    },

    /// A hot reset would reset functions of groups that were not named: open these groups, and name
    /// them.
    #[error("a hot reset would reset {} as well; name the groups", list(.functions))]
    #[non_exhaustive]
    HotResetGroupsMissing {
        /// The functions, with their groups.
        functions: Vec<GroupFunction>,
    },

    /// The kernel tells this of the device already: there is one [`Signal`](crate::Signal) of a kind.
    #[error("there is a signal of the device's {kind}s already")]
    #[non_exhaustive]
    SignalEnabled {
        /// The kind.
        kind: SignalKind,
    },

    // Drivers of PCI functions, and virtual functions.
    /// A step of a change of drivers was refused.
    #[error(transparent)]
    Rebind(Box<RebindError>),

    /// A write to sysfs was refused.
    #[error(transparent)]
    SysfsWrite(Box<SysfsRefusal>),

    /// The name of a driver that sysfs told is none.
    #[error(transparent)]
    Driver(#[from] InvalidDriverName),

    /// The kernel has no such driver of PCI functions.
    #[error("there is no PCI driver {driver}; load it: modprobe {driver}")]
    #[non_exhaustive]
    NoSuchDriver {
        /// The driver.
        driver: DriverName,
    },

    /// The driver is not one of VFIO's. The function has the driver again that it had.
    #[error("{driver} is no VFIO driver; what it was given has its former driver again")]
    #[non_exhaustive]
    NotVfioDriver {
        /// The driver.
        driver: DriverName,
    },

    /// The function is not with the driver any more from which it was to be taken.
    #[error("{address} is not with {expected} any more, {}", now_with(.found))]
    #[non_exhaustive]
    DriverChanged {
        /// The function.
        address: PciAddress,
        /// The driver that it was given to.
        expected: DriverName,
        /// The driver that it has.
        found: Option<DriverName>,
    },

    /// This process has the function open. It would wait for itself, for ever.
    #[error("{address} is open in this process, which would wait for itself; close it first")]
    #[non_exhaustive]
    InUseHere {
        /// The function.
        address: PciAddress,
    },

    /// The function can have no virtual functions.
    #[error("{address} has no SR-IOV")]
    #[non_exhaustive]
    NoSriov {
        /// The function.
        address: PciAddress,
    },

    /// The function has virtual functions, whose number is changed by way of none.
    #[error("{address} has {count} virtual functions already; remove them first")]
    #[non_exhaustive]
    VirtualFunctionsExist {
        /// The function.
        address: PciAddress,
        /// How many it has.
        count: usize,
    },

    /// The function cannot have so many virtual functions.
    #[error("{asked} virtual functions were asked for, but {address} can have {total} at most")]
    #[non_exhaustive]
    TooManyVirtualFunctions {
        /// The function.
        address: PciAddress,
        /// How many were asked for.
        asked: u16,
        /// How many it can have.
        total: u16,
    },

    /// No thread could be made for what may have to wait.
    #[error("cannot start a thread: {error}")]
    #[non_exhaustive]
    NoThread {
        /// Why.
        #[source]
        error: io::Error,
    },

    // Features.
    /// An optional feature of the device cannot be used so.
    #[error(transparent)]
    Feature(#[from] FeatureError),

    // Groups and containers.
    /// The file is not a VFIO group.
    #[error("not a VFIO group (/dev/vfio/GROUP)")]
    NotGroup,

    /// The file is not a container of VFIO's, or the kernel has no IOMMU of type 1 for it.
    #[error("not a VFIO container (/dev/vfio/vfio) with an IOMMU of type 1, version 2")]
    NotContainer,

    /// Somebody has put the group into a container, which is not known here.
    #[error("the group is in a container already; what is mapped there cannot be told")]
    GroupInContainer,

    /// Another address space has been made the one that stands in for a container: the kernel would
    /// attach the device to that.
    #[error(
        "the container's address space is not the one that stands in for a container any more;          Iommufd::set_compat_ioas makes it so again"
    )]
    NotCompat,

    /// The device is open by way of the group already.
    #[error("the group's device {name:?} is open already")]
    #[non_exhaustive]
    DeviceOpen {
        /// Its name.
        name: String,
    },

    /// The group is not taken out of its container: other handles of it, or devices that are open by
    /// way of it, hold it.
    #[error("the group stays in its container: {holders} other handles or devices hold it")]
    #[non_exhaustive]
    GroupHeld {
        /// How many.
        holders: usize,
    },

    /// Text that is no device's name.
    #[error("{name:?} is no name of a device")]
    #[non_exhaustive]
    NoDeviceName {
        /// The text.
        name: String,
    },

    // Closing.
    /// The device is not closed: something still holds it.
    #[error("the device stays open, as it is held by {0}")]
    StillHeld(Box<Holders>),
}

/// A refused operation that had consumed its value: here it is back, as it was.
///
/// ```no_run
/// # fn example(device: vfio::Device) {
/// if let Err(refused) = device.try_close() {
///     println!("not yet: {refused}");
///     let device = refused.into_value();
///     // … let go of what holds it, and try again …
/// #   drop(device);
/// }
/// # }
/// ```
pub type Refused<T> = iommufd::Refused<T, Error>;
