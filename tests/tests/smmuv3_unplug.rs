//! A guest's device is unplugged while it is in use. The kernel asks for it, and waits until it is closed: that is when
//! everything that holds it has gone, in whichever order.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::sync::Arc;
use std::time::Duration;

use examples::edu::Edu;
use iommufd::smmuv3::{Invalidation, MSI_WINDOW, StaleAsids};
use iommufd::{Iommufd, Leaks, VDevice};
use smmuv3_types::{InputAddress, Ipa};
use tests::edu::{assert_free, bind, cdev, lone};
use tests::observe::Recorder;
use tests::smmu::{Engine, Guest, STREAM, VA, translate, within};
use tests::unplug::Unplug;
use vfio::{Cdev, Error, Signal, SignalKind};

const PATIENCE: Duration = Duration::from_secs(30);

/// Begins to unplug the guest's device, and waits until that is told.
#[track_caller]
fn asked_for(request: &Signal) -> Unplug {
    let unplug = Unplug::begin(lone());
    assert!(request.wait(PATIENCE).unwrap().is_some());
    unplug.is_waiting();
    unplug
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_that_is_not_bound_yet_is_waited_for_and_cannot_be_told() {
    let cdev = cdev(lone());
    let unplug = Unplug::begin(lone());
    unplug.is_waiting();
    drop(cdev);
    unplug.done();
    assert_free(lone());
}

/// Nobody asks any more, but it is still there to be used: an answer takes the time it takes.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_behind_a_guests_tables_works_until_it_is_given_up_in_order() {
    let guest = Guest::new();
    let (one, other) = (guest.space(1), guest.space(2));
    let pages @ [first, second]: [Ipa; 2] = guest.pages();
    one.map(VA, first).unwrap();
    other.map(VA, second).unwrap();
    let window = InputAddress::new(MSI_WINDOW.start().get());
    for space in [&one, &other] {
        space.map(window, Ipa::new(window.get()).unwrap()).unwrap();
    }
    let request = guest.device.signal(SignalKind::Request).unwrap();
    let mut attachment = guest.enter(&one);
    let edu = Edu::new(&guest.device).unwrap();
    let unplug = asked_for(&request);

    // It cannot be opened again, and all else goes on.
    let again = Cdev::open_pci(lone());
    assert!(again.is_err(), "{again:?}");
    assert_eq!(guest.lands(VA, &pages), Some(first));
    edu.interrupt().unwrap();
    guest.invalidate(&[Invalidation::cfgi_cd_all(STREAM)]);
    let table = guest.table(&translate(&other));
    let target = guest.vdevice.through(&table, StaleAsids::GuestInvalidates);
    attachment.replace(target).unwrap();
    assert_eq!(guest.lands(VA, &pages), Some(second));
    guest.engine.start_store(VA, 8);

    // In order, while a transfer is running: each step says whether it was done.
    drop(edu);
    attachment.detach().unwrap();
    table.try_destroy().unwrap();
    let Guest {
        engine,
        vdevice,
        device,
        iommufd,
        recorder,
        ..
    } = guest;
    vdevice.try_destroy().unwrap();
    engine.wait();
    drop(engine);
    let refused = device.try_close().unwrap_err();
    assert!(
        matches!(refused.error(), Error::StillHeld(holders) if holders.signals == 1),
        "{refused}"
    );
    unplug.is_waiting();
    request.disable().unwrap();
    refused.into_value().try_close().unwrap();
    unplug.done();
    assert_eq!(recorder.refusals(), []);
    assert_eq!(iommufd.leaks(), Leaks::default());
    assert_free(lone());
}

/// Any one of these alone keeps the device open: the kernel waits for the last of them.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn each_thing_that_holds_a_device_is_waited_for() {
    type Held = Box<dyn FnOnce(&Guest) -> Box<dyn Send>>;
    let holds: [(&str, Held); 5] = [
        ("a handle", Box::new(|guest| Box::new(guest.device.clone()))),
        (
            "a number",
            Box::new(|guest| Box::new(guest.vdevice.clone())),
        ),
        (
            "an attachment to guest memory",
            Box::new(|guest| Box::new(guest.device.attach(&guest.parent).unwrap())),
        ),
        (
            "an attachment to the guest's tables",
            Box::new(|guest| Box::new(guest.enter(&guest.space(1)))),
        ),
        (
            "a target that it was to be moved to",
            Box::new(|guest| {
                let table = guest.table(&translate(&guest.space(1)));
                Box::new(guest.vdevice.through(&table, StaleAsids::InvalidateAll))
            }),
        ),
    ];
    for (what, hold) in holds {
        let guest = Guest::new();
        let request = guest.device.signal(SignalKind::Request).unwrap();
        let held = hold(&guest);
        let unplug = asked_for(&request);
        let (iommufd, recorder) = (guest.iommufd.clone(), Arc::clone(&guest.recorder));
        drop((request, guest));
        unplug.is_waiting();
        drop(held);
        unplug.done();
        assert_eq!(recorder.refusals(), [], "{what}");
        assert_eq!(iommufd.leaks(), Leaks::default(), "{what}");
    }
    assert_free(lone());
}

/// The guest's share of the SMMU is there without any device, and has the next one.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_is_plugged_in_again_has_its_number_and_its_tables_again() {
    let (iommufd, recorder): (Iommufd, _) = Recorder::context();
    let guest = Guest::of(bind(lone(), &iommufd), recorder, 16);
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let table = guest.table(&translate(&space));
    let attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &[page]), Some(page));
    let request = guest.device.signal(SignalKind::Request).unwrap();
    let unplug = asked_for(&request);
    attachment.detach().unwrap();
    let Guest {
        engine,
        vdevice,
        smmu,
        memory,
        device,
        recorder,
        ..
    } = guest;
    drop((request, engine, vdevice, device));
    unplug.done();

    assert!(
        smmu.invalidate(&[Invalidation::cfgi_cd_all(STREAM)])
            .is_err()
    );
    let device = bind(lone(), &iommufd);
    let engine = Engine::new(&device);
    let vdevice = VDevice::new(&smmu, device.iommu(), STREAM).unwrap();
    let attachment = vdevice
        .attach(&table, StaleAsids::GuestInvalidates)
        .unwrap();
    smmu.invalidate(&[Invalidation::cfgi_cd_all(STREAM)])
        .unwrap();
    let at = within(page, VA);
    memory.write(at, &[0xff; 8]).unwrap();
    // The engine has kept what it had.
    engine.store(VA, 8);
    assert_ne!(memory.read::<8>(at).unwrap(), [0xff; 8]);
    attachment.detach().unwrap();
    assert_eq!(recorder.refusals(), []);
}
