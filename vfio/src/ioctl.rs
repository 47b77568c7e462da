//! The one door to the kernel: every ioctl on a VFIO device is issued in this file.

// UNSAFETY: an ioctl makes the kernel read and write memory.
#![expect(unsafe_code, reason = "issues the ioctls")]

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

use iommufd::IoctlEvent;
use iommufd::driver::{Notices, Watch};
use iommufd_sys::ioctl::{ArgszArg, write_size};
use iommufd_sys::ioctl::{Description, Ioctl, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use rustix::ioctl::{IoctlOutput, Opcode};

use crate::buffer::AlignedBytes;

pub(crate) mod legacy;

/// An argument in which the kernel finds no address to read or write through.
///
/// # Safety
/// For every ioctl with this argument, the kernel must touch no memory of the process but the
/// `argsz` bytes from the start of the argument on.
pub(crate) unsafe trait PointerFree: ArgszArg {}

// SAFETY: numbers; capabilities are written within `argsz`.
unsafe impl PointerFree for sys::vfio_device_info {}
// SAFETY: as for the device's information.
unsafe impl PointerFree for sys::vfio_region_info {}
// SAFETY: four numbers.
unsafe impl PointerFree for sys::vfio_irq_info {}
// SAFETY: numbers, and descriptors of eventfds within `argsz`.
unsafe impl PointerFree for sys::vfio_irq_set {}
// SAFETY: ids and flags.
unsafe impl PointerFree for sys::vfio_device_attach_iommufd_pt {}
// SAFETY: ids and flags.
unsafe impl PointerFree for sys::vfio_device_detach_iommufd_pt {}

/// Who hears of an ioctl.
#[derive(Debug)]
pub(crate) enum Audience<'a, 'n> {
    /// Nobody: the device is not bound yet.
    Nobody,
    /// The observer of the context or container, at once; only where no lock is held.
    Context(&'a Watch),
    /// The observer of the context or container, later.
    Notices(&'a mut Notices<'n>),
}

/// Issues an ioctl whose argument is a struct of fixed size. Returns the kernel's number, which is
/// not negative.
pub(crate) fn fixed<T: PointerFree>(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    ioctl: &Ioctl<T>,
    arg: &mut T,
) -> Result<c_int, Errno> {
    write_size(arg);
    // SAFETY: the kernel touches only the `argsz` bytes of `arg`, says `PointerFree`, and they are
    // the whole of `arg`, which is borrowed exclusively; any bytes are a valid `T`.
    unsafe { issue(fd, audience, ioctl, std::ptr::from_mut(arg).cast()) }
}

/// Issues an ioctl whose argument is a `T` with more behind it, in `arg`, the whole of which the
/// kernel may use.
pub(crate) fn sized<T: PointerFree>(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    ioctl: &Ioctl<T>,
    arg: &mut AlignedBytes,
) -> Result<c_int, Errno> {
    let bytes = arg.bytes_mut();
    // Fewer bytes than a `T` would be refused by the kernel as well.
    let argsz = u32::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
    match bytes.first_chunk_mut() {
        Some(first) => *first = argsz.to_ne_bytes(),
        None => return Err(Errno::INVAL),
    }
    let arg = bytes.as_mut_ptr().cast();
    // SAFETY: as in `fixed`: `argsz` is the length of the buffer, borrowed exclusively, aligned
    // for any of the kernel's structs, and plain bytes whatever is written.
    unsafe { issue(fd, audience, ioctl, arg) }
}

/// Issues an ioctl that takes no argument.
pub(crate) fn without_argument(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    ioctl: &Ioctl<()>,
) -> Result<c_int, Errno> {
    // SAFETY: the kernel does not look at the argument.
    unsafe { issue(fd, audience, ioctl, std::ptr::null_mut()) }
}

/// `VFIO_DEVICE_BIND_IOMMUFD`: binds `fd` to `iommufd`, without a VF token. Returns the device's id.
pub(crate) fn bind(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    iommufd: BorrowedFd<'_>,
) -> Result<u32, Errno> {
    let mut arg = sys::vfio_device_bind_iommufd::sized();
    arg.iommufd = iommufd.as_raw_fd();
    write_size(&mut arg);
    let address = std::ptr::from_mut(&mut arg).cast();
    // SAFETY: `argsz` is the size of `arg`, a local; the kernel reads through `token_uuid_ptr`
    // only if the flags ask for a token, and they are zero.
    unsafe { issue(fd, audience, &nr::DEVICE_BIND_IOMMUFD, address) }?;
    Ok(arg.out_devid)
}

/// # Safety
/// `arg` must be what the ioctl takes, in memory that the kernel may read and write as it does for
/// this ioctl.
unsafe fn issue<T: ?Sized>(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    ioctl: &Ioctl<T>,
    arg: *mut c_void,
) -> Result<c_int, Errno> {
    let call = Call {
        opcode: ioctl.request() as Opcode,
        arg,
    };
    // Nobody needs the time of a call that nobody watches.
    let watched = match &audience {
        Audience::Nobody => false,
        Audience::Context(watch) => watch.is_observed(),
        Audience::Notices(_) => true,
    };
    let begin = watched.then(Instant::now);
    // SAFETY: the number belongs to the argument, as the typed description says for a VFIO device,
    // group or container; the rest is the caller's promise. Of a file that is not known to be one
    // yet, only `VFIO_DEVICE_GET_INFO`, `VFIO_DEVICE_BIND_IOMMUFD` and `VFIO_GROUP_GET_STATUS` are
    // asked, and what takes no address: Linux's registry of ioctl numbers gives theirs to
    // `linux/vfio.h` alone, whose other files refuse the first and the last, or take arguments that
    // are no longer than these.
    let answer = unsafe { rustix::ioctl::ioctl(fd, call) };
    if let Some(begin) = begin {
        let event = event(ioctl.describe(), answer, begin);
        match audience {
            Audience::Nobody => {}
            Audience::Context(watch) => watch.observe(&event),
            Audience::Notices(notices) => notices.note(event),
        }
    }
    answer
}

fn event(ioctl: Description, answer: Result<c_int, Errno>, begin: Instant) -> IoctlEvent {
    IoctlEvent::new(ioctl, answer.map(|_| ()), begin.elapsed())
}

/// An ioctl with the number and argument of a typed description, that answers with a number.
struct Call {
    opcode: Opcode,
    arg: *mut c_void,
}

// SAFETY:
// - `as_ptr` is the argument that the caller of `issue` answers for;
// - `IS_MUTATING` is true, so nothing is assumed of its contents afterwards;
// - the output is the number that the system call returned, so no pointer is read back.
unsafe impl rustix::ioctl::Ioctl for Call {
    type Output = c_int;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.arg
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _argument: *mut c_void,
    ) -> rustix::io::Result<c_int> {
        Ok(output)
    }
}
