//! The interrupt pin of a function: masked when it fires, unmasked by who has handled it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs::File;
use std::time::Duration;

use iommufd::Iommufd;
use rustix::io::Errno;
use tests::edu::{attached, device, igb, lone};
use tests::eventfd;
use tests::mtty::Mtty;
use vfio::{BarMapping, Device, Error, Intx, IrqFlags, IrqKind, RegionIndex};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

/// The registers by which an `edu` raises its line, and is told that its interrupt is handled.
struct Line(BarMapping);

impl Line {
    fn of(device: &Device) -> Self {
        let line = Self(device.map_bar(RegionIndex::BAR0).unwrap());
        line.handled();
        line
    }

    fn raise(&self) {
        self.0.write(0x60, 1_u32).unwrap();
    }

    fn handled(&self) {
        self.0.write(0x64, u32::MAX).unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_line_is_masked_when_it_fires_until_it_is_unmasked() {
    // Attached to nothing: a line is there all the same.
    let device = device(lone());
    let info = device.irq_info(IrqKind::Intx).unwrap();
    assert_eq!(info.count, 1);
    let flags = IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED;
    assert_eq!(info.flags, flags);
    let line = Line::of(&device);
    let intx = device.intx().unwrap();
    assert_eq!(intx.take().unwrap(), None);

    line.raise();
    assert_eq!(intx.wait(LONG).unwrap(), Some(1));
    // Still up, but masked.
    assert_eq!(intx.wait(SHORT).unwrap(), None);
    // Unmasked and not handled, it fires again.
    intx.unmask().unwrap();
    assert_eq!(intx.wait(LONG).unwrap(), Some(1));
    line.handled();
    intx.unmask().unwrap();
    assert_eq!(intx.wait(SHORT).unwrap(), None);

    // Handled, and not unmasked: what comes then waits.
    line.raise();
    assert_eq!(intx.wait(LONG).unwrap(), Some(1));
    line.handled();
    line.raise();
    assert_eq!(intx.wait(SHORT).unwrap(), None);
    intx.unmask().unwrap();
    assert_eq!(intx.wait(LONG).unwrap(), Some(1));
    line.handled();
    intx.disable().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_line_that_is_masked_keeps_what_the_device_wants() {
    let device = device(lone());
    let line = Line::of(&device);
    let intx = Intx::enable(&device).unwrap();
    // Twice is once.
    intx.mask().unwrap();
    intx.mask().unwrap();
    line.raise();
    assert_eq!(intx.wait(SHORT).unwrap(), None);
    intx.unmask().unwrap();
    assert_eq!(intx.wait(LONG).unwrap(), Some(1));
    line.handled();
    intx.unmask().unwrap();
    // A trigger signals, and masks nothing.
    intx.trigger().unwrap();
    intx.trigger().unwrap();
    assert_eq!(intx.take().unwrap(), Some(2));
    line.raise();
    assert_eq!(intx.wait(LONG).unwrap(), Some(1));
    line.handled();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn an_eventfd_unmasks_the_line_whenever_it_is_signalled() {
    let device = device(lone());
    let line = Line::of(&device);
    let fired = eventfd::new();
    let mut intx = Intx::enable_with(&device, &fired).unwrap();
    assert!(matches!(intx.take(), Err(Error::NotWaitedForHere)));
    let done = eventfd::new();
    intx.unmask_by(&done).unwrap();
    for _ in 0..3 {
        line.raise();
        assert_eq!(eventfd::wait(&fired, LONG), Some(1));
        assert_eq!(eventfd::wait(&fired, SHORT), None);
        line.handled();
        eventfd::signal(&done);
    }
    // Signalled, but not handled: it fires again.
    line.raise();
    assert_eq!(eventfd::wait(&fired, LONG), Some(1));
    eventfd::signal(&done);
    assert_eq!(eventfd::wait(&fired, LONG), Some(1));

    // Another takes its place, and has been signalled already.
    let other = eventfd::new();
    eventfd::signal(&other);
    intx.unmask_by(&other).unwrap();
    assert_eq!(eventfd::wait(&fired, LONG), Some(1));
    eventfd::signal(&done);
    assert_eq!(eventfd::wait(&fired, SHORT), None);
    intx.unmask_by_none().unwrap();
    eventfd::signal(&other);
    assert_eq!(eventfd::wait(&fired, SHORT), None);
    line.handled();
    intx.unmask().unwrap();

    // The line goes to another eventfd.
    let elsewhere = eventfd::new();
    intx.connect(&elsewhere).unwrap();
    line.raise();
    assert_eq!(eventfd::wait(&elsewhere, LONG), Some(1));
    assert_eq!(eventfd::wait(&fired, Duration::ZERO), None);
    line.handled();
    intx.unmask().unwrap();
    // What is no eventfd is refused, and changes nothing.
    let null = File::open("/dev/null").unwrap();
    assert_eq!(intx.connect(&null).unwrap_err().errno(), Some(Errno::INVAL));
    line.raise();
    assert_eq!(eventfd::wait(&elsewhere, LONG), Some(1));
    line.handled();
    assert_eq!(
        intx.unmask_by(&null).unwrap_err().errno(),
        Some(Errno::INVAL)
    );
    intx.unmask_by(&done).unwrap();
    intx.disable().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_line_and_messages_are_not_enabled_at_once() {
    let (device, _attachment) = attached(lone());
    let intx = device.intx().unwrap();
    for refused in [device.intx().map(drop), device.msi(1).map(drop)] {
        let kind = IrqKind::Intx;
        assert!(
            matches!(refused, Err(Error::InterruptsEnabled { kind: found, .. }) if found == kind)
        );
    }
    assert_eq!(device.holders().interrupts, Some(IrqKind::Intx));
    assert_eq!(
        device.holders().to_string(),
        "its attachment and its INTx interrupts"
    );
    intx.disable().unwrap();
    let msi = device.msi(1).unwrap();
    let refused = device.intx();
    assert!(matches!(
        refused,
        Err(Error::InterruptsEnabled {
            kind: IrqKind::Msi,
            ..
        })
    ));
    drop(msi);
    // A refusal by the kernel takes nothing.
    let null = File::open("/dev/null").unwrap();
    let refused = Intx::enable_with(&device, &null).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    drop(device.intx().unwrap());
    drop(device.msi(1).unwrap());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_line_stays_enabled_across_a_reset() {
    let device = device(igb());
    let intx = device.intx().unwrap();
    device.reset().unwrap();
    intx.trigger().unwrap();
    assert!(intx.wait(LONG).unwrap().is_some());
    intx.unmask().unwrap();
    intx.disable().unwrap();
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_mediated_device_has_a_line_that_no_eventfd_unmasks() {
    let mtty = Mtty::new();
    let device = mtty
        .cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap();
    let mut intx = device.intx().unwrap();
    intx.mask().unwrap();
    intx.unmask().unwrap();
    intx.trigger().unwrap();
    assert_eq!(intx.take().unwrap(), Some(1));
    let refused = intx.unmask_by(eventfd::new()).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOTTY));
    assert!(refused.to_string().contains("cannot do this"), "{refused}");
    intx.disable().unwrap();
    device.try_close().unwrap();
}
