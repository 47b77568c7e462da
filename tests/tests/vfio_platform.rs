//! A platform device: its registers, and its line.

use std::fs::File;
use std::time::Duration;

use rustix::io::Errno;
use tests::eventfd;
use tests::platform::Platform;
use vfio::{
    DeviceFlags, Error, IrqFlags, IrqIndex, IrqKind, IrqLine, RegionFlags, RegionIndex, SignalKind,
};

const LINE: IrqIndex = IrqIndex::new(0);
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

#[test]
#[ignore = "needs the lab's platform device: cargo lab test"]
fn it_has_regions_and_lines_and_nothing_of_pci() {
    let platform = Platform::open();
    let device = &platform.device;
    let info = device.info().unwrap();
    assert!(info.flags.contains(DeviceFlags::PLATFORM));
    assert!(!info.flags.contains(DeviceFlags::PCI));
    assert_eq!((info.regions, info.interrupts), (1, 1));
    assert_eq!(device.address(), None);
    let regions = device.regions().unwrap();
    assert_eq!(regions[0].size, 0x200);
    assert_eq!(regions[0].flags, RegionFlags::READ | RegionFlags::WRITE);
    // Less than a page.
    let index = RegionIndex::new(0);
    assert!(matches!(
        device.map_bar(index),
        Err(Error::NotMappable { .. })
    ));
    assert!(matches!(device.config(), Err(Error::NoRegion { .. })));
    assert_eq!(device.read_rom().unwrap(), None);
    for refused in [
        device.irq_info(IrqKind::Intx).map(drop),
        device.intx().map(drop),
        device.msi(1).map(drop),
        device.signal(SignalKind::Request).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::NotPci)));
    }
    // No reset of its own, and the kernel says so.
    assert!(!info.flags.contains(DeviceFlags::RESET));
    assert_eq!(device.reset().unwrap_err().errno(), Some(Errno::INVAL));
    let info = device.line_info(LINE).unwrap();
    let flags = IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED;
    assert_eq!((info.flags, info.count), (flags, 1));
    for none in [IrqIndex::new(1), LINE.at(1)] {
        assert!(matches!(device.line(none), Err(Error::NoLine { .. })));
    }
}

#[test]
#[ignore = "needs the lab's platform device: cargo lab test"]
fn a_line_is_masked_when_it_fires_until_it_is_unmasked() {
    let platform = Platform::open();
    let line = platform.device.line(LINE).unwrap();
    assert_eq!(line.take().unwrap(), None);
    platform.raise();
    assert_eq!(line.wait(LONG).unwrap(), Some(1));
    // Still up, but masked; unmasked and not handled, it fires again.
    assert_eq!(line.wait(SHORT).unwrap(), None);
    line.unmask().unwrap();
    assert_eq!(line.wait(LONG).unwrap(), Some(1));
    platform.handled();
    line.unmask().unwrap();
    assert_eq!(line.wait(SHORT).unwrap(), None);
    // What comes while it is masked waits.
    line.mask().unwrap();
    line.mask().unwrap();
    platform.raise();
    assert_eq!(line.wait(SHORT).unwrap(), None);
    line.unmask().unwrap();
    assert_eq!(line.wait(LONG).unwrap(), Some(1));
    platform.handled();
    line.unmask().unwrap();
    // By hand it is as if it had fired.
    line.trigger().unwrap();
    line.trigger().unwrap();
    assert_eq!(line.take().unwrap(), Some(1));
    platform.raise();
    assert_eq!(line.wait(SHORT).unwrap(), None);
    platform.handled();
    line.disable().unwrap();
    platform.close();
}

#[test]
#[ignore = "needs the lab's platform device: cargo lab test"]
fn a_line_that_was_left_masked_is_enabled_unmasked() {
    let platform = Platform::open();
    for way in 0..3 {
        let mut line = platform.device.line(LINE).unwrap();
        let stale = eventfd::new();
        match way {
            0 => line.mask().unwrap(),
            1 => line.trigger().unwrap(),
            _ => line.mask_by(&stale).unwrap(),
        }
        drop(line);
        let line = platform.device.line(LINE).unwrap();
        // What the one before had named has no say in it.
        eventfd::signal(&stale);
        platform.raise();
        assert_eq!(line.wait(LONG).unwrap(), Some(1), "{way}");
        platform.handled();
    }
}

#[test]
#[ignore = "needs the lab's platform device: cargo lab test"]
fn eventfds_mask_and_unmask_the_line() {
    let platform = Platform::open();
    let fired = eventfd::new();
    let mut line = IrqLine::enable_with(&platform.device, LINE, &fired).unwrap();
    let (mask, unmask) = (eventfd::new(), eventfd::new());
    line.mask_by(&mask).unwrap();
    line.unmask_by(&unmask).unwrap();
    for _ in 0..3 {
        platform.raise();
        assert_eq!(eventfd::wait(&fired, LONG), Some(1));
        assert_eq!(eventfd::wait(&fired, SHORT), None);
        platform.handled();
        eventfd::signal(&unmask);
        eventfd::signal(&mask);
        platform.raise();
        assert_eq!(eventfd::wait(&fired, SHORT), None);
        eventfd::signal(&unmask);
        assert_eq!(eventfd::wait(&fired, LONG), Some(1));
        platform.handled();
        eventfd::signal(&unmask);
    }
    line.mask_by_none().unwrap();
    eventfd::signal(&mask);
    platform.raise();
    assert_eq!(eventfd::wait(&fired, LONG), Some(1));
    platform.handled();
    eventfd::signal(&unmask);

    // What is no eventfd is refused, and the line goes on as it was: the kernel has let go of the eventfd.
    let null = File::open("/dev/null").unwrap();
    for refused in [line.connect(&null), line.unmask_by(&null)] {
        assert_eq!(refused.unwrap_err().errno(), Some(Errno::INVAL));
    }
    platform.raise();
    assert_eq!(eventfd::wait(&fired, LONG), Some(1));
    platform.handled();
    line.unmask().unwrap();
    // The line goes to another eventfd.
    let elsewhere = eventfd::new();
    line.connect(&elsewhere).unwrap();
    platform.raise();
    assert_eq!(eventfd::wait(&elsewhere, LONG), Some(1));
    assert_eq!(eventfd::wait(&fired, Duration::ZERO), None);
    platform.handled();
    line.disable().unwrap();
}

#[test]
#[ignore = "needs the lab's platform device: cargo lab test"]
fn a_line_is_enabled_once_and_holds_the_device() {
    let platform = Platform::open();
    let line = platform.device.line(LINE).unwrap();
    let again = platform.device.line(LINE);
    assert!(matches!(again, Err(Error::LineEnabled { index, .. }) if index == LINE));
    assert_eq!(platform.device.holders().lines, 1);
    drop(line);
    // A refusal by the kernel takes nothing.
    let null = File::open("/dev/null").unwrap();
    let refused = IrqLine::enable_with(&platform.device, LINE, &null).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    drop(platform.device.line(LINE).unwrap());
    assert_eq!(platform.device.holders().lines, 0);
}
