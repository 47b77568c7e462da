//! A guest's memory, as a VMM of the rust-vmm project has it.

use std::fs::File;
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use iommufd::vm_memory::{BlockSize, BlockState, GuestBlock, GuestDma, GuestRange};
use iommufd::{Iommufd, Iova};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress, MmapRegion,
};

use crate::mock::{APERTURE, MockAccess, MockDevice, check_pins};

/// A region of guest memory.
pub type Region = GuestRegionMmap<()>;
/// A guest's memory.
pub type Memory = GuestMemoryMmap<()>;

/// The bytes in a block of the tests.
pub const BLOCK: u64 = 1 << 16;

/// The size of a block of the tests.
#[must_use]
pub fn block_size() -> BlockSize {
    BlockSize::new(BLOCK).unwrap()
}

/// Where block number `n` of those that the mock's IOMMU translates begins.
#[must_use]
pub fn at(n: u64) -> GuestAddress {
    assert!(APERTURE.0.is_multiple_of(BLOCK));
    GuestAddress(APERTURE.0 + n * BLOCK)
}

/// `count` blocks from number `n` on.
#[must_use]
pub fn blocks(n: u64, count: u64) -> GuestRange {
    GuestRange::with_len(at(n), count * BLOCK).unwrap()
}

/// The address for devices.
#[must_use]
pub fn iova(address: GuestAddress) -> Iova {
    Iova::new(address.0)
}

/// Anonymous memory at `range`.
#[must_use]
pub fn anonymous(range: GuestRange) -> Region {
    GuestRegionMmap::from_range(range.start(), len(range), None).unwrap()
}

/// A memfd of `len` bytes, to be mapped from its second block on.
#[must_use]
pub fn file(len: usize, flags: MemfdFlags) -> FileOffset {
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC | flags).unwrap();
    // Huge pages are whole.
    let start = if flags.contains(MemfdFlags::HUGETLB) {
        2 << 20
    } else {
        BLOCK
    };
    ftruncate(&fd, start + len as u64).unwrap();
    FileOffset::new(File::from(fd), start)
}

/// Memory at `range`, of a file of its own.
#[must_use]
pub fn in_file(range: GuestRange, file: FileOffset) -> Region {
    GuestRegionMmap::from_range(range.start(), len(range), Some(file)).unwrap()
}

/// Memory at `range`, mapped as `mmap` is told here, with a file.
#[must_use]
pub fn mapped_as(range: GuestRange, flags: MapFlags, prot: ProtFlags) -> Region {
    let mapping = MmapRegionBuilder::new(len(range))
        .with_file_offset(file(len(range), MemfdFlags::empty()))
        .with_mmap_flags(flags.bits().cast_signed())
        .with_mmap_prot(prot.bits().cast_signed())
        .build()
        .unwrap();
    GuestRegionMmap::new(mapping, range.start()).unwrap()
}

fn len(range: GuestRange) -> usize {
    usize::try_from(range.len().unwrap()).unwrap()
}

/// A guest's memory of these regions.
#[must_use]
pub fn memory(regions: Vec<Region>) -> Memory {
    GuestMemoryMmap::from_regions(regions).unwrap()
}

/// The region's bytes in this process.
#[must_use]
pub fn bytes(region: &Region) -> NonNull<[u8]> {
    NonNull::slice_from_raw_parts(NonNull::new(region.as_ptr()).unwrap(), region.size())
}

/// The bytes of one block of a region.
#[must_use]
pub fn bytes_of(region: &Region, block: GuestRange) -> NonNull<[u8]> {
    let offset = usize::try_from(block.start().0 - region.start_addr().0).unwrap();
    let base = region.as_ptr().wrapping_add(offset);
    NonNull::slice_from_raw_parts(NonNull::new(base).unwrap(), len(block))
}

/// The region's memory, to see when it is gone.
#[must_use]
pub fn witness(region: &Region) -> Weak<MmapRegion> {
    Arc::downgrade(&region.get_mmap())
}

/// Asserts that a device finds all of the region's pages at the guest's addresses, pinned once.
#[track_caller]
pub fn assert_reached(device: &MockDevice, region: &Region) {
    let start = iova(region.start_addr());
    assert_eq!(device.check_map(start, bytes(region)), Ok(()));
    assert_pins(device.iommufd(), region, 1);
}

/// Asserts how often the region's pages are pinned.
#[track_caller]
pub fn assert_pins(iommufd: &Iommufd, region: &Region, pins: u32) {
    assert_eq!(check_pins(iommufd, bytes(region), pins), Ok(()));
}

/// Asserts that the region's last bytes are the same for the guest and for a device.
#[track_caller]
pub fn assert_shared(access: &MockAccess, region: &Region) {
    let offset = MemoryRegionAddress(region.len() - 4);
    let last = Iova::new(region.start_addr().0 + offset.0);
    region.write_slice(b"cpu!", offset).unwrap();
    let mut seen = [0; 4];
    access.read(last, &mut seen).unwrap();
    assert_eq!(&seen, b"cpu!");
    access.write(last, b"dev!").unwrap();
    region.read_slice(&mut seen, offset).unwrap();
    assert_eq!(&seen, b"dev!");
}

/// Whether something is mapped at the address.
#[must_use]
pub fn is_mapped(access: &MockAccess, address: GuestAddress) -> bool {
    match access.read(iova(address), &mut [0]) {
        Ok(()) => true,
        Err(Errno::NOENT) => false,
        Err(errno) => panic!("{errno}"),
    }
}

/// Asserts that the books have this block in this state, and that it is so.
#[track_caller]
pub fn assert_block(dma: &GuestDma, access: &MockAccess, range: GuestRange, state: BlockState) {
    for at in [range.start(), range.last()] {
        let found = dma.block_at(at);
        assert!(
            matches!(found, Some(GuestBlock { range: r, state: s, .. }) if r == range && s == state),
            "{found:?} is not {state:?}"
        );
        assert_eq!(is_mapped(access, at), state == BlockState::Mapped, "{at:?}");
    }
    let iova = dma.block_at(range.start()).and_then(|block| block.iova());
    assert_eq!(iova.is_some(), state == BlockState::Mapped);
}
