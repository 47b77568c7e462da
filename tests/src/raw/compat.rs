//! The ioctls of a VFIO container of type 1, which an iommufd plays for programs from before it.

// UNSAFETY: issues ioctls that the SDK has no safe form of.
#![expect(unsafe_code, reason = "issues the ioctls")]

use std::ffi::{c_int, c_void};
use std::os::fd::AsFd;
use std::sync::Arc;

use iommufd::DmaMemory;
use iommufd_sys::ioctl::{ByValue, Ioctl, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use rustix::ioctl::{IoctlOutput, Opcode};
use zerocopy::FromZeros;

use super::map::kept;

/// The version of the interface.
///
/// # Errors
/// The kernel's.
pub fn api_version(fd: &impl AsFd) -> Result<i32, Errno> {
    by_value(fd, &nr::GET_API_VERSION, 0)
}

/// What the container says of an extension: more than 0 if it has it.
///
/// # Errors
/// The kernel's.
pub fn check_extension(fd: &impl AsFd, extension: u32) -> Result<i32, Errno> {
    by_value(fd, &nr::CHECK_EXTENSION, extension as usize)
}

/// Chooses the kind of IOMMU.
///
/// # Errors
/// The kernel's.
pub fn set_iommu(fd: &impl AsFd, kind: u32) -> Result<(), Errno> {
    by_value(fd, &nr::SET_IOMMU, kind as usize).map(drop)
}

/// Fills in `buffer`, of which the kernel is told that `argsz` bytes are its own.
///
/// # Errors
/// The kernel's.
pub fn get_info(fd: &impl AsFd, argsz: u32, buffer: &mut [u8]) -> Result<(), Errno> {
    assert!(
        argsz as usize <= buffer.len() && buffer.len() >= size_of::<sys::vfio_iommu_type1_info>()
    );
    buffer[..4].copy_from_slice(&argsz.to_ne_bytes());
    let call = Returning {
        opcode: nr::IOMMU_GET_INFO.request(),
        argument: buffer.as_mut_ptr().cast(),
    };
    // SAFETY: the kernel reads the head of the structure, and writes at most `argsz` bytes: the buffer has as many. Any
    // bytes are bytes.
    unsafe { rustix::ioctl::ioctl(fd, call) }.map(drop)
}

/// Maps all of `memory`, which is never let go of any more.
///
/// # Errors
/// The kernel's.
pub fn map_dma(
    fd: &impl AsFd,
    argsz: u32,
    flags: u32,
    memory: &Arc<impl DmaMemory>,
    iova: u64,
) -> Result<(), Errno> {
    let bytes = kept(memory);
    let mut arg = sys::vfio_iommu_type1_dma_map::new_zeroed();
    arg.argsz = argsz;
    arg.flags = flags;
    arg.vaddr = super::address(bytes);
    arg.iova = iova;
    arg.size = bytes.len() as u64;
    // SAFETY: the kernel reads the structure, whatever `argsz` says; the memory stays where it is, and is covered by no
    // reference, as long as it is alive: from here on that is for good.
    unsafe { super::issue(fd.as_fd(), &nr::IOMMU_MAP_DMA, &mut arg) }
}

/// Unmaps `size` bytes from `iova` on, and says how many bytes there were.
///
/// # Errors
/// The kernel's.
pub fn unmap_dma(
    fd: &impl AsFd,
    argsz: u32,
    flags: u32,
    iova: u64,
    size: u64,
) -> Result<u64, Errno> {
    assert_eq!(flags & sys::VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, 0);
    let mut arg = sys::vfio_iommu_type1_dma_unmap::new_zeroed();
    arg.argsz = argsz;
    arg.flags = flags;
    arg.iova = iova;
    arg.size = size;
    // SAFETY: the kernel reads and writes the structure, whatever `argsz` says, and forgets addresses; that something
    // follows the structure is not said in `flags`.
    unsafe { super::issue(fd.as_fd(), &nr::IOMMU_UNMAP_DMA, &mut arg) }?;
    Ok(arg.size)
}

/// Issues an ioctl whose argument is a number, or nothing.
fn by_value<T: ?Sized + Value>(
    fd: &impl AsFd,
    ioctl: &Ioctl<T>,
    value: usize,
) -> Result<i32, Errno> {
    let call = Returning {
        opcode: ioctl.request(),
        argument: std::ptr::without_provenance_mut(value),
    };
    // SAFETY: the argument is a number, which the kernel takes for no address.
    unsafe { rustix::ioctl::ioctl(fd, call) }
}

/// What is no pointer.
trait Value {}
impl Value for () {}
impl Value for ByValue {}

/// An ioctl whose answer is what it returns.
struct Returning {
    opcode: u32,
    argument: *mut c_void,
}

// SAFETY: what the argument is, is for who issues it to answer for; the output is the number that the ioctl returned.
unsafe impl rustix::ioctl::Ioctl for Returning {
    type Output = c_int;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<c_int> {
        Ok(out)
    }
}
