//! A host that refuses.

use iommufd::smmuv3::relay::{NotFlushed, Place, Port, PortError, Report, Stop};
use smmuv3_types::{AtcSpan, Command, InputAddress, Ste, StreamConfig};

use crate::guest::{
    Guest, cfgi_cd_all, cfgi_ste, limits, nested, nh_all, nh_asid, off, offered, on, stage1,
    stream, sync, with_ats,
};
use crate::model::{Call, Dev, Refusal};

/// Whether the call is of one of these commands, and no other.
fn invalidates(call: &Call, which: fn(&Command) -> bool) -> bool {
    match call {
        Call::Invalidate(batch) => batch.iter().all(|command| which(&command.command())),
        _ => false,
    }
}

fn is_by_asid(command: &Command) -> bool {
    matches!(command, Command::TlbiNhAsid { .. })
}

fn is_all(command: &Command) -> bool {
    matches!(command, Command::TlbiNhAll { .. })
}

fn place(index: u64) -> Place {
    Place::Translated(nested(stage1(index)))
}

#[test]
fn a_refused_batch_is_covered_by_more_in_the_right_order() {
    let streams = [
        (1, stage1(0)),
        (2, with_ats(stage1(1))),
        (3, Ste::valid(StreamConfig::Bypass)),
    ];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    guest.model.refuse(|call| invalidates(call, is_by_asid));
    let whole = Command::AtcInv {
        stream: stream(2),
        substream: None,
        global: false,
        address: InputAddress::new(0),
        span: AtcSpan::ALL,
    };
    assert_eq!(
        guest.forwards(&[nh_asid(1)]),
        [cfgi_cd_all(1), cfgi_cd_all(2), nh_all(), whole]
    );
    assert_eq!(
        guest.relay.take_reports(),
        [Report::BatchRefused {
            commands: 1,
            error: Refusal
        }]
    );
    assert_eq!(guest.relay.take_reports(), []);
    assert_eq!(guest.model.place(Dev(1)), place(0), "nobody has to suffer");
}

#[test]
fn without_any_invalidation_all_streams_are_blocked_and_come_back_clean() {
    let bypass = Ste::valid(StreamConfig::Bypass);
    let streams = [(1, stage1(0)), (2, stage1(1)), (3, bypass)];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    guest
        .model
        .refuse(|call| invalidates(call, |command| is_by_asid(command) || is_all(command)));
    guest.push(nh_asid(1).encode());
    guest.push(sync().encode());
    let ran = guest.run(10);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 1), "it is safe");
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    assert_eq!(guest.model.place(Dev(2)), Place::Blocked);
    assert_eq!(guest.model.place(Dev(3)), Place::Bypass, "it uses none");
    let reports = guest.relay.take_reports();
    let stale = Report::TranslationsStale { error: Refusal };
    assert!(matches!(&reports[..], [Report::BatchRefused { .. }, last] if *last == stale));
    // Nothing is translated before the stale ones are gone.
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    assert_eq!(guest.relay.take_reports(), [stale]);
    guest.model.accept();
    let calls = guest.carries_out(&[cfgi_ste(1)]);
    assert!(invalidates(&calls[0], is_all), "{calls:?}");
    assert_eq!(calls[1], Call::Put(Dev(1), place(0)));
    // They are gone for the others, too.
    let calls = guest.carries_out(&[cfgi_ste(2)]);
    assert_eq!(calls[0], Call::Put(Dev(2), place(1)));
}

#[test]
fn a_stream_whose_descriptors_cannot_be_forgotten_is_blocked_alone() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    guest.model.refuse(|call| {
        invalidates(call, |command| {
            is_by_asid(command) || *command == cfgi_cd_all(2)
        })
    });
    guest.carries_out(&[nh_asid(1)]);
    assert_eq!(guest.model.place(Dev(1)), place(0));
    assert_eq!(guest.model.place(Dev(2)), Place::Blocked);
    let stale = Report::StreamStale {
        stream: stream(2),
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports()[1..], [stale]);
    guest.model.accept();
    guest.carries_out(&[cfgi_ste(2)]);
    assert_eq!(guest.model.place(Dev(2)), place(1));
}

#[test]
fn a_refused_entry_leaves_the_stream_blocked_until_it_is_configured_anew() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    guest.write_ste(1, &stage1(2));
    guest
        .model
        .refuse(|call| matches!(call, Call::Put(_, Place::Translated(_))));
    guest.issue(&[cfgi_ste(1), sync()]);
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    assert_eq!(guest.relay.place(&ports[0]), Some(Place::Blocked));
    assert_eq!(guest.model.place(Dev(2)), place(1));
    let refused = Report::PlaceRefused {
        stream: Some(stream(1)),
        place: place(2),
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports(), [refused]);
    guest.model.accept();
    guest.issue(&[nh_all(), sync()]);
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    guest.issue(&[cfgi_ste(1), sync()]);
    assert_eq!(guest.model.place(Dev(1)), place(2));
}

#[test]
fn a_refused_bypass_leaves_the_device_blocked() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest
        .model
        .refuse(|call| matches!(call, Call::Put(_, Place::Bypass)));
    guest.cr0(off());
    assert_eq!(guest.model.place(Dev(1)), Place::Blocked);
    guest.model.accept();
    guest.cr0(on());
    assert_eq!(guest.model.place(Dev(1)), place(0));
}

#[test]
fn a_device_that_cannot_be_blocked_is_not_given_back() {
    let (mut guest, mut ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.model.refuse(|call| matches!(call, Call::Put(..)));
    let refused = guest.relay.unplug(ports.remove(0)).unwrap_err();
    assert_eq!(*refused.error(), PortError::NotBlocked);
    let port = refused.into_value();
    assert_eq!(
        guest.relay.assign(&port, None, &guest.memory),
        Err(PortError::NotBlocked)
    );
    assert_eq!(guest.relay.stream(&port), Some(stream(1)));
    assert_eq!(guest.relay.flush(), Err(NotFlushed { devices: 1 }));
    let not_blocked = Report::NotBlocked {
        stream: Some(stream(1)),
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports(), vec![not_blocked; 3]);
    guest.model.accept();
    assert_eq!(guest.relay.unplug(port).unwrap(), Dev(1));
}

/// A device on tables that the guest has left uses what the guest has invalidated, and leaves it in the TLBs.
#[test]
fn after_a_device_was_stuck_all_is_forgotten_before_a_sync_however_it_was_freed() {
    type Free = fn(&mut Guest, Port);
    let free: [Free; 5] = [
        |_, _| {},
        |guest, _| {
            let _taken = guest.take(cfgi_ste(1));
        },
        |guest, _| guest.cr0(off()),
        |guest, port| {
            let number = Some(stream(5));
            guest.relay.assign(&port, number, &guest.memory).unwrap();
        },
        |guest, port| assert_eq!(guest.relay.unplug(port).unwrap(), Dev(1)),
    ];
    for free in free {
        let (mut guest, mut ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
        guest.write_descriptor(0, 1, 0);
        guest.write_page(0, 0, 0x111);
        guest.write_ste(1, &stage1(2));
        guest.model.refuse(|call| matches!(call, Call::Put(..)));
        let _taken = guest.take(cfgi_ste(1));
        // The guest has no such page any more, and says so; the device has not gone.
        let _taken = guest.take(nh_asid(1));
        assert_eq!(guest.relay.flush(), Err(NotFlushed { devices: 1 }));
        guest.model.accept();
        guest.model.calls();
        free(&mut guest, ports.remove(0));
        let _flushed = guest.relay.flush().unwrap();
        let calls = guest.model.calls();
        let forgets = |call: &Call| invalidates(call, is_all);
        let moves = |call: &Call| matches!(call, Call::Put(Dev(1), _));
        let last_move = calls.iter().rposition(moves);
        let forgotten = calls.iter().rposition(forgets);
        assert!(last_move.is_some() && forgotten > last_move, "{calls:?}");
        // Once is enough.
        assert_eq!(guest.carries_out(&[]), []);
    }
}

#[test]
fn nothing_is_asked_for_where_there_is_nothing_to_ask() {
    let limits = limits().with_ats(false);
    let mut guest = Guest::with(offered(), limits, 0);
    guest.write_ste(1, &with_ats(stage1(0)));
    let _port = guest.plug(1, Some(1));
    guest.cr0(on());
    guest.model.refuse(|call| invalidates(call, is_by_asid));
    assert_eq!(guest.forwards(&[nh_asid(1)]), [cfgi_cd_all(1), nh_all()]);
}

#[test]
fn an_answer_that_is_refused_is_told() {
    use iommufd::smmuv3::relay::RequestName;
    use smmuv3_types::{ResumeAction, Stag};

    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let stag = Stag::new(1);
    let asked = guest.model.asks(Dev(1), 10, RequestName::Stall(stag));
    let _told = guest.relay.page_requests(asked);
    guest.model.refuse(|call| matches!(call, Call::Answer(..)));
    let resume = Command::Resume {
        stream: stream(1),
        stag,
        action: ResumeAction::Retry,
    };
    guest.carries_out(&[resume]);
    let refused = Report::AnswerRefused {
        stream: stream(1),
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports(), [refused]);
}

#[test]
fn reports_that_nobody_takes_are_counted() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.model.refuse(|call| invalidates(call, is_by_asid));
    for _ in 0..100 {
        guest.carries_out(&[nh_asid(1)]);
    }
    let reports = guest.relay.take_reports();
    assert_eq!((reports.len(), &reports[0]), (65, &Report::Lost(36)));
    assert_eq!(guest.relay.take_reports(), []);
}
