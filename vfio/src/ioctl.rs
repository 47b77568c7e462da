//! The one door to the kernel: every ioctl on a VFIO device is issued in this file.

// UNSAFETY: an ioctl makes the kernel read and write memory.
#![expect(unsafe_code, reason = "issues the ioctls")]

pub(crate) mod feature;
#[cfg(test)]
pub(crate) mod script;

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

use iommufd::IoctlEvent;
use iommufd::driver::{Notices, Watch};
use iommufd_sys::ioctl::{ArgszArg, write_size};
use iommufd_sys::ioctl::{Description, Ioctl, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::{IoctlOutput, Opcode};

use crate::buffer::AlignedBytes;
use crate::vf_token::VfToken;

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
// SAFETY: numbers.
unsafe impl PointerFree for sys::vfio_precopy_info {}
// SAFETY: numbers; the functions are written within `argsz`.
unsafe impl PointerFree for sys::vfio_pci_hot_reset_info {}
// SAFETY: numbers, and descriptors of groups within `argsz`.
unsafe impl PointerFree for sys::vfio_pci_hot_reset {}
// SAFETY: numbers, and the descriptor of an eventfd. What the kernel writes later is a register.
unsafe impl PointerFree for sys::vfio_device_ioeventfd {}

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

/// `VFIO_DEVICE_BIND_IOMMUFD`: binds `fd` to `iommufd`, with a VF token if there is one. Returns the
/// device's id.
pub(crate) fn bind(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    iommufd: BorrowedFd<'_>,
    token: Option<VfToken>,
) -> Result<u32, Errno> {
    let token = token.map(|token| token.bytes());
    let mut arg = sys::vfio_device_bind_iommufd::sized();
    arg.iommufd = iommufd.as_raw_fd();
    if let Some(bytes) = &token {
        arg.flags = sys::VFIO_DEVICE_BIND_FLAG_TOKEN;
        arg.token_uuid_ptr = bytes.as_ptr().expose_provenance() as u64;
    }
    write_size(&mut arg);
    let address = std::ptr::from_mut(&mut arg).cast();
    // SAFETY: `argsz` is the size of `arg`, a local; the kernel reads through `token_uuid_ptr`
    // only if the flags ask for a token, and then the 16 bytes of one, a local as well.
    unsafe { issue(fd, audience, &nr::DEVICE_BIND_IOMMUFD, address) }?;
    Ok(arg.out_devid)
}

/// `VFIO_DEVICE_BIND_IOMMUFD` with a token at an address where no process has memory: of a file that
/// is not bound, `EFAULT` tells that the kernel and the device's driver know tokens, and would have
/// read it.
pub(crate) fn bind_with_unreadable_token(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    iommufd: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut arg = sys::vfio_device_bind_iommufd::sized();
    arg.iommufd = iommufd.as_raw_fd();
    arg.flags = sys::VFIO_DEVICE_BIND_FLAG_TOKEN;
    arg.token_uuid_ptr = !0xfff;
    write_size(&mut arg);
    let address = std::ptr::from_mut(&mut arg).cast();
    // SAFETY: `argsz` is the size of `arg`, a local; the address of the token, in the last page of
    // all, is the kernel's own, from which a copy fails.
    unsafe { issue(fd, audience, &nr::DEVICE_BIND_IOMMUFD, address) }?;
    Ok(())
}

/// `VFIO_DEVICE_FEATURE_DMA_BUF`: exports parts of a region as a dma-buf.
pub(crate) fn export_dma_buf(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    region: u32,
    parts: &[sys::vfio_region_dma_range],
) -> Result<OwnedFd, Errno> {
    let mut arg = dma_buf_argument(region, parts).ok_or(Errno::INVAL)?;
    let address = arg.bytes_mut().as_mut_ptr().cast();
    // SAFETY: of this feature the kernel reads the heads and as many parts as the second head
    // says, which are all in `arg`, a local, and writes nothing.
    let file = unsafe { issue(fd, audience, &nr::DEVICE_FEATURE, address) }?;
    // SAFETY: the kernel has made this file and given it to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// The argument of `VFIO_DEVICE_FEATURE_DMA_BUF`: the head of features, that of this one, and the
/// parts; `None` if there are more than it can have.
fn dma_buf_argument(region: u32, parts: &[sys::vfio_region_dma_range]) -> Option<AlignedBytes> {
    const HEAD: usize = size_of::<sys::vfio_device_feature>();
    const PARTS: usize = HEAD + size_of::<sys::vfio_device_feature_dma_buf>();
    let len = PARTS.checked_add(size_of_val(parts))?;
    let head = sys::vfio_device_feature {
        argsz: u32::try_from(len).ok()?,
        flags: sys::VFIO_DEVICE_FEATURE_GET | sys::VFIO_DEVICE_FEATURE_DMA_BUF,
        data: [],
    };
    let request = sys::vfio_device_feature_dma_buf {
        region_index: region,
        open_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        flags: 0,
        nr_ranges: u32::try_from(parts.len()).ok()?,
        dma_ranges: [],
    };
    let mut arg = AlignedBytes::zeroed(len);
    arg.put(0, &head)?;
    arg.put(HEAD, &request)?;
    arg.put(PARTS, parts)?;
    Some(arg)
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
    #[cfg(test)]
    // SAFETY: the caller's promise.
    if let Some(answer) = unsafe { script::answer(ioctl.describe(), arg) } {
        return answer;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dma_buf_is_asked_for_in_these_bytes() {
        let part = |offset, length| sys::vfio_region_dma_range { offset, length };
        let arg = dma_buf_argument(2, &[part(0x1000, 0x2000), part(0x8000, 0x1000)]).unwrap();
        let words: Vec<u32> = arg
            .bytes()
            .as_chunks()
            .0
            .iter()
            .map(|word| u32::from_ne_bytes(*word))
            .collect();
        let expected = [
            56,           // argsz
            1 << 16 | 11, // get, DMA_BUF
            2,            // BAR 2
            0o2_000_002,  // O_RDWR | O_CLOEXEC
            0,
            2, // flags, how many parts
            0x1000,
            0,
            0x2000,
            0,
            0x8000,
            0,
            0x1000,
            0,
        ];
        assert_eq!(words, expected);
        assert_eq!(dma_buf_argument(0, &[]).unwrap().bytes().len(), 24);
    }
}
