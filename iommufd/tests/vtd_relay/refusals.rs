//! A host that refuses.

use iommufd::vtd::relay::{NotFlushed, Place, PortError, Report};
use vtd_types::{Invalidation, PasidEntry};

use crate::guest::{
    Guest, first_stage, off, on, pasid, pass_through, pc_inv, piotlb, piotlb_pages, source,
    translated,
};
use crate::model::{Call, Dev, Refusal};

fn is_pages(call: &Call) -> bool {
    matches!(call, Call::Invalidate(_, _, batch) if *batch != [Invalidation::ALL])
}

fn blocks(call: &Call) -> bool {
    matches!(call, Call::Put(_, _, Place::Blocked))
}

/// Devices 0 and 1, of which each has PASID 5.
fn guest() -> (Guest, Vec<iommufd::vtd::relay::Port>) {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2), first_stage(0, 2)]);
    for number in [0, 1] {
        guest.write_entry(number, 5, &first_stage(1, 2));
    }
    guest.carries_out(&[pc_inv(2, 5)]);
    (guest, ports)
}

#[test]
fn refused_invalidations_are_covered_by_more() {
    let (mut guest, _ports) = guest();
    guest.model.refuse(is_pages);
    let calls = guest.carries_out(&[piotlb_pages(2, 5, 1, 0), piotlb_pages(2, 5, 3, 0)]);
    let all = |device| Call::Invalidate(Dev(device), Some(pasid(5)), vec![Invalidation::ALL]);
    assert_eq!(calls, [all(0), all(1)]);
    let refused = |number| Report::InvalidationRefused {
        source: Some(source(number)),
        pasid: Some(pasid(5)),
        count: 2,
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports(), [refused(0), refused(1)]);
    assert_eq!(guest.relay.take_reports(), []);
    assert_eq!(guest.place(0, Some(5)), translated(&first_stage(1, 2)));
}

#[test]
fn what_cannot_be_forgotten_is_blocked_alone() {
    let (mut guest, _ports) = guest();
    guest
        .model
        .refuse(|call| matches!(call, Call::Invalidate(Dev(0), Some(_), _)));
    let calls = guest.carries_out(&[piotlb(2, 5), piotlb(2, 0)]);
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert_eq!(guest.place(0, Some(5)), Place::Blocked);
    assert_eq!(guest.place(0, None), translated(&first_stage(0, 2)));
    assert_eq!(guest.place(1, Some(5)), translated(&first_stage(1, 2)));
    let stale = Report::TranslationsStale {
        source: Some(source(0)),
        pasid: Some(pasid(5)),
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports()[1..], [stale]);
    // It comes back when the guest speaks of it.
    guest.model.accept();
    assert_eq!(guest.carries_out(&[piotlb(2, 5)]).len(), 1);
    assert_eq!(
        guest.carries_out(&[pc_inv(2, 5)]),
        [Call::Put(
            Dev(0),
            Some(pasid(5)),
            translated(&first_stage(1, 2))
        )]
    );
}

#[test]
fn a_refused_place_is_blocked_at_once_until_it_is_looked_at_anew() {
    let (mut guest, ports) = guest();
    guest.write_entry(0, 5, &pass_through(2));
    guest
        .model
        .refuse(|call| matches!(call, Call::Put(_, Some(_), Place::Bypass)));
    let _taken = guest.take(pc_inv(2, 5));
    assert_eq!(guest.place(0, Some(5)), Place::Blocked);
    let refused = Report::PlaceRefused {
        source: Some(source(0)),
        pasid: Some(pasid(5)),
        place: Place::Bypass,
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports(), [refused]);
    assert_eq!(
        guest.relay.place(&ports[0], Some(pasid(5))),
        Some(Place::Blocked)
    );
    guest.model.accept();
    guest.carries_out(&[pc_inv(2, 5)]);
    assert_eq!(guest.place(0, Some(5)), Place::Bypass);
}

#[test]
fn what_cannot_be_blocked_lets_nothing_complete() {
    let (mut guest, ports) = guest();
    guest.write_entry(0, 5, &PasidEntry::default());
    guest.model.refuse(blocks);
    let _taken = guest.take(pc_inv(2, 5));
    assert_eq!(guest.relay.place(&ports[0], Some(pasid(5))), None);
    for _ in 0..2 {
        let refused = guest.relay.flush();
        assert_eq!(refused, Err(NotFlushed { devices: 1 }));
    }
    let report = Report::NotBlocked {
        source: Some(source(0)),
        pasid: Some(pasid(5)),
        error: Refusal,
    };
    assert_eq!(
        guest.relay.take_reports(),
        [report.clone(), report.clone(), report]
    );
    guest.model.accept();
    let _flushed = guest.relay.flush().unwrap();
    assert_eq!(
        guest.relay.place(&ports[0], Some(pasid(5))),
        Some(Place::Blocked)
    );
    assert_eq!(guest.model.pasids(Dev(0)), 0);
}

#[test]
fn a_device_that_cannot_be_taken_off_its_tables_stays() {
    let (mut guest, mut ports) = guest();
    let memory = guest.memory.clone();
    for which in [
        |call: &Call| matches!(call, Call::Put(_, None, Place::Blocked)),
        |call: &Call| matches!(call, Call::Put(_, Some(_), Place::Blocked)),
    ] {
        guest.model.refuse(which);
        let moved = guest.relay.assign(&ports[0], Some(source(9)), &memory);
        assert_eq!(moved, Err(PortError::NotBlocked));
        assert_eq!(guest.relay.source(&ports[0]), Some(source(0)));
        // It is put back where it was when it can be moved again.
        guest.model.accept();
        guest.carries_out(&[crate::guest::cc_inv(0)]);
        assert_eq!(guest.place(0, Some(5)), translated(&first_stage(1, 2)));
    }
    guest.model.refuse(blocks);
    let refused = guest.relay.unplug(ports.remove(0)).unwrap_err();
    assert_eq!(*refused.error(), PortError::NotBlocked);
    let port = refused.into_value();
    guest.model.accept();
    assert_eq!(guest.relay.unplug(port).unwrap(), Dev(0));
}

#[test]
fn a_device_that_cannot_come_or_leave_is_given_back_or_stays() {
    let (mut guest, mut ports) = guest();
    let memory = guest.memory.clone();
    guest
        .model
        .refuse(|call| matches!(call, Call::Enter(_) | Call::Leave(_)));
    let refused = guest
        .relay
        .plug(Dev(7), Some(source(7)), &memory)
        .unwrap_err();
    assert_eq!(*refused.error(), PortError::Enter(Refusal));
    assert_eq!(refused.into_value(), Dev(7));
    let refused = guest.relay.unplug(ports.remove(1)).unwrap_err();
    assert_eq!(*refused.error(), PortError::Leave(Refusal));
    let port = refused.into_value();
    assert_eq!(guest.relay.source(&port), None);
    assert_eq!(guest.place(1, None), Place::Blocked);
    guest.model.accept();
    // Another can have its number, and it can have another.
    let other = guest.relay.plug(Dev(7), Some(source(1)), &memory).unwrap();
    assert_eq!(guest.place(7, None), translated(&first_stage(0, 2)));
    assert_eq!(
        guest.relay.assign(&port, Some(source(1)), &memory),
        Err(PortError::SourceTaken(source(1)))
    );
    assert_eq!(guest.relay.unplug(port).unwrap(), Dev(1));
    assert_eq!(guest.relay.source(&other), Some(source(1)));
}

#[test]
fn a_refusal_while_translation_is_turned_on_blocks() {
    let (mut guest, ports) = guest();
    guest.gcmd(off());
    guest
        .model
        .refuse(|call| matches!(call, Call::Put(Dev(0), None, Place::Translated(_))));
    guest.gcmd(on());
    assert_eq!(guest.place(0, None), Place::Blocked, "not left to bypass");
    assert_eq!(guest.relay.place(&ports[0], None), Some(Place::Blocked));
    assert_eq!(guest.place(1, None), translated(&first_stage(0, 2)));
    let reports = guest.relay.take_reports();
    assert!(matches!(reports[..], [Report::PlaceRefused { .. }]));
}

#[test]
fn reports_that_nobody_takes_do_not_pile_up() {
    let (mut guest, _ports) = guest();
    guest.model.refuse(is_pages);
    for _ in 0..200 {
        guest.carries_out(&[piotlb_pages(2, 0, 1, 0)]);
    }
    let reports = guest.relay.take_reports();
    assert_eq!(reports.len(), 65);
    assert_eq!(reports[0], Report::Lost(400 - 64));
}
