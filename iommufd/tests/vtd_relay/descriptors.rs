//! What becomes of a guest's descriptors.

use iommufd::vtd::relay::{Place, Taken};
use vtd_types::{
    AddressMask, BadDescriptor, Descriptor, DescriptorKind, DeviceTlbRange, InputAddress,
    Invalidation, IotlbScope, PageRequestGroup, PageResponse, PageSelection, Rtaddr,
};

use crate::guest::{
    Guest, ROOT, domain, first_stage, iotlb, on, pasid, pass_through, pc_inv, piotlb, piotlb_pages,
    source, translated,
};
use crate::model::{Call, Dev};

/// Devices 0 and 1 have domain 2, device 2 has domain 3, device 3 passes through; PASID 5 of device 0
/// has domain 2, of device 1 domain 3.
fn guest() -> Guest {
    let entries = [
        first_stage(0, 2),
        first_stage(0, 2),
        first_stage(1, 3),
        pass_through(2),
    ];
    let (mut guest, _ports) = Guest::with_devices(&entries);
    guest.write_entry(0, 5, &first_stage(1, 2));
    guest.write_entry(1, 5, &first_stage(1, 3));
    guest.carries_out(&[pc_inv(2, 5)]);
    assert_eq!(guest.place(1, Some(5)), translated(&first_stage(1, 3)));
    guest
}

/// Which tables everything was invalidated of.
fn all(guest: &mut Guest, descriptor: Descriptor) -> Vec<(u32, u32)> {
    let which = |call: Call| match call {
        Call::Invalidate(Dev(device), of, batch) => {
            assert_eq!(batch, [Invalidation::ALL]);
            (device, of.map_or(0, |of| of.get()))
        }
        other => panic!("{other:?}"),
    };
    let calls = guest.carries_out(&[descriptor]);
    calls.into_iter().map(which).collect()
}

#[test]
fn invalidations_go_to_the_tables_that_are_meant() {
    let mut guest = guest();
    assert_eq!(all(&mut guest, piotlb(2, 0)), [(0, 0), (1, 0)]);
    assert_eq!(all(&mut guest, piotlb(3, 0)), [(2, 0)]);
    assert_eq!(all(&mut guest, piotlb(2, 5)), [(0, 5)]);
    assert_eq!(all(&mut guest, piotlb(3, 5)), [(1, 5)]);
    assert_eq!(all(&mut guest, piotlb(4, 5)), []);
    let of_domain = iotlb(IotlbScope::Domain(domain(2)));
    assert_eq!(all(&mut guest, of_domain), [(0, 0), (0, 5), (1, 0)]);
    let whole = [(0, 0), (0, 5), (1, 0), (1, 5), (2, 0)];
    assert_eq!(all(&mut guest, iotlb(IotlbScope::Global)), whole);
    // Pages of a second stage, which the guest has not: everything is never wrong.
    let pages = IotlbScope::Pages {
        domain: domain(3),
        pages: PageSelection::new(InputAddress::new(0x5000), AddressMask::PAGE, true),
    };
    assert_eq!(all(&mut guest, iotlb(pages)), [(1, 5), (2, 0)]);
}

#[test]
fn pages_are_forwarded_in_the_guests_order_and_in_one_call() {
    let mut guest = guest();
    let calls = guest.carries_out(&[
        piotlb_pages(2, 5, 3, 0),
        piotlb_pages(2, 0, 9, 2),
        piotlb_pages(2, 5, 1, 1),
        piotlb_pages(2, 5, 3, 0),
    ]);
    let pages = |page: u64, mask| {
        let mask = AddressMask::new(mask).unwrap();
        let selection = PageSelection::new(InputAddress::new(page << 12), mask, true);
        Invalidation::selection(&selection)
    };
    assert_eq!(
        calls,
        [
            Call::Invalidate(Dev(0), None, vec![pages(9, 2)]),
            Call::Invalidate(
                Dev(0),
                Some(pasid(5)),
                vec![pages(3, 0), pages(1, 1), pages(3, 0)]
            ),
            Call::Invalidate(Dev(1), None, vec![pages(9, 2)]),
        ]
    );
    assert!(pages(3, 0).leaf());
}

#[test]
fn everything_covers_what_is_beside_it() {
    let mut guest = guest();
    let calls = guest.carries_out(&[
        piotlb_pages(3, 0, 3, 0),
        piotlb(3, 0),
        piotlb_pages(3, 0, 4, 0),
    ]);
    assert_eq!(
        calls,
        [Call::Invalidate(Dev(2), None, vec![Invalidation::ALL])]
    );
}

#[test]
fn what_is_gathered_has_an_end() {
    let mut guest = guest();
    for page in 0..3000 {
        let _taken = guest.take(piotlb_pages(3, 0, page, 0));
    }
    let calls = guest.model.calls();
    assert_eq!(calls.len(), 2, "before anybody has flushed");
    let len = |call: &Call| match call {
        Call::Invalidate(_, _, batch) => batch.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(calls.iter().map(len).sum::<usize>(), 2048);
    let _flushed = guest.relay.flush().unwrap();
    assert_eq!(guest.model.calls().iter().map(len).sum::<usize>(), 952);
}

#[test]
fn a_table_that_is_left_needs_no_invalidation() {
    let mut guest = guest();
    guest.write_entry(2, 0, &first_stage(0, 3));
    assert_eq!(
        guest.carries_out(&[piotlb(3, 0), pc_inv(3, 0), piotlb(3, 0)]),
        [
            Call::Put(Dev(2), None, translated(&first_stage(0, 3))),
            Call::Invalidate(Dev(2), None, vec![Invalidation::ALL]),
        ]
    );
}

#[test]
fn what_the_host_does_itself_is_not_forwarded() {
    let mut guest = guest();
    let device = Descriptor::DeviceTlb {
        source: source(0),
        physical_function: source(0),
        max_pending: 0,
        range: DeviceTlbRange::ALL,
    };
    let of_pasid = Descriptor::PasidDeviceTlb {
        source: source(0),
        physical_function: source(0),
        max_pending: 0,
        pasid: Some(pasid(5)),
        range: DeviceTlbRange::ALL,
    };
    assert_eq!(guest.carries_out(&[device, of_pasid]), []);
}

#[test]
fn a_descriptor_of_what_was_not_offered_is_invalid() {
    let mut guest = guest();
    let iec = Descriptor::InterruptEntryCache(None).encode();
    assert_eq!(
        guest.relay.take(iec, &guest.memory),
        Err(BadDescriptor::NotImplemented(
            DescriptorKind::InterruptEntryCache
        ))
    );
    assert_eq!(
        guest.relay.take([0xf; 4], &guest.memory),
        Err(BadDescriptor::Unknown(0xf))
    );
}

#[test]
fn interrupts_are_the_vmms() {
    let mut capabilities = crate::guest::offered();
    capabilities.ecap = capabilities.ecap.with_ir(true);
    let mut guest = Guest::with(capabilities, 0);
    assert_eq!(
        guest.take(Descriptor::InterruptEntryCache(None)),
        Taken::Descriptor
    );
}

#[test]
fn descriptors_are_those_of_the_mode() {
    let mut guest = guest();
    let legacy = Rtaddr::from_bits(ROOT);
    guest
        .relay
        .write_gcmd(on().with_srtp(true), legacy, &guest.memory);
    assert_eq!(guest.place(0, None), Place::Blocked);
    let words = pc_inv(2, 5).encode();
    assert_eq!(
        guest.relay.take(words, &guest.memory),
        Err(BadDescriptor::Mode(DescriptorKind::PasidCache))
    );
    // Of 128 bits.
    let [first, second, ..] = iotlb(IotlbScope::Global).encode().words();
    let taken = guest.relay.take([first, second], &guest.memory);
    assert_eq!(taken, Ok(Taken::Descriptor));
}

#[test]
fn an_answer_to_nobody_is_ignored() {
    let mut guest = guest();
    let answer = Descriptor::PageGroupResponse {
        source: source(0),
        pasid: None,
        group: PageRequestGroup::new(3).unwrap(),
        response: PageResponse::Success,
    };
    assert_eq!(guest.carries_out(&[answer]), []);
}
