//! A wait and the token that completes it.

use iommufd::vtd::relay::{PendingWait, Taken, WaitSignal, WrongToken};
use vtd_types::{Descriptor, StatusWrite};

use crate::guest::{Guest, first_stage, gpa, piotlb, wait};

fn signal(data: u32) -> WaitSignal {
    WaitSignal {
        drain_page_requests: data == 1,
        status: StatusWrite::new(gpa(0x3_0000), data),
        interrupt: data == 2,
    }
}

fn take_wait(guest: &mut Guest, signal: WaitSignal) -> PendingWait {
    let descriptor = Descriptor::Wait {
        interrupt: signal.interrupt,
        status: signal.status,
        fence: true,
        drain_page_requests: signal.drain_page_requests,
    };
    match guest.take(descriptor) {
        Taken::Wait(wait) => wait,
        Taken::Descriptor => panic!("it is a wait"),
    }
}

#[test]
fn a_flush_completes_all_waits_that_were_taken_before() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let first = take_wait(&mut guest, signal(1));
    let _taken = guest.take(piotlb(2, 0));
    let second = take_wait(&mut guest, signal(2));
    let flushed = guest.relay.flush().unwrap();
    assert_eq!(second.complete(&flushed).unwrap(), signal(2));
    assert_eq!(first.complete(&flushed).unwrap(), signal(1));
}

#[test]
fn a_flush_of_before_completes_nothing() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let earlier = take_wait(&mut guest, signal(4));
    let early = guest.relay.flush().unwrap();
    assert_eq!(earlier.complete(&early).unwrap(), signal(4));
    let _taken = guest.take(piotlb(2, 0));
    let wait = take_wait(&mut guest, signal(3));
    let refused = wait.complete(&early).unwrap_err();
    assert_eq!(*refused.error(), WrongToken::Early);
    // It is given back, to be completed by a later one.
    let late = guest.relay.flush().unwrap();
    let told = refused.into_value().complete(&late).unwrap();
    assert_eq!(told, signal(3));
}

#[test]
fn a_flush_of_another_relay_completes_nothing() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let (mut other, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let taken = take_wait(&mut guest, signal(3));
    let _others = other.take(wait());
    let foreign = other.relay.flush().unwrap();
    let refused = taken.complete(&foreign).unwrap_err();
    assert_eq!(*refused.error(), WrongToken::Foreign);
}
