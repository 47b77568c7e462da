//! The memory of a guest, mapped for devices at the guest's own addresses.

use std::sync::Arc;

use iommufd::vm_memory::{
    BlockSize, BlockState, Blocks, GuestDma, GuestDmaError, GuestRange, GuestRegion,
};
use iommufd::{Access, Ioas, Iommufd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use tests::guest_memory::{
    BLOCK, anonymous, assert_block, assert_pins, assert_reached, assert_shared, at, block_size,
    blocks, bytes, file, in_file, iova, is_mapped, mapped_as, memory, witness,
};
use tests::mock::{MockAccess, MockDevice};
use tests::observe::Recorder;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

const MAP: &str = "IOMMU_IOAS_MAP";
const MAP_FILE: &str = "IOMMU_IOAS_MAP_FILE";
const UNMAP: &str = "IOMMU_IOAS_UNMAP";
const BOTH: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_is_mapped_at_its_own_addresses_block_by_block() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let memory = memory(vec![anonymous(blocks(0, 4)), anonymous(blocks(6, 2))]);
    let dma = GuestDma::new(&ioas, block_size());
    recorder.clear();
    dma.add_memory(&memory, Access::ReadWrite).unwrap();
    assert_eq!(recorder.calls(), [MAP; 6]);
    assert_eq!(ioas.mapped(), tests::at::mapped(6, 6 * BLOCK));
    assert_eq!(dma.regions(), [blocks(0, 4), blocks(6, 2)]);
    for region in memory.iter() {
        assert_reached(&device, region);
        assert_shared(&access, region);
    }
    for n in [0, 1, 2, 3, 6, 7] {
        assert_block(&dma, &access, blocks(n, 1), BlockState::Mapped);
    }
    for hole in [at(4), at(5), at(8), GuestAddress(0), GuestAddress(u64::MAX)] {
        assert_eq!(dma.block_at(hole), None);
    }
    recorder.clear();
    drop(dma);
    assert_eq!(recorder.calls(), [UNMAP; 6]);
    assert_eq!(ioas.mapped(), tests::at::mapped(0, 0));
    memory
        .iter()
        .for_each(|region| assert_pins(&iommufd, region, 0));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_region_can_be_one_mapping() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let memory = memory(vec![anonymous(blocks(0, 3)), anonymous(blocks(3, 1))]);
    let dma = GuestDma::new(&ioas, Blocks::Regions);
    recorder.clear();
    dma.add_memory(&memory, Access::ReadWrite).unwrap();
    assert_eq!(recorder.calls(), [MAP; 2]);
    memory
        .iter()
        .for_each(|region| assert_reached(&device, region));
    assert_block(&dma, &access, blocks(0, 3), BlockState::Mapped);
    assert_eq!(dma.unmap_block(at(1)).unwrap(), blocks(0, 3));
    assert_block(&dma, &access, blocks(0, 3), BlockState::Unmapped);
    assert_block(&dma, &access, blocks(3, 1), BlockState::Mapped);
}

/// Regions begin and end where the machine has its holes, not at multiples of a block.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn regions_that_end_within_a_block_are_mapped_to_their_ends() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let page = |n: u64, count: u64| {
        GuestRange::with_len(GuestAddress(at(0).0 + n * 0x1000), count * 0x1000).unwrap()
    };
    // A block has 16 pages. A page is missing between the first two regions; the third ends half a
    // page after it began, which is as little as the mock's IOMMU maps.
    let third = GuestRange::with_len(page(64, 1).start(), 0x800).unwrap();
    let ranges = [page(3, 20), page(24, 8), third];
    let memory = memory(ranges.map(anonymous).into());
    let dma = GuestDma::new(&ioas, block_size());
    dma.add_memory(&memory, Access::ReadWrite).unwrap();
    for region in memory.iter() {
        let start = iova(region.start_addr());
        device.check_map(start, bytes(region)).unwrap();
        assert_shared(&access, region);
    }
    for block in [page(3, 13), page(16, 7), page(24, 8), third] {
        assert_block(&dma, &access, block, BlockState::Mapped);
    }
    let gap = page(23, 1).start();
    assert!(dma.block_at(gap).is_none() && !is_mapped(&access, gap));
    // A block that two regions share is two mappings.
    dma.unmap_block(page(22, 1).start()).unwrap();
    assert_block(&dma, &access, page(16, 7), BlockState::Unmapped);
    assert_block(&dma, &access, page(24, 8), BlockState::Mapped);
    // What is not aligned as the IOMMU needs it, the kernel refuses.
    let odd = anonymous(GuestRange::with_len(at(9), 0x1400).unwrap());
    let refused = dma.add_region(GuestRegion::new(&odd).unwrap(), Access::Read);
    let Err(GuestDmaError::MapRefused { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(reason.errno(), Some(Errno::INVAL));
    assert_eq!(dma.block_at(at(9)), None);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_in_a_file_is_mapped_by_file_from_where_it_begins_in_it() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let backing = file(4 * BLOCK as usize, MemfdFlags::empty());
    let region = in_file(blocks(0, 4), backing.clone());
    let dma = GuestDma::new(&ioas, block_size());
    recorder.clear();
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
        .unwrap();
    assert_eq!(recorder.calls(), [MAP_FILE; 4]);
    assert_reached(&device, &region);
    assert_shared(&access, &region);
    // The third block of the region is the fourth of the file.
    access.write(iova(at(2)), b"here").unwrap();
    let mut found = [0; 4];
    rustix::io::pread(backing.file(), &mut found, backing.start() + 2 * BLOCK).unwrap();
    assert_eq!(&found, b"here");
    // Whoever else has the file sees what devices write; when all is gone the file is as it was.
    drop((dma, region));
    rustix::io::pread(backing.file(), &mut found, backing.start() + 4 * BLOCK - 4).unwrap();
    assert_eq!(&found, b"dev!");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_of_huge_pages_in_a_file_is_mapped_by_file() {
    const HUGE: u64 = 2 << 20;
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let range = GuestRange::with_len(GuestAddress(16 * HUGE), 2 * HUGE).unwrap();
    let huge = file(
        2 * HUGE as usize,
        MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
    );
    let region = in_file(range, huge);
    let dma = GuestDma::new(&ioas, BlockSize::SIZE_2M);
    recorder.clear();
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
        .unwrap();
    assert_eq!(recorder.calls(), [MAP_FILE; 2]);
    assert_eq!(
        device.check_map(iova(range.start()), bytes(&region)),
        Ok(())
    );
    assert_shared(&access, &region);
}

/// The pages of a private mapping are its own from the first write on; those of an anonymous one
/// never were the file's. By file a device would be let to the wrong ones.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_only_began_as_a_files_is_mapped_by_its_address() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let anonymous = MapFlags::from_bits_retain(libc::MAP_ANONYMOUS.cast_unsigned());
    for flags in [
        MapFlags::PRIVATE,
        MapFlags::PRIVATE | anonymous,
        MapFlags::SHARED | anonymous,
    ] {
        let region = mapped_as(blocks(0, 2), flags, BOTH);
        let backing = region.file_offset().unwrap();
        rustix::io::pwrite(backing.file(), b"file", backing.start()).unwrap();
        let zero = MemoryRegionAddress(0);
        region.write_slice(b"mine", zero).unwrap();
        let dma = GuestDma::new(&ioas, block_size());
        recorder.clear();
        dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
            .unwrap();
        assert_eq!(recorder.calls(), [MAP; 2], "{flags:?}");
        assert_reached(&device, &region);
        assert_shared(&access, &region);
        let mut seen = [0; 4];
        access.read(iova(at(0)), &mut seen).unwrap();
        assert_eq!(&seen, b"mine", "{flags:?}");
        access.write(iova(at(0)), b"dev!").unwrap();
        rustix::io::pread(backing.file(), &mut seen, backing.start()).unwrap();
        assert_eq!(&seen, b"file", "{flags:?}");
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_the_vmm_may_only_read_is_mapped_for_reading_alone() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let rom = mapped_as(blocks(0, 1), MapFlags::SHARED, ProtFlags::READ);
    let backing = rom.file_offset().unwrap();
    rustix::io::pwrite(backing.file(), b"rom!", backing.start()).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    recorder.clear();
    for wanted in [Access::Write, Access::ReadWrite] {
        // With no device attached the kernel would not notice.
        let refused = dma.add_region(GuestRegion::new(&rom).unwrap(), wanted);
        assert!(
            matches!(refused, Err(GuestDmaError::Protected { range, access, .. })
                if range == blocks(0, 1) && access == wanted),
            "{refused:?}"
        );
    }
    assert_eq!(recorder.count(), 0);
    dma.add_region(GuestRegion::new(&rom).unwrap(), Access::Read)
        .unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let mut seen = [0; 4];
    access.read(iova(at(0)), &mut seen).unwrap();
    assert_eq!(&seen, b"rom!");
    assert_eq!(access.write(iova(at(0)), b"dev!"), Err(Errno::PERM));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_is_held_for_devices_and_not_a_moment_longer() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let (one, two) = (anonymous(blocks(0, 2)), anonymous(blocks(4, 2)));
    let held = [witness(&one), witness(&two)];
    let alive = || held.each_ref().map(|memory| memory.strong_count() > 0);
    one.write_slice(b"kept", MemoryRegionAddress(0)).unwrap();
    dma.add_memory(&memory(vec![one, two]), Access::ReadWrite)
        .unwrap();
    assert_eq!(alive(), [true, true]);
    let mut seen = [0; 4];
    access.read(iova(at(0)), &mut seen).unwrap();
    assert_eq!(&seen, b"kept");
    dma.remove_region(at(4)).unwrap();
    assert_eq!(alive(), [true, false]);
    // Not even a block mapped, it is a region still.
    dma.unmap_block(at(0)).unwrap();
    dma.unmap_block(at(1)).unwrap();
    assert_eq!(alive(), [true, false]);
    dma.remove_region(at(0)).unwrap();
    assert_eq!(alive(), [false, false]);
    assert_eq!(dma.regions(), []);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_region_by_itself_is_mapped_wherever_one_likes() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let backing = file(2 * BLOCK as usize, MemfdFlags::empty());
    for region in [anonymous(blocks(0, 2)), in_file(blocks(0, 2), backing)] {
        let shared = Arc::new(GuestRegion::new(&region).unwrap());
        let mapping = ioas
            .map_at(iova(at(7)), &shared, Access::ReadWrite)
            .unwrap();
        assert_eq!(device.check_map(iova(at(7)), bytes(&region)), Ok(()));
        mapping.unmap().unwrap();
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
