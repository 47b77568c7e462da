//! Devices, numbers and tables of a guest, while DMA goes through them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use iommufd::smmuv3::{EventRecord, Invalidation, Smmuv3, StaleAsids};
use iommufd::{Error, Leaks, NestedHwPt, VDevice, VEvent, VEventQueue, Viommu};
use smmuv3_types::{Event, InputAddress, Ipa, NestedSte, StreamId};
use tests::edu::{bind, lone, pair};
use tests::raw;
use tests::smmu::{Engine, Guest, STREAM, VA, translate, within};

/// For an event.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of another device.
const SIBLING: StreamId = StreamId::new(0x43);

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn devices_of_one_group_have_one_table_and_a_number_each() {
    let [one, other] = pair();
    let guest = Guest::with(one, 64);
    let (sibling, number) = guest.knows(other, SIBLING);
    let engine = Engine::new(&sibling);
    let space = guest.space(1);
    let page = guest.page();
    let table = guest.table(&translate(&space));
    let stale = StaleAsids::GuestInvalidates;
    let first = guest.vdevice.attach(&table, stale.clone()).unwrap();
    let second = number.attach(&table, stale).unwrap();
    // Each is told of by its number, and by its number alone what it has cached is invalidated.
    for (engine, stream) in [(&guest.engine, STREAM), (&engine, SIBLING)] {
        engine.store(VA, 8);
        assert_eq!(guest.event().stream(), stream);
        guest.invalidate(&[Invalidation::cfgi_cd_all(stream)]);
    }
    space.map(VA, page).unwrap();
    assert_eq!(guest.lands(VA, &[page]), Some(page));
    first.detach().unwrap();
    second.detach().unwrap();
}

/// The numbers are the virtual SMMU's own. The tags in the TLBs are not: one parent is one guest.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn two_virtual_smmus_on_one_parent_know_each_its_own_devices() {
    let guest = Guest::with(lone(), 64);
    let [one, other] = pair();
    let device = bind(one, &guest.iommufd);
    let sibling = bind(other, &guest.iommufd);
    let (smmu, mut events) =
        Viommu::<Smmuv3>::with_events::<EventRecord>(&guest.parent, device.iommu(), 64).unwrap();
    let number = VDevice::new(&smmu, device.iommu(), STREAM).unwrap();
    let _whole_group = VDevice::new(&smmu, sibling.iommu(), SIBLING).unwrap();
    let engine = Engine::new(&device);

    let (ours, theirs) = (guest.space(1), guest.space(2));
    let pages @ [first, second]: [Ipa; 2] = guest.pages();
    ours.map(VA, first).unwrap();
    theirs.map(VA, second).unwrap();
    let mut attachment = guest.enter(&ours);
    let nested = NestedHwPt::new(&smmu, device.iommu(), &translate(&theirs)).unwrap();
    // A table of one is nothing for a device behind the other.
    let stale = StaleAsids::GuestInvalidates;
    let refusal = attachment.replace(guest.vdevice.through(&nested, stale.clone()));
    assert!(
        matches!(
            refusal,
            Err(Error::ForeignVDevice {
                what: "virtual IOMMU",
                ..
            })
        ),
        "{refusal:?}"
    );
    let _other = number.attach(&nested, stale).unwrap();
    assert_eq!(guest.lands(VA, &pages), Some(first));
    guest.clear(&guest.memory, VA, &pages);
    engine.store(VA, 8);
    assert_ne!(guest.memory.read::<8>(within(second, VA)).unwrap(), [0; 8]);

    // Both have the number 0x42, and each is told of its own device.
    let nowhere = InputAddress::new(0xdead_0000);
    guest.engine.store(nowhere, 4);
    assert_eq!(guest.event().stream(), STREAM);
    assert!(events.read().unwrap().is_empty());
    engine.store(nowhere, 4);
    assert!(events.wait(Some(PATIENCE)).unwrap());
    for event in events.read().unwrap() {
        let VEvent::Event(record) = event else {
            panic!("{event:?}");
        };
        assert!(
            matches!(record.decode(), Ok(Event::Translation(fault)) if fault.requester.stream == STREAM)
        );
    }
    guest.told_nothing();
    smmu.invalidate(&[Invalidation::cfgi_cd_all(SIBLING)])
        .unwrap();
    let stranger = guest.smmu.invalidate(&[Invalidation::cfgi_cd_all(SIBLING)]);
    assert!(
        matches!(stranger, Err(Error::InvalidationRefused { .. })),
        "{stranger:?}"
    );

    // What one says of an address, it says of both.
    ours.map(VA, guest.page()).unwrap();
    assert_eq!(guest.lands(VA, &pages), Some(first));
    smmu.invalidate(&[Invalidation::tlbi_nh_all()]).unwrap();
    assert_eq!(guest.lands(VA, &pages), None);
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_attachment_keeps_all_that_dma_and_its_faults_need() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let attachment = guest.enter(&space);
    let nowhere = InputAddress::new(0xdead_0000);
    let Guest {
        engine,
        vdevice,
        events,
        smmu,
        parent,
        ram,
        ioas,
        memory,
        device,
        iommufd,
        recorder,
    } = guest;
    let mut events: VEventQueue<EventRecord> = events.into_inner().unwrap();
    drop((vdevice, smmu, parent, ioas, device));
    let at = within(page, VA);
    memory.write(at, &[0; 8]).unwrap();
    engine.store(VA, 8);
    assert_ne!(memory.read::<8>(at).unwrap(), [0; 8]);
    engine.store(nowhere, 4);
    assert!(events.wait(Some(PATIENCE)).unwrap());
    let told = events.read().unwrap();
    let VEvent::Event(record) = told[0] else {
        panic!("{told:?}");
    };
    assert_eq!(record.decode().unwrap().stream(), STREAM);
    drop(events);
    attachment.detach().unwrap();
    drop((engine, ram));
    assert_eq!(raw::objects(&iommufd), 0);
    assert_eq!(recorder.refusals(), []);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_number_is_not_given_up_while_its_device_is_attached() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let attachment = guest.enter(&space);
    guest.recorder.clear();
    // The only handle: what holds it besides is the attachment.
    let Guest {
        vdevice,
        ref engine,
        ref memory,
        ref smmu,
        ref recorder,
        ..
    } = guest;
    let kept = vdevice.try_destroy().unwrap_err();
    assert!(
        matches!(kept.error(), Error::InUse { holders: 1, .. }),
        "{kept}"
    );
    assert_eq!(recorder.count(), 0);
    let at = within(page, VA);
    memory.write(at, &[0; 8]).unwrap();
    engine.store(VA, 8);
    assert_ne!(memory.read::<8>(at).unwrap(), [0; 8]);
    // Dropped, it is still the device's.
    drop(kept);
    smmu.invalidate(&[Invalidation::cfgi_cd_all(STREAM)])
        .unwrap();
    attachment.detach().unwrap();
    assert!(
        smmu.invalidate(&[Invalidation::cfgi_cd_all(STREAM)])
            .is_err()
    );
}

/// While a device is moved to and fro, each of its writes goes by the one table or by the other.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn no_write_is_lost_or_misled_while_its_device_is_moved() {
    let guest = Guest::new();
    let (one, other) = (guest.space(1), guest.space(2));
    let pages @ [first, second]: [Ipa; 2] = guest.pages();
    // The page's own address is a third way to it, by an entry that bypasses.
    let at = InputAddress::new(first.get());
    one.map(at, first).unwrap();
    other.map(at, second).unwrap();
    let entries = [translate(&one), NestedSte::bypass(), translate(&other)];
    let stale = StaleAsids::GuestInvalidates;
    let tables = entries.map(|entry| guest.table(&entry));
    let mut targets = Vec::from(tables.map(|table| guest.vdevice.through(&table, stale.clone())));
    targets.push((&guest.parent).into());
    let mut attachment = guest.attach(&entries[0]);
    let (over, moves) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for target in targets.iter().cycle() {
                attachment.replace(target).unwrap();
                moves.fetch_add(1, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..20 {
            let before = moves.load(Ordering::Relaxed);
            assert!(guest.lands(at, &pages).is_some());
            assert!(
                moves.load(Ordering::Relaxed) > before,
                "it was not moved meanwhile"
            );
        }
        over.store(true, Ordering::Relaxed);
    });
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_is_on_its_way_goes_by_the_table_that_the_device_has_then() {
    let guest = Guest::new();
    let (one, other) = (guest.space(1), guest.space(2));
    let pages @ [first, second]: [Ipa; 2] = guest.pages();
    one.map(VA, first).unwrap();
    other.map(VA, second).unwrap();
    let table = guest.table(&translate(&other));
    let target = guest.vdevice.through(&table, StaleAsids::GuestInvalidates);
    let mut attachment = guest.enter(&one);
    assert_eq!(guest.lands(VA, &pages), Some(first));
    guest.clear(&guest.memory, VA, &pages);
    guest.engine.start_store(VA, 8);
    attachment.replace(target).unwrap();
    guest.engine.wait();
    assert_eq!(guest.landed(&guest.memory, VA, &pages), Some(second));

    guest.clear(&guest.memory, VA, &pages);
    guest.engine.start_store(VA, 8);
    attachment.detach().unwrap();
    guest.engine.wait();
    assert_eq!(guest.landed(&guest.memory, VA, &pages), None);
    guest.told_nothing();
}
