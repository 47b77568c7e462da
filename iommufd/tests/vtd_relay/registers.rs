//! Where the guest's registers put devices.

use iommufd::vtd::relay::{Place, Report};
use vtd_types::{Agaw, ContextEntry, Gcmd, Invalidation, NotNested, Rtaddr, TranslationType};

use crate::guest::{
    Guest, ROOT, cc_inv, domain, first_stage, gpa, off, offered, on, page_table, pasid,
    pass_through, pc_inv, piotlb, scalable, source, translated, with_directory,
};
use crate::model::{Call, Dev};

#[test]
fn while_nothing_is_translated_devices_bypass_and_pasids_are_refused() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.write_entry(0, 5, &first_stage(1, 3));
    guest.carries_out(&[pc_inv(3, 5)]);
    assert_eq!(guest.place(0, Some(5)), translated(&first_stage(1, 3)));
    guest.gcmd(off());
    assert_eq!(guest.place(0, None), Place::Bypass);
    assert_eq!(guest.place(0, Some(5)), Place::Blocked);
    assert_eq!(guest.relay.place(&ports[0], None), Some(Place::Bypass));
    // What is invalidated then is looked at later.
    let reads = guest.memory.reads();
    assert_eq!(guest.carries_out(&[pc_inv(3, 5), cc_inv(0)]), []);
    assert_eq!(guest.memory.reads(), reads);
    guest.write_entry(0, 5, &first_stage(0, 3));
    guest.gcmd(on());
    assert_eq!(guest.place(0, None), translated(&first_stage(0, 2)));
    assert_eq!(guest.place(0, Some(5)), translated(&first_stage(0, 3)));
}

#[test]
fn what_does_not_change_moves_nobody() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let reads = guest.memory.reads();
    guest.gcmd(on());
    guest.gcmd(on().with_qie(false));
    guest.gcmd(on().with_wbf(true));
    assert_eq!((guest.model.calls(), guest.memory.reads()), (vec![], reads));
}

#[test]
fn a_new_root_table_counts_from_when_it_is_set() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let other = Rtaddr::from_bits(0x3_8000 | 1 << 10);
    let status = guest.relay.write_gcmd(on(), other, &guest.memory);
    assert!(status.rtps());
    assert_eq!(guest.place(0, None), translated(&first_stage(0, 2)));
    let set = on().with_srtp(true);
    guest.relay.write_gcmd(set, other, &guest.memory);
    assert_eq!(guest.place(0, None), Place::Blocked, "it is empty");
    guest.relay.write_gcmd(set, scalable(), &guest.memory);
    assert_eq!(guest.place(0, None), translated(&first_stage(0, 2)));
}

/// That is what `CAP_REG.ESRTPS` says, which the guest is offered: it invalidates nothing by itself then.
#[test]
fn with_the_root_table_all_translations_are_set_anew() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2), pass_through(2)]);
    guest.write_entry(0, 5, &first_stage(1, 3));
    guest.write_entry(0, 6, &pass_through(3));
    guest.write_entry(0, 7, &first_stage(1, 3));
    guest.carries_out(&[pc_inv(3, 5), pc_inv(3, 6), pc_inv(3, 7)]);
    assert!(offered().cap.esrtps());
    // One that is said before is done with it.
    let _taken = guest.take(piotlb(3, 5));
    guest.write_entry(0, 7, &first_stage(0, 3));
    guest.model.calls();
    guest.gcmd(on().with_srtp(true));
    let all =
        |number: Option<u32>| Call::Invalidate(Dev(0), number.map(pasid), vec![Invalidation::ALL]);
    let moved = Call::Put(Dev(0), Some(pasid(7)), translated(&first_stage(0, 3)));
    assert_eq!(guest.model.calls(), [moved, all(None), all(Some(5))]);
}

#[test]
fn a_mode_that_has_no_tables_blocks_all() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    let set = on().with_srtp(true);
    for mode in [2, 3] {
        let rtaddr = Rtaddr::from_bits(ROOT | mode << 10);
        guest.relay.write_gcmd(set, rtaddr, &guest.memory);
        assert_eq!(guest.place(0, None), Place::Blocked);
        guest.gcmd(set);
        assert_eq!(guest.place(0, None), translated(&first_stage(0, 2)));
    }
}

#[test]
fn in_legacy_mode_there_is_pass_through() {
    let mut guest = Guest::new();
    let _port = guest.plug(1, Some(1));
    // The context table of bus 0 is a page of entries of 16 bytes.
    let at = 0x2000 + 8 * 16;
    let write = |guest: &Guest, entry: ContextEntry| guest.memory.write(at, &entry.to_bytes());
    let through = ContextEntry::default()
        .with_p(true)
        .with_tt(TranslationType::PassThrough)
        .with_aw(Agaw::Four)
        .with_did(domain(4));
    write(&guest, through);
    let legacy = Rtaddr::from_bits(0x3_8000);
    guest.memory.write_words(0x3_8000, &[0x2001, 0]);
    let set = on().with_srtp(true);
    guest.relay.write_gcmd(set, legacy, &guest.memory);
    assert_eq!(guest.place(1, None), Place::Bypass);
    // A second stage is nothing that iommufd can do.
    let second = through
        .with_tt(TranslationType::SecondStage)
        .with_ssptptr(gpa(page_table(0)));
    write(&guest, second);
    assert_eq!(
        guest.carries_out(&[cc_inv(1)]),
        [Call::Put(Dev(1), None, Place::Blocked)]
    );
    let reports = guest.relay.take_reports();
    assert!(
        matches!(
            reports[..],
            [Report::Inexpressible {
                source: Some(of),
                pasid: None,
                why: NotNested::SecondStage(stage),
            }] if of == source(1) && stage.table == gpa(page_table(0))
        ),
        "{reports:?}"
    );
    guest.carries_out(&[cc_inv(1)]);
    assert_eq!(guest.relay.take_reports(), [], "once");
    assert_eq!(guest.relay.take_fault(), None, "the guest did it well");
    write(&guest, through);
    guest.carries_out(&[cc_inv(1)]);
    assert_eq!(guest.place(1, None), Place::Bypass);
}

#[test]
fn a_reset_is_as_at_first() {
    let (mut guest, ports) = Guest::with_devices(&[first_stage(0, 2), pass_through(1)]);
    guest.write_entry(0, 5, &first_stage(1, 3));
    guest.carries_out(&[pc_inv(3, 5)]);
    let asked = guest.model.asks(Dev(0), 7, 1, Some(pasid(5)));
    let _told = guest.relay.page_requests(asked);
    guest.relay.reset();
    assert_eq!(guest.relay.status().bits(), 0);
    assert_eq!(guest.place(0, None), Place::Bypass);
    assert_eq!(guest.place(0, Some(5)), Place::Blocked);
    assert_eq!(guest.place(1, None), Place::Bypass);
    assert_eq!(guest.relay.source(&ports[0]), Some(source(0)));
    assert_eq!(guest.model.answers().len(), 1);
    let status = guest
        .relay
        .write_gcmd(Gcmd::default(), scalable(), &guest.memory);
    assert_eq!(status.bits(), 0);
}

#[test]
fn a_directory_that_is_switched_off_blocks_its_pasids() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    for number in [1, 63, 64, 255] {
        guest.write_entry(0, number, &first_stage(1, 3));
        guest.carries_out(&[pc_inv(3, number)]);
        assert_eq!(guest.place(0, Some(number)), translated(&first_stage(1, 3)));
    }
    // Of 9 bits: that is more than was offered.
    guest.write_entry(0, 256, &first_stage(1, 3));
    assert_eq!(guest.carries_out(&[pc_inv(3, 256)]), []);
    guest.write_context(0, &with_directory(0).with_paside(false));
    let calls = guest.carries_out(&[cc_inv(0)]);
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert_eq!(guest.model.pasids(Dev(0)), 0);
    assert_eq!(guest.place(0, None), translated(&first_stage(0, 2)));
    assert_eq!(
        guest.carries_out(&[pc_inv(3, 1)]),
        [],
        "it is not looked at"
    );
    assert_eq!(guest.relay.take_fault(), None);
    assert!(offered().ecap.pasid());
}
