//! Memory that may enter an address space.

// UNSAFETY: declares the contract of memory that devices reach, and the door for raw pointers.
#![expect(unsafe_code, reason = "the contract of DMA memory is an unsafe trait")]

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Memory that a device may read and write, at any time, from its first mapping on.
///
/// An address space holds an [`Arc`] of each memory that is mapped in it, and lets go of it only
/// when the kernel has confirmed that the mapping is gone. So an `Arc` that is the only one left
/// proves that no device reaches the memory: [`DmaBuffer::reclaim`](crate::DmaBuffer::reclaim)
/// rests on that.
///
/// # Safety
/// As long as a value lives (not only while it is mapped: the address space decides how long it
/// lives):
/// - [`bytes`](Self::bytes) answers the same every time;
/// - all of the bytes stay mapped in this process at that address (where they are not writable,
///   the kernel refuses to map them for a device to write);
/// - any value may be written to any of them at any time, and nothing is undefined by it: they
///   are plain data, that no allocator, kernel ring or other code relies on;
/// - they belong to no Rust allocation and no `&` or `&mut` covers any of them, but of atomics,
///   whose contents anybody may change: every access is volatile or atomic;
/// - if [`file`](Self::file) answers, it answers the same every time, and the bytes are a shared mapping of that part of the file;
/// - if a fork shares the bytes with a child, in place of copying them, all of this holds for what
///   both processes do together, or [`check_process`](Self::check_process) refuses in the child.
///
/// And for the device to see what the CPU sees (nothing is undefined otherwise, but the data is
/// lost): the memory is not discarded under a mapping, by `MADV_DONTNEED`, by punching a hole in
/// its file or truncating it, or by userfaultfd.
pub unsafe trait DmaMemory: Send + Sync + 'static {
    /// Where the memory is: its address in this process, and its length.
    fn bytes(&self) -> NonNull<[u8]>;

    /// The file whose pages these are, if there is one that the kernel can pin by itself (a
    /// memfd), and the offset of the first byte in it.
    ///
    /// Such memory is mapped by file where the kernel can (Linux 6.13), which is faster with huge
    /// pages and asks nothing of the process's address space.
    ///
    /// # Safety
    /// The file is used for one mapping that an address space records with the memory, and for
    /// nothing else: a copy of the descriptor could outlive the proof that no device reaches the
    /// memory.
    unsafe fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        None
    }

    /// Whether the process that is running may let devices reach the memory.
    ///
    /// Asked before each mapping. A child of a fork has the value as well, and can open an
    /// `/dev/iommu` of its own; memory that both then have, and of which only one may know that
    /// devices write it, refuses there.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked), to be passed on to who wants to map it.
    fn check_process(&self) -> Result<()> {
        Ok(())
    }
}

/// A part of a memory, or all of it: what one mapping maps.
///
/// Made from an `Arc` of the memory, where it means all of it, or by [`new`](Self::new).
///
/// ```
/// # fn main() -> iommufd::Result<()> {
/// use iommufd::{DmaBuffer, DmaSlice};
///
/// let shared = DmaBuffer::new(0x4000)?.share();
/// let second_page = DmaSlice::new(&shared, 0x1000..0x2000)?;
/// assert_eq!(second_page.len(), 0x1000);
/// assert!(DmaSlice::new(&shared, 0x1000..0x5000).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DmaSlice {
    /// Invariant: `offset + len` does not pass the end of the memory.
    memory: Arc<dyn DmaMemory>,
    offset: usize,
    len: usize,
}

impl DmaSlice {
    /// The part `range` of `memory`, in bytes.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the memory does not have it all.
    pub fn new(memory: impl Into<Self>, range: impl RangeBounds<usize>) -> Result<Self> {
        memory.into().slice(range)
    }

    /// The part `range` of this part.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if there is no such part.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Self> {
        let (start, len) = part(range, self.len)?;
        Ok(Self {
            memory: Arc::clone(&self.memory),
            // Both are within `self`, which is within the memory.
            offset: self.offset + start,
            len,
        })
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first byte in this process.
    #[inline]
    pub(crate) fn address(&self) -> u64 {
        let base = self.memory.bytes().cast::<u8>().as_ptr();
        base.wrapping_add(self.offset).expose_provenance() as u64
    }

    /// The file of the memory and the offset of the first byte in it.
    ///
    /// # Safety
    /// As for [`DmaMemory::file`].
    #[inline]
    pub(crate) unsafe fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        // SAFETY: the caller promises the same.
        let (file, start) = unsafe { self.memory.file() }?;
        Some((file, start.checked_add(self.offset as u64)?))
    }

    #[inline]
    pub(crate) fn memory(&self) -> &Arc<dyn DmaMemory> {
        &self.memory
    }

    /// The memory that it is a part of.
    #[inline]
    pub(crate) fn into_memory(self) -> Arc<dyn DmaMemory> {
        self.memory
    }
}

/// Where the part `range` of `whole` bytes begins, and how long it is.
pub(crate) fn part(range: impl RangeBounds<usize>, whole: usize) -> Result<(usize, usize)> {
    let start = match range.start_bound() {
        Bound::Included(&start) => Some(start),
        Bound::Excluded(&before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => Some(whole),
    };
    match (start, end) {
        (Some(start), Some(end)) if start <= end && end <= whole => Ok((start, end - start)),
        _ => {
            let offset = start.unwrap_or(usize::MAX);
            Err(Error::OutOfBounds {
                offset,
                len: end.unwrap_or(usize::MAX).saturating_sub(offset),
                region: whole,
            })
        }
    }
}

impl<M: DmaMemory> From<Arc<M>> for DmaSlice {
    fn from(memory: Arc<M>) -> Self {
        Self::from(memory as Arc<dyn DmaMemory>)
    }
}

impl<M: DmaMemory> From<&Arc<M>> for DmaSlice {
    fn from(memory: &Arc<M>) -> Self {
        Self::from(Arc::clone(memory))
    }
}

impl From<&Arc<dyn DmaMemory>> for DmaSlice {
    fn from(memory: &Arc<dyn DmaMemory>) -> Self {
        Self::from(Arc::clone(memory))
    }
}

impl From<Arc<dyn DmaMemory>> for DmaSlice {
    #[inline]
    fn from(memory: Arc<dyn DmaMemory>) -> Self {
        let len = memory.bytes().len();
        Self {
            memory,
            offset: 0,
            len,
        }
    }
}

impl fmt::Debug for DmaSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaSlice")
            .field("memory", &self.memory.bytes())
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish()
    }
}

/// Memory that somebody else answers for, given by its address.
///
/// The door for memory that no type here describes: the caller writes the proof.
#[derive(Debug)]
pub struct RawMemory {
    bytes: NonNull<[u8]>,
}

// SAFETY: an address and a length, through which this type itself accesses nothing.
unsafe impl Send for RawMemory {}
// SAFETY: as for `Send`.
unsafe impl Sync for RawMemory {}

impl RawMemory {
    /// The memory `bytes`.
    ///
    /// # Safety
    /// What [`DmaMemory`] asks for, as long as the value lives. An address space keeps it alive
    /// until the kernel has confirmed the unmap: so the memory must stay until the last `Arc` of
    /// the value is gone, which can be never.
    #[must_use]
    pub unsafe fn new(bytes: NonNull<[u8]>) -> Self {
        Self { bytes }
    }
}

// SAFETY: the caller of `RawMemory::new` promised all of it.
unsafe impl DmaMemory for RawMemory {
    fn bytes(&self) -> NonNull<[u8]> {
        self.bytes
    }
}
