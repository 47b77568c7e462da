//! The guest's invalidation queue.

use iommufd::vtd::relay::{NotFlushed, Place, Stop};
use vtd_types::{
    BadDescriptor, BadOffset, Descriptor, DescriptorKind, Iqa, PasidCacheScope, PasidEntry,
    QueueError, QueueOffset, Rtaddr,
};

use crate::guest::{
    Guest, PASID_BITS, QUEUE, ROOT, first_stage, iotlb, off, on, pasid, pc_inv, piotlb,
    piotlb_pages, translated, wait, waited,
};
use crate::model::{Call, Dev};

/// Of a type that is not there.
const INVALID: [u64; 4] = [0x0f, 0, 0, 0];

fn iqe(guest: &Guest) -> Option<QueueError> {
    guest.status.iqe().then(|| guest.error.iqei().unwrap())
}

#[test]
fn waits_that_are_there_together_are_one_call() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    for page in 0..3 {
        guest.push(piotlb_pages(2, 0, page, 0).encode());
        guest.push(wait().encode());
    }
    let ran = guest.run(100);
    assert_eq!(ran.signals, [waited(); 3]);
    assert_eq!(ran.stop, Stop::Idle);
    assert_eq!(guest.head.bytes(), 6 * 32);
    let calls = guest.model.calls();
    assert!(matches!(&calls[..], [Call::Invalidate(Dev(0), None, batch)] if batch.len() == 3));
}

#[test]
fn an_invalid_descriptor_stops_the_queue_at_its_place() {
    for before in 0..130 {
        let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
        for _ in 0..before {
            guest.issue(&[wait()]);
        }
        guest.push(piotlb_pages(2, 0, 1, 0).encode());
        guest.push(wait().encode());
        guest.push(piotlb_pages(2, 0, 2, 0).encode());
        let place = guest.push(INVALID);
        guest.push(piotlb_pages(2, 0, 3, 0).encode());
        guest.push(wait().encode());
        guest.model.calls();

        let ran = guest.run(100);
        assert_eq!(ran.stop, Stop::Invalid(BadDescriptor::Unknown(0xf)));
        assert_eq!(ran.signals.len(), 1);
        assert_eq!(guest.head.bytes(), place);
        assert_eq!(iqe(&guest), Some(QueueError::Type));

        // It stands still until the guest has seen it.
        let ran = guest.run(100);
        assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 0));
        assert_eq!(guest.head.bytes(), place);

        // As Linux does: the descriptor becomes a wait.
        let bytes = wait().encode().to_bytes();
        guest.memory.write(QUEUE + u64::from(place), &bytes);
        guest.clear_error();
        let ran = guest.run(100);
        assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 2));
        assert_eq!(guest.head, guest.tail);
        let pages = |call: Call| match call {
            Call::Invalidate(Dev(0), None, batch) => batch.len(),
            other => panic!("{other:?}"),
        };
        let calls = guest.model.calls();
        assert_eq!(calls.into_iter().map(pages).sum::<usize>(), 3);
    }
}

#[test]
fn every_error_has_its_code() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let reserved = [piotlb(2, 0).encode().words()[0] | 1 << 60, 0, 0, 0];
    let place = guest.push(reserved);
    let kind = DescriptorKind::PasidIotlb;
    let stop = Stop::Invalid(BadDescriptor::Reserved {
        kind,
        word: 0,
        bits: 1 << 60,
    });
    assert_eq!(guest.run(100).stop, stop);
    assert_eq!(iqe(&guest), Some(QueueError::Reserved));
    guest.clear_error();

    guest.memory.hole(QUEUE..QUEUE + 32);
    assert_eq!(guest.run(100).stop, Stop::Unreadable);
    assert_eq!(iqe(&guest), Some(QueueError::Fetch));
    assert_eq!(guest.head.bytes(), place);
    guest.memory.no_holes();
    guest.clear_error();

    for (tail, bad, code) in [
        (
            0x1000,
            BadOffset::Beyond {
                offset: 0x1000,
                size: 0x1000,
            },
            QueueError::TailBeyond,
        ),
        (
            0x30,
            BadOffset::Misaligned(0x30),
            QueueError::TailMisaligned,
        ),
    ] {
        guest.tail = QueueOffset::from_bits(tail);
        assert_eq!(guest.run(100).stop, Stop::Offset(bad));
        assert_eq!(iqe(&guest), Some(code));
        assert_eq!(guest.head.bytes(), place);
        guest.clear_error();
    }

    // Descriptors of 128 bits, in scalable mode.
    guest.iqa = Iqa::from_bits(QUEUE);
    assert_eq!(guest.run(100).stop, Stop::Width);
    assert_eq!(iqe(&guest), Some(QueueError::Width));
    assert_eq!(guest.head.bytes(), place);
    guest.clear_error();

    // One of scalable mode, in legacy mode.
    guest.iqa = Iqa::from_bits(QUEUE | 1 << 11);
    guest.tail = QueueOffset::default();
    let place = guest.push(pc_inv(2, 0).encode());
    let legacy = Rtaddr::from_bits(ROOT);
    let set = on().with_srtp(true);
    guest.relay.write_gcmd(set, legacy, &guest.memory);
    let kind = DescriptorKind::PasidCache;
    let stop = Stop::Invalid(BadDescriptor::Mode(kind));
    assert_eq!(guest.run(100).stop, stop);
    assert_eq!(iqe(&guest), Some(QueueError::Mode));
    assert_eq!(guest.head.bytes(), place);
}

#[test]
fn an_empty_queue_is_no_error_whatever_its_width() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.iqa = Iqa::from_bits(QUEUE);
    assert_eq!(guest.run(100).stop, Stop::Idle);
    assert_eq!(iqe(&guest), None);
}

#[test]
fn a_queue_of_narrow_descriptors_is_read_in_legacy_mode() {
    let mut guest = Guest::new();
    let legacy = Rtaddr::from_bits(ROOT);
    let set = on().with_srtp(true);
    guest.relay.write_gcmd(set, legacy, &guest.memory);
    guest.iqa = Iqa::from_bits(QUEUE);
    let global = iotlb(vtd_types::IotlbScope::Global);
    for round in 0..300 {
        assert_eq!(guest.issue(&[global, wait()]), [waited()], "{round}");
    }
    assert_eq!(guest.head.bytes(), 300 * 2 * 16 % 0x1000);
}

#[test]
fn a_queue_that_is_off_is_not_read() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.push(wait().encode());
    guest.gcmd(on().with_qie(false));
    let reads = guest.memory.reads();
    let ran = guest.run(100);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 0));
    assert_eq!(guest.memory.reads(), reads);
    guest.gcmd(on());
    assert_eq!(guest.run(100).signals.len(), 1);
    // It is read while nothing is translated, too.
    guest.gcmd(off());
    assert_eq!(guest.issue(&[wait()]), [waited()]);
}

#[test]
fn work_ends_where_it_is_to_end() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    for page in 0..10 {
        guest.push(piotlb_pages(2, 0, page, 0).encode());
    }
    guest.push(wait().encode());
    // A descriptor and an invalidation each.
    let ran = guest.run(7);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::More, 0));
    assert_eq!(guest.head.bytes(), 4 * 32);
    assert_eq!(guest.run(0).stop, Stop::More);
    assert_eq!(guest.head.bytes(), 5 * 32, "one at least");
    let ran = guest.run(11);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 1));
}

#[test]
fn a_search_is_done_in_pieces_and_nothing_is_begun_before_its_end() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let entry = first_stage(1, 2);
    for piece in 0..4 {
        guest.write_entry(0, 64 * piece + 1, &entry);
    }
    guest.push(wait().encode());
    guest.push(Descriptor::PasidCache(PasidCacheScope::Global).encode());
    guest.push(wait().encode());
    // The wait before it is complete; then there is the descriptor, and the entry of its requests
    // without a PASID.
    let ran = guest.run(3);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::More, 1));
    let mut runs = 0;
    let last = loop {
        assert_eq!(guest.head.bytes(), 2 * 32);
        let ran = guest.run(1);
        runs += 1;
        match ran.stop {
            Stop::More => assert_eq!(ran.signals.len(), 0),
            _ => break ran,
        }
    };
    assert_eq!((last.stop, last.signals.len()), (Stop::Idle, 1));
    // Each piece, and the wait.
    assert_eq!(runs, (1 << (PASID_BITS - 6)) + 1);
    for piece in 0..4 {
        let of = pasid(64 * piece + 1);
        assert_eq!(
            guest.relay.place(&ports[0], Some(of)),
            Some(translated(&entry))
        );
    }
}

#[test]
fn a_search_that_a_run_has_left_is_done_first() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.write_entry(0, 200, &first_stage(1, 2));
    guest.push(Descriptor::PasidCache(PasidCacheScope::Global).encode());
    assert_eq!(guest.run(1).stop, Stop::More);
    assert_eq!(guest.place(0, Some(200)), Place::Blocked);
    let _taken = guest.take(wait());
    assert_eq!(guest.place(0, Some(200)), translated(&first_stage(1, 2)));
}

#[test]
fn a_wait_that_cannot_be_completed_stays_in_the_queue() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.write_entry(0, 0, &PasidEntry::default());
    guest.push(pc_inv(2, 0).encode());
    let place = guest.push(wait().encode());
    guest.push(piotlb(2, 0).encode());
    guest.push(wait().encode());
    guest.model.refuse(|call| matches!(call, Call::Put(..)));
    for _ in 0..3 {
        let ran = guest.run(100);
        assert_eq!(ran.stop, Stop::NotFlushed(NotFlushed { devices: 1 }));
        assert_eq!(ran.signals, []);
        assert_eq!(guest.head.bytes(), place);
        assert_eq!(guest.relay.place(&ports[0], None), None);
        assert!(!guest.status.iqe());
    }
    guest.model.accept();
    let ran = guest.run(100);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 2));
    assert_eq!(guest.place(0, None), Place::Blocked);
}

#[test]
fn an_answer_is_not_given_twice() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2), first_stage(0, 3)]);
    let asked = guest.model.asks(Dev(0), 1, 4, None);
    let _told = guest.relay.page_requests(asked);
    // The wait before the answer is not complete: the answer is not carried out.
    guest.write_entry(1, 0, &PasidEntry::default());
    guest.push(pc_inv(3, 0).encode());
    guest.push(wait().encode());
    guest.push(crate::requests::answer(0, None, 4).encode());
    guest.model.refuse(|call| matches!(call, Call::Put(..)));
    assert!(matches!(guest.run(100).stop, Stop::NotFlushed(_)));
    assert_eq!(guest.model.answers(), []);
    guest.model.accept();
    assert_eq!(guest.run(100).stop, Stop::Idle);
    assert_eq!(guest.model.answers().len(), 1);
}
