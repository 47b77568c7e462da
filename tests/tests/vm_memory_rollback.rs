//! Guest memory that cannot be mapped or unmapped: what was begun is undone, or named.

use std::sync::Arc;

use iommufd::vm_memory::{BlockState, GuestDma, GuestDmaError, GuestRegion};
use iommufd::{Access, Error, Ioas, Iommufd};
use parking_lot::Mutex;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use tests::faults::nothing_is_left;
use tests::guest_memory::{
    BLOCK, anonymous, assert_block, assert_pins, assert_reached, at, block_size, blocks, bytes_of,
    file, in_file, iova, is_mapped, memory, witness,
};
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice, MockQueue};
use tests::observe::Recorder;
use vm_memory::{GuestAddress, GuestMemoryBackend};

const MAP: &str = "IOMMU_IOAS_MAP";
const UNMAP: &str = "IOMMU_IOAS_UNMAP";

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_of_which_one_block_cannot_be_mapped_is_not_mapped_at_all() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let living = Living::new();
    let dma = GuestDma::new(&ioas, block_size());
    let before = anonymous(blocks(0, 2));
    dma.add_region(GuestRegion::new(&before).unwrap(), Access::ReadWrite)
        .unwrap();
    // Somebody has the last page of the last block but one.
    let taken = iova(GuestAddress(at(13).0 - 0x1000));
    let intruder = ioas
        .map_at(taken, living.filled(0x1000, 7), Access::Read)
        .unwrap();
    let backing = file(3 * BLOCK as usize, MemfdFlags::empty());
    let memory = memory(vec![
        anonymous(blocks(4, 3)),
        in_file(blocks(8, 3), backing),
        anonymous(blocks(11, 3)),
    ]);
    let refused = dma.add_memory(&memory, Access::ReadWrite);
    let Err(GuestDmaError::MapRefused {
        block,
        reason,
        left,
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(block, blocks(12, 1));
    assert_eq!(reason.errno(), Some(Errno::EXIST));
    assert!(left.is_empty());
    assert_eq!(dma.regions(), [blocks(0, 2)]);
    assert_eq!(ioas.mapped(), tests::at::mapped(3, 2 * BLOCK + 0x1000));
    memory
        .iter()
        .for_each(|region| assert_pins(&iommufd, region, 0));
    assert_reached(&device, &before);
    let mut seen = [0];
    access.read(taken, &mut seen).unwrap();
    assert_eq!(seen, [7]);

    intruder.unmap().unwrap();
    dma.add_memory(&memory, Access::ReadWrite).unwrap();
    memory
        .iter()
        .for_each(|region| assert_reached(&device, region));
}

/// While the call maps, a stranger makes a hardware queue in what it has mapped already.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_block_that_cannot_be_unmapped_again_is_named_and_in_the_books() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let living = Living::new();
    let intruder = ioas
        .map_at(iova(at(5)), living.memory(0x1000), Access::Read)
        .unwrap();
    let queue = Arc::new(Mutex::new(None));
    recorder.hook({
        let (device, ioas, queue) = (device.clone(), ioas.clone(), Arc::clone(&queue));
        move |event| {
            if event.ioctl.name == MAP && event.result == Err(Errno::EXIST) {
                let made = MockQueue::at(&device, &ioas, iova(at(1))).unwrap();
                *queue.lock() = Some(made);
            }
        }
    });
    let dma = GuestDma::new(&ioas, block_size());
    let memory = memory(vec![anonymous(blocks(0, 3)), anonymous(blocks(4, 3))]);
    let refused = dma.add_memory(&memory, Access::ReadWrite);
    recorder.unhook();
    let Err(GuestDmaError::MapRefused {
        block,
        reason,
        left,
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(block, blocks(5, 1));
    assert_eq!(reason.errno(), Some(Errno::EXIST));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].block, blocks(1, 1));
    assert_eq!(left[0].reason.errno(), Some(Errno::BUSY));
    // Its region is there, with the others of its blocks unmapped; the other region is not.
    assert_eq!(dma.regions(), [blocks(0, 3)]);
    assert_block(&dma, &access, blocks(0, 1), BlockState::Unmapped);
    assert_block(&dma, &access, blocks(1, 1), BlockState::Mapped);
    assert_block(&dma, &access, blocks(2, 1), BlockState::Unmapped);
    assert!(!is_mapped(&access, at(4)));

    drop((queue.lock().take(), intruder));
    dma.remove_region(at(0)).unwrap();
    assert_eq!(ioas.mapped(), tests::at::mapped(0, 0));
    dma.add_memory(&memory, Access::ReadWrite).unwrap();
    memory
        .iter()
        .for_each(|region| assert_reached(&device, region));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_region_of_which_one_block_cannot_be_unmapped_stays_whole() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let region = anonymous(blocks(0, 6));
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
        .unwrap();
    // What is unmapped before stays so.
    dma.unmap_block(at(1)).unwrap();
    let queue = MockQueue::at(&device, &ioas, iova(at(3))).unwrap();
    recorder.clear();
    let refused = dma.remove_region(at(0));
    let Err(GuestDmaError::UnmapRefused {
        block,
        reason,
        missing,
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(block, blocks(3, 1));
    assert_eq!(reason.errno(), Some(Errno::BUSY));
    assert!(missing.is_empty());
    let done = |name| (name, Ok(()));
    let expected = [
        done(UNMAP),
        done(UNMAP),
        // It is asked for again, with nothing else under way.
        (UNMAP, Err(Errno::BUSY)),
        (UNMAP, Err(Errno::BUSY)),
        done(MAP),
        done(MAP),
    ];
    assert_eq!(recorder.answers(), expected);
    for n in [0, 2, 3, 4, 5] {
        assert_block(&dma, &access, blocks(n, 1), BlockState::Mapped);
        let bytes = bytes_of(&region, blocks(n, 1));
        assert_eq!(device.check_map(iova(at(n)), bytes), Ok(()));
    }
    assert_block(&dma, &access, blocks(1, 1), BlockState::Unmapped);
    let refused = dma.unmap_block(at(3));
    assert!(
        matches!(refused, Err(GuestDmaError::UnmapRefused { missing, .. }) if missing.is_empty())
    );
    assert_block(&dma, &access, blocks(3, 1), BlockState::Mapped);

    drop(queue);
    dma.remove_region(at(0)).unwrap();
    assert_pins(&iommufd, &region, 0);
    assert_eq!(ioas.mapped(), tests::at::mapped(0, 0));
}

/// While the call unmaps, somebody maps in the place of a block.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_block_that_cannot_be_mapped_again_is_named_and_in_the_books() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let living = Living::new();
    let dma = GuestDma::new(&ioas, block_size());
    let region = anonymous(blocks(0, 4));
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
        .unwrap();
    let queue = MockQueue::at(&device, &ioas, iova(at(2))).unwrap();
    let intruder = Arc::new(Mutex::new(None));
    recorder.hook({
        let (ioas, intruder) = (ioas.clone(), Arc::clone(&intruder));
        move |event| {
            if event.ioctl.name == UNMAP && event.result == Err(Errno::BUSY) {
                let mapping = ioas.map_at(iova(at(0)), living.memory(0x1000), Access::Read);
                // The second time it is there already.
                let mut intruder = intruder.lock();
                *intruder = intruder.take().or(mapping.ok());
            }
        }
    });
    let refused = dma.remove_region(at(0));
    recorder.unhook();
    let Err(GuestDmaError::UnmapRefused {
        block,
        reason,
        missing,
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(block, blocks(2, 1));
    assert_eq!(reason.errno(), Some(Errno::BUSY));
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].block, blocks(0, 1));
    assert_eq!(missing[0].reason.errno(), Some(Errno::EXIST));
    let intruder = intruder.lock().take().unwrap();
    intruder.unmap().unwrap();
    assert_block(&dma, &access, blocks(0, 1), BlockState::Unmapped);
    for n in 1..4 {
        assert_block(&dma, &access, blocks(n, 1), BlockState::Mapped);
    }
    // It is mapped again where it was missing.
    assert_eq!(dma.map_block(at(0)).unwrap(), blocks(0, 1));
    assert_reached(&device, &region);
    drop(queue);
    dma.remove_region(at(0)).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmapping_all_tells_what_stays_and_gives_it_back() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let memory = memory(vec![anonymous(blocks(0, 3)), anonymous(blocks(4, 2))]);
    let dma = GuestDma::new(&ioas, block_size());
    dma.add_memory(&memory, Access::ReadWrite).unwrap();
    let queue = MockQueue::at(&device, &ioas, iova(at(1))).unwrap();
    let (dma, error) = dma.unmap_all().unwrap_err().into_parts();
    let GuestDmaError::StillMapped { blocks: left, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].block, blocks(1, 1));
    assert_eq!(left[0].reason.errno(), Some(Errno::BUSY));
    assert_eq!(dma.regions(), [blocks(0, 3)]);
    assert_block(&dma, &access, blocks(0, 1), BlockState::Unmapped);
    assert_block(&dma, &access, blocks(1, 1), BlockState::Mapped);
    assert_eq!(ioas.mapped(), tests::at::mapped(1, BLOCK));
    drop(queue);
    dma.unmap_all().unwrap();
    assert_eq!(ioas.mapped(), tests::at::mapped(0, 0));
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_drop_cannot_unmap_is_counted_and_kept() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let dma = GuestDma::new(&ioas, block_size());
    let region = anonymous(blocks(0, 3));
    let held = witness(&region);
    dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
        .unwrap();
    drop(region);
    let queue = MockQueue::at(&device, &ioas, iova(at(1))).unwrap();
    drop(dma);
    assert_eq!(recorder.refusals(), [("mapping", Some(Errno::BUSY))]);
    assert_eq!(iommufd.leaks().mappings, 1);
    assert_eq!(ioas.mapped(), tests::at::mapped(1, BLOCK));
    assert!(held.strong_count() > 0, "the queue reaches it");
    drop(queue);
    drop(ioas);
    assert_eq!(held.strong_count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_that_fails_to_be_mapped_is_not_mapped() {
    nothing_is_left(|nth, iommufd, device, _| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let backing = file(2 * BLOCK as usize, MemfdFlags::empty());
        let memory = memory(vec![
            anonymous(blocks(0, 3)),
            in_file(blocks(4, 2), backing),
        ]);
        let dma = GuestDma::new(&ioas, block_size());
        let result = nth.armed(|| dma.add_memory(&memory, Access::ReadWrite));
        let (regions, mapped) = if result.is_ok() { (2, 5) } else { (0, 0) };
        assert_eq!(dma.regions().len(), regions, "{result:?}");
        assert_eq!(
            ioas.mapped(),
            tests::at::mapped(mapped, mapped as u64 * BLOCK)
        );
        for region in memory.iter() {
            assert_pins(iommufd, region, u32::from(result.is_ok()));
        }
        match result {
            Ok(()) => Ok(()),
            Err(GuestDmaError::MapRefused { reason, left, .. }) => {
                assert!(left.is_empty(), "only one thing fails: {left:?}");
                // Its place is free, in the kernel and in the books.
                dma.add_memory(&memory, Access::ReadWrite)
                    .expect("nothing fails now");
                Err(reason)
            }
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_region_that_fails_to_be_removed_is_mapped_as_before() {
    nothing_is_left(|nth, iommufd, device, _| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let region = anonymous(blocks(0, 3));
        let dma = GuestDma::new(&ioas, block_size());
        dma.add_region(GuestRegion::new(&region).unwrap(), Access::ReadWrite)
            .unwrap();
        let result = nth.armed(|| dma.remove_region(at(0)));
        let stays = result.is_err();
        assert_eq!(dma.regions().len(), usize::from(stays), "{result:?}");
        assert_pins(iommufd, &region, u32::from(stays));
        if stays {
            let Err(GuestDmaError::UnmapRefused { missing, .. }) = &result else {
                panic!("{result:?}");
            };
            assert!(missing.is_empty(), "only one thing fails: {missing:?}");
            assert_reached(device, &region);
        }
        // For the sweep to have seen a failure that the SDK has made up for.
        match nth.failed() {
            true => Err(Error::NotAttached),
            false => Ok(()),
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_block_that_fails_to_be_mapped_or_unmapped_is_as_before() {
    for maps in [true, false] {
        nothing_is_left(|nth, iommufd, device, _| {
            let ioas = Ioas::new(iommufd)?;
            let _attachment = device.attach(&ioas)?;
            let region = anonymous(blocks(0, 1));
            let dma = GuestDma::new(&ioas, block_size());
            let added = GuestRegion::new(&region).unwrap();
            let result = if maps {
                dma.add_region_unmapped(added, Access::ReadWrite).unwrap();
                nth.armed(|| dma.map_block(at(0)))
            } else {
                dma.add_region(added, Access::ReadWrite).unwrap();
                nth.armed(|| dma.unmap_block(at(0)))
            };
            let mapped = maps == result.is_ok();
            assert_pins(iommufd, &region, u32::from(mapped));
            let state = dma.block_at(at(0)).unwrap().state;
            assert_eq!(state == BlockState::Mapped, mapped, "{result:?}");
            match nth.failed() {
                true => Err(Error::NotAttached),
                false => Ok(()),
            }
        });
    }
}
