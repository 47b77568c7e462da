//! Ioctls past the SDK: those of the mock driver, and those by which a stranger with the same file acts behind its back.

// UNSAFETY: issues ioctls that the SDK has no safe form of.
#![expect(unsafe_code, reason = "issues the ioctls")]

pub mod compat;
pub mod dirty;
pub mod hw_info;
pub mod map;
pub mod nested;
pub mod ranges;
pub mod sizes;

use std::ffi::c_void;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use iommufd_sys::ioctl::{ArgszArg, Ioctl, SizedArg, iommufd as nr, vfio as vfio_nr, write_size};
use iommufd_sys::iommufd as sys;
use iommufd_sys::vfio as vfio_sys;
use rustix::io::Errno;
use rustix::ioctl::{IoctlOutput, Opcode};

/// Issues an ioctl.
///
/// # Safety
/// Every address in `arg` is good for what the kernel does with it. The ids are the caller's own, or those of objects
/// whose loss the test is about.
pub(crate) unsafe fn issue<T>(
    fd: BorrowedFd<'_>,
    ioctl: &Ioctl<T>,
    arg: &mut T,
) -> Result<(), Errno> {
    let call = Call {
        opcode: ioctl.request(),
        arg,
    };
    // SAFETY: number and argument belong together, as the typed description says; the rest is the caller's promise.
    unsafe { rustix::ioctl::ioctl(fd, call) }
}

struct Call<'a, T> {
    opcode: u32,
    arg: &'a mut T,
}

// SAFETY: the pointer is the exclusively borrowed argument, of which nothing is assumed afterwards; there is no output.
unsafe impl<T> rustix::ioctl::Ioctl for Call<'_, T> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.arg).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

fn sized<T: SizedArg>(fd: &impl AsFd, ioctl: &Ioctl<T>, arg: &mut T) -> Result<(), Errno> {
    write_size(arg);
    // SAFETY: only functions of this module and of those in it call this, none with an address in the argument. They make
    // objects of their own, or take from the SDK what a stranger with the same file could: the SDK has to live with that,
    // and lose no memory.
    unsafe { issue(fd.as_fd(), ioctl, arg) }
}

/// Where `bytes` are, for the kernel.
pub(crate) fn address(bytes: NonNull<[u8]>) -> u64 {
    bytes.cast::<u8>().as_ptr().expose_provenance() as u64
}

/// A context that the SDK knows nothing of: its end is that of the file.
#[must_use]
pub fn open() -> OwnedFd {
    let file = File::options().read(true).write(true).open("/dev/iommu");
    file.unwrap().into()
}

/// A new address space.
///
/// # Errors
/// The kernel's.
pub fn ioas_alloc(fd: &impl AsFd) -> Result<u32, Errno> {
    let mut arg = sys::iommu_ioas_alloc::sized();
    sized(fd, &nr::IOAS_ALLOC, &mut arg)?;
    Ok(arg.out_ioas_id)
}

/// Destroys the object `id`, whosever it is.
///
/// # Errors
/// The kernel's.
pub fn destroy(fd: &impl AsFd, id: u32) -> Result<(), Errno> {
    let mut arg = sys::iommu_destroy::sized();
    arg.id = id;
    sized(fd, &nr::DESTROY, &mut arg)
}

/// Reads or sets the option `id` of an object, or of the context where that is 0, by `op`; says the value it has then.
///
/// # Errors
/// The kernel's.
pub fn option(fd: &impl AsFd, id: u32, op: u32, object: u32, value: u64) -> Result<u64, Errno> {
    let mut arg = sys::iommu_option::sized();
    arg.option_id = id;
    arg.op = u16::try_from(op).unwrap();
    arg.object_id = object;
    arg.val64 = value;
    sized(fd, &nr::OPTION, &mut arg)?;
    Ok(arg.val64)
}

/// Asks for the address space of the VFIO container that the context plays, or changes it, by `op`. Says which it was
/// asked for.
///
/// # Errors
/// The kernel's.
pub fn vfio_ioas(fd: &impl AsFd, op: u32, ioas: u32) -> Result<u32, Errno> {
    let mut arg = sys::iommu_vfio_ioas::sized();
    arg.ioas_id = ioas;
    arg.op = u16::try_from(op).unwrap();
    sized(fd, &nr::VFIO_IOAS, &mut arg)?;
    Ok(arg.ioas_id)
}

/// Moves what is pinned to the account of the calling process.
///
/// # Errors
/// The kernel's.
pub fn change_process(fd: &impl AsFd) -> Result<(), Errno> {
    let mut arg = sys::iommu_ioas_change_process::sized();
    sized(fd, &nr::IOAS_CHANGE_PROCESS, &mut arg)
}

/// Unmaps `len` bytes from `iova` on, whosever they are, and says how many bytes there were.
///
/// # Errors
/// The kernel's.
pub fn unmap(fd: &impl AsFd, ioas: u32, iova: u64, len: u64) -> Result<u64, Errno> {
    let mut arg = sys::iommu_ioas_unmap::sized();
    arg.ioas_id = ioas;
    arg.iova = iova;
    arg.length = len;
    sized(fd, &nr::IOAS_UNMAP, &mut arg)?;
    Ok(arg.length)
}

/// A page table of the device `dev`, in which other tables can be nested.
///
/// # Errors
/// The kernel's.
pub fn nest_parent_alloc(fd: &impl AsFd, dev: u32, ioas: u32) -> Result<u32, Errno> {
    hwpt_alloc(fd, sys::IOMMU_HWPT_ALLOC_NEST_PARENT, dev, ioas)
}

/// A page table of the device `dev`, with `flags` of `IOMMU_HWPT_ALLOC_*`.
///
/// # Errors
/// The kernel's.
pub fn hwpt_alloc(fd: &impl AsFd, flags: u32, dev: u32, ioas: u32) -> Result<u32, Errno> {
    let mut arg = sys::iommu_hwpt_alloc::sized();
    arg.flags = flags;
    arg.dev_id = dev;
    arg.pt_id = ioas;
    sized(fd, &nr::HWPT_ALLOC, &mut arg)?;
    Ok(arg.out_hwpt_id)
}

/// A virtual IOMMU of the type `kind`.
///
/// # Errors
/// The kernel's.
pub fn viommu_alloc(fd: &impl AsFd, kind: u32, dev: u32, parent: u32) -> Result<u32, Errno> {
    let mut arg = sys::iommu_viommu_alloc::sized();
    arg.type_ = kind;
    arg.dev_id = dev;
    arg.hwpt_id = parent;
    sized(fd, &nr::VIOMMU_ALLOC, &mut arg)?;
    Ok(arg.out_viommu_id)
}

/// A hardware queue of the type `kind` in the memory mapped at `iova`.
///
/// # Errors
/// The kernel's.
pub fn hw_queue_alloc(
    fd: &impl AsFd,
    kind: u32,
    viommu: u32,
    iova: u64,
    len: u64,
) -> Result<u32, Errno> {
    let mut arg = sys::iommu_hw_queue_alloc::sized();
    arg.viommu_id = viommu;
    arg.type_ = kind;
    arg.nesting_parent_iova = iova;
    arg.length = len;
    sized(fd, &nr::HW_QUEUE_ALLOC, &mut arg)?;
    Ok(arg.out_hw_queue_id)
}

/// Binds the VFIO device `file` to a context, and says its id there.
///
/// # Errors
/// The kernel's.
pub fn vfio_bind(file: &impl AsFd, iommufd: &impl AsFd) -> Result<u32, Errno> {
    vfio_bind_number(file, iommufd.as_fd().as_raw_fd())
}

/// As [`vfio_bind`], to whatever file has that number, if any has.
///
/// # Errors
/// The kernel's.
pub fn vfio_bind_number(file: &impl AsFd, iommufd: i32) -> Result<u32, Errno> {
    let mut arg = vfio_sys::vfio_device_bind_iommufd::sized();
    arg.iommufd = iommufd;
    // SAFETY: there is no token to be read; the kernel keeps a file of the context, or refuses what is none.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_BIND_IOMMUFD, &mut arg) }?;
    Ok(arg.out_devid)
}

/// The flags of the VFIO device `file`.
///
/// # Errors
/// The kernel's.
pub fn vfio_get_info(file: &impl AsFd) -> Result<u32, Errno> {
    let mut arg = vfio_sys::vfio_device_info::sized();
    // SAFETY: no address.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_GET_INFO, &mut arg) }?;
    Ok(arg.flags)
}

/// Attaches the VFIO device `file` to what has the id `pt`, or moves it there.
///
/// # Errors
/// The kernel's.
pub fn vfio_attach(file: &impl AsFd, pt: u32) -> Result<(), Errno> {
    let mut arg = vfio_sys::vfio_device_attach_iommufd_pt::sized();
    arg.pt_id = pt;
    // SAFETY: no address; for the ids see `sized`.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_ATTACH_IOMMUFD_PT, &mut arg) }
}

/// Attaches a PASID of the VFIO device `file` to what has the id `pt`, or moves it there.
///
/// # Errors
/// The kernel's.
pub fn vfio_attach_pasid(file: &impl AsFd, pasid: u32, pt: u32) -> Result<(), Errno> {
    let mut arg = vfio_sys::vfio_device_attach_iommufd_pt::sized();
    arg.flags = vfio_sys::VFIO_DEVICE_ATTACH_PASID;
    arg.pt_id = pt;
    arg.pasid = pasid;
    // SAFETY: no address; for the ids see `sized`.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_ATTACH_IOMMUFD_PT, &mut arg) }
}

/// Lets the VFIO device `file` go into a low-power state.
///
/// # Errors
/// The kernel's.
pub fn vfio_low_power(file: &impl AsFd) -> Result<(), Errno> {
    let mut arg = vfio_sys::vfio_device_feature::sized();
    arg.flags = vfio_sys::VFIO_DEVICE_FEATURE_SET | vfio_sys::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
    // SAFETY: no address, and the feature has no data behind the argument.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_FEATURE, &mut arg) }
}

/// Has the kernel signal the eventfd of the interrupt at `index` of the VFIO device `file`, as if there were a cause.
///
/// # Errors
/// The kernel's.
pub fn vfio_signal(file: &impl AsFd, index: u32) -> Result<(), Errno> {
    let mut arg = vfio_sys::vfio_irq_set::sized();
    arg.flags = vfio_sys::VFIO_IRQ_SET_DATA_NONE | vfio_sys::VFIO_IRQ_SET_ACTION_TRIGGER;
    arg.index = index;
    arg.count = 1;
    // SAFETY: no address, and no data behind the argument.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_SET_IRQS, &mut arg) }
}

/// Enables one MSI of the VFIO device `file`, with an eventfd at which nobody looks.
///
/// # Errors
/// The kernel's.
pub fn vfio_enable_msi(file: &impl AsFd) -> Result<(), Errno> {
    #[repr(C)]
    struct WithEventfd {
        head: vfio_sys::vfio_irq_set,
        eventfd: i32,
    }
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let mut arg = WithEventfd {
        head: vfio_sys::vfio_irq_set::sized(),
        eventfd: eventfd.as_raw_fd(),
    };
    arg.head.argsz = u32::try_from(size_of::<WithEventfd>()).unwrap();
    arg.head.flags = vfio_sys::VFIO_IRQ_SET_DATA_EVENTFD | vfio_sys::VFIO_IRQ_SET_ACTION_TRIGGER;
    arg.head.index = vfio_sys::VFIO_PCI_MSI_IRQ_INDEX;
    arg.head.count = 1;
    let arg = (&raw mut arg).cast::<vfio_sys::vfio_irq_set>();
    // SAFETY: the head is the first of the local, which nothing else uses.
    let head = unsafe { &mut *arg };
    // SAFETY: no address; of the 24 bytes that `argsz` names the last are behind the head, in the same local.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_SET_IRQS, head) }
}

/// Detaches a PASID of the VFIO device `file`.
///
/// # Errors
/// The kernel's.
pub fn vfio_detach_pasid(file: &impl AsFd, pasid: u32) -> Result<(), Errno> {
    let mut arg = vfio_sys::vfio_device_detach_iommufd_pt::sized();
    arg.flags = vfio_sys::VFIO_DEVICE_DETACH_PASID;
    arg.pasid = pasid;
    // SAFETY: as for `vfio_attach_pasid`.
    unsafe { issue(file.as_fd(), &vfio_nr::DEVICE_DETACH_IOMMUFD_PT, &mut arg) }
}

/// How many objects there are in the context.
///
/// Ids are handed out lowest first: so many new objects have to be made until all holes are filled, and the last of them
/// tells. It is exact as long as there are no more holes than that.
#[must_use]
pub fn objects(fd: &impl AsFd) -> u32 {
    const PROBES: u32 = 16;
    let probes: Vec<_> = (0..PROBES).map(|_| ioas_alloc(fd).unwrap()).collect();
    for id in &probes {
        destroy(fd, *id).unwrap();
    }
    probes.iter().max().unwrap() - PROBES
}

/// Another handle of the same context, to look at it when the SDK has let go of it.
#[must_use]
pub fn witness(fd: &impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// The place of an open file among the files of the process, whoever owns it by now.
#[derive(Debug, Clone, Copy)]
pub struct Place(BorrowedFd<'static>);

impl Place {
    /// Where `file` is, which must be open as long as this is used.
    #[must_use]
    pub fn of(file: &impl AsFd) -> Self {
        // SAFETY: the number is an open file's, whose owner changes, but does not close it while a test looks here.
        Self(unsafe { BorrowedFd::borrow_raw(file.as_fd().as_raw_fd()) })
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0
    }
}

/// Puts `file` in the place of the open file that `place` is, behind the back of its owner.
pub fn put_in_place(place: &impl AsFd, file: &impl AsFd) {
    let number = place.as_fd().as_raw_fd();
    // SAFETY: the number is an open file's, and is not closed here. Its owner, for whom it becomes another file, is
    // what the test is about: a queue, which has to live with whatever its file answers.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    rustix::io::dup2(file, &mut place).unwrap();
}
