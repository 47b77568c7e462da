//! Files that the SDK has not made.

// UNSAFETY: asks a heap of the kernel's for memory.
#![expect(unsafe_code, reason = "issues an ioctl")]

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, OFlags, ftruncate, memfd_create};
use rustix::ioctl::{Opcode, Updater, opcode};

/// A file of memory, `len` zeroes long.
#[must_use]
pub fn memfd(len: usize) -> File {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len as u64).unwrap();
    fd.into()
}

/// A file of memory of huge pages of 2 MiB, `len` zeroes long.
#[must_use]
pub fn memfd_huge(len: usize) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let fd = memfd_create("test", flags).unwrap();
    ftruncate(&fd, len as u64).unwrap();
    fd.into()
}

/// A dma-buf of `len` bytes that no VFIO device and no mock has exported: of the system's heap.
#[must_use]
pub fn foreign_dmabuf(len: u64) -> OwnedFd {
    let heap = File::options()
        .read(true)
        .write(true)
        .open("/dev/dma_heap/system")
        .unwrap();
    let mut arg = HeapAllocation {
        len,
        fd: 0,
        fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        heap_flags: 0,
    };
    // SAFETY: the number is that of an allocation from a heap, and takes this argument, which has no address in it.
    let call = unsafe { Updater::<HEAP_ALLOC, HeapAllocation>::new(&mut arg) };
    // SAFETY: as above; the file is a heap.
    unsafe { rustix::ioctl::ioctl(&heap, call) }.unwrap();
    let fd = i32::try_from(arg.fd).unwrap();
    // SAFETY: the kernel has opened the file just now, for this call.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The argument of an allocation from a heap of dma-bufs.
#[repr(C)]
struct HeapAllocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

const HEAP_ALLOC: Opcode = opcode::read_write::<HeapAllocation>(b'H', 0);
