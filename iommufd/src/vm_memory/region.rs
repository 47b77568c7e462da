//! A region of guest memory as DMA memory.

// UNSAFETY: vouches for the memory of regions that vm-memory has mapped.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use ::vm_memory::bitmap::Bitmap;
use ::vm_memory::{FileOffset, GuestMemoryRegion, GuestRegionMmap, MmapRegion};
use rustix::mm::{MapFlags, ProtFlags};

use super::error::GuestDmaError;
use super::range::GuestRange;
use crate::error::Error;
use crate::map::Access;
use crate::memory::DmaMemory;

/// A region of guest memory that devices may reach.
///
/// It holds the memory of a [`GuestRegionMmap`], together with whatever else holds it: with the
/// region gone from the guest's memory map, the memory stays until no address space has it mapped.
///
/// vm-memory lets any safe code write any value to its memory at any time, as the guest does, and
/// never makes a slice of it. So a device does nothing to it that must not be done. What a device
/// writes races with a copy of vm-memory's in just the way that the guest's own writes do.
///
/// Memory in a file is mapped by file, where the kernel can (Linux 6.13), if the file is one that it
/// can pin (of tmpfs or hugetlbfs, as a memfd is) and the region is a shared mapping of it for
/// reading and writing. Else it is mapped by its address: the pages of a private mapping are not the
/// file's.
///
/// Used by itself it is mapped wherever one likes, and not only at the guest's addresses:
///
/// ```no_run
/// # fn example(ioas: &iommufd::Ioas) -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use iommufd::vm_memory::GuestRegion;
/// use iommufd::{Access, Iova};
/// use vm_memory::{GuestAddress, GuestRegionMmap};
///
/// let region = GuestRegionMmap::<()>::from_range(GuestAddress(0), 2 << 20, None)?;
/// let memory = Arc::new(GuestRegion::new(&region)?);
/// let mapping = ioas.map_at(Iova::new(1 << 40), &memory, Access::ReadWrite)?;
/// # Ok(())
/// # }
/// ```
///
/// # Invariants
/// `mapping` stays mapped, at its address, as long as it lives. Where `by_file` is set it is a
/// shared mapping, for reading and writing, of its file from its offset on.
pub struct GuestRegion<B = ()> {
    mapping: Arc<MmapRegion<B>>,
    range: GuestRange,
    by_file: bool,
}

impl<B: Bitmap> GuestRegion<B> {
    /// The memory of `region`.
    ///
    /// # Errors
    /// [`GuestDmaError::Unowned`] if the mapping is not the region's own
    /// ([`MmapRegion::build_raw`]): whoever made it may unmap it.
    ///
    /// # System calls
    /// `fcntl`, for a region in a file.
    pub fn new(region: &GuestRegionMmap<B>) -> Result<Self, GuestDmaError> {
        let range = range_of(region)?;
        // (Without its feature `xen`, that is: then vm-memory maps and unmaps behind everybody's
        // back, and has no `owned`, so that this does not compile.)
        if !region.owned() {
            return Err(GuestDmaError::Unowned { range });
        }
        // INVARIANT: what a region owns it has mapped itself, as its flags and its file say, and
        // unmaps when it is dropped.
        Ok(Self {
            mapping: region.get_mmap(),
            range,
            by_file: is_file_memory(region),
        })
    }

    /// The memory of `region`, which need not own its mapping. It is mapped by its address.
    ///
    /// # Errors
    /// [`Error::Empty`] for a region of no bytes.
    ///
    /// # Safety
    /// What [`DmaMemory`] asks for, as long as the value lives. An address space keeps it alive
    /// until the kernel has confirmed the unmap: so the memory must stay until the last `Arc` of
    /// the value is gone, which can be never.
    pub unsafe fn new_unowned(region: &GuestRegionMmap<B>) -> Result<Self, GuestDmaError> {
        // INVARIANT: the caller promises it.
        Ok(Self {
            mapping: region.get_mmap(),
            range: range_of(region)?,
            by_file: false,
        })
    }

    /// The guest's physical addresses of it.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        self.range
    }

    /// Whether it is mapped by its file, where the kernel can, and not by its address.
    #[must_use]
    pub fn is_by_file(&self) -> bool {
        self.by_file
    }

    /// Whether this process has mapped it with the permissions that `access` takes: without them
    /// the kernel refuses, but not before it has to pin the pages (`EFAULT`).
    #[must_use]
    pub fn permits(&self, access: Access) -> bool {
        let needed = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::WRITE,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        protection(&self.mapping).contains(needed)
    }
}

// SAFETY:
// - Address, length and file of a mapping of vm-memory's are fixed when it is made.
// - By the invariant the bytes stay mapped as long as `mapping`, which the value holds.
// - Of a mapping that it owns, vm-memory hands out to safe code: methods that write any value to
//   any byte, from any thread, at any time, as the guest behind it does; so nothing that a device
//   writes is undefined that would not be so already. And no slices: only raw pointers, volatile
//   accessors, and references to atomics, which are there to be changed by others meanwhile. What
//   makes other references (`aligned_as_ref`, `aligned_as_mut`) is unsafe, and the caller's to
//   justify. It maps the memory itself, nowhere fixed: it is in no Rust allocation. For a mapping
//   that it does not own, the caller of `new_unowned` has promised all of it.
// - By the invariant the file is only given where the bytes are a shared mapping of that part.
unsafe impl<B: Bitmap + Send + Sync + 'static> DmaMemory for GuestRegion<B> {
    fn bytes(&self) -> NonNull<[u8]> {
        match NonNull::new(self.mapping.as_ptr()) {
            Some(base) => NonNull::slice_from_raw_parts(base, self.mapping.size()),
            // No mapping is at address 0; if one were, nothing of it would be mapped.
            None => NonNull::slice_from_raw_parts(NonNull::dangling(), 0),
        }
    }

    unsafe fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        let file = self.mapping.file_offset().filter(|_| self.by_file)?;
        Some((file.file().as_fd(), file.start()))
    }
}

impl<B> fmt::Debug for GuestRegion<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestRegion")
            .field("range", &self.range)
            .field("by_file", &self.by_file)
            .finish_non_exhaustive()
    }
}

fn range_of<B: Bitmap>(region: &GuestRegionMmap<B>) -> Result<GuestRange, GuestDmaError> {
    GuestRange::with_len(region.start_addr(), region.len())
        .ok_or_else(|| Error::Empty { what: "region" }.into())
}

fn protection<B: Bitmap>(mapping: &MmapRegion<B>) -> ProtFlags {
    ProtFlags::from_bits_retain(mapping.prot().cast_unsigned())
}

/// Whether the pages of `mapping` are those of its file, and can be pinned there.
///
/// Devices are then let in without regard to how the file is open and sealed: that it is mapped
/// shared, for reading and writing, shows that this process may do both.
fn is_file_memory<B: Bitmap>(mapping: &MmapRegion<B>) -> bool {
    mapping.file_offset().is_some_and(is_pinnable)
        && is_shared(mapping.flags())
        && protection(mapping).contains(ProtFlags::READ | ProtFlags::WRITE)
}

/// Whether it is a mapping of a file's own pages, by the flags that `mmap` was given.
///
/// A region can have a file and be anonymous memory nevertheless (`MAP_ANONYMOUS`): so only flags
/// that are known to change nothing are let pass.
fn is_shared(flags: i32) -> bool {
    let harmless = MapFlags::SHARED_VALIDATE
        | MapFlags::NORESERVE
        | MapFlags::POPULATE
        | MapFlags::LOCKED
        | MapFlags::HUGETLB
        | MapFlags::HUGE_2MB
        | MapFlags::HUGE_1GB;
    let flags = MapFlags::from_bits_retain(flags.cast_unsigned());
    // `SHARED_VALIDATE` has the bits of `SHARED` and of `PRIVATE`, which alone has not the former.
    flags.contains(MapFlags::SHARED) && harmless.contains(flags)
}

/// Whether the kernel takes the file for a memfd: these, and no others, have seals to be asked for.
fn is_pinnable(file: &FileOffset) -> bool {
    rustix::fs::fcntl_get_seals(file.file()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use ::vm_memory::GuestAddress;
    use ::vm_memory::mmap::MmapRegionBuilder;
    use rustix::fs::{MemfdFlags, SealFlags, ftruncate, memfd_create};

    use super::*;

    const LEN: usize = 1 << 16;
    const START: u64 = 1 << 16;

    fn memfd() -> FileOffset {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("guest", flags).unwrap();
        ftruncate(&file, START + LEN as u64).unwrap();
        FileOffset::new(File::from(file), START)
    }

    fn region(mapping: MmapRegion) -> GuestRegion {
        let region = GuestRegionMmap::new(mapping, GuestAddress(7 << 16)).unwrap();
        GuestRegion::new(&region).unwrap()
    }

    /// A mapping with these flags, of a file for all that vm-memory knows.
    fn flagged(flags: MapFlags, prot: ProtFlags) -> GuestRegion {
        let builder = MmapRegionBuilder::new(LEN)
            .with_file_offset(memfd())
            .with_mmap_flags(flags.bits().cast_signed())
            .with_mmap_prot(prot.bits().cast_signed());
        region(builder.build().unwrap())
    }

    /// The offset in the file by which the kernel would be told where the memory is.
    fn offset(region: &GuestRegion) -> Option<u64> {
        // SAFETY: the file is not used.
        let file = unsafe { region.file() };
        assert_eq!(file.is_some(), region.is_by_file());
        file.map(|(_, offset)| offset)
    }

    const BOTH: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

    #[test]
    fn anonymous_memory_is_where_vm_memory_has_it() {
        let mapping = MmapRegion::<()>::new(LEN).unwrap();
        let address = mapping.as_ptr();
        let region = region(mapping);
        assert_eq!(region.bytes().cast().as_ptr(), address);
        assert_eq!(region.bytes().len(), LEN);
        assert_eq!(offset(&region), None);
        let range = GuestRange::with_len(GuestAddress(7 << 16), LEN as u64);
        assert_eq!(region.range(), range.unwrap());
    }

    #[test]
    fn memory_in_a_file_has_the_file_from_its_offset_on() {
        assert_eq!(
            offset(&region(MmapRegion::from_file(memfd(), LEN).unwrap())),
            Some(START)
        );
        let validated = MapFlags::SHARED_VALIDATE | MapFlags::POPULATE;
        assert_eq!(offset(&flagged(validated, BOTH)), Some(START));
    }

    #[test]
    fn memory_that_is_not_the_files_own_has_no_file() {
        for flags in [
            MapFlags::PRIVATE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
            // Nobody knows here what it does.
            MapFlags::SHARED | MapFlags::from_bits_retain(1 << 12),
        ] {
            assert_eq!(offset(&flagged(flags, BOTH)), None, "{flags:?}");
        }
        // Anonymous, as a builder makes it that is told of a file only.
        let anonymous = MmapRegionBuilder::<()>::new(LEN).with_file_offset(memfd());
        let flags = MapFlags::from_bits_retain(anonymous.build().unwrap().flags().cast_unsigned());
        let anonymous = flags.difference(MapFlags::PRIVATE);
        for flags in [flags, anonymous | MapFlags::SHARED] {
            assert_eq!(offset(&flagged(flags, BOTH)), None, "{flags:?}");
        }
    }

    #[test]
    fn memory_in_a_file_that_cannot_be_pinned_has_no_file() {
        let zero = File::options().read(true).write(true).open("/dev/zero");
        let zero = FileOffset::new(zero.unwrap(), 0);
        assert_eq!(
            offset(&region(MmapRegion::from_file(zero, LEN).unwrap())),
            None
        );
    }

    #[test]
    fn memory_that_this_process_may_not_write_has_no_file() {
        let read_only = flagged(MapFlags::SHARED, ProtFlags::READ);
        assert_eq!(offset(&read_only), None);
        assert!(read_only.permits(Access::Read));
        assert!(!read_only.permits(Access::Write) && !read_only.permits(Access::ReadWrite));
        let write_only = flagged(MapFlags::SHARED, ProtFlags::WRITE);
        assert_eq!(offset(&write_only), None);
        assert!(write_only.permits(Access::Write) && !write_only.permits(Access::ReadWrite));
        assert!(flagged(MapFlags::SHARED, BOTH).permits(Access::ReadWrite));
    }

    /// Sealed as it is, nobody could have mapped it so; and so long as it is mapped so, nobody can
    /// seal it.
    #[test]
    fn memory_with_a_file_keeps_it_from_being_sealed() {
        let file = memfd();
        let handle = file.arc().try_clone().unwrap();
        let region = region(MmapRegion::from_file(file, LEN).unwrap());
        assert!(region.is_by_file());
        let seal = || rustix::fs::fcntl_add_seals(&handle, SealFlags::WRITE);
        assert!(seal().is_err());
        drop(region);
        seal().unwrap();
        let sealed = FileOffset::new(handle, START);
        assert!(MmapRegion::<()>::from_file(sealed, LEN).is_err());
    }

    #[test]
    fn memory_outlives_the_region_that_it_was_of() {
        let file = memfd();
        let handle = file.arc().try_clone().unwrap();
        let kept = region(MmapRegion::from_file(file, LEN).unwrap());
        rustix::io::pwrite(&handle, b"kept", START).unwrap();
        // SAFETY: the region keeps the mapping, of which this reads the first byte.
        let first = unsafe { kept.bytes().cast::<u8>().read_volatile() };
        assert_eq!(first, b'k');
    }

    #[test]
    fn memory_of_somebody_elses_takes_a_promise() {
        let owner = MmapRegion::<()>::new(LEN).unwrap();
        let prot = owner.prot();
        let flags = owner.flags();
        // SAFETY: `owner` has mapped so many bytes there.
        let borrowed = unsafe { MmapRegion::<()>::build_raw(owner.as_ptr(), LEN, prot, flags) };
        let borrowed = GuestRegionMmap::new(borrowed.unwrap(), GuestAddress(0)).unwrap();
        assert!(matches!(
            GuestRegion::new(&borrowed),
            Err(GuestDmaError::Unowned { range }) if range.start() == GuestAddress(0)
        ));
        // SAFETY: `owner` is dropped after it, and accessed by nobody.
        let promised = unsafe { GuestRegion::new_unowned(&borrowed) }.unwrap();
        assert_eq!(promised.bytes().cast().as_ptr(), owner.as_ptr());
        assert!(!promised.is_by_file());
        drop(promised);
    }
}
