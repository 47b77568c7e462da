//! A guest moves to another machine.

use iommufd::PageResponse;
use iommufd::vtd::relay::{BadState, ImportError, Place, State, Taken};
use vtd_types::{PasidCacheScope, PasidEntry};

use crate::guest::{
    Guest, cc_inv, first_stage, offered, on, pasid, pass_through, pc_inv, piotlb, scalable, source,
    translated, wait, waited, with_directory,
};
use crate::model::Dev;
use crate::random::Random;

/// A guest with entries that are used, one that has been changed and not announced, and a bad one
/// that it was not told of yet.
fn here() -> Guest {
    let bad = first_stage(0, 2).with_pgsnp(true);
    let (mut guest, ports) =
        Guest::with_devices(&[first_stage(0, 2), first_stage(1, 3), bad, pass_through(1)]);
    guest.write_entry(0, 5, &first_stage(1, 2));
    guest.write_entry(0, 200, &pass_through(2));
    guest.carries_out(&[cc_inv(0)]);
    guest.write_entry(1, 0, &first_stage(2, 3));
    guest.write_entry(0, 5, &PasidEntry::default());
    guest.write_context(3, &with_directory(9));
    drop(ports);
    guest
}

fn export(guest: &mut Guest) -> State {
    let memory = guest.memory.clone();
    guest.relay.quiesce(&memory).unwrap().export()
}

/// A machine with the same memory.
fn there(here: &Guest) -> Guest {
    let mut guest = Guest::new();
    guest.memory = here.memory.clone();
    guest.relay.reset();
    guest.model.calls();
    guest
}

#[test]
fn a_guest_goes_on_where_it_was() {
    let mut here = here();
    let bytes = export(&mut here).to_bytes();
    let state = State::from_bytes(&bytes).unwrap();
    let mut there = there(&here);
    let _early = [0, 1].map(|number| there.plug(number, Some(number)));
    there.relay.import(&state, &there.memory).unwrap();
    let _late = [2, 3].map(|number| there.plug(number, Some(number)));
    let places = [0, 1, 2, 3].map(|device| there.place(device, None));
    // As it was announced, not as it is in the tables.
    let announced = [
        translated(&first_stage(0, 2)),
        translated(&first_stage(1, 3)),
    ];
    assert_eq!(places[..2], announced);
    assert_eq!(places[2..], [Place::Blocked, Place::Bypass]);
    assert_eq!(there.place(0, Some(5)), translated(&first_stage(1, 2)));
    assert_eq!(there.place(0, Some(200)), Place::Bypass);
    assert!(there.relay.status().tes());
    assert_eq!(export(&mut there), export(&mut here));
    there.carries_out(&[pc_inv(3, 0), pc_inv(2, 5), cc_inv(3)]);
    assert_eq!(there.place(1, None), translated(&first_stage(2, 3)));
    assert_eq!(there.place(0, Some(5)), Place::Blocked);
    assert_eq!(there.place(3, None), Place::Blocked);
}

#[test]
fn what_was_not_told_is_told_there_and_not_twice() {
    let mut here = here();
    let state = export(&mut here);
    let fault = here.relay.take_fault();
    assert!(fault.is_some());
    let told = export(&mut here);
    assert_ne!(state, told);
    for (state, fault) in [(state, fault), (told, None)] {
        let state = State::from_bytes(&state.to_bytes()).unwrap();
        for is_early in [false, true] {
            let mut there = there(&here);
            if is_early {
                let _port = there.plug(2, Some(2));
            }
            there.relay.import(&state, &there.memory).unwrap();
            if !is_early {
                let _port = there.plug(2, Some(2));
            }
            assert_eq!(there.relay.take_fault(), fault);
            there.carries_out(&[pc_inv(2, 0)]);
            assert_eq!(there.relay.take_fault(), None);
        }
    }
}

#[test]
fn what_the_guest_invalidates_before_a_device_comes_is_read_anew() {
    for descriptor in [
        cc_inv(1),
        vtd_types::Descriptor::PasidCache(PasidCacheScope::Global),
    ] {
        let mut here = here();
        let state = export(&mut here);
        let mut there = there(&here);
        there.relay.import(&state, &there.memory).unwrap();
        there.carries_out(&[descriptor]);
        let _port = there.plug(1, Some(1));
        assert_eq!(there.place(1, None), translated(&first_stage(2, 3)));
    }
}

#[test]
fn page_requests_are_handed_out_and_waits_completed() {
    let mut here = here();
    let asked = here.model.asks(Dev(0), 1, 4, Some(pasid(5)));
    let _told = here.relay.page_requests(asked);
    let asked = here.model.asks(Dev(0), 2, 5, None);
    let _told = here.relay.page_requests(asked);
    let _taken = here.take(piotlb(2, 5));
    let Taken::Wait(open) = here.take(wait()) else {
        panic!("it is a wait");
    };
    let memory = here.memory.clone();
    let mut quiesced = here.relay.quiesce(&memory).unwrap();
    assert_eq!(open.complete(quiesced.flushed()).unwrap(), waited());
    let mut requests = quiesced.take_requests();
    assert_eq!(requests.len(), 2);
    let kept = requests.remove(0);
    drop(quiesced);
    drop(requests);
    assert_eq!(here.model.answers(), [(2, PageResponse::Invalid)]);
    assert_eq!(kept.id, 1);
}

#[test]
fn a_search_that_is_under_way_is_finished_first() {
    let mut here = here();
    here.write_entry(0, 250, &pass_through(2));
    here.push(vtd_types::Descriptor::PasidCache(PasidCacheScope::Global).encode());
    let _more = here.run(1);
    assert_eq!(here.place(0, Some(250)), Place::Blocked);
    let state = export(&mut here);
    let mut there = there(&here);
    there.relay.import(&state, &there.memory).unwrap();
    let _port = there.plug(0, Some(0));
    assert_eq!(there.place(0, Some(250)), Place::Bypass);
}

#[test]
fn only_a_fresh_relay_of_the_same_unit_takes_a_state() {
    let mut here = here();
    let state = export(&mut here);
    let memory = here.memory.clone();
    let import = |guest: &mut Guest| guest.relay.import(&state, &memory);
    let mut used = there(&here);
    used.carries_out(&[wait()]);
    assert_eq!(import(&mut used), Err(ImportError::NotFresh));
    let mut on_already = there(&here);
    on_already.relay.write_gcmd(on(), scalable(), &memory);
    assert_eq!(import(&mut on_already), Err(ImportError::NotFresh));
    let mut twice = there(&here);
    import(&mut twice).unwrap();
    assert_eq!(import(&mut twice), Err(ImportError::NotFresh));
    used.relay.reset();
    import(&mut used).unwrap();
    let mut lesser = offered();
    lesser.ecap = lesser.ecap.with_srs(false);
    let mut other = Guest::with(lesser, 0);
    other.relay.reset();
    assert_eq!(import(&mut other), Err(ImportError::OtherFeatures));
}

#[test]
fn a_state_of_nothing_is_a_state() {
    let mut guest = Guest::new();
    let _port = guest.plug(0, Some(0));
    let state = export(&mut guest);
    let bytes = state.to_bytes();
    assert_eq!(bytes.len(), 48);
    assert_eq!(State::from_bytes(&bytes), Ok(state));
}

#[test]
fn bytes_that_are_no_state_are_refused() {
    let bytes = export(&mut here()).to_bytes();
    let with = |at: usize, word: u64| {
        let mut bytes = bytes.clone();
        bytes[8 * at..][..8].copy_from_slice(&word.to_le_bytes());
        State::from_bytes(&bytes)
    };
    let word = |at: usize| u64::from_le_bytes(bytes[8 * at..][..8].try_into().unwrap());
    assert_eq!(with(0, 7), Err(BadState::NotOne));
    assert_eq!(with(0, word(0) + (1 << 32)), Err(BadState::Version(2)));
    assert_eq!(with(1, word(1) | 7), Err(BadState::Registers));
    assert_eq!(with(3, 0), Err(BadState::Registers));
    assert_eq!(with(3, word(3) | 1 << 32), Err(BadState::Registers));
    let len = bytes.len();
    assert_eq!(with(5, word(5) + 1), Err(BadState::Length(len)));
    assert_eq!(with(5, u64::MAX), Err(BadState::Length(len)));
    assert_eq!(with(5, word(5) - 1), Err(BadState::Length(len)));
    // The first device: its head, 4 words of context, 3 of its entry, 2 of a fault, 2 PASIDs.
    let device = Err(BadState::Device(source(0)));
    for at in 6..14 {
        assert_eq!(with(at, word(at) | 1 << 62), device, "{at}");
    }
    assert_eq!(with(14, 1), device);
    assert_eq!(word(16), 2);
    for number in [0, 200, 1 << 20, u64::MAX] {
        assert_eq!(with(17, number), device, "{number}");
    }
    assert_eq!(with(18, 0), device, "an entry that is not present");
    let order = Err(BadState::Order(source(0)));
    let second = 6 + 11 + 2 * 4;
    assert_eq!(word(second) & 0xffff, 8);
    assert_eq!(with(second, word(second) & !0xffff), order);
    for len in 0..bytes.len() {
        assert!(State::from_bytes(&bytes[..len]).is_err());
    }
}

#[test]
fn whatever_the_bytes_are_a_state_is_one_that_a_relay_can_have() {
    let bytes = export(&mut here()).to_bytes();
    let mut random = Random::new(3);
    let mut taken = 0;
    for _ in 0..30_000 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        if let Ok(state) = State::from_bytes(&bytes) {
            assert_eq!(state.to_bytes(), bytes);
            taken += 1;
        }
    }
    assert!(taken > 1000, "{taken}");
}
