//! What devices ask for when they cannot reach a page comes to the queue of their page table, and is answered once.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{
    Error, FaultQueue, HwPt, Ioas, Iommufd, Leaks, NestedHwPt, PageResponse, Pasid, Permissions,
};
use parking_lot::Mutex;
use rustix::event::epoll;
use rustix::io::Errno;
use tests::allocations::{Counting, during};
use tests::at::page;
use tests::guest::Guest;
use tests::ids;
use tests::mock::nesting::CONFIG;
use tests::mock::{MockDevice, MockOptions, abi, trigger_iopf};
use tests::page_requests::{
    NO_PASID, Setup, answer_the_first, ask, ask_with, is_gone, numbers, one, table,
};
use tests::within::within;

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
