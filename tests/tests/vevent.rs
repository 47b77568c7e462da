//! Events of a virtual IOMMU: queued, counted, waited for.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use iommufd::format::{Event, Reports};
use iommufd::{Attachment, Error, Leaks, VEvent, VEventQueue};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tests::faults::{Points, sweep};
use tests::fork::{beside, in_child};
use tests::guest::{Guest, NUMBER};
use tests::mock::nesting::{MockEvent, MockViommu};
use tests::mock::{MockDevice, abi, trigger_vevent};
use tests::within::within;
use tests::{ids, raw, refused};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// As many as the kernel keeps.
const MOST: u32 = 1 << 19;

/// A guest whose device makes events.
struct Source {
    guest: Guest,
    _attachment: Attachment,
}

impl Source {
    fn new() -> Self {
        let guest = Guest::new();
        Self {
            _attachment: guest.attachment(),
            guest,
        }
    }

    fn queue(&self, depth: u32) -> VEventQueue<MockEvent> {
        VEventQueue::new(&self.guest.viommu, depth).unwrap()
    }

    /// Makes so many events.
    fn make(&self, count: u32) {
        let Guest {
            iommufd, device, ..
        } = &self.guest;
        for _ in 0..count {
            trigger_vevent(iommufd, device.id()).unwrap();
        }
    }
}

/// An event of the device.
const HAPPENED: VEvent<MockEvent> = VEvent::Event(MockEvent { virt_id: NUMBER });

/// How many events these are, and how many are missing.
fn count(events: &[VEvent<MockEvent>]) -> (u32, u32) {
    events
        .iter()
        .fold((0, 0), |(seen, lost), event| match event {
            VEvent::Event(event) => {
                assert_eq!(event.virt_id, NUMBER);
                (seen + 1, lost)
            }
            VEvent::Lost(count) => (seen, lost + count),
        })
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_depth_that_is_none_is_refused() {
    let guest = Guest::new();
    for depth in [0, MOST + 1, u32::MAX] {
        let queue = VEventQueue::<MockEvent>::new(&guest.viommu, depth);
        refused(queue, Errno::INVAL);
    }
    for depth in [1, MOST] {
        let queue = VEventQueue::<MockEvent>::new(&guest.viommu, depth).unwrap();
        queue.try_close().unwrap().try_destroy().unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn there_is_one_queue_of_a_type() {
    let source = Source::new();
    let mut queue = source.queue(1);
    let second = VEventQueue::<MockEvent>::new(&source.guest.viommu, 1);
    refused(second, Errno::EXIST);
    source.make(1);
    assert_eq!(queue.read().unwrap(), [HAPPENED], "the first is as it was");
    drop(queue);
    let mut queue = source.queue(1);
    assert_eq!(queue.read().unwrap(), []);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_full_queue_has_no_room_for_is_counted() {
    for depth in [1, 2, 63, 64, 65, 128, 130] {
        let source = Source::new();
        let mut queue = source.queue(depth);
        let mut events = Vec::new();
        assert_eq!(queue.read_into(&mut events).unwrap(), 0);
        for lost in [0, 1, 5] {
            source.make(depth + lost);
            let all = queue.read().unwrap();
            let (last, happened) = all.split_at(depth as usize);
            assert!(last.iter().all(|event| *event == HAPPENED));
            match lost {
                0 => assert_eq!(happened, []),
                lost => assert_eq!(happened, [VEvent::Lost(lost)]),
            }
            assert_eq!(queue.read().unwrap(), [], "{depth}");
        }
        // Appended to what is there.
        source.make(1);
        events.push(VEvent::Lost(7));
        assert_eq!(queue.read_into(&mut events).unwrap(), 1);
        assert_eq!(events, [VEvent::Lost(7), HAPPENED]);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_flood_of_events_is_read_in_pieces_and_nothing_of_it_is_missed_in_silence() {
    within(60, || {
        for depth in [1, 40] {
            let source = Source::new();
            let mut queue = source.queue(depth);
            let (made, done) = (AtomicU32::new(0), AtomicBool::new(false));
            let (mut seen, mut lost) = (0, 0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        source.make(1);
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                    done.store(true, Ordering::Release);
                });
                loop {
                    // Whatever comes after this is in the next round.
                    let last = done.load(Ordering::Acquire);
                    let events = queue.read().unwrap();
                    let (more, missing) = count(&events);
                    seen += more;
                    lost += missing;
                    // What one read takes at most.
                    assert!(more <= 64, "{more}");
                    if last && events.is_empty() {
                        break;
                    }
                }
            });
            assert_eq!(seen + lost, made.load(Ordering::Relaxed));
            assert!(seen > 0);
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn events_are_waited_for() {
    within(60, || {
        const SHORT: Duration = Duration::from_millis(30);
        let source = Source::new();
        let mut queue = source.queue(8);
        assert!(!queue.wait(Some(Duration::ZERO)).unwrap());
        assert!(!queue.wait(Some(SHORT)).unwrap());
        for _ in 0..20 {
            thread::scope(|scope| {
                let waits = scope.spawn(|| queue.wait(None));
                // With a poller of one's own, by the file.
                let polls = scope.spawn(|| {
                    let mut files = [PollFd::new(&queue, PollFlags::IN)];
                    let ready = poll(&mut files, None).unwrap();
                    (ready, files[0].revents())
                });
                thread::sleep(Duration::from_millis(2));
                source.make(1);
                assert!(waits.join().unwrap().unwrap());
                assert_eq!(polls.join().unwrap(), (1, PollFlags::IN));
            });
            assert!(queue.wait(None).unwrap(), "it is still there");
            assert_eq!(queue.read().unwrap(), [HAPPENED]);
            assert!(!queue.wait(Some(Duration::ZERO)).unwrap());
        }
        // What was lost is something to read, too.
        source.make(9);
        assert_eq!(count(&queue.read().unwrap()), (8, 1));
        assert!(!queue.wait(Some(Duration::ZERO)).unwrap());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_whose_file_has_a_duplicate_is_closed_and_stays() {
    let source = Source::new();
    let Guest { recorder, .. } = &source.guest;
    let queue = source.queue(4);
    let id = ids::of(&queue);
    let duplicate = queue.as_fd().try_clone_to_owned().unwrap();
    let refusal = queue.try_close().unwrap().try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let closed = refusal.into_value();
    assert_eq!(ids::of(&closed), id);
    let second = VEventQueue::<MockEvent>::new(&source.guest.viommu, 1);
    refused(second, Errno::EXIST);
    // Who has the duplicate reads on.
    source.make(1);
    let mut bytes = [0; 64];
    assert_eq!(rustix::io::read(&duplicate, &mut bytes), Ok(8 + 4));
    drop(duplicate);
    closed.try_destroy().unwrap();
    assert_eq!(recorder.refusals(), []);
    assert_eq!(source.guest.iommufd.leaks(), Leaks::default());
    drop(source.queue(1));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_that_is_dropped_and_stays_is_told() {
    let guest = Guest::new();
    let (iommufd, recorder) = (guest.iommufd.clone(), Arc::clone(&guest.recorder));
    let queue = |guest: &Guest| VEventQueue::<MockEvent>::new(&guest.viommu, 4).unwrap();
    let first = queue(&guest);
    let (id, viommu, parent, ioas) = (
        ids::of(&first),
        ids::of(&guest.viommu),
        ids::of(&guest.parent),
        ids::of(&guest.ioas),
    );
    let duplicate = first.as_fd().try_clone_to_owned().unwrap();
    recorder.clear();
    drop(first);
    let busy = Some(Errno::BUSY);
    assert_eq!(recorder.refusals(), [("event queue", busy)]);
    // All that it is made of stays as well.
    drop(guest);
    assert_eq!(
        recorder.refusals(),
        [
            ("event queue", busy),
            ("virtual IOMMU", busy),
            ("nesting parent", busy),
            ("address space", busy),
        ]
    );
    assert_eq!(iommufd.leaks().objects, 4);
    drop(duplicate);
    for id in [id, viommu, parent, ioas] {
        raw::destroy(&iommufd, id).unwrap();
    }
    assert_eq!(raw::objects(&iommufd), 0);

    // What is left of a closed queue tries again when it is dropped.
    let guest = Guest::new();
    let first = queue(&guest);
    let duplicate = first.as_fd().try_clone_to_owned().unwrap();
    let closed = first.try_close().unwrap();
    drop(duplicate);
    drop(closed);
    let second = queue(&guest);
    let refusal = guest.viommu.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    let closed = second.try_close().unwrap();
    // Closed, it still is a queue of the virtual IOMMU's.
    let refusal = refusal.into_value().try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    closed.try_destroy().unwrap();
    refusal.into_value().try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_of_a_fork_has_a_duplicate_of_the_file() {
    let source = Source::new();
    let queue = RefCell::new(Some(source.queue(4)));
    beside(
        |link| {
            link.meet();
            link.meet();
            drop(queue.take());
            link.meet();
        },
        |link, _| {
            link.meet();
            let closed = queue.take().unwrap().try_close().unwrap();
            let refusal = closed.try_destroy().unwrap_err();
            assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
            link.meet();
            link.meet();
            refusal.into_value().try_destroy().unwrap();
        },
    );
    assert_eq!(source.guest.iommufd.leaks(), Leaks::default());
}

/// An event of which somebody thinks that it is so long.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Other<const WORDS: usize>([u32; WORDS]);

impl<const WORDS: usize> Event for Other<WORDS> {
    const QUEUE_TYPE: u32 = abi::VEVENTQ_TYPE_SELFTEST;
}

impl<const WORDS: usize> Reports<Other<WORDS>> for MockViommu {}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn events_that_are_not_of_the_type_are_refused_or_counted_as_lost() {
    let source = Source::new();
    let mut long = VEventQueue::<Other<2>>::new(&source.guest.viommu, 8).unwrap();
    source.make(1);
    let error = long.read().unwrap_err();
    assert!(matches!(error, Error::MalformedAnswer { .. }), "{error}");
    // Two that are too short make one that is long enough, and a piece.
    source.make(2);
    let events = long.read().unwrap();
    assert_eq!(events[0], VEvent::Lost(1));
    assert!(matches!(events[1..], [VEvent::Event(_)]), "{events:?}");
    drop(long);
    let mut short = VEventQueue::<Other<0>>::new(&source.guest.viommu, 8).unwrap();
    source.make(1);
    // What follows the header is taken for a header.
    assert_eq!(short.read().unwrap(), [VEvent::Event(Other([]))]);
    drop(short);
    assert_eq!(source.queue(1).read().unwrap(), []);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn events_of_several_devices_are_told_apart() {
    let source = Source::new();
    let guest = &source.guest;
    let other = MockDevice::new(&guest.iommufd).unwrap();
    let number = 0xffff_fffe;
    let vdevice = guest.knows(&other, number);
    let _of_other = other.attach(vdevice.through(&guest.table(), ())).unwrap();
    let mut queue = source.queue(8);
    for device in [&guest.device, &other, &other, &guest.device] {
        trigger_vevent(&guest.iommufd, device.id()).unwrap();
    }
    let of_other = VEvent::Event(MockEvent { virt_id: number });
    let all = [HAPPENED, of_other, of_other, HAPPENED];
    assert_eq!(queue.read().unwrap(), all);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_read_that_fails_loses_nothing() {
    let source = Source::new();
    let mut queue = source.queue(1);
    let mut events = Vec::with_capacity(16);
    let mut failures = 0;
    sweep(Points::Everywhere, |nth| {
        source.make(3);
        // What was read before it failed is told.
        let read = nth.armed(|| queue.read_into(&mut events));
        assert!(read.unwrap() > 0);
        queue.read_into(&mut events).unwrap();
        assert_eq!(events, [HAPPENED, VEvent::Lost(2)]);
        events.clear();
    });
    sweep(Points::Everywhere, |nth| {
        source.make(3);
        // A stranger takes the event, and leaves that some were lost, which the kernel makes a copy of.
        assert_eq!(rustix::io::read(&queue, &mut [0; 12]), Ok(12));
        if let Err(error) = nth.armed(|| queue.read_into(&mut events)) {
            assert!(nth.failed());
            assert_eq!(error.errno(), Some(Errno::NOMEM));
            assert_eq!(events, []);
            failures += 1;
            queue.read_into(&mut events).unwrap();
        }
        assert_eq!(events, [VEvent::Lost(3)]);
        events.clear();
    });
    assert!(failures > 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_the_queue_is_the_parents() {
    let source = Source::new();
    let queue = source.queue(4);
    source.make(1);
    source.guest.recorder.clear();
    let mut inherited = Some(queue);
    in_child(|| {
        let mut queue = inherited.take().unwrap();
        let forked = |error: &Error| assert!(matches!(error, Error::Forked), "{error}");
        forked(&queue.read().unwrap_err());
        forked(&queue.wait(None).unwrap_err());
        let second = VEventQueue::<MockEvent>::new(&source.guest.viommu, 1);
        forked(&second.unwrap_err());
        let refusal = queue.try_close().unwrap_err();
        forked(refusal.error());
        drop(refusal);
        assert_eq!(source.guest.recorder.count(), 0);
        assert_eq!(source.guest.recorder.refusals(), []);
    });
    let mut queue = inherited.unwrap();
    assert_eq!(queue.read().unwrap(), [HAPPENED]);
    queue.try_close().unwrap().try_destroy().unwrap();
}
