//! Queues that the hardware reads.

use std::sync::Arc;

use iommufd::{Access, DmaBuffer, DmaSlice, Error, HwQueue, Viommu};
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::mock::abi;
use tests::mock::nesting::MockViommu;
use tests::raw::{self, nested};
use tests::{ids, refused};

use super::Fixture;

type Queue = HwQueue<MockViommu>;

pub(super) fn hw_queue(fixture: Fixture) {
    let fd = &fixture.iommufd;
    let queue = |viommu, spoil: &dyn Fn(&mut sys::iommu_hw_queue_alloc)| {
        let mut arg = sys::iommu_hw_queue_alloc::sized();
        arg.viommu_id = viommu;
        arg.type_ = abi::TYPE_SELFTEST;
        arg.nesting_parent_iova = page(0).get();
        arg.length = PAGE as u64;
        spoil(&mut arg);
        nested::hw_queue_alloc(fd, &mut arg)
    };
    let refused_with = |errno, viommu, spoil: fn(&mut sys::iommu_hw_queue_alloc)| {
        assert_eq!(queue(viommu, &spoil), Err(errno));
    };
    for nothing in [0, 9999, ids::of(&fixture.ioas)] {
        refused_with(Errno::NOENT, nothing, |_| ());
    }
    // What can never be is refused before anything is looked for.
    refused_with(Errno::OPNOTSUPP, 0, |arg| arg.flags = 1);
    refused_with(Errno::OPNOTSUPP, 0, |arg| arg.type_ = 0);
    refused_with(Errno::INVAL, 0, |arg| arg.length = 0);
    refused_with(Errno::OVERFLOW, 0, |arg| arg.nesting_parent_iova = u64::MAX);
    let Some(guest) = &fixture.guest else {
        return;
    };
    let (viommu, ioas) = (guest.id(), &fixture.ioas);
    let before = raw::objects(fd);
    refused_with(Errno::OPNOTSUPP, viommu, |arg| arg.type_ = 1);
    refused_with(Errno::RANGE, viommu, |arg| {
        arg.nesting_parent_iova = 1;
        arg.length = u64::MAX;
    });
    // The memory must be mapped, readable, and in one piece.
    refused_with(Errno::NOENT, viommu, |_| ());
    let memory = DmaBuffer::new(4 * PAGE).unwrap().share();
    let written = ioas.map_at(page(0), &memory, Access::Write).unwrap();
    refused_with(Errno::PERM, viommu, |_| ());
    written.unmap().unwrap();
    let of_page = |n: usize| DmaSlice::new(Arc::clone(&memory), n * PAGE..(n + 1) * PAGE).unwrap();
    let map = |at, n| {
        ioas.map_at(page(at), of_page(n), Access::ReadWrite)
            .unwrap()
    };
    let twice = [map(0, 0), map(1, 0)];
    refused_with(Errno::FAULT, viommu, |arg| arg.length = 2 * PAGE as u64);
    drop(twice);
    let mapping = map(0, 0);
    refused_with(Errno::NOENT, viommu, |arg| arg.length = 2 * PAGE as u64);
    // There are two, and the second comes second.
    refused_with(Errno::INVAL, viommu, |arg| arg.index = 2);
    refused_with(Errno::INVAL, viommu, |arg| arg.index = u32::MAX);
    refused_with(Errno::IO, viommu, |arg| arg.index = 1);
    assert_eq!(raw::objects(fd), before, "nothing is left of all that");

    let first = Queue::first(&guest.viommu, pages(0, 1)).unwrap();
    refused_with(Errno::EXIST, viommu, |_| ());
    refused(Queue::first(&guest.viommu, pages(0, 1)), Errno::EXIST);
    // Its memory stays mapped.
    let mapping = mapping.unmap().unwrap_err();
    assert_eq!(mapping.error().errno(), Some(Errno::BUSY));
    let mapping = mapping.into_value();
    let unmap = |iova: u64, len| raw::unmap(fd, ids::of(ioas), iova, len);
    assert_eq!(unmap(page(0).get(), PAGE as u64), Err(Errno::BUSY));
    assert_eq!(unmap(0, u64::MAX), Err(Errno::BUSY));

    let second = Queue::after(&first, pages(0, 1)).unwrap();
    refused_with(Errno::EXIST, viommu, |arg| arg.index = 1);
    refused(Queue::after(&second, pages(0, 1)), Errno::INVAL);
    // They go in the other order, and then the virtual IOMMU can.
    for busy in [ids::of(&first), viommu] {
        assert_eq!(raw::destroy(fd, busy), Err(Errno::BUSY));
    }
    let refusal = first.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    let first = refusal.into_value();
    second.try_destroy().unwrap();
    refused(ioas.unmap_all(), Errno::BUSY);
    first.try_destroy().unwrap();
    mapping.unmap().unwrap();
    assert_eq!(raw::objects(fd), before);

    // Another virtual IOMMU has queues of its own, of the same numbers.
    let _mapping = map(0, 0);
    let other = Viommu::<MockViommu>::new(&guest.parent, &guest.device).unwrap();
    let here = Queue::first(&guest.viommu, pages(0, 1)).unwrap();
    let there = Queue::first(&other, pages(0, 1)).unwrap();
    here.try_destroy().unwrap();
    refused(ioas.unmap_all(), Errno::BUSY);
    there.try_destroy().unwrap();
}
