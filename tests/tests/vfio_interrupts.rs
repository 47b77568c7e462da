//! Interrupts and resets of VFIO devices.

use std::time::{Duration, Instant};

use examples::edu::Edu;
use rustix::io::Errno;
use tests::edu::{attached, device, igb, lone};
use vfio::{DeviceFlags, Error, Interrupts, IrqKind, MsiKind, RegionIndex};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn an_interrupt_arrives_and_its_absence_takes_the_time_it_was_given() {
    let (device, _attachment) = attached(lone());
    let edu = Edu::new(&device).unwrap();
    let vector = edu.interrupts().vector(0).unwrap();
    assert_eq!(vector.take().unwrap(), None);
    let begin = Instant::now();
    assert_eq!(vector.wait(Duration::from_millis(50)).unwrap(), None);
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert_eq!(vector.wait(Duration::ZERO).unwrap(), None);
    edu.interrupt().unwrap();
    assert_eq!(vector.take().unwrap(), None);

    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| vector.wait(Duration::MAX).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        registers.write(0x60, 2_u32).unwrap();
        waiting.join().unwrap()
    });
    assert!(waiting.is_some_and(|count| count >= 1));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_has_one_kind_of_interrupts_at_a_time() {
    let (edu, _attachment) = attached(lone());
    assert!(matches!(
        edu.msix(1),
        Err(Error::NoInterrupts {
            kind: IrqKind::MsiX,
            ..
        })
    ));
    assert!(matches!(
        edu.msi(2),
        Err(Error::FewerVectors {
            requested: 2,
            available: 1,
            ..
        })
    ));
    assert!(matches!(edu.msi(0), Err(Error::NoVector { .. })));
    // A refusal takes nothing.
    edu.msi(1).unwrap().disable().unwrap();

    let (igb, _attachment) = attached(igb());
    let count = igb.irq_info(IrqKind::MsiX).unwrap().count;
    let msix = igb.msix(count).unwrap();
    assert_eq!(msix.len() as u32, count);
    assert!(matches!(msix.vector(count), Err(Error::NoVector { .. })));
    assert_eq!(msix.vectors().len(), msix.len());
    assert!(matches!(
        igb.msi(1),
        Err(Error::InterruptsEnabled {
            kind: IrqKind::MsiX,
            ..
        })
    ));
    assert!(matches!(igb.msix(1), Err(Error::InterruptsEnabled { .. })));
    msix.disable().unwrap();
    drop(igb.msi(1).unwrap());
    let some = Interrupts::enable(&igb, MsiKind::MsiX, 2).unwrap();
    assert_eq!((some.kind(), some.len()), (MsiKind::MsiX, 2));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn p13_a_reset_is_done_or_refused_with_its_reason() {
    let edu = device(lone());
    let refused = edu.reset().unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    assert!(
        refused.to_string().contains("no way of being reset alone"),
        "{refused}"
    );

    let igb = device(igb());
    assert!(igb.info().unwrap().flags.contains(DeviceFlags::RESET));
    let registers = igb.map_bar(RegionIndex::BAR0).unwrap();
    igb.reset().unwrap();
    registers.read::<u32>(8).unwrap();
}
