//! What devices ask for when they cannot reach a page comes to the queue of their page table, and is answered once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{
    Device, DropRefusal, Error, FaultQueue, HwPt, Ioas, Iommufd, Leaks, NestedHwPt, Observer,
    PageResponse, Pasid, Permissions,
};
use parking_lot::Mutex;
use rustix::event::epoll;
use rustix::io::Errno;
use tests::allocations::{Counting, during};
use tests::at::page;
use tests::faults::{Points, nothing_is_left, sweep};
use tests::fork::in_child;
use tests::guest::Guest;
use tests::mock::nesting::CONFIG;
use tests::mock::{MockDevice, MockOptions, abi, trigger_iopf};
use tests::observe::Recorder;
use tests::page_requests::{
    NO_PASID, Setup, answer_the_first, ask, ask_with, duplicate, is_gone, numbers, one, table,
};
use tests::within::within;
use tests::{ids, raw, refused};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SHORT: Duration = Duration::from_millis(30);
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_asks_and_is_answered() {
    let setup = Setup::new();
    let wanted = Permissions::WRITE | Permissions::PRIVILEGED;
    let (fd, id, address) = (&setup.iommufd, setup.device.id(), page(3));
    trigger_iopf(fd, id, NO_PASID, 9, wanted.bits(), address.get()).unwrap();
    let group = one(&setup.queue);
    let [request] = group.requests() else {
        panic!("{group:?}");
    };
    assert_eq!(request.address(), address);
    assert_eq!(request.permissions(), wanted);
    assert_eq!((request.pasid(), request.carries_pasid()), (None, false));
    assert_eq!(request.group().get(), 9);
    assert_eq!(group.device().as_ref(), Some(&*setup.device));
    assert_eq!(group.device_key(), Some(setup.device.key()));
    group.respond(PageResponse::Success).unwrap();
    assert_eq!(answer_the_first(&setup.queue), Err(Errno::INVAL));
    assert!(setup.queue.read().unwrap().is_empty());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn groups_come_in_their_order_and_are_answered_in_any() {
    let setup = Setup::new();
    for number in 0..10 {
        ask(&setup.device, number, page(number.into()));
    }
    let mut groups = setup.queue.read().unwrap();
    assert_eq!(numbers(&groups), Vec::from_iter(0..10));
    while !groups.is_empty() {
        let group = groups.remove(groups.len() / 2);
        group.respond(PageResponse::Invalid).unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_does_not_fit_in_one_read_stays_and_keeps_the_file_readable() {
    const COUNT: u32 = 200;
    let setup = Setup::new();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let (data, flags) = (epoll::EventData::new_u64(7), epoll::EventFlags::IN);
    epoll::add(&epoll, &setup.queue, data, flags).unwrap();
    let readable = || {
        let mut events = Vec::with_capacity(1);
        let now = Some(&rustix::event::Timespec::default());
        let buffer = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&epoll, buffer, now).unwrap() == 1
    };
    assert!(!readable());
    for number in 0..COUNT {
        ask(&setup.device, number, page(0));
    }
    let mut groups = Vec::new();
    let mut reads = 0;
    while readable() {
        assert!(setup.queue.wait(Some(Duration::ZERO)).unwrap());
        let before = groups.len();
        let count = setup.queue.read_into(&mut groups).unwrap();
        assert!(count > 0 && groups.len() == before + count);
        reads += 1;
    }
    assert!(reads > 1 && groups.len() == COUNT as usize);
    assert!(!setup.queue.wait(Some(Duration::ZERO)).unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_wait_ends_when_the_time_is_over() {
    let setup = Setup::new();
    let begin = Instant::now();
    assert!(!setup.queue.wait(Some(SHORT)).unwrap());
    assert!(begin.elapsed() >= SHORT);
    assert!(
        setup.queue.read().unwrap().is_empty(),
        "a read does not wait"
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_request_wakes_who_waits() {
    within(20, || {
        let setup = Setup::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SHORT);
                ask(&setup.device, 1, page(0));
            });
            assert!(setup.queue.wait(None).unwrap());
        });
        one(&setup.queue).respond(PageResponse::Success).unwrap();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dropped_group_is_answered_and_a_forgotten_one_is_not() {
    let setup = Setup::new();
    drop(setup.asked());
    assert_eq!(answer_the_first(&setup.queue), Err(Errno::INVAL));
    let _forgotten = ManuallyDrop::new(setup.asked());
    assert_eq!(answer_the_first(&setup.queue), Ok(()));
    assert_eq!(setup.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_answer_after_the_detach_comes_too_late() {
    let setup = Setup::new();
    let group = setup.asked();
    setup.attachment.detach().unwrap();
    let refused = group.respond(PageResponse::Success).unwrap_err();
    assert!(matches!(refused.error(), Error::RequestGone));
    let group = refused.into_value();
    assert_eq!(
        group.requests().len(),
        1,
        "what was asked for can be looked at"
    );
    assert!(is_gone(group.respond(PageResponse::Invalid)));
    assert_eq!(setup.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_answer_after_a_replace_comes_too_late_and_what_waits_is_not_delivered() {
    let mut setup = Setup::new();
    let group = setup.asked();
    ask(&setup.device, 2, page(0));
    setup.attachment.replace(&setup.ioas).unwrap();
    assert!(setup.queue.read().unwrap().is_empty());
    assert!(is_gone(group.respond(PageResponse::Success)));
    // Nobody hears of what a device asks for through a table without a queue.
    ask(&setup.device, 3, page(0));
    assert!(setup.queue.read().unwrap().is_empty());
    setup.attachment.replace(&setup.hwpt).unwrap();
    setup.asked().respond(PageResponse::Success).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dropped_group_that_is_late_is_no_leak() {
    let (iommufd, recorder) = Recorder::context();
    let setup = Setup::of(iommufd);
    let group = setup.asked();
    setup.attachment.detach().unwrap();
    drop(group);
    assert_eq!(recorder.refusals(), []);
    assert_eq!(setup.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dead_group_never_answers_the_one_that_has_its_cookie() {
    enum Way {
        Answered,
        Dropped,
    }
    for way in [Way::Answered, Way::Dropped] {
        let mut setup = Setup::new();
        let old = setup.asked();
        setup.attachment.detach().unwrap();
        setup.attachment = setup.device.attach(&setup.hwpt).unwrap();
        let new = setup.asked();
        match way {
            Way::Answered => assert!(is_gone(old.respond(PageResponse::Success))),
            Way::Dropped => drop(old),
        }
        // It still waits, and under the cookie that the old one had: the lowest.
        assert_eq!(answer_the_first(&setup.queue), Ok(()));
        assert!(is_gone(new.respond(PageResponse::Success)));

        let old = setup.asked();
        setup.attachment.replace(&setup.ioas).unwrap();
        setup.attachment.replace(&setup.hwpt).unwrap();
        let new = setup.asked();
        match way {
            Way::Answered => assert!(is_gone(old.respond(PageResponse::Success))),
            Way::Dropped => drop(old),
        }
        new.respond(PageResponse::Success).unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_group_outlives_everything_but_its_queue() {
    let Setup {
        iommufd,
        device,
        ioas,
        queue,
        hwpt,
        attachment,
    } = Setup::new();
    ask(&device, 1, page(0));
    let group = one(&queue);
    let witness = raw::witness(&iommufd);
    let device = device.into_device();
    drop((queue, attachment, hwpt, ioas));
    assert_eq!(group.device(), Some(device.clone()));
    let key = device.key();
    device.try_close().expect("its key does not hold it");
    assert_eq!((group.device(), group.device_key()), (None, Some(key)));
    assert!(is_gone(group.respond(PageResponse::Success)));
    drop(iommufd);
    assert_eq!(raw::objects(&witness), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_is_not_taken_for_the_next_one_of_the_same_id() {
    let setup = Setup::new();
    let group = setup.asked();
    let id = setup.device.id();
    drop((setup.attachment, setup.device));
    // Made one after the other they get the ids that have become free.
    let others: Vec<_> = (0..8)
        .map(|_| MockDevice::new(&setup.iommufd).unwrap())
        .collect();
    let next = others.iter().find(|other| other.id() == id);
    let next = next.expect("the id is handed out again");
    assert_eq!(group.device(), None);
    let _attachment = next.attach(&setup.hwpt).unwrap();
    ask(next, 1, page(0));
    let of_next = one(&setup.queue);
    assert_eq!(of_next.device().as_ref(), Some(&**next));
    assert_eq!(of_next.device_key(), Some(next.key()));
    assert!(group.device_key() < of_next.device_key());
    drop(of_next);
    assert_eq!(group.device(), None);
}

#[test]
#[expect(
    clippy::mutable_key_type,
    reason = "a device is hashed by its identity, which does not change"
)]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn one_queue_serves_several_tables_and_devices() {
    let setup = Setup::new();
    let sibling = MockDevice::new(&setup.iommufd).unwrap();
    let other = MockDevice::new(&setup.iommufd).unwrap();
    let other_ioas = Ioas::new(&setup.iommufd).unwrap();
    let other_table = table(&other_ioas, &other, &setup.queue);
    let _attachments = [
        sibling.attach(&setup.hwpt).unwrap(),
        other.attach(&other_table).unwrap(),
    ];
    let devices = [&setup.device, &sibling, &other];
    for (number, device) in (0..).zip(devices) {
        ask(device, number, page(number.into()));
    }
    // A device can be the key of a map.
    let mut asked: HashMap<_, _> = setup
        .queue
        .read()
        .unwrap()
        .into_iter()
        .map(|group| (group.device().unwrap(), group))
        .collect();
    for (number, device) in (0..).zip(devices) {
        let group = asked.remove(&**device).unwrap();
        assert_eq!(group.requests()[0].address(), page(number));
        group.respond(PageResponse::Success).unwrap();
    }
    assert!(asked.is_empty());
    assert_ne!(*setup.device, *sibling);
    assert_eq!(*setup.device, setup.device.clone().into_device());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn only_the_requests_of_a_detached_device_are_answered_by_the_kernel() {
    let setup = Setup::new();
    let sibling = MockDevice::new(&setup.iommufd).unwrap();
    let attachment = sibling.attach(&setup.hwpt).unwrap();
    ask(&setup.device, 1, page(0));
    ask(&sibling, 1, page(0));
    let mut groups = setup.queue.read().unwrap();
    attachment.detach().unwrap();
    assert!(is_gone(groups.remove(1).respond(PageResponse::Success)));
    groups.remove(0).respond(PageResponse::Success).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_request_with_a_pasid_comes_to_the_queue_of_the_pasids_table() {
    let iommufd = Iommufd::open().unwrap();
    let options = MockOptions {
        flags: abi::DEVICE_PASID,
        ..MockOptions::default()
    };
    let device = MockDevice::with(&iommufd, options).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let [own, other] = [(); 2].map(|()| {
        let queue = FaultQueue::new(&iommufd).unwrap();
        let table = HwPt::builder(&ioas, &device).pasid(true);
        let table = table.fault_queue(&queue).allocate().unwrap();
        (queue, table)
    });
    let _attachment = device.attach(&own.1).unwrap();
    let pasid = Pasid::new(100).unwrap();
    let attachment = device.attach_pasid(pasid, &other.1).unwrap();
    ask(&device, 1, page(1));
    ask_with(&device, pasid.get(), page(2));
    let group = one(&own.0);
    assert_eq!(group.requests()[0].address(), page(1));
    assert_eq!(group.requests()[0].pasid(), None);
    let group = one(&other.0);
    assert_eq!(group.requests()[0].address(), page(2));
    assert_eq!(group.requests()[0].pasid(), Some(pasid));
    assert_eq!(group.device().as_ref(), Some(&*device));
    attachment.detach().unwrap();
    assert!(is_gone(group.respond(PageResponse::Success)));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guests_table_takes_requests_with_any_pasid() {
    let guest = Guest::new();
    let queue = FaultQueue::new(&guest.iommufd).unwrap();
    let builder = NestedHwPt::builder(&guest.viommu, &guest.device, &CONFIG);
    let table = builder.fault_queue(&queue).allocate().unwrap();
    assert_eq!(ids::of(table.fault_queue().unwrap()), ids::of(&queue));
    let attachment = guest
        .device
        .attach(guest.vdevice().through(&table, ()))
        .unwrap();
    for pasid in [NO_PASID, 1, 0xf_ffff] {
        ask_with(&guest.device, pasid, page(0));
        let group = one(&queue);
        let request = group.requests()[0];
        assert_eq!(request.pasid(), Pasid::new(pasid));
        assert_eq!(request.carries_pasid(), pasid != NO_PASID);
        group.respond(PageResponse::Success).unwrap();
    }
    // The mock's driver lets one pass that no device can have.
    ask_with(&guest.device, 1 << 20, page(0));
    let refused = queue.read().unwrap_err();
    assert!(matches!(refused, Error::MalformedAnswer { .. }));
    assert_eq!(answer_the_first(&queue), Err(Errno::INVAL));
    assert!(queue.read().unwrap().is_empty());
    // Beside one that makes sense.
    ask_with(&guest.device, 1 << 20, page(0));
    ask(&guest.device, 7, page(0));
    let group = one(&queue);
    assert_eq!(answer_the_first(&queue), Err(Errno::INVAL));
    assert!(queue.read().is_err() && queue.read().unwrap().is_empty());
    group.respond(PageResponse::Success).unwrap();
    let held = queue.try_close().unwrap_err();
    attachment.detach().unwrap();
    table.try_destroy().unwrap();
    let closed = held.into_value().try_close().unwrap();
    closed.try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

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

/// An observer that uses the queue when it is told that a group could not be answered.
#[derive(Default)]
struct Reader {
    queue: Mutex<Option<FaultQueue>>,
    heard: Mutex<Vec<(&'static str, usize)>>,
}

impl Observer for Reader {
    fn refused_drop(&self, refusal: &DropRefusal<'_>) {
        let queue = self.queue.lock().take();
        // The place of its file is /dev/null's: nothing is read, but it is asked.
        let read = queue.and_then(|queue| queue.read().ok());
        let count = read.map_or(usize::MAX, |groups| groups.len());
        self.heard.lock().push((refusal.object, count));
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_answer_that_a_drop_could_not_give_is_counted_and_reported() {
    within(20, || {
        // The kernel's file is taken away under the queue, and something that nobody can write to put in its place.
        let reader = Arc::new(Reader::default());
        let observer = Arc::clone(&reader);
        let iommufd = Iommufd::builder().observer(observer).open().unwrap();
        let setup = Setup::of(iommufd);
        let group = setup.asked();
        let original = duplicate(&setup.queue);
        let unwritable = std::fs::File::open("/dev/null").unwrap();
        raw::put_in_place(&setup.queue, &unwritable);
        *reader.queue.lock() = Some(setup.queue.clone());
        drop(group);
        assert_eq!(*reader.heard.lock(), [("page request group", 0)]);
        assert_eq!(setup.iommufd.leaks().objects, 1);
        raw::put_in_place(&setup.queue, &original);
        drop(original);
        assert_eq!(answer_the_first(&setup.queue), Ok(()), "it still waited");
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_answer_that_is_refused_gives_the_group_back() {
    let setup = Setup::new();
    let group = setup.asked();
    let original = duplicate(&setup.queue);
    let unwritable = std::fs::File::open("/dev/null").unwrap();
    raw::put_in_place(&setup.queue, &unwritable);
    let refusal = group.respond(PageResponse::Success).unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BADF));
    raw::put_in_place(&setup.queue, &original);
    refusal.into_value().respond(PageResponse::Success).unwrap();
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

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn groups_of_one_request_take_no_memory() {
    const COUNT: u32 = 50;
    let setup = Setup::new();
    let mut groups = Vec::with_capacity(COUNT as usize);
    let mut round = || {
        for number in 0..COUNT {
            ask(&setup.device, number, page(0));
        }
        assert!(setup.queue.wait(None).unwrap());
        assert_eq!(setup.queue.read_into(&mut groups).unwrap(), COUNT as usize);
        for group in groups.drain(..) {
            group.respond(PageResponse::Success).unwrap();
        }
    };
    // The first time the queue makes room for so many.
    round();
    let count = during(|| {
        for _ in 0..20 {
            round();
        }
    });
    assert_eq!(count, 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn each_group_goes_to_one_of_many_readers() {
    const COUNT: u32 = 3000;
    within(100, || {
        let setup = Setup::new();
        let seen = Mutex::new(vec![0; COUNT as usize]);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while setup.queue.wait(Some(Duration::from_secs(1))).unwrap() {
                        for group in setup.queue.read().unwrap() {
                            let number = group.requests()[0].group().get();
                            seen.lock()[number as usize] += 1;
                            group.respond(PageResponse::Success).unwrap();
                        }
                    }
                });
            }
            for number in 0..COUNT {
                ask(&setup.device, number, page(0));
            }
        });
        assert!(seen.into_inner().iter().all(|&times| times == 1));
        assert_eq!(setup.iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn answers_race_with_detaches_and_nobody_answers_for_another() {
    const ROUNDS: u32 = 1500;
    within(200, || {
        let setup = Setup::new();
        let bystander = MockDevice::new(&setup.iommufd).unwrap();
        let _attachment = bystander.attach(&setup.hwpt).unwrap();
        let mut attachment = Some(setup.attachment);
        // The groups of the device that comes and goes, held for a while: so there are late ones, whose cookies have
        // gone to others.
        let mut held = Vec::new();
        let mut late = 0;
        thread::scope(|scope| {
            let mover = scope.spawn(|| {
                for _ in 0..ROUNDS {
                    attachment.take().unwrap().detach().unwrap();
                    attachment = Some(setup.device.attach(&setup.hwpt).unwrap());
                }
            });
            let mut number = 0;
            while !mover.is_finished() {
                number += 1;
                ask(&setup.device, number, page(0));
                ask(&bystander, number, page(1));
                for group in setup.queue.read().unwrap() {
                    if group.device().as_ref() == Some(&*bystander) {
                        // Nobody else has answered it.
                        held.push(group);
                        let at = number as usize % held.len();
                        let group = held.swap_remove(at);
                        let of_bystander = group.requests()[0].address() == page(1);
                        let answer = group.respond(PageResponse::Success);
                        if of_bystander {
                            answer.unwrap();
                        } else {
                            late += usize::from(is_gone(answer));
                        }
                    } else {
                        held.push(group);
                    }
                }
            }
        });
        assert!(late > 0, "nothing was ever late");
        for group in held {
            let of_bystander = group.requests()[0].address() == page(1);
            let answer = group.respond(PageResponse::Success);
            assert!(answer.is_ok() || !of_bystander && is_gone(answer));
        }
        assert_eq!(setup.iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn devices_come_and_go_and_each_request_names_its_own() {
    const COUNT: u32 = 400;
    within(200, || {
        let setup = Setup::new();
        let hash = |device: &Device| {
            let mut hasher = DefaultHasher::new();
            device.hash(&mut hasher);
            hasher.finish()
        };
        // A device that asks for page n, by its hash: a handle would keep it.
        let devices = Mutex::new(HashMap::new());
        let (mut named, mut gone) = (0, 0);
        thread::scope(|scope| {
            let coming = [0, 1].map(|half| {
                let (devices, setup) = (&devices, &setup);
                scope.spawn(move || {
                    for n in (half..COUNT).step_by(2) {
                        let device = MockDevice::new(&setup.iommufd).unwrap();
                        devices.lock().insert(n, hash(&device));
                        let attachment = device.attach(&setup.hwpt).unwrap();
                        ask(&device, n, page(n.into()));
                        if n % 4 < 2 {
                            thread::yield_now();
                        }
                        // Whoever has the last handle releases the device: this thread, or the reader.
                        drop((device, attachment));
                    }
                })
            });
            let mut held = Vec::new();
            while !coming.iter().all(|thread| thread.is_finished()) {
                for group in setup.queue.read().unwrap() {
                    held.push(group);
                    if held.len() > 3 {
                        drop(held.remove(0));
                    }
                }
                for group in &held {
                    let number = group.requests()[0].group().get();
                    if let Some(device) = group.device() {
                        named += 1;
                        assert_eq!(hash(&device), devices.lock()[&number]);
                    } else {
                        gone += 1;
                    }
                }
            }
        });
        assert!(named > 0 && gone > 0, "{named} and {gone}");
        assert_eq!(setup.iommufd.leaks(), Leaks::default());
    });
}
