//! The guest's command queue.

use iommufd::smmuv3::relay::{NotFlushed, Place, Stop};
use smmuv3_types::{
    BadCommand, CmdqProd, Command, CommandError, CommandWords, GlobalErrors, Ipa, MsiAttributes,
    QueueIndex, ResumeAction, Shareability, Stag, SyncMsi, SyncSignal,
};

use crate::guest::{
    Guest, QUEUE, cfgi_ste, nested, nh_all, nh_asid, off, on, stage1, stream, sync,
};
use crate::model::{Call, Dev};
use iommufd::smmuv3::relay::RequestName;

const ILLEGAL: [u64; 2] = [0xff, 0];

#[test]
fn syncs_that_are_there_together_are_one_call() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let msi = SyncMsi::new(
        Ipa::new(0x808_0040).unwrap(),
        7,
        Shareability::Inner,
        MsiAttributes::DEVICE_NGNRE,
    );
    let signals = [SyncSignal::Irq(msi), SyncSignal::Sev, SyncSignal::None];
    let commands = [1, 2, 3].map(|asid| nh_asid(asid).encode());
    for (command, signal) in commands.into_iter().zip(signals) {
        guest.push(command);
        guest.push(Command::Sync(signal).encode());
    }
    let ran = guest.run(100);
    assert_eq!(ran.signals, signals);
    assert_eq!(ran.stop, Stop::Idle);
    assert_eq!(guest.cons.bits(), 6);
    let calls = guest.model.calls();
    assert!(matches!(&calls[..], [Call::Invalidate(batch)] if batch.len() == 3));
}

#[test]
fn a_bad_command_stops_the_queue_at_its_index() {
    for before in 0..40 {
        let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
        for _ in 0..before {
            guest.issue(&[nh_all()]);
        }
        guest.push(nh_asid(1).encode());
        guest.push(sync().encode());
        guest.push(nh_asid(2).encode());
        let place = guest.push(ILLEGAL);
        guest.push(nh_asid(3).encode());
        guest.push(sync().encode());
        guest.model.calls();

        let ran = guest.run(100);
        assert_eq!(ran.stop, Stop::Illegal(BadCommand::Unknown(0xff)));
        assert_eq!(ran.signals.len(), 1);
        assert_eq!(guest.position(), place);
        assert_eq!(guest.cons.error(), Ok(CommandError::Illegal));
        assert_eq!(guest.errors.active(), GlobalErrors::CMDQ_ERR);
        assert_eq!(guest.run(100).stop, Stop::Idle, "not acknowledged");
        assert_eq!(guest.position(), place);
        guest.acknowledge();
        // It is still there.
        assert!(matches!(guest.run(100).stop, Stop::Illegal(_)));
        guest.acknowledge();
        let harmless = nh_asid(9).encode().to_bytes();
        guest.memory.write(QUEUE + 16 * u64::from(place), &harmless);
        guest.model.calls();
        let ran = guest.run(100);
        assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 1));
        let wanted = [2, 9, 3].map(nh_asid);
        let done = guest.model.invalidations();
        assert_eq!(
            done[done.len().saturating_sub(3)..],
            wanted[3 - done.len().min(3)..]
        );
        assert_eq!(guest.errors.active(), GlobalErrors::empty());
    }
}

#[test]
fn a_command_that_cannot_be_read_stops_the_queue_at_its_index() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.push(nh_all().encode());
    guest.push(sync().encode());
    let place = guest.push(nh_all().encode());
    let at = QUEUE + 16 * u64::from(place);
    guest.memory.hole(at + 15..at + 16);
    assert!(!guest.reads(at, 16));
    let ran = guest.run(100);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::Unreadable, 1));
    assert_eq!(guest.position(), place);
    assert_eq!(guest.cons.error(), Ok(CommandError::Abort));
    assert_eq!(guest.errors.active(), GlobalErrors::CMDQ_ERR);
    guest.memory.no_holes();
    guest.acknowledge();
    assert_eq!(guest.run(100).stop, Stop::Idle);
}

#[test]
fn one_guest_does_not_keep_the_thread() {
    let streams = [(1, stage1(0)), (2, stage1(1)), (3, stage1(2))];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    for _ in 0..8 {
        guest.push(Command::CfgiAll.encode());
    }
    // Each is 1, and 3 for the streams.
    for (most, taken) in [(0, 1), (1, 2), (7, 3), (8, 5), (11, 7), (100, 8)] {
        let ran = guest.run(most);
        assert_eq!(guest.position(), taken);
        let stop = if taken == 8 { Stop::Idle } else { Stop::More };
        assert_eq!(ran.stop, stop);
    }
    // A SYNC is complete when the guest sees that it is taken, also where the turn ends.
    guest.model.calls();
    guest.push(nh_all().encode());
    guest.push(sync().encode());
    guest.push(nh_all().encode());
    let ran = guest.run(2);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::More, 1));
    assert!(guest.model.invalidations().contains(&nh_all()));
}

#[test]
fn a_queue_that_is_off_or_makes_no_sense_is_left_alone() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.push(nh_all().encode());
    guest.cr0(on().with_cmdqen(false));
    assert_eq!(guest.run(100).stop, Stop::Idle);
    assert_eq!(guest.position(), 0);
    guest.cr0(on());
    let prod = guest.prod;
    let index = QueueIndex::new(0x3f, guest.size());
    guest.prod = CmdqProd::default().with_index(index);
    let reads = guest.memory.reads();
    assert_eq!(guest.run(100).stop, Stop::Idle);
    assert_eq!((guest.position(), guest.memory.reads()), (0, reads));
    guest.prod = prod;
    guest.run(100).signals.clear();
    assert_eq!(guest.position(), 1);
}

#[test]
fn a_full_queue_is_taken_once_around() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    for _ in 0..20 {
        guest.issue(&[nh_all()]);
    }
    let _flushed = guest.relay.flush().unwrap();
    guest.model.calls();
    while guest.room() > 1 {
        guest.push(nh_asid(guest.room() as u16).encode());
    }
    guest.push(sync().encode());
    assert_eq!(guest.run(100).stop, Stop::Idle);
    let wanted: Vec<_> = (2..=32).rev().map(nh_asid).collect();
    assert_eq!(guest.model.invalidations(), wanted);
}

#[test]
fn a_sync_is_not_complete_while_a_device_is_on_tables_that_the_guest_has_left() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    guest.write_ste(1, &stage1(2));
    guest.push(nh_all().encode());
    guest.push(cfgi_ste(1).encode());
    let place = guest.push(sync().encode());
    guest.push(nh_asid(3).encode());
    guest.push(sync().encode());
    guest.push(CommandWords::from_words(ILLEGAL));
    guest.model.refuse(|call| matches!(call, Call::Put(..)));
    for _ in 0..3 {
        let ran = guest.run(100);
        assert_eq!(ran.stop, Stop::NotFlushed(NotFlushed { devices: 1 }));
        assert_eq!(ran.signals, []);
        assert_eq!(guest.position(), place);
        assert_eq!(guest.errors.active(), GlobalErrors::empty());
    }
    assert_eq!(guest.relay.place(&ports[0]), None);
    guest.model.accept();
    guest.model.calls();
    let ran = guest.run(100);
    assert!(matches!(ran.stop, Stop::Illegal(_)));
    assert_eq!(ran.signals.len(), 2);
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    assert_eq!(
        guest.model.place(Dev(2)),
        Place::Translated(nested(stage1(1)))
    );
    // What it has left in the TLBs meanwhile is forgotten.
    assert!(guest.model.invalidations().contains(&nh_all()));
}

#[test]
fn an_answer_is_given_once_though_a_sync_before_it_is_tried_again() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    let stag = Stag::new(5);
    let ask = |guest: &mut Guest, id| {
        let asked = guest.model.asks(Dev(2), id, RequestName::Stall(stag));
        let _told = guest.relay.page_requests(asked);
    };
    ask(&mut guest, 10);
    guest.write_ste(1, &stage1(2));
    guest.push(cfgi_ste(1).encode());
    guest.push(sync().encode());
    let resume = Command::Resume {
        stream: stream(2),
        stag,
        action: ResumeAction::Retry,
    };
    guest.push(resume.encode());
    guest.model.refuse(|call| matches!(call, Call::Put(..)));
    assert!(matches!(guest.run(100).stop, Stop::NotFlushed(_)));
    assert_eq!(guest.model.answers(), [], "not before the SYNC");
    guest.model.accept();
    assert_eq!(guest.run(100).stop, Stop::Idle);
    assert_eq!(guest.model.answers().len(), 1);
    ask(&mut guest, 11);
    guest.cr0(on());
    assert_eq!(guest.model.answers(), []);
    guest.cr0(off());
    assert_eq!(guest.model.answers().len(), 1);
}
