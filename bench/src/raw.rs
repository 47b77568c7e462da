//! The same ioctls in a plain loop, as a program in C makes them: fill in, call, look at the answer.

// UNSAFETY: issues ioctls past the SDK.
#![expect(unsafe_code, reason = "what the SDK is compared with")]

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use iommufd::{DmaBuffer, DmaMemory, Iommufd};
use iommufd_sys::ioctl::{Ioctl, SizedArg, iommufd as nr};
use iommufd_sys::iommufd as sys;
use tests::ids;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const READ_WRITE: u32 = sys::IOMMU_IOAS_MAP_READABLE | sys::IOMMU_IOAS_MAP_WRITEABLE;

/// The file of a context, and the kernel's id of an object in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw {
    fd: RawFd,
    id: u32,
}

impl Raw {
    /// Of an object of the SDK's, which is not let go of before this is used for the last time.
    pub(crate) fn of(iommufd: &Iommufd, object: &impl std::fmt::Debug) -> Self {
        Self {
            fd: iommufd.as_fd().as_raw_fd(),
            id: ids::of(object),
        }
    }

    /// # Safety
    /// Every address in `arg` is good for what the kernel does with it.
    #[inline]
    unsafe fn call<T: SizedArg>(self, ioctl: &Ioctl<T>, arg: &mut T) {
        // SAFETY: number and argument belong together, as the typed description says; the rest is the caller's promise.
        let answer = unsafe { libc::ioctl(self.fd, ioctl.request() as _, std::ptr::from_mut(arg)) };
        assert_eq!(answer, 0, "{}", ioctl.name());
    }

    /// Unmaps what a loop has mapped.
    #[inline]
    pub(crate) fn unmap(self, iova: u64, len: u64) {
        let mut arg = sys::iommu_ioas_unmap::sized();
        arg.ioas_id = self.id;
        arg.iova = iova;
        arg.length = len;
        // SAFETY: no address of the process.
        unsafe { self.call(&nr::IOAS_UNMAP, &mut arg) }
    }

    #[inline]
    fn map_file(self, file: RawFd, len: u64) -> u64 {
        let mut arg = sys::iommu_ioas_map_file::sized();
        arg.flags = READ_WRITE;
        arg.ioas_id = self.id;
        arg.fd = file;
        arg.length = len;
        // SAFETY: no address of the process; no reference covers a page of the file.
        unsafe { self.call(&nr::IOAS_MAP_FILE, &mut arg) }
        arg.iova
    }

    /// Copies what is mapped at `iova` in the same address space. Says where to.
    #[inline]
    pub(crate) fn copy(self, iova: u64, len: u64) -> u64 {
        let mut arg = sys::iommu_ioas_copy::sized();
        arg.flags = READ_WRITE;
        arg.dst_ioas_id = self.id;
        arg.src_ioas_id = self.id;
        arg.length = len;
        arg.src_iova = iova;
        // SAFETY: no address of the process; what is mapped there stays as long as the copy.
        unsafe { self.call(&nr::IOAS_COPY, &mut arg) }
        arg.dst_iova
    }

    /// Invalidates by `commands`.
    #[inline]
    pub(crate) fn invalidate<C: IntoBytes + Immutable>(self, kind: u32, commands: &[C]) {
        let mut arg = sys::iommu_hwpt_invalidate::sized();
        arg.hwpt_id = self.id;
        arg.data_uptr = commands.as_ptr().expose_provenance() as u64;
        arg.data_type = kind;
        arg.entry_len = size_of::<C>() as u32;
        arg.entry_num = commands.len() as u32;
        // SAFETY: the kernel reads the borrowed commands.
        unsafe { self.call(&nr::HWPT_INVALIDATE, &mut arg) }
    }

    /// Reads dirty bits of pages of 4096 bytes into `bitmap`, which has whole pages, and one more than it takes.
    #[inline]
    pub(crate) fn dirty(self, iova: u64, len: u64, keep: bool, bitmap: &mut [u64]) {
        assert!(bitmap.as_ptr().addr().is_multiple_of(4096));
        assert!(size_of_val(bitmap) as u64 >= (len / 4096 / 8).next_multiple_of(4096) + 4096);
        let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
        arg.hwpt_id = self.id;
        arg.flags = if keep {
            sys::IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR
        } else {
            0
        };
        arg.iova = iova;
        arg.length = len;
        arg.page_size = 4096;
        arg.data = bitmap.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the kernel sets bits in the borrowed pages, of which one is to spare, as was checked.
        unsafe { self.call(&nr::HWPT_GET_DIRTY_BITMAP, &mut arg) }
    }
}

/// An address space, and memory that a loop maps in it. Who maps unmaps before this goes; if a benchmark fails instead, the
/// process ends, and the address space with it.
#[derive(Clone)]
pub(crate) struct RawMaps {
    space: Raw,
    _memory: Arc<dyn DmaMemory>,
    address: u64,
    /// The file that the memory is in.
    file: Option<RawFd>,
    len: u64,
}

impl RawMaps {
    /// All of `memory`, in `space`; by its file, if it is in one.
    pub(crate) fn new(space: Raw, memory: &Arc<impl DmaMemory>) -> Self {
        let memory: Arc<dyn DmaMemory> = Arc::clone(memory) as _;
        let bytes = memory.bytes();
        // SAFETY: the memory is kept as long as the number of its file, so nobody's proof is outlived.
        let file = unsafe { memory.file() };
        Self {
            space,
            address: bytes.cast::<u8>().as_ptr().expose_provenance() as u64,
            file: file.map(|(file, start)| {
                assert_eq!(start, 0, "all of the file");
                file.as_raw_fd()
            }),
            len: bytes.len() as u64,
            _memory: memory,
        }
    }

    /// The same, by its address.
    pub(crate) fn by_address(&self) -> Self {
        Self {
            file: None,
            ..self.clone()
        }
    }

    /// Maps it at an address that the kernel chooses. Says which.
    #[inline]
    pub(crate) fn map(&self) -> u64 {
        match self.file {
            None => self.map_by_address(),
            Some(file) => self.space.map_file(file, self.len),
        }
    }

    #[inline]
    fn map_by_address(&self) -> u64 {
        let mut arg = sys::iommu_ioas_map::sized();
        arg.flags = READ_WRITE;
        arg.ioas_id = self.space.id;
        arg.user_va = self.address;
        arg.length = self.len;
        // SAFETY: the memory stays where it is and is covered by no reference as long as it is alive: until it is unmapped.
        unsafe { self.space.call(&nr::IOAS_MAP, &mut arg) }
        arg.iova
    }

    /// Unmaps it.
    #[inline]
    pub(crate) fn unmap(&self, iova: u64) {
        self.space.unmap(iova, self.len);
    }

    /// Maps and unmaps it.
    #[inline]
    pub(crate) fn round(&self) {
        self.unmap(self.map());
    }
}

/// Pages for the kernel to set bits in.
pub(crate) struct Bitmap {
    pages: DmaBuffer,
    /// How many words have bits that mean something.
    used: usize,
}

impl Bitmap {
    /// Of so many bits.
    pub(crate) fn new(bits: u64) -> Self {
        let used = usize::try_from(bits.div_ceil(64)).unwrap();
        let len = (used * 8).next_multiple_of(4096) + 4096;
        Self {
            pages: DmaBuffer::new(len).unwrap(),
            used,
        }
    }

    /// All of the words.
    pub(crate) fn words(&mut self) -> &mut [u64] {
        <[u64]>::mut_from_bytes(&mut self.pages).unwrap()
    }

    /// Clears what the kernel sets.
    pub(crate) fn clear(&mut self) {
        let used = self.used;
        self.words()[..used].fill(0);
    }
}
