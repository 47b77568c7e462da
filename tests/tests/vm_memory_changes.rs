//! The memory of a guest that changes while devices use it, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use iommufd::vm_memory::{BlockState, GuestDma, GuestDmaError, GuestRegion};
use iommufd::{Access, Error, Ioas, Iommufd};
use parking_lot::Mutex;
use tests::fork::in_child;
use tests::guest_memory::{
    BLOCK, anonymous, assert_block, assert_reached, at, block_size, blocks, bytes_of, iova,
    is_mapped, memory, witness,
};
use tests::mock::{MockAccess, MockDevice};
use tests::observe::Recorder;
use tests::within::within;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryRegion};

const MAP: &str = "IOMMU_IOAS_MAP";
const UNMAP: &str = "IOMMU_IOAS_UNMAP";

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_cannot_be_added_is_refused_before_anything_is_mapped() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let region = anonymous(blocks(4, 2));
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::Read)
        .unwrap();
    recorder.clear();
    for (first, count) in [(4, 2), (3, 2), (5, 3), (2, 8), (4, 1), (5, 1)] {
        // The first of the two would do.
        let two = memory(vec![
            anonymous(blocks(0, 1)),
            anonymous(blocks(first, count)),
        ]);
        let refused = dma.add_memory(&two, Access::Read);
        assert!(
            matches!(refused, Err(GuestDmaError::Overlap { range, other, .. })
                if range == blocks(first, count) && other == blocks(4, 2)),
            "{refused:?}"
        );
        let other = anonymous(blocks(first, count));
        let refused = dma.add_region_unmapped(GuestRegion::new(&other).unwrap(), Access::Read);
        assert!(matches!(refused, Err(GuestDmaError::Overlap { .. })));
    }
    let refused = dma.remove_region(at(5));
    assert!(matches!(refused, Err(GuestDmaError::NoRegion { start, .. }) if start == at(5)));
    let refused = dma.map_block(at(4));
    assert!(matches!(refused, Err(GuestDmaError::Mapped { block, .. }) if block == blocks(4, 1)));
    for refused in [dma.map_block(at(6)), dma.unmap_block(at(3))] {
        assert!(matches!(refused, Err(GuestDmaError::NoMemory { .. })));
    }
    assert_eq!(recorder.count(), 0);
    assert_eq!(dma.regions(), [blocks(4, 2)]);
    assert_eq!(ioas.mapped(), tests::at::mapped(2, 2 * BLOCK));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_balloon_takes_blocks_and_gives_them_back() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let region = anonymous(blocks(0, 3));
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
        .unwrap();
    let inside = GuestAddress(at(1).0 + 0x1234);
    assert_eq!(dma.unmap_block(inside).unwrap(), blocks(1, 1));
    assert_block(&dma, &access, blocks(0, 1), BlockState::Mapped);
    assert_block(&dma, &access, blocks(1, 1), BlockState::Unmapped);
    assert_block(&dma, &access, blocks(2, 1), BlockState::Mapped);
    let unpinned = tests::mock::check_pins(&iommufd, bytes_of(&region, blocks(1, 1)), 0);
    assert_eq!(unpinned, Ok(()), "the guest may have it discarded");
    let refused = dma.unmap_block(inside);
    assert!(
        matches!(refused, Err(GuestDmaError::NotMapped { block, .. }) if block == blocks(1, 1))
    );
    assert_eq!(dma.map_block(inside).unwrap(), blocks(1, 1));
    assert_reached(&device, &region);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_blocks_of_a_region_are_plugged_by_several_threads() {
    within(60, || {
        const THREADS: u64 = 4;
        const EACH: u64 = 16;
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let access = MockAccess::new(&ioas).unwrap();
        let region = anonymous(blocks(0, THREADS * EACH));
        let dma = GuestDma::new(&ioas, block_size());
        dma.add_region_unmapped(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
            .unwrap();
        assert_eq!(ioas.mapped(), tests::at::mapped(0, 0));
        assert_block(&dma, &access, blocks(5, 1), BlockState::Unmapped);
        thread::scope(|threads| {
            for thread in 0..THREADS {
                let dma = &dma;
                threads.spawn(move || {
                    for n in 0..EACH {
                        let block = at(n * THREADS + thread);
                        dma.map_block(block).unwrap();
                        dma.unmap_block(block).unwrap();
                        dma.map_block(block).unwrap();
                    }
                });
            }
        });
        assert_reached(&device, &region);
        dma.remove_region(at(0)).unwrap();
        assert_eq!(ioas.mapped(), tests::at::mapped(0, 0));
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn regions_come_and_go_on_several_threads() {
    within(60, || {
        const THREADS: u64 = 4;
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let dma = GuestDma::new(&ioas, block_size());
        let regions: Vec<_> = (0..THREADS)
            .map(|thread| anonymous(blocks(thread * 8, 8)))
            .collect();
        thread::scope(|threads| {
            for region in &regions {
                let dma = &dma;
                threads.spawn(move || {
                    let add =
                        || dma.add_region(GuestRegion::new(region).unwrap(), Access::ReadWrite);
                    for _ in 0..20 {
                        add().unwrap();
                        dma.remove_region(region.start_addr()).unwrap();
                    }
                    add().unwrap();
                });
            }
        });
        regions
            .iter()
            .for_each(|region| assert_reached(&device, region));
        assert_eq!(dma.regions().len(), regions.len());
        assert_eq!(ioas.mapped().mappings, 8 * regions.len());
    });
}

/// An observer is called in the middle of a call, with no lock held.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_one_call_is_changing_is_busy_for_all_others() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let ioas = Ioas::new(&iommufd).unwrap();
        let dma = Arc::new(GuestDma::new(&ioas, block_size()));
        let (region, other) = (anonymous(blocks(0, 2)), anonymous(blocks(2, 1)));
        let looked = Arc::new(Mutex::new(Vec::new()));
        let refusals = Arc::new(AtomicUsize::new(0));
        recorder.hook({
            let (dma, looked) = (Arc::clone(&dma), Arc::clone(&looked));
            let refusals = Arc::clone(&refusals);
            move |event| {
                // The others are those of this hook.
                if looked.lock().len() >= 3 || !event.ioctl.name.contains("MAP") {
                    return;
                }
                let state = dma.block_at(at(0)).map(|block| block.state);
                // What panics here ends here: it is judged outside.
                looked.lock().push((event.ioctl.name, state));
                let busy = |refused| matches!(refused, Err(GuestDmaError::Busy { .. }));
                let again = GuestRegion::new(&region).unwrap();
                let overlap = dma.add_region(again, Access::Read);
                let refused = busy(dma.map_block(at(0)).map(drop))
                    && busy(dma.unmap_block(at(0)).map(drop))
                    && busy(dma.remove_region(at(0)))
                    && matches!(overlap, Err(GuestDmaError::Overlap { .. }))
                    && dma.regions() == [blocks(0, 2)];
                if refused {
                    refusals.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let one = anonymous(blocks(0, 2));
        dma.add_region(GuestRegion::new(&one).unwrap(), Access::Read)
            .unwrap();
        dma.unmap_block(at(0)).unwrap();
        let seen = looked.lock().clone();
        let changing = Some(BlockState::Changing);
        assert_eq!(seen, [(MAP, changing), (MAP, changing), (UNMAP, changing)]);
        assert_eq!(refusals.load(Ordering::SeqCst), 3);
        // Other regions are not concerned; and it is over when the call is.
        recorder.hook({
            let dma = Arc::clone(&dma);
            move |event| {
                if event.ioctl.name == UNMAP && dma.regions().len() == 1 {
                    let other = GuestRegion::new(&other).unwrap();
                    dma.add_region(other, Access::Read).unwrap();
                }
            }
        });
        dma.remove_region(at(0)).unwrap();
        recorder.unhook();
        assert_eq!(dma.regions(), [blocks(2, 1)]);
        assert_eq!(ioas.mapped(), tests::at::mapped(1, BLOCK));
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_memory_map_that_changes_is_followed() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let ram = memory(vec![anonymous(blocks(0, 4))]);
    dma.add_memory(&ram, Access::ReadWrite).unwrap();
    let map = GuestMemoryAtomic::new(ram);

    let dimm = Arc::new(anonymous(blocks(8, 4)));
    let held = witness(&dimm);
    dma.add_region(GuestRegion::new(&dimm).unwrap(), Access::ReadWrite)
        .unwrap();
    let larger = map.memory().insert_region(dimm).unwrap();
    map.lock().unwrap().replace(larger);
    let snapshot = map.memory();
    snapshot.write_slice(b"guest", at(9)).unwrap();
    let mut seen = [0; 5];
    access.read(iova(at(9)), &mut seen).unwrap();
    assert_eq!(&seen, b"guest");

    let (smaller, dimm) = map.memory().remove_region(at(8), 4 * BLOCK).unwrap();
    map.lock().unwrap().replace(smaller);
    drop((dimm, snapshot));
    assert!(held.strong_count() > 0, "devices reach it");
    access.read(iova(at(9)), &mut seen).unwrap();
    dma.remove_region(at(8)).unwrap();
    assert_eq!(held.strong_count(), 0);
    assert!(!is_mapped(&access, at(9)));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_a_guest_is_out_of_reach() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let (region, other) = (anonymous(blocks(0, 2)), anonymous(blocks(4, 2)));
    let add = |dma: &GuestDma| dma.add_region(GuestRegion::new(&region).unwrap(), Access::Read);
    add(&dma).unwrap();
    recorder.clear();
    let mut dma = Some(dma);
    in_child(|| {
        let dma = dma.take().unwrap();
        let forked = |error| assert!(matches!(error, GuestDmaError::Iommufd(Error::Forked)));
        forked(add(&dma).unwrap_err());
        let other = GuestRegion::new(&other).unwrap();
        forked(dma.add_region_unmapped(other, Access::Read).unwrap_err());
        forked(dma.remove_region(at(0)).unwrap_err());
        forked(dma.map_block(at(0)).unwrap_err());
        forked(dma.unmap_block(at(0)).unwrap_err());
        assert_eq!(dma.block_at(at(0)), None);
        assert_eq!(dma.regions(), []);
        let (dma, error) = dma.unmap_all().unwrap_err().into_parts();
        forked(error);
        drop(dma);
        assert_eq!(recorder.count(), 0);
    });
    let dma = dma.unwrap();
    assert_eq!(dma.regions(), [blocks(0, 2)]);
    assert_eq!(ioas.mapped(), tests::at::mapped(2, 2 * BLOCK));
    dma.unmap_all().unwrap();
}
