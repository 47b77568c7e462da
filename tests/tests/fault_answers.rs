//! Answers to page requests: each is given once, to whom it is for, and what comes too late reaches nobody.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::thread;

use iommufd::{Device, DropRefusal, Error, FaultQueue, Iommufd, Leaks, Observer, PageResponse};
use parking_lot::Mutex;
use rustix::io::Errno;
use tests::at::page;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::page_requests::{Setup, answer_the_first, ask, duplicate, is_gone, one};
use tests::raw;
use tests::within::within;

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
