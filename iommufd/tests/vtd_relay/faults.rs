//! What a guest is told of what it has programmed wrong.

use vtd_types::{FaultReason, Pasid, PasidEntry, RequestKind, SourceId};

use crate::guest::{
    Guest, ROOT, cc_inv, context, directory, entry, first_stage, on, pasid, pc_inv, scalable,
    source, with_directory,
};

/// The fault that the guest is told, with whose it is.
fn told(guest: &mut Guest) -> Option<(FaultReason, SourceId, Option<Pasid>)> {
    let record = guest.relay.take_fault()?;
    assert_eq!(guest.relay.take_fault(), None, "one");
    let vtd_types::Fault::Request(fault) = record.decode().unwrap() else {
        panic!("{record:?}");
    };
    assert_eq!((fault.address.get(), fault.kind), (0, RequestKind::Read));
    Some((fault.reason, fault.source, fault.pasid))
}

fn untagged(reason: FaultReason) -> Option<(FaultReason, SourceId, Option<Pasid>)> {
    Some((reason, source(0), None))
}

#[test]
fn a_bad_entry_is_told_once() {
    let (mut guest, _ports) = Guest::with_devices(&[PasidEntry::default()]);
    assert_eq!(
        told(&mut guest),
        None,
        "of what is not there nothing is told"
    );
    // PGSNP was not offered.
    guest.write_entry(0, 0, &first_stage(0, 2).with_pgsnp(true));
    guest.carries_out(&[pc_inv(2, 0)]);
    assert_eq!(told(&mut guest), untagged(FaultReason::Spt3));
    guest.carries_out(&[pc_inv(2, 0), cc_inv(0)]);
    assert_eq!(told(&mut guest), None);
    let wrong = PasidEntry::from_words([1 | 7 << 6, 2, 0, 0, 0, 0, 0, 0]);
    guest.write_entry(0, 0, &wrong);
    guest.carries_out(&[pc_inv(2, 0)]);
    assert_eq!(told(&mut guest), untagged(FaultReason::Spt4));
    guest.write_entry(0, 0, &first_stage(0, 2));
    guest.carries_out(&[pc_inv(2, 0)]);
    guest.write_entry(0, 0, &wrong.with_fpd(true));
    guest.carries_out(&[pc_inv(2, 0)]);
    assert_eq!(told(&mut guest), None, "it does not want to hear of it");
    guest.write_entry(0, 5, &wrong);
    guest.carries_out(&[pc_inv(2, 5)]);
    let of_five = Some((FaultReason::Spt4, source(0), Some(pasid(5))));
    assert_eq!(told(&mut guest), of_five);
}

#[test]
fn every_step_to_an_entry_has_its_faults() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let page = |at: u64| at & !0xfff..(at & !0xfff) + 0x1000;
    for (at, reason) in [
        (ROOT, FaultReason::Srt1),
        (context(0), FaultReason::Sct1),
        (directory(0), FaultReason::Spd1),
        (entry(0, 0), FaultReason::Spt1),
    ] {
        guest.memory.hole(page(at));
        guest.carries_out(&[cc_inv(0)]);
        assert_eq!(told(&mut guest), untagged(reason));
        guest.memory.no_holes();
        guest.carries_out(&[cc_inv(0)]);
        assert_eq!(told(&mut guest), None);
    }
    for (at, bits, reason) in [
        (ROOT, 1 << 5, FaultReason::Srt3),
        (context(0), 1 << 5, FaultReason::Sct3),
        (directory(0), 1 << 5, FaultReason::Spd3),
        (entry(0, 0), 1 << 10, FaultReason::Spt3),
    ] {
        let word = guest.memory.word(at);
        guest.memory.write_words(at, &[word | bits]);
        guest.carries_out(&[cc_inv(0)]);
        assert_eq!(told(&mut guest), untagged(reason));
        guest.memory.write_words(at, &[word & !1 | bits]);
        guest.carries_out(&[cc_inv(0)]);
        assert_eq!(told(&mut guest), None, "not present");
        guest.memory.write_words(at, &[word]);
        guest.carries_out(&[cc_inv(0)]);
    }
}

#[test]
fn entries_above_can_keep_faults_from_being_recorded() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let bad = first_stage(0, 2).with_pgsnp(true);
    guest.write_context(0, &with_directory(0).with_fpd(true));
    guest.write_entry(0, 0, &bad);
    guest.carries_out(&[cc_inv(0)]);
    assert_eq!(told(&mut guest), None);
    guest.write_context(0, &with_directory(0));
    let word = guest.memory.word(directory(0));
    guest.memory.write_words(directory(0), &[word | 2]);
    guest.carries_out(&[cc_inv(0)]);
    assert_eq!(told(&mut guest), None);
    guest.memory.write_words(directory(0), &[word]);
    guest.carries_out(&[cc_inv(0)]);
    assert_eq!(told(&mut guest), untagged(FaultReason::Spt3));
    // A context entry that is bad itself.
    guest.write_context(0, &with_directory(0).with_rid_priv(true).with_fpd(true));
    guest.carries_out(&[cc_inv(0)]);
    assert_eq!(told(&mut guest), None);
}

#[test]
fn a_register_that_is_programmed_wrong_is_told() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let reserved = scalable().bits() & !0xc00 | 2 << 10;
    let rtaddr = vtd_types::Rtaddr::from_bits(reserved);
    let set = on().with_srtp(true);
    guest.relay.write_gcmd(set, rtaddr, &guest.memory);
    assert_eq!(told(&mut guest), untagged(FaultReason::Rta1));
}

#[test]
fn a_device_that_is_numbered_anew_has_nothing_to_tell_of_before() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2).with_pgsnp(true)]);
    guest
        .relay
        .assign(&ports[0], Some(source(9)), &guest.memory)
        .unwrap();
    assert_eq!(told(&mut guest), None);
}
