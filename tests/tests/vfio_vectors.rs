//! MSI and MSI-X, vector by vector.

use std::fs::File;
use std::thread;
use std::time::Duration;

use examples::edu::Edu;
use rustix::io::Errno;
use tests::edu::{attached, igb, lone};
use tests::eventfd;
use tests::igb::Igb;
use vfio::{Error, Interrupts, IrqFlags, IrqKind, MsiKind};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);
const ALL: u32 = Igb::VECTORS;

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn each_vector_arrives_where_it_belongs() {
    let (device, _attachment) = attached(igb());
    let card = Igb::new(&device);
    let interrupts = device.msix(ALL).unwrap();
    for vector in interrupts.vectors() {
        card.raise(vector.number());
        assert_eq!(vector.wait(LONG).unwrap(), Some(1), "{vector:?}");
    }
    for vector in interrupts.vectors() {
        assert_eq!(vector.take().unwrap(), None, "{vector:?}");
    }
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_vector_is_connected_replaced_and_disabled_by_itself() {
    let (device, _attachment) = attached(igb());
    let card = Igb::new(&device);
    let mut interrupts = Interrupts::reserve(&device, MsiKind::MsiX, 4).unwrap();
    assert!(interrupts.is_empty());
    assert_eq!(interrupts.room(), 4);
    assert!(matches!(
        interrupts.vector(0),
        Err(Error::NoVector {
            vector: 0,
            enabled: 0,
            ..
        })
    ));

    let guests = [eventfd::new(), eventfd::new()];
    interrupts.enable_vector(0).unwrap();
    interrupts.connect(2, &guests[0]).unwrap();
    assert_eq!(interrupts.len(), 2);
    assert!(!interrupts.is_enabled(1) && interrupts.is_enabled(2));
    assert!(matches!(interrupts.vector(2), Err(Error::NotWaitedForHere)));
    let first = interrupts.owned(0).unwrap();
    card.raise(0);
    assert_eq!(first.wait(LONG).unwrap(), Some(1));
    card.raise(2);
    assert_eq!(eventfd::wait(&guests[0], LONG), Some(1));

    // Another eventfd for the one; the other hears of everything meanwhile.
    interrupts.connect(2, &guests[1]).unwrap();
    card.raise(2);
    card.raise(0);
    assert_eq!(eventfd::wait(&guests[1], LONG), Some(1));
    assert_eq!(eventfd::wait(&guests[0], Duration::ZERO), None);
    assert_eq!(first.wait(LONG).unwrap(), Some(1));

    interrupts.disable_vector(2).unwrap();
    assert!(matches!(
        interrupts.disable_vector(2),
        Err(Error::NoVector {
            vector: 2,
            enabled: 1,
            ..
        })
    ));
    card.raise(2);
    assert_eq!(eventfd::wait(&guests[1], SHORT), None);
    card.raise(0);
    assert_eq!(first.wait(LONG).unwrap(), Some(1));
    drop(first);
    // The card keeps it until somebody hears of it, and likewise what it raises before anybody does.
    card.raise(3);
    for vector in [2, 3] {
        interrupts.connect(vector, &guests[1]).unwrap();
        assert_eq!(eventfd::wait(&guests[1], LONG), Some(1));
    }
    interrupts.disable().unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn vectors_are_added_and_taken_away_while_others_are_enabled() {
    let (device, _attachment) = attached(igb());
    let card = Igb::new(&device);
    let info = device.irq_info(IrqKind::MsiX).unwrap();
    assert_eq!(info.count, ALL);
    assert!(!info.flags.contains(IrqFlags::NORESIZE));
    let mut interrupts = device.msix(2).unwrap();
    assert!(interrupts.grows());

    let last = ALL - 1;
    interrupts.enable_vector(last).unwrap();
    let guests = eventfd::new();
    interrupts.connect(5, &guests).unwrap();
    for vector in [0, 1, last] {
        card.raise(vector);
        assert_eq!(
            interrupts.vector(vector).unwrap().wait(LONG).unwrap(),
            Some(1)
        );
    }
    card.raise(5);
    assert_eq!(eventfd::wait(&guests, LONG), Some(1));
    // Fewer again, and others in their place.
    interrupts.disable_vector(last).unwrap();
    interrupts.disable_vector(0).unwrap();
    interrupts.enable_vector(6).unwrap();
    card.raise(6);
    assert_eq!(interrupts.vector(6).unwrap().wait(LONG).unwrap(), Some(1));
    assert_eq!(interrupts.len(), 3);
    assert_eq!(
        interrupts
            .vectors()
            .map(|vector| vector.number())
            .collect::<Vec<_>>(),
        [1, 6]
    );
    for vector in [ALL, u32::MAX] {
        let refused = interrupts.enable_vector(vector).unwrap_err();
        assert!(
            matches!(refused, Error::VectorOutOfRange { available: ALL, .. }),
            "{refused}"
        );
    }
    let refused = Interrupts::reserve(&device, MsiKind::MsiX, 1).map(drop);
    assert!(matches!(refused, Err(Error::InterruptsEnabled { .. })));
    interrupts.disable().unwrap();
    let refused = Interrupts::reserve(&device, MsiKind::MsiX, ALL + 1).map(drop);
    assert!(matches!(
        refused,
        Err(Error::FewerVectors { available: ALL, .. })
    ));
    // Of MSI there is no more room than was asked for.
    assert!(
        device
            .irq_info(IrqKind::Msi)
            .unwrap()
            .flags
            .contains(IrqFlags::NORESIZE)
    );
    assert!(!device.msi(1).unwrap().grows());
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_vector_is_as_it_was_when_the_kernel_refuses_what_it_shall_signal() {
    let (device, _attachment) = attached(igb());
    let card = Igb::new(&device);
    let mut interrupts = Interrupts::reserve(&device, MsiKind::MsiX, 3).unwrap();
    let guests = eventfd::new();
    interrupts.enable_vector(0).unwrap();
    interrupts.connect(1, &guests).unwrap();
    let null = File::open("/dev/null").unwrap();
    for vector in 0..3 {
        let refused = interrupts.connect(vector, &null).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::INVAL), "{refused}");
    }
    assert_eq!(
        [0, 1, 2].map(|vector| interrupts.is_enabled(vector)),
        [true, true, false]
    );
    card.raise(0);
    assert_eq!(interrupts.vector(0).unwrap().wait(LONG).unwrap(), Some(1));
    card.raise(1);
    assert_eq!(eventfd::wait(&guests, LONG), Some(1));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_one_vector_of_msi_goes_to_whom_it_is_connected() {
    let (device, _attachment) = attached(lone());
    let registers = device.map_bar(vfio::RegionIndex::BAR0).unwrap();
    device.config().unwrap().enable_bus_master().unwrap();
    let mut interrupts = Interrupts::reserve(&device, MsiKind::Msi, 1).unwrap();
    let guests = [eventfd::new(), eventfd::new()];
    for guests in &guests {
        interrupts.connect(0, guests).unwrap();
        registers.write(0x60, 1_u32).unwrap();
        assert!(eventfd::wait(guests, LONG).is_some());
        registers.write(0x64, u32::MAX).unwrap();
    }
    assert_eq!(eventfd::wait(&guests[0], Duration::ZERO), None);
    let refused = interrupts.enable_vector(1).unwrap_err();
    assert!(matches!(
        refused,
        Error::VectorOutOfRange {
            kind: IrqKind::Msi,
            available: 1,
            ..
        }
    ));
    drop((interrupts, registers));
    // It is there for who wants it by himself.
    Edu::new(&device).unwrap().interrupt().unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn vectors_are_raised_without_the_device() {
    let (device, _attachment) = attached(igb());
    let interrupts = device.msix(ALL).unwrap();
    interrupts.trigger(3).unwrap();
    interrupts.trigger_all([7, 0, 3]).unwrap();
    interrupts.trigger_all([]).unwrap();
    let seen: Vec<_> = interrupts
        .vectors()
        .map(|vector| vector.take().unwrap())
        .collect();
    let mut expected = vec![None; ALL as usize];
    for (vector, count) in [(0, 1), (3, 2), (7, 1)] {
        expected[vector] = Some(count);
    }
    assert_eq!(seen, expected);
    assert!(matches!(
        interrupts.trigger(ALL),
        Err(Error::NoVector { .. })
    ));
    assert!(matches!(
        interrupts.trigger_all([1, u32::MAX]),
        Err(Error::NoVector { .. })
    ));
    assert_eq!(interrupts.vector(1).unwrap().take().unwrap(), None);
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn vectors_that_are_kept_keep_the_interrupts_enabled() {
    let (device, attachment) = attached(igb());
    let card = Igb::new(&device);
    let mut interrupts = device.msix(2).unwrap();
    let kept = interrupts.owned(1).unwrap();
    assert!(matches!(
        interrupts.disable_vector(1),
        Err(Error::VectorHeld { vector: 1, .. })
    ));
    assert!(matches!(
        interrupts.connect(1, eventfd::new()),
        Err(Error::VectorHeld { .. })
    ));
    interrupts.disable_vector(0).unwrap();
    let refused = interrupts.disable().unwrap_err();
    assert!(
        matches!(refused.error(), Error::VectorsHeld { holders: 1, .. }),
        "{refused}"
    );

    let waiting = thread::spawn(move || kept.wait(LONG).map(|fired| (fired, kept)));
    drop(refused.into_value());
    card.raise(1);
    let (fired, kept) = waiting.join().unwrap().unwrap();
    assert_eq!(fired, Some(1));
    assert!(matches!(
        device.msix(1),
        Err(Error::InterruptsEnabled { .. })
    ));
    assert_eq!(device.holders().interrupts, Some(IrqKind::MsiX));
    drop(kept);
    drop(device.msix(1).unwrap());
    drop((card, attachment));
    device.try_close().unwrap();
}
