//! A `CMD_SYNC` and the token that completes it.

use iommufd::smmuv3::relay::{PendingSync, Taken, WrongToken};
use smmuv3_types::{Command, SyncSignal};

use crate::guest::{Guest, nh_all, stage1, sync};

fn take_sync(guest: &mut Guest, signal: SyncSignal) -> PendingSync {
    match guest.take(Command::Sync(signal)) {
        Taken::Sync(sync) => sync,
        Taken::Command => panic!("it is a SYNC"),
    }
}

#[test]
fn a_flush_completes_all_syncs_that_were_taken_before() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let first = take_sync(&mut guest, SyncSignal::Sev);
    let _taken = guest.take(nh_all());
    let second = take_sync(&mut guest, SyncSignal::Irq(None));
    let flushed = guest.relay.flush().unwrap();
    assert_eq!(second.complete(&flushed).unwrap(), SyncSignal::Irq(None));
    assert_eq!(first.complete(&flushed).unwrap(), SyncSignal::Sev);
}

#[test]
fn a_flush_of_before_completes_nothing() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let early = guest.relay.flush().unwrap();
    let _taken = guest.take(nh_all());
    let sync = take_sync(&mut guest, SyncSignal::Sev);
    let refused = sync.complete(&early).unwrap_err();
    assert_eq!(*refused.error(), WrongToken::Early);
    // It is given back, to be completed by a later one.
    let late = guest.relay.flush().unwrap();
    let signal = refused.into_value().complete(&late).unwrap();
    assert_eq!(signal, SyncSignal::Sev);
}

#[test]
fn a_flush_of_another_relay_completes_nothing() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let (mut other, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let taken = take_sync(&mut guest, SyncSignal::None);
    let _others = other.take(sync());
    let foreign = other.relay.flush().unwrap();
    let refused = taken.complete(&foreign).unwrap_err();
    assert_eq!(*refused.error(), WrongToken::Foreign);
}
