//! A buffer for DMA: the CPU's alone, or shared with devices, never both.

// UNSAFETY: hands out slices of mapped memory while no device can reach it.
#![expect(unsafe_code, reason = "makes slices of its own mapping")]

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::cause;
use crate::error::{Error, KernelError, Refused, Result};
use crate::fork::Process;
use crate::memory::DmaMemory;
use crate::object::last_handle;
use crate::volatile::{VolatileRegion, Word};

/// The size of the huge pages that a buffer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePage {
    /// 2 MiB.
    Size2M,
    /// 1 GiB.
    Size1G,
}

impl HugePage {
    fn bytes_log2(self) -> u8 {
        match self {
            Self::Size2M => 21,
            Self::Size1G => 30,
        }
    }

    fn memfd_flag(self) -> MemfdFlags {
        match self {
            Self::Size2M => MemfdFlags::HUGE_2MB,
            Self::Size1G => MemfdFlags::HUGE_1GB,
        }
    }
}

/// A zeroed, page-aligned buffer that the CPU owns: a plain `&mut [u8]`.
///
/// To let a device reach it, it is [shared](Self::share) first, and then read and written through
/// volatile accesses only. It can be [reclaimed](Self::reclaim) when no mapping of it is left
/// anywhere.
///
/// ```no_run
/// # fn example(ioas: &iommufd::Ioas) -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{Access, DmaBuffer};
///
/// let mut buffer = DmaBuffer::new(4096)?;
/// buffer[..5].copy_from_slice(b"hello");
///
/// let shared = buffer.share();
/// let mapping = ioas.map(&shared, Access::ReadWrite)?;
/// // … a device reads and writes at `mapping.iova()` …
/// mapping.unmap()?;
///
/// let buffer = DmaBuffer::reclaim(shared)?;
/// println!("{:?}", &buffer[..5]);
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `mmap`, `madvise` and `munmap`; in a file also `memfd_create`, `ftruncate` and `fcntl`.
///
/// # Invariants
/// No device reaches the memory, and nobody else has a way to it: its file, if it has one, has
/// never been lent outside of a mapping call, and its pages are used in one process only.
#[derive(Debug)]
pub struct DmaBuffer {
    pages: Pages,
}

impl DmaBuffer {
    /// Ordinary memory of at least `len` bytes, rounded up to whole pages; on large buffers the
    /// kernel is asked for transparent huge pages.
    ///
    /// # Errors
    /// [`Error::Empty`] for no bytes; `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        let len = whole(len, rustix::param::page_size())?;
        let map = MmapMut::map_anon(len).map_err(|error| of_io("mmap", &error))?;
        // Only a wish: memory without huge pages works as well, and so does a kernel without them.
        if !cfg!(miri) {
            map.advise(Advice::HugePage).ok();
        }
        Ok(Self::own(map.into(), None))
    }

    /// Memory of huge pages that the system has reserved, of at least `len` bytes, rounded up to
    /// whole huge pages.
    ///
    /// # Errors
    /// [`Error::Empty`] for no bytes; `ENOMEM`: not enough huge pages of that size are free
    /// (`/proc/sys/vm/nr_hugepages`); `EINVAL`: the machine has none of that size.
    pub fn huge(len: usize, page: HugePage) -> Result<Self> {
        let log2 = page.bytes_log2();
        let len = whole(len, 1 << log2)?;
        let map = MmapOptions::new()
            .len(len)
            .huge(Some(log2))
            .map_anon()
            .map_err(|error| of_io("mmap of huge pages", &error))?;
        Ok(Self::own(map.into(), None))
    }

    /// Memory in a file of its own (a sealed memfd), of at least `len` bytes, rounded up to whole
    /// pages. It is mapped by file where the kernel can.
    ///
    /// # Errors
    /// [`Error::Empty`] for no bytes; `ENOMEM`.
    pub fn memfd(len: usize) -> Result<Self> {
        let len = whole(len, rustix::param::page_size())?;
        Self::in_file(len, MemfdFlags::empty())
    }

    /// As [`memfd`](Self::memfd), of huge pages that the system has reserved: the fastest memory
    /// to map and unmap.
    ///
    /// # Errors
    /// As for [`huge`](Self::huge).
    pub fn memfd_huge(len: usize, page: HugePage) -> Result<Self> {
        let len = whole(len, 1 << page.bytes_log2())?;
        Self::in_file(len, MemfdFlags::HUGETLB | page.memfd_flag())
    }

    fn in_file(len: usize, flags: MemfdFlags) -> Result<Self> {
        let flags = flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("dma-buffer", flags)
            .map_err(|errno| refused("memfd_create", errno))?;
        rustix::fs::ftruncate(&fd, len as u64)
            .map_err(|errno| refused("ftruncate of a memfd", errno))?;
        // Sealed, the mapping can never lose the pages behind it.
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|errno| refused("F_ADD_SEALS", errno))?;
        let file = File::from(fd);
        let map = MmapOptions::new()
            .len(len)
            .map_raw(&file)
            .map_err(|error| of_io("mmap of a memfd", &error))?;
        Ok(Self::own(map, Some(file)))
    }

    fn own(map: MmapRaw, file: Option<File>) -> Self {
        // INVARIANT: the mapping was made just now; its address and its file are known only here.
        Self {
            pages: Pages {
                map,
                shared_by_forks: file.is_some().then(Process::current),
                file,
            },
        }
    }

    /// Shares the buffer: from now on devices may be let in, and the CPU reads and writes it
    /// through volatile accesses.
    #[must_use]
    pub fn share(self) -> Arc<SharedBuffer> {
        let pages = self.pages;
        let (base, len) = match NonNull::new(pages.map.as_mut_ptr()) {
            Some(base) => (base, pages.map.len()),
            // No mapping is at address 0; if one were, nothing of it would be accessed.
            None => (NonNull::<u64>::dangling().cast(), 0),
        };
        // SAFETY: a page-aligned mapping, readable and writable, that is kept beside the region
        // for as long. The `DmaBuffer` that gave slices of it is used up, so no reference is left;
        // nobody else has its address, so any value may be written. From here to the `reclaim`
        // that drops the region, it is memory outside of any allocation of Rust's.
        let region = unsafe { VolatileRegion::new(base, len) };
        Arc::new(SharedBuffer { region, pages })
    }

    /// Takes a shared buffer back for the CPU alone.
    ///
    /// # Errors
    /// [`Error::InUse`], with the buffer, while anything else holds it: a mapping that has not
    /// been unmapped (or whose unmap the kernel refused), or another clone of the `Arc`.
    pub fn reclaim(shared: Arc<SharedBuffer>) -> Result<Self, Refused<Arc<SharedBuffer>>> {
        // An address space holds an `Arc` of all that is mapped in it until the kernel has
        // confirmed the unmap: the only `Arc` left is the proof that no device gets at the memory.
        let SharedBuffer { pages, .. } = last_handle(shared, "shared buffer")?;
        Ok(Self { pages })
    }
}

/// # Panics
/// In a child of a fork, if the buffer is in a file: its pages are the parent's.
impl Deref for DmaBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.pages.expect_home();
        // SAFETY: the mapping is `len` readable bytes as long as `self` lives; by the invariant
        // nothing else writes to it, and `self` is borrowed as long as the slice lives. Pages that
        // a child of a fork would share with its parent are used in one process only.
        unsafe { slice::from_raw_parts(self.pages.map.as_ptr(), self.pages.map.len()) }
    }
}

/// # Panics
/// As for [`Deref`].
impl DerefMut for DmaBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.pages.expect_home();
        // SAFETY: as in `deref`, and writable; `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.pages.map.as_mut_ptr(), self.pages.map.len()) }
    }
}

/// A buffer that devices may reach: the CPU uses volatile accesses, and never holds a reference
/// into it.
///
/// Accesses from several threads are ordered by the hardware alone, as the device's are; use
/// [`load_acquire`](Self::load_acquire) and [`store_release`](Self::store_release) where order
/// matters.
#[derive(Debug)]
pub struct SharedBuffer {
    region: VolatileRegion,
    pages: Pages,
}

impl SharedBuffer {
    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Always false: a buffer has at least one page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.is_empty()
    }

    /// Reads the word at byte `offset`, in one volatile access.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or [`Error::Misaligned`] if the width does not divide the offset;
    /// [`Error::Forked`] in a child of a fork, if the buffer is in a file: its pages are the
    /// parent's.
    pub fn read<W: Word>(&self, offset: usize) -> Result<W> {
        self.home()?.read(offset)
    }

    /// Writes the word at byte `offset`, in one volatile access.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: usize, value: W) -> Result<()> {
        self.home()?.write(offset, value)
    }

    /// Reads the word at byte `offset` before everything that follows in this thread.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn load_acquire<W: Word>(&self, offset: usize) -> Result<W> {
        self.home()?.load_acquire(offset)
    }

    /// Writes the word at byte `offset` after everything that came before in this thread.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn store_release<W: Word>(&self, offset: usize, value: W) -> Result<()> {
        self.home()?.store_release(offset, value)
    }

    /// Copies from byte `offset` on to `out`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Forked`] as for [`read`](Self::read).
    pub fn read_bytes(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        self.home()?.read_bytes(offset, out)
    }

    /// Copies `bytes` to byte `offset` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Forked`] as for [`read`](Self::read).
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        self.home()?.write_bytes(offset, bytes)
    }
}

impl SharedBuffer {
    /// The memory, in the process to which it belongs.
    fn home(&self) -> Result<&VolatileRegion> {
        if self.pages.is_home() {
            Ok(&self.region)
        } else {
            Err(Error::Forked)
        }
    }
}

// SAFETY: the bytes are a mapping that lives as long as the value, at one address, readable and
// writable. A `SharedBuffer` gives no reference into it, and becomes a `DmaBuffer`, which does,
// only by being consumed. The file, if any, is mapped shared from its start, and sealed against
// shrinking; a child of a fork, which has its pages as well, is refused them.
unsafe impl DmaMemory for SharedBuffer {
    fn bytes(&self) -> NonNull<[u8]> {
        self.region.bytes()
    }

    unsafe fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        Some((self.pages.file.as_ref()?.as_fd(), 0))
    }

    fn check_process(&self) -> Result<()> {
        self.home().map(drop)
    }
}

/// The memory itself, and the file whose pages it is.
///
/// # Invariants
/// `file`, if there is one, is a sealed memfd that `map` maps shared from its start.
#[derive(Debug)]
struct Pages {
    map: MmapRaw,
    file: Option<File>,
    /// A fork shares the pages of a file, where it copies others: they are used in this process
    /// only.
    shared_by_forks: Option<Process>,
}

impl Pages {
    /// Whether this process may use the pages.
    fn is_home(&self) -> bool {
        self.shared_by_forks.is_none_or(Process::is_current)
    }

    #[expect(
        clippy::panic,
        reason = "a slice cannot be an error, and must not be of memory that another process writes"
    )]
    fn expect_home(&self) {
        if !self.is_home() {
            panic!("a DMA buffer in a file is used in a child of the process that made it");
        }
    }
}

/// `len` rounded up to whole pages of `page` bytes.
fn whole(len: usize, page: usize) -> Result<usize> {
    if len == 0 {
        return Err(Error::Empty { what: "buffer" });
    }
    len.checked_next_multiple_of(page)
        .ok_or_else(|| refused("mmap", Errno::NOMEM))
}

fn refused(operation: &'static str, errno: Errno) -> Error {
    KernelError::new(operation, errno, cause::of_memory(errno)).into()
}

fn of_io(operation: &'static str, error: &std::io::Error) -> Error {
    refused(
        operation,
        Errno::from_io_error(error).unwrap_or(Errno::INVAL),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_whole_zeroed_pages() {
        for buffer in [
            DmaBuffer::new(5000).unwrap(),
            DmaBuffer::memfd(5000).unwrap(),
        ] {
            assert_eq!(buffer.len() % rustix::param::page_size(), 0);
            assert!(buffer.len() >= 5000);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
        assert!(matches!(DmaBuffer::new(0), Err(Error::Empty { .. })));
        assert!(DmaBuffer::new(usize::MAX).is_err());
    }

    #[test]
    fn what_was_written_survives_sharing_and_reclaiming() {
        for mut buffer in [
            DmaBuffer::new(4096).unwrap(),
            DmaBuffer::memfd(4096).unwrap(),
        ] {
            buffer[100..103].copy_from_slice(&[1, 2, 3]);
            let shared = buffer.share();
            let mut seen = [0; 3];
            shared.read_bytes(100, &mut seen).unwrap();
            assert_eq!(seen, [1, 2, 3]);
            shared.write(100, 9_u8).unwrap();
            let buffer = DmaBuffer::reclaim(shared).unwrap();
            assert_eq!(buffer[100..103], [9, 2, 3]);
        }
    }

    #[test]
    fn a_buffer_that_somebody_holds_is_not_reclaimed() {
        let shared = DmaBuffer::new(4096).unwrap().share();
        let held = Arc::clone(&shared);
        let refused = DmaBuffer::reclaim(shared).unwrap_err();
        assert!(matches!(refused.error(), Error::InUse { holders: 1, .. }));
        drop(held);
        DmaBuffer::reclaim(refused.into_value()).unwrap();
    }
}
