//! A guest moves to another machine.

use iommufd::PageResponse;
use iommufd::smmuv3::relay::{BadState, ImportError, Place, RequestName, State, Taken};
use smmuv3_types::{Cr0, Gbpa, IdRegisters, Stag, Ste, StreamConfig, SyncSignal};

use crate::guest::{
    Guest, cfgi_ste, limits, nested, nh_asid, off, offered, on, stage1, stream, sync,
};
use crate::model::Dev;
use crate::random::Random;

fn place(index: u64) -> Place {
    Place::Translated(nested(stage1(index)))
}

/// A guest with an entry that is used, one that has been changed and not announced, and a bad one
/// that it was not told of yet.
fn source() -> Guest {
    let (mut guest, ports) = Guest::with_streams(&[
        (1, stage1(0)),
        (2, stage1(1)),
        (3, stage1(2)),
        (4, Ste::valid(StreamConfig::Bypass)),
    ]);
    guest.write_ste(2, &stage1(3));
    guest.write_ste(3, &Ste::from_words([0; 8]));
    guest.carries_out(&[cfgi_ste(3)]);
    drop(ports);
    guest
}

fn export(guest: &mut Guest) -> State {
    guest.relay.quiesce().unwrap().export()
}

/// A machine with the same memory.
fn destination(source: &Guest) -> Guest {
    let mut guest = Guest::new();
    guest.memory = source.memory.clone();
    guest.relay.reset(Gbpa::default());
    guest.model.calls();
    guest
}

#[test]
fn a_guest_goes_on_where_it_was() {
    let mut source = source();
    let bytes = export(&mut source).to_bytes();
    let state = State::from_bytes(&bytes).unwrap();
    let mut there = destination(&source);
    let _early = [1, 2].map(|number| there.plug(number, Some(number)));
    there.relay.import(&state, &there.memory).unwrap();
    let _late = [3, 4].map(|number| there.plug(number, Some(number)));
    let places = [1, 2, 3, 4].map(|device| there.model.place(Dev(device)));
    // Stream 2 is as it was announced, not as it is in the table.
    assert_eq!(places, [place(0), place(1), Place::Blocked, Place::Bypass]);
    assert_eq!(export(&mut there).to_bytes().len(), bytes.len());
    there.carries_out(&[cfgi_ste(2)]);
    assert_eq!(there.model.place(Dev(2)), place(3));
}

#[test]
fn what_was_not_told_is_told_there() {
    let mut source = source();
    let state = export(&mut source);
    let event = source.relay.take_event();
    assert!(event.is_some());
    let told = export(&mut source);
    assert_ne!(state, told);
    for (state, event) in [(state, event), (told, None)] {
        let state = State::from_bytes(&state.to_bytes()).unwrap();
        let mut there = destination(&source);
        let _ports = [1, 2, 3].map(|number| there.plug(number, Some(number)));
        there.relay.import(&state, &there.memory).unwrap();
        assert_eq!(there.relay.take_event(), event);
        assert_eq!(there.relay.take_event(), None);
        // The same of a device that comes late, also when the guest has gone on meanwhile.
        let mut there = destination(&source);
        there.relay.import(&state, &there.memory).unwrap();
        let state = export(&mut there);
        let mut there = destination(&source);
        there.relay.import(&state, &there.memory).unwrap();
        let _port = there.plug(3, Some(3));
        assert_eq!(there.relay.take_event(), event);
        assert_eq!(there.relay.take_event(), None);
    }
}

#[test]
fn what_is_saved_of_a_stream_is_over_when_the_guest_configures_it() {
    let mut source = source();
    let state = export(&mut source);
    for forget in [
        |there: &mut Guest| {
            there.carries_out(&[cfgi_ste(2)]);
        },
        |there: &mut Guest| {
            there.cr0(off());
            there.cr0(on());
        },
    ] {
        let mut there = destination(&source);
        there.relay.import(&state, &there.memory).unwrap();
        // Its device has not come yet.
        forget(&mut there);
        let _port = there.plug(2, Some(2));
        assert_eq!(there.model.place(Dev(2)), place(3));
    }
}

#[test]
fn a_relay_at_rest_has_done_what_it_took_and_nothing_waits() {
    let mut guest = source();
    let stall = |tag| RequestName::Stall(Stag::new(tag));
    for (id, tag) in [(10, 1), (11, 2)] {
        let asked = guest.model.asks(Dev(1), id, stall(tag));
        let _told = guest.relay.page_requests(asked);
    }
    let _taken = guest.take(nh_asid(1));
    let Taken::Sync(pending) = guest.take(sync()) else {
        panic!("it is a SYNC");
    };
    let mut quiesced = guest.relay.quiesce().unwrap();
    assert_eq!(guest.model.invalidations(), [nh_asid(1)]);
    let signal = pending.complete(quiesced.flushed()).unwrap();
    assert_eq!(signal, SyncSignal::None);
    assert_eq!(guest.model.answers(), []);
    let handed_out = quiesced.take_requests();
    assert_eq!(handed_out.len(), 2);
    drop(handed_out);
    let invalid = PageResponse::Invalid;
    assert_eq!(guest.model.answers(), [(10, invalid), (11, invalid)]);
    // The migration has failed: it goes on here.
    drop(quiesced);
    assert_eq!(guest.forwards(&[nh_asid(2)]), [nh_asid(2)]);
}

#[test]
fn a_relay_that_was_used_imports_nothing() {
    let mut source = source();
    let state = export(&mut source);
    let uses: [fn(&mut Guest); 3] = [
        |there| there.cr0(on()),
        |there| assert!(there.set_table()),
        |there| {
            let _taken = there.take(sync());
        },
    ];
    for used in uses {
        let mut there = destination(&source);
        used(&mut there);
        let refused = there.relay.import(&state, &there.memory);
        assert_eq!(refused, Err(ImportError::NotFresh));
    }
    let mut there = destination(&source);
    let _taken = there.take(sync());
    there.relay.reset(Gbpa::default());
    there.relay.import(&state, &there.memory).unwrap();
    let again = there.relay.import(&state, &there.memory);
    assert_eq!(again, Err(ImportError::NotFresh));
}

#[test]
fn a_guest_that_was_offered_something_else_cannot_go_on() {
    let mut source = source();
    let state = export(&mut source);
    let other = IdRegisters {
        idr0: offered().idr0.with_pri(false),
        ..offered()
    };
    let mut there = Guest::with(other, limits(), 0);
    there.relay.reset(Gbpa::default());
    let refused = there.relay.import(&state, &there.memory);
    assert_eq!(refused, Err(ImportError::OtherFeatures));
}

#[test]
fn bytes_that_are_no_state_are_told_from_one() {
    let bytes = export(&mut source()).to_bytes();
    // 17 words, and 40 bytes for each stream.
    assert_eq!(bytes.len(), 17 * 4 + 4 * 40);
    for len in 0..bytes.len() {
        assert!(State::from_bytes(&bytes[..len]).is_err());
    }
    let with = |at: usize, word: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        State::from_bytes(&bytes).map(drop)
    };
    assert_eq!(with(0, 0), Err(BadState::NotOne));
    assert_eq!(with(4, 2), Err(BadState::Version(2)));
    let needed = |count: usize| BadState::Length {
        len: bytes.len(),
        needed: 17 * 4 + 40 * count,
    };
    assert_eq!(with(64, 3), Err(needed(3)));
    assert_eq!(with(64, u32::MAX), Err(needed(u32::MAX as usize)));
    let record = |index: usize| 17 * 4 + 40 * index;
    assert_eq!(with(record(0), 2), Err(BadState::Order(stream(2))));
    let bad = |number| Err(BadState::Stream(stream(number)));
    assert_eq!(with(record(0) + 4, 4), bad(1), "of no kind");
    assert_eq!(with(record(0) + 8, 0xd), bad(1), "stage 2");
    assert_eq!(with(record(0) + 32, 1), bad(1), "no words of an entry");
    assert_eq!(
        with(record(2) + 8, 0x10),
        bad(3),
        "an event of another kind"
    );
    assert_eq!(with(record(2) + 12, 9), bad(3), "another's event");
}

#[test]
fn what_no_guest_of_this_smmu_can_have_written_is_not_imported() {
    let mut bytes = export(&mut source()).to_bytes();
    // S1CDMax of stream 1, which has no substreams.
    bytes[17 * 4 + 8 + 7] = 8;
    let state = State::from_bytes(&bytes).unwrap();
    let mut there = destination(&source());
    let refused = there.relay.import(&state, &there.memory);
    let reason = BadState::Stream(stream(1));
    assert_eq!(refused, Err(ImportError::Impossible(reason)));
}

#[test]
fn no_bytes_make_it_panic() {
    let bytes = export(&mut source()).to_bytes();
    let mut random = Random::new(7);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        if let Ok(state) = State::from_bytes(&bytes) {
            assert_eq!(State::from_bytes(&state.to_bytes()).unwrap(), state);
            let mut there = Guest::new();
            there.relay.reset(Gbpa::default());
            let _port = there.plug(1, Some(1));
            let imported = there.relay.import(&state, &there.memory);
            accepted += u32::from(imported.is_ok());
        }
    }
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn a_relay_that_is_off_is_exported_as_that() {
    let mut guest = source();
    guest.cr0(Cr0::from_bits(0));
    let state = export(&mut guest);
    assert_eq!(state.to_bytes().len(), 17 * 4);
    let mut there = destination(&guest);
    let _port = there.plug(1, Some(1));
    there.relay.import(&state, &there.memory).unwrap();
    assert_eq!(there.model.place(Dev(1)), Place::Bypass);
}
