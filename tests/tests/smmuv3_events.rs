//! What a guest is told of its device: events, with the guest's number in them.

use std::thread::sleep;
use std::time::Duration;

use examples::guest::PAGE;
use iommufd::smmuv3::Invalidation;
use iommufd::{VEvent, VEventQueue};
use smmuv3_types::{
    AccessAttributes, Asid, CdTable, CdTableFormat, ContextPointer, Event, Fault, InputAddress,
    Ipa, NestedSte, Requester, Stage1, SubstreamBits,
};
use tests::edu::lone;
use tests::smmu::{Guest, STREAM, VA, further, within};

/// The guest's device, as events have it.
const DEVICE: Requester = Requester {
    stream: STREAM,
    substream: None,
};

/// What a fault at `address` says, of a device that has written or read there without privilege.
fn fault(address: InputAddress, read: bool) -> Fault {
    Fault {
        requester: DEVICE,
        stalled: None,
        access: AccessAttributes {
            read,
            instruction: false,
            privileged: false,
        },
        address,
        stage2: None,
    }
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_address_without_a_translation_is_told_with_the_kind_of_the_access() {
    let guest = Guest::new();
    let space = guest.space(1);
    let _attachment = guest.enter(&space);
    guest.engine.store(VA, 8);
    assert_eq!(guest.event(), Event::Translation(fault(VA, false)));
    guest.engine.fetch(VA, 8);
    assert_eq!(guest.event(), Event::Translation(fault(VA, true)));
    // Beyond what the tables can have: they are for addresses of 48 bits.
    let beyond = InputAddress::new(1 << 48 | 0x1000);
    guest.engine.store(beyond, 8);
    assert_eq!(guest.event(), Event::Translation(fault(beyond, false)));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_page_that_may_only_be_read_is_read_and_a_write_to_it_is_told() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.maps(&space, |leaf| leaf.with_read_only(true));
    let copy = guest.page();
    let next = further(VA, PAGE as u64);
    space.map(next, copy).unwrap();
    let _attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &[page]), None);
    let told = guest.event();
    assert_eq!(
        told,
        Event::Permission {
            fault: fault(VA, false),
            table_access: None
        }
    );
    guest.memory.write(within(page, VA), b"to read.").unwrap();
    guest.engine.fetch(VA, 8);
    guest.engine.store(next, 8);
    assert_eq!(guest.memory.read(within(copy, VA)).unwrap(), *b"to read.");
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_page_without_an_access_flag_is_told_and_used_when_it_has_it() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.maps(&space, |leaf| leaf.with_af(false));
    let _attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &[page]), None);
    assert_eq!(guest.event(), Event::Access(fault(VA, false)));
    space.map(VA, page).unwrap();
    assert_eq!(guest.lands(VA, &[page]), Some(page));
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_address_that_stage_1_may_not_put_out_is_told() {
    let guest = Guest::new();
    let space = guest.space(1);
    // The descriptor has room for 48 bits, and the context for 44.
    space.map(VA, Ipa::new(1 << 45).unwrap()).unwrap();
    let _attachment = guest.enter(&space);
    guest.engine.store(VA, 8);
    assert_eq!(guest.event(), Event::AddrSize(fault(VA, false)));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_context_descriptor_that_is_none_is_told() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let context: [u8; 64] = guest.memory.read(space.descriptor()).unwrap();
    guest.memory.write(space.descriptor(), &[0; 64]).unwrap();
    let _attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &[page]), None);
    assert_eq!(guest.event(), Event::BadCd(DEVICE));
    guest.memory.write(space.descriptor(), &context).unwrap();
    guest.invalidate(&[Invalidation::cfgi_cd_all(STREAM)]);
    assert_eq!(guest.lands(VA, &[page]), Some(page));
    guest.told_nothing();
}

/// The kernel takes them; that this SMMU has neither substreams nor stalls, only the hardware says.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_entry_with_what_the_hardware_has_not_is_told() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let pointer = ContextPointer::new(space.descriptor()).unwrap();
    let bits = SubstreamBits::new(2).unwrap();
    let table = CdTable::aligned_down(pointer, CdTableFormat::Linear, bits);
    let stage1 = space.stage1().unwrap();
    for entry in [
        NestedSte::translate(Stage1::new(table)),
        NestedSte::translate(stage1.with_stall_disabled(true)),
    ] {
        let attachment = guest.attach(&entry);
        assert_eq!(guest.lands(VA, &[page]), None, "{entry:?}");
        assert_eq!(guest.event(), Event::BadSte(DEVICE), "{entry:?}");
        attachment.detach().unwrap();
    }
    let _attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &[page]), Some(page));
}

/// `CD.R` is the guest's word for it.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn faults_that_a_guest_does_not_want_recorded_are_not_told() {
    let guest = Guest::new();
    let space = guest.space(1);
    let context = space.context(Asid::new(1)).unwrap();
    let at = space.descriptor();
    guest
        .memory
        .write(at, &context.with_r(false).to_bytes())
        .unwrap();
    let _attachment = guest.enter(&space);
    guest.engine.store(VA, 8);
    guest.told_nothing();
    guest.memory.write(at, &context.to_bytes()).unwrap();
    guest.invalidate(&[Invalidation::cfgi_cd_all(STREAM)]);
    guest.engine.store(VA, 8);
    assert_eq!(guest.event(), Event::Translation(fault(VA, false)));
}

/// The bus makes two accesses of one of 8 bytes, and each has its event.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_a_full_queue_has_no_room_for_is_counted_and_then_it_works_again() {
    let guest = Guest::with(lone(), 3);
    let space = guest.space(1);
    let _attachment = guest.enter(&space);
    for _ in 0..4 {
        guest.engine.store(VA, 8);
    }
    let told = guest.told();
    let [
        VEvent::Event(first),
        VEvent::Event(second),
        VEvent::Event(third),
        VEvent::Lost(lost),
    ] = told[..]
    else {
        panic!("{told:?}");
    };
    for (record, part) in [(first, 0), (second, 4), (third, 0)] {
        let event = record.decode().unwrap();
        assert_eq!(event, Event::Translation(fault(further(VA, part), false)));
    }
    assert_eq!(lost, 5);
    guest.engine.fetch(VA, 4);
    assert_eq!(guest.event(), Event::Translation(fault(VA, true)));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_queue_that_comes_later_is_told_what_happens_from_then_on() {
    let guest = Guest::new();
    let space = guest.space(1);
    let _attachment = guest.enter(&space);
    let queue = guest.events.take().unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
    guest.engine.store(VA, 8);
    // For the kernel to look at it, and to tell nobody.
    sleep(Duration::from_millis(300));
    let queue = VEventQueue::new(&guest.smmu, 16).unwrap();
    guest.events.replace(Some(queue));
    guest.told_nothing();
    guest.engine.store(VA, 8);
    assert_eq!(guest.event(), Event::Translation(fault(VA, false)));
}
