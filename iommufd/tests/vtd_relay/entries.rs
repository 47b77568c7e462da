//! PASID table entries, and what the guest says of them.

use iommufd::vtd::relay::{Place, Report};
use vtd_types::{
    ContextCacheScope, Descriptor, FunctionMask, Invalidation, PasidCacheScope, PasidEntry,
};

use crate::guest::{
    Guest, cc_inv, directory, domain, features_of, first_stage, offered, on, pasid, pass_through,
    pc_inv, piotlb, source, translated, with_directory,
};
use crate::model::{Call, Dev, Model};
use crate::world::Memory;

fn put(device: u32, number: Option<u32>, place: Place) -> Call {
    Call::Put(Dev(device), number.map(pasid), place)
}

#[test]
fn an_entry_counts_when_the_guest_has_invalidated_it() {
    let (mut guest, _ports) = Guest::with_devices(&[PasidEntry::default()]);
    assert_eq!(guest.place(0, None), Place::Blocked);
    let entry = first_stage(0, 2);
    guest.write_entry(0, 0, &entry);
    assert_eq!(guest.carries_out(&[piotlb(2, 0)]), [], "not by this");
    assert_eq!(
        guest.carries_out(&[pc_inv(2, 0)]),
        [put(0, None, translated(&entry))]
    );
    assert_eq!(guest.carries_out(&[pc_inv(2, 0)]), [], "it is what it was");
    guest.write_entry(0, 0, &pass_through(1));
    assert_eq!(
        guest.carries_out(&[pc_inv(3, 0)]),
        [],
        "it is cached by domain 2"
    );
    assert_eq!(
        guest.carries_out(&[pc_inv(2, 0)]),
        [put(0, None, Place::Bypass)]
    );
    guest.write_entry(0, 0, &PasidEntry::default());
    assert_eq!(
        guest.carries_out(&[pc_inv(1, 0)]),
        [put(0, None, Place::Blocked)]
    );
    assert_eq!(guest.relay.take_reports(), []);
}

#[test]
fn each_pasid_of_each_device_has_a_table_of_its_own() {
    let entry = first_stage(0, 2);
    let (mut guest, ports) = Guest::with_devices(&[entry, entry]);
    let of_pasid = first_stage(1, 2);
    guest.write_entry(0, 5, &of_pasid);
    guest.write_entry(1, 5, &of_pasid);
    let all = [
        put(0, Some(5), translated(&of_pasid)),
        put(1, Some(5), translated(&of_pasid)),
    ];
    assert_eq!(guest.carries_out(&[pc_inv(2, 5)]), all);
    assert_eq!(guest.place(0, None), translated(&entry));
    guest.write_entry(1, 5, &PasidEntry::default());
    assert_eq!(
        guest.carries_out(&[pc_inv(2, 5)]),
        [put(1, Some(5), Place::Blocked)]
    );
    assert_eq!(
        guest.relay.place(&ports[0], Some(pasid(5))),
        Some(translated(&of_pasid))
    );
    assert_eq!(
        guest.relay.place(&ports[1], Some(pasid(5))),
        Some(Place::Blocked)
    );
    assert_eq!(
        guest.relay.place(&ports[0], Some(pasid(0))),
        Some(translated(&entry))
    );
}

#[test]
fn requests_without_a_pasid_are_of_the_one_that_the_context_entry_names() {
    let mut capabilities = offered();
    capabilities.ecap = capabilities.ecap.with_rps(true);
    let mut guest = Guest::with(capabilities, 0);
    guest.gcmd(on().with_srtp(true));
    guest.write_context(1, &with_directory(0).with_rid_pasid(pasid(7)));
    let (seventh, zeroth) = (first_stage(0, 2), first_stage(1, 3));
    guest.write_entry(0, 7, &seventh);
    guest.write_entry(0, 0, &zeroth);
    let _port = guest.plug(1, Some(1));
    assert_eq!(guest.place(1, None), translated(&seventh));
    assert_eq!(guest.place(1, Some(7)), translated(&seventh));
    // Both are told apart by nobody but the host.
    let all = Invalidation::ALL;
    assert_eq!(
        guest.carries_out(&[piotlb(2, 7)]),
        [
            Call::Invalidate(Dev(1), None, vec![all]),
            Call::Invalidate(Dev(1), Some(pasid(7)), vec![all]),
        ]
    );
    assert_eq!(guest.carries_out(&[piotlb(3, 0)]), [], "that is nobody's");
    guest.write_entry(0, 7, &pass_through(2));
    assert_eq!(
        guest.carries_out(&[pc_inv(2, 7)]),
        [put(1, None, Place::Bypass), put(1, Some(7), Place::Bypass)]
    );
    assert_eq!(features_of(capabilities), *guest.relay.features());
}

#[test]
fn a_change_of_the_domain_alone_forgets_what_was_cached() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.write_entry(0, 0, &first_stage(0, 4));
    let all = [Call::Invalidate(Dev(0), None, vec![Invalidation::ALL])];
    assert_eq!(guest.carries_out(&[pc_inv(2, 0)]), all);
    // From now on it is of that domain.
    assert_eq!(guest.carries_out(&[piotlb(2, 0)]), []);
    assert_eq!(guest.carries_out(&[piotlb(4, 0)]), all);
}

#[test]
fn all_entries_are_found_that_are_there_when_all_are_forgotten() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2), first_stage(0, 3)]);
    let entry = first_stage(1, 2);
    for number in [1, 63, 64, 130, 255] {
        guest.write_entry(0, number, &entry);
    }
    let found: Vec<_> = [1, 63, 64, 130, 255]
        .map(|number| put(0, Some(number), translated(&entry)))
        .into();
    let global = Descriptor::PasidCache(PasidCacheScope::Global);
    assert_eq!(guest.carries_out(&[global]), found);
    for number in [1, 63, 64, 130, 255] {
        guest.write_entry(0, number, &PasidEntry::default());
    }
    let of = |of| Descriptor::PasidCache(PasidCacheScope::Domain(domain(of)));
    assert_eq!(
        guest.carries_out(&[of(3)]),
        [],
        "they are of another domain"
    );
    assert_eq!(guest.carries_out(&[of(2)]).len(), 5);
    assert_eq!(guest.model.pasids(Dev(0)), 0);
}

#[test]
fn a_context_entry_is_looked_at_with_all_that_is_behind_it() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2), first_stage(0, 3)]);
    // Another directory: device 0 has it, device 1 not yet.
    guest.write_entry(2, 0, &first_stage(1, 2));
    guest.write_entry(2, 9, &pass_through(2));
    guest.write_context(0, &with_directory(2));
    guest.write_context(1, &with_directory(2));
    assert_eq!(
        guest.carries_out(&[cc_inv(0)]),
        [
            put(0, None, translated(&first_stage(1, 2))),
            put(0, Some(9), Place::Bypass)
        ]
    );
    let calls = guest.carries_out(&[Descriptor::ContextCache(ContextCacheScope::Global)]);
    assert_eq!(calls.len(), 2, "{calls:?}");
    guest.write_context(0, &with_directory(0).with_p(false));
    guest.carries_out(&[cc_inv(0)]);
    assert_eq!(guest.place(0, None), Place::Blocked);
    assert_eq!(guest.place(0, Some(9)), Place::Blocked);
    assert_eq!(guest.place(1, Some(9)), Place::Bypass);
}

#[test]
fn functions_of_a_device_are_meant_together() {
    let mut guest = Guest::new();
    guest.gcmd(on());
    let functions = [0x10, 0x12, 0x15, 0x18].map(vtd_types::SourceId::new);
    for (number, of) in (0..).zip(functions) {
        let memory = guest.memory.clone();
        let _port = guest.relay.plug(Dev(number), Some(of), &memory).unwrap();
        let at = 0x2000 + 32 * u64::from(of);
        guest.memory.write(at, &with_directory(0).to_bytes());
    }
    guest.write_entry(0, 0, &pass_through(1));
    let meant = |functions| {
        Descriptor::ContextCache(ContextCacheScope::Device {
            domain: domain(0),
            source: vtd_types::SourceId::new(0x11),
            functions,
        })
    };
    assert_eq!(guest.carries_out(&[meant(FunctionMask::None)]), []);
    let moved = |calls: Vec<Call>| -> Vec<_> {
        let device = |call: &Call| match call {
            Call::Put(Dev(device), None, Place::Bypass) => *device,
            other => panic!("{other:?}"),
        };
        calls.iter().map(device).collect()
    };
    assert_eq!(moved(guest.carries_out(&[meant(FunctionMask::Bit2)])), [2]);
    assert_eq!(
        moved(guest.carries_out(&[meant(FunctionMask::All)])),
        [0, 1]
    );
}

#[test]
fn no_more_pasids_are_attached_than_there_may_be() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    guest.relay.limit_pasids(3);
    let entry = first_stage(1, 2);
    for number in 1..=5 {
        guest.write_entry(0, number, &entry);
    }
    guest.carries_out(&[Descriptor::PasidCache(PasidCacheScope::Global)]);
    assert_eq!(guest.model.pasids(Dev(0)), 3);
    let too_many = |number| Report::TooManyPasids {
        source: Some(source(0)),
        pasid: pasid(number),
        most: 3,
    };
    assert_eq!(guest.relay.take_reports(), [too_many(4), too_many(5)]);
    // One goes, and another can come.
    guest.write_entry(0, 2, &PasidEntry::default());
    assert_eq!(
        guest.carries_out(&[pc_inv(2, 2), pc_inv(2, 5)]),
        [
            put(0, Some(2), Place::Blocked),
            put(0, Some(5), translated(&entry))
        ]
    );
}

#[test]
fn a_host_can_have_fewer_pasids_than_the_guest() {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2)]);
    for (bits, reach) in [(0, 0), (3, 8)] {
        guest.model.0.borrow_mut().pasid_bits = bits;
        for number in 1..20 {
            guest.write_entry(0, number, &pass_through(2));
            guest.carries_out(&[pc_inv(2, number)]);
            let is = guest.place(0, Some(number));
            assert_eq!(is == Place::Bypass, number < reach);
        }
        let global = Descriptor::PasidCache(PasidCacheScope::Global);
        assert_eq!(guest.carries_out(&[global]), []);
    }
}

#[test]
fn a_directory_of_which_every_entry_is_the_same_ends() {
    let memory = Memory::new();
    let model = Model::new(&memory, 0);
    let mut capabilities = offered();
    capabilities.ecap = capabilities.ecap.with_pss(19);
    let mut relay = iommufd::vtd::relay::Relay::new(model, features_of(capabilities)).unwrap();
    let guest = Guest::new();
    relay.limit_pasids(50);
    // All 2^14 directory entries point to one page of entries.
    guest.write_context(0, &with_directory(0).with_pdts(7));
    let page = 0x3_0000;
    for at in (directory(0)..directory(0) + (8 << 14)).step_by(8) {
        guest.memory.write_words(at, &[page | 1]);
    }
    for at in (page..page + 0x1000).step_by(64) {
        guest.memory.write(at, &pass_through(1).to_bytes());
    }
    relay.write_gcmd(
        on().with_srtp(true),
        crate::guest::scalable(),
        &guest.memory,
    );
    let memory = guest.memory.clone();
    let _port = relay.plug(Dev(0), Some(source(0)), &memory).unwrap();
    let reads = guest.memory.reads();
    assert!(reads < 2 * (1 << 14) + 10, "{reads}");
    assert_eq!(relay.host().pasids(Dev(0)), 50);
    assert!(!relay.take_reports().is_empty());
}

#[test]
fn of_a_directory_that_has_become_smaller_the_first_pasid_that_is_not_there_any_more_is_blocked() {
    let mut capabilities = offered();
    capabilities.ecap = capabilities.ecap.with_pss(13);
    let mut guest = Guest::with(capabilities, 0);
    guest.gcmd(on().with_srtp(true));
    // Of 13 bits, and of 14.
    let (smaller, larger) = (with_directory(0), with_directory(0).with_pdts(1));
    let (last, first) = (0x1fff, 0x2000);
    let pages = [0x3_0000, 0x3_1000];
    guest
        .memory
        .write_words(directory(0) + 8 * 127, &pages.map(|page| page | 1));
    let entry = pass_through(1).to_bytes();
    guest.memory.write(pages[0] + 64 * 63, &entry);
    guest.memory.write(pages[1], &entry);
    guest.write_context(0, &larger);
    let _port = guest.plug(0, Some(0));
    let places = |guest: &Guest| [last, first].map(|number| guest.place(0, Some(number)));
    assert_eq!(places(&guest), [Place::Bypass; 2]);
    guest.write_context(0, &smaller);
    assert_eq!(
        guest.carries_out(&[cc_inv(0)]),
        [put(0, Some(first), Place::Blocked)]
    );
    assert_eq!(places(&guest), [Place::Bypass, Place::Blocked]);
    // Nor does it come back when it alone is looked at.
    assert_eq!(guest.carries_out(&[pc_inv(1, first)]), []);
    guest.write_context(0, &larger);
    assert_eq!(
        guest.carries_out(&[cc_inv(0)]),
        [put(0, Some(first), Place::Bypass)]
    );
}
