//! Ioctls whose argument is shorter or longer than the kernel's own, or nowhere.

// UNSAFETY: issues ioctls with a size that does not fit the type.
#![expect(unsafe_code, reason = "issues the ioctls")]

use std::ffi::c_void;
use std::os::fd::AsFd;

use iommufd_sys::ioctl::Description;
use rustix::io::Errno;
use rustix::ioctl::{IoctlOutput, Opcode};

use crate::torn::Torn;

/// Issues `ioctl` with an argument of `size` bytes: the size, the number `word`, zeroes, and the byte `last`.
///
/// With `word` all ones there are flags, or an id, that no kernel knows: then nothing is made.
///
/// # Errors
/// The kernel's.
pub fn of_size(
    fd: &impl AsFd,
    ioctl: &Description,
    size: usize,
    word: u32,
    last: u8,
) -> Result<(), Errno> {
    let mut argument = vec![0_u64; size.max(ioctl.size as usize).div_ceil(8) + 1];
    let bytes: &mut [u8] = zerocopy::IntoBytes::as_mut_bytes(&mut argument[..]);
    bytes[..4].copy_from_slice(&u32::try_from(size).unwrap().to_ne_bytes());
    bytes[4..8].copy_from_slice(&word.to_ne_bytes());
    if last != 0 {
        bytes[size - 1] = last;
    }
    // SAFETY: the kernel reads and writes no more than `size` bytes: so many are there. All addresses in them are 0,
    // where the process has nothing.
    unsafe { issue(fd, ioctl.request, argument.as_mut_ptr().cast()) }
}

/// Issues an ioctl with no argument.
///
/// # Errors
/// The kernel's.
pub fn of_nothing(fd: &impl AsFd, request: u32) -> Result<(), Errno> {
    // SAFETY: the process has nothing at address 0.
    unsafe { issue(fd, request, std::ptr::null_mut()) }
}

/// Issues `ioctl` with an argument of zeroes of which only the first `there` bytes are readable memory, and whose size is
/// `size`.
///
/// # Errors
/// The kernel's.
pub fn of_size_in_part(
    fd: &impl AsFd,
    ioctl: &Description,
    size: u32,
    there: usize,
) -> Result<(), Errno> {
    let torn = Torn::new(1 << 12);
    let argument = torn.before_the_edge(&size.to_ne_bytes(), there);
    // SAFETY: the memory ends after `there` bytes, and all that follows it is kept empty, for longer than `size`: the
    // kernel answers EFAULT.
    unsafe { issue(fd, ioctl.request, argument.as_ptr().cast()) }
}

/// # Safety
/// The kernel may read and write at `argument` as it does for this ioctl.
unsafe fn issue(fd: &impl AsFd, request: u32, argument: *mut c_void) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { rustix::ioctl::ioctl(fd, Untyped { request, argument }) }
}

struct Untyped {
    request: u32,
    argument: *mut c_void,
}

// SAFETY: what the argument is, is for who issues it to answer for; there is no output.
unsafe impl rustix::ioctl::Ioctl for Untyped {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.request
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}
