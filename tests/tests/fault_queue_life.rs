//! Queues of page requests from their making to their end, also where something fails in between.

use std::time::Duration;

use iommufd::{Error, FaultQueue, HwPt, Ioas, Iommufd, Leaks, PageResponse};
use rustix::io::Errno;
use tests::at::page;
use tests::faults::{Points, nothing_is_left, sweep};
use tests::fork::in_child;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::page_requests::{Setup, ask, duplicate, numbers, one, table};
use tests::{ids, raw, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_of_another_context_is_refused_before_the_ioctl() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let foreign = FaultQueue::new(&Iommufd::open().unwrap()).unwrap();
    recorder.clear();
    let table = HwPt::builder(&ioas, &device).fault_queue(&foreign);
    let error = table.allocate().unwrap_err();
    assert!(matches!(error, Error::ForeignContext { what, .. } if what == "fault queue"));
    assert_eq!(recorder.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_is_closed_when_nobody_holds_it() {
    let in_use = |queue: FaultQueue, by: usize| {
        let refused = queue.try_close().unwrap_err();
        match refused.error() {
            Error::InUse { holders, .. } => assert_eq!(*holders, by),
            error => panic!("{error}"),
        }
        refused.into_value()
    };
    let setup = Setup::new();
    let group = setup.asked();
    let held = setup.hwpt.fault_queue().unwrap();
    assert_eq!(ids::of(held), ids::of(&setup.queue));
    let queue = in_use(setup.queue, 2);
    group.respond(PageResponse::Success).unwrap();
    let queue = in_use(queue, 1);
    drop((setup.attachment, setup.hwpt));
    let clone = queue.clone();
    drop(in_use(queue, 1));
    let queue = clone;
    let (iommufd, id) = (setup.iommufd, ids::of(&queue));
    queue.try_close().unwrap().try_destroy().unwrap();
    assert_eq!(raw::destroy(&iommufd, id), Err(Errno::NOENT));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_whose_file_somebody_has_is_destroyed_later() {
    let (iommufd, recorder) = Recorder::context();
    let queue = FaultQueue::new(&iommufd).unwrap();
    let duplicate = duplicate(&queue);
    let closed = queue.try_close().unwrap();
    let error = closed.try_destroy().unwrap_err();
    assert_eq!(error.error().errno(), Some(Errno::BUSY));
    drop(duplicate);
    error.into_value().try_destroy().unwrap();
    assert_eq!(raw::objects(&iommufd), 0);
    assert_eq!(recorder.refusals(), []);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dropped_queue_whose_file_somebody_has_is_counted_and_reported() {
    let (iommufd, recorder) = Recorder::context();
    let queue = FaultQueue::new(&iommufd).unwrap();
    let _duplicate = duplicate(&queue);
    drop(queue);
    let refusal = ("fault queue", Some(Errno::BUSY));
    assert_eq!(recorder.refusals(), [refusal]);
    assert_eq!(iommufd.leaks().objects, 1);
    // So is one that is closed first.
    let queue = FaultQueue::new(&iommufd).unwrap();
    let _duplicate = duplicate(&queue);
    drop(queue.try_close().unwrap());
    assert_eq!(recorder.refusals(), [refusal, refusal]);
    assert_eq!(iommufd.leaks().objects, 2);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn observers_hear_of_ioctls_and_of_nothing_else() {
    let (iommufd, recorder) = Recorder::context();
    let queue = FaultQueue::new(&iommufd).unwrap();
    queue.read().unwrap();
    queue.wait(Some(Duration::ZERO)).unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
    assert_eq!(
        recorder.calls(),
        ["IOMMU_FAULT_QUEUE_ALLOC", "IOMMU_DESTROY"]
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_nothing_is_read_and_nothing_answered() {
    let (iommufd, recorder) = Recorder::context();
    let setup = Setup::of(iommufd);
    let mut group = Some(setup.asked());
    let mut other = Some(setup.asked());
    let mut spare = Some(FaultQueue::new(&setup.iommufd).unwrap());
    ask(&setup.device, 3, page(0));
    recorder.clear();
    in_child(|| {
        let forked = |error: &Error| matches!(error, Error::Forked);
        assert!(forked(&setup.queue.read().unwrap_err()));
        assert!(forked(&setup.queue.wait(None).unwrap_err()));
        assert!(forked(&FaultQueue::new(&setup.iommufd).unwrap_err()));
        let group = group.take().unwrap();
        assert_eq!(group.device(), None);
        let refusal = group.respond(PageResponse::Success).unwrap_err();
        assert!(forked(refusal.error()));
        drop(refusal);
        drop(other.take());
        let refusal = spare.take().unwrap().try_close().unwrap_err();
        assert!(forked(refusal.error()));
        drop(refusal);
        assert_eq!(recorder.count(), 0);
        assert_eq!(setup.iommufd.leaks(), Leaks::default());
    });
    for group in [group, other] {
        group.unwrap().respond(PageResponse::Success).unwrap();
    }
    drop(one(&setup.queue));
    spare.unwrap().try_close().unwrap().try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_that_fails_is_no_queue() {
    let iommufd = Iommufd::open().unwrap();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    let mut errors = 0;
    sweep(Points::Everywhere, |nth| {
        let result = nth.armed(|| FaultQueue::new(&iommufd));
        errors += usize::from(result.is_err());
        drop(result);
        assert_eq!(raw::objects(&iommufd), 0);
        // The sweep's own file is one more.
        assert_eq!(files(), before + 1);
    });
    assert!(errors > 0);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_with_a_queue_that_fails_does_not_hold_it() {
    nothing_is_left(|nth, iommufd, device, _| {
        let ioas = Ioas::new(iommufd)?;
        let queue = FaultQueue::new(iommufd)?;
        let table = HwPt::builder(&ioas, device).fault_queue(&queue);
        let result = nth.armed(|| table.allocate()).map(drop);
        queue.try_close()?.try_destroy()?;
        result
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_attach_with_a_queue_that_fails_leaves_the_device_unattached() {
    nothing_is_left(|nth, iommufd, device, _| {
        let ioas = Ioas::new(iommufd)?;
        let queue = FaultQueue::new(iommufd)?;
        let hwpt = table(&ioas, device, &queue);
        let result = nth.armed(|| device.attach(&hwpt));
        ask(device, 1, page(0));
        assert_eq!(queue.read()?.len(), usize::from(result.is_ok()));
        result.map(drop)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_read_in_which_the_kernel_fails_loses_nothing() {
    let setup = Setup::new();
    let mut groups = Vec::with_capacity(8);
    let count = sweep(Points::Everywhere, |nth| {
        for number in 0..8 {
            ask(&setup.device, number, page(0));
        }
        let result = nth.armed(|| setup.queue.read_into(&mut groups));
        assert!(result.is_ok() || nth.failed(), "{result:?}");
        if let Err(error) = result {
            refused::<()>(Err(error), Errno::NOMEM);
        }
        while setup.queue.read_into(&mut groups).unwrap() > 0 {}
        assert_eq!(numbers(&groups), Vec::from_iter(0..8), "{}", nth.point());
        for group in groups.drain(..) {
            group.respond(PageResponse::Success).unwrap();
        }
    });
    assert!(count > 0, "nothing ever failed");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn everything_from_the_queue_to_the_last_drop() {
    nothing_is_left(|nth, iommufd, device, _| {
        nth.armed(|| {
            let ioas = Ioas::new(iommufd)?;
            let queue = FaultQueue::new(iommufd)?;
            let table = HwPt::builder(&ioas, device).fault_queue(&queue);
            let hwpt = table.allocate()?;
            queue.wait(Some(Duration::ZERO))?;
            assert!(queue.read()?.is_empty());
            hwpt.try_destroy()?;
            queue.try_close()?.try_destroy()?;
            Ok(())
        })
    });
}
