//! What the guest is told that the hardware does not tell.

use smmuv3_types::{
    Cr2, Event, FetchAbort, Ipa, Requester, Ste, StreamConfig, StrtabBase, StrtabBaseCfg,
};

use crate::guest::{Guest, cfgi_ste, entry, off, on, stage1, stream};

fn requester(number: u32) -> Requester {
    Requester {
        stream: stream(number),
        substream: None,
    }
}

#[test]
fn a_bad_entry_is_told_once_for_each_configuration() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    assert_eq!(guest.relay.take_event(), None);
    let bad = Event::BadSte(requester(1)).encode();
    guest.write_ste(1, &Ste::from_words([0; 8]));
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.relay.take_event(), Some(bad));
    assert_eq!(guest.relay.take_event(), None);
    guest.carries_out(&[cfgi_ste(1), cfgi_ste(1)]);
    assert_eq!(guest.relay.take_event(), None, "it is no other");
    guest.write_ste(1, &stage1(0));
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.relay.take_event(), None);
    guest.write_ste(1, &Ste::valid(StreamConfig::Stage2));
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.relay.take_event(), Some(bad));
}

#[test]
fn an_abort_is_silent() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.write_ste(1, &Ste::valid(StreamConfig::Abort));
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.relay.take_event(), None);
}

#[test]
fn an_entry_that_cannot_be_read_is_told_with_its_address() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let at = entry(stream(1));
    guest.memory.hole(at..at + 1);
    guest.carries_out(&[cfgi_ste(1)]);
    let told = |address| {
        let abort = FetchAbort {
            requester: requester(1),
            reason: 0,
            granule_protection: false,
            fetch_address: Ipa::new(address).unwrap(),
        };
        Some(Event::SteFetch(abort).encode())
    };
    assert_eq!(guest.relay.take_event(), told(at));
    // So is a descriptor of level 1.
    guest.memory.no_holes();
    guest.cr0(off());
    let two_levels = StrtabBaseCfg::from_bits(1 << 16 | 6 << 6 | 4);
    let nowhere = StrtabBase::from_bits(0x10_0000);
    assert!(guest.relay.set_stream_table(nowhere, two_levels));
    guest.cr0(on());
    assert_eq!(guest.relay.take_event(), told(0x10_0000));
}

#[test]
fn a_stream_beyond_the_table_is_told_if_the_guest_wants_to_hear_it() {
    let mut guest = Guest::new();
    let _port = guest.plug(1, Some(16));
    guest.cr0(on());
    assert_eq!(guest.relay.take_event(), None);
    guest.cr0(off());
    guest.relay.set_cr2(Cr2::from_bits(0).with_recinvsid(true));
    guest.cr0(on());
    let told = Event::BadStreamId(requester(16)).encode();
    assert_eq!(guest.relay.take_event(), Some(told));
    assert_eq!(guest.relay.take_event(), None);
}

#[test]
fn nothing_is_told_while_the_event_queue_is_off() {
    let mut guest = Guest::new();
    let _port = guest.plug(1, Some(1));
    guest.cr0(on().with_eventqen(false));
    assert_eq!(guest.relay.take_event(), None);
    guest.cr0(on());
    assert_eq!(guest.relay.take_event(), None);
}

#[test]
fn what_is_not_taken_is_kept_one_for_each_device() {
    let streams = [(1, stage1(0)), (2, stage1(1)), (3, stage1(2))];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    for round in 0..50 {
        for number in 1..=3 {
            let ste = match round % 2 {
                0 => Ste::from_words([0; 8]),
                _ => stage1(0),
            };
            guest.write_ste(number, &ste);
            guest.carries_out(&[cfgi_ste(number)]);
        }
        let expected = if round % 2 == 0 { 3 } else { 0 };
        let mut told = 0;
        if round >= 40 {
            while guest.relay.take_event().is_some() {
                told += 1;
            }
            assert_eq!(told, expected);
        }
    }
}
