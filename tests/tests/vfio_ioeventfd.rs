//! Registers that are written by signalling an eventfd.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use iommufd::Iommufd;
use rustix::io::Errno;
use tests::edu::{device, igb, lone};
use tests::eventfd;
use tests::mtty::Mtty;
use vfio::{BarMapping, Error, RegionIndex};

const BAR: RegionIndex = RegionIndex::BAR0;
/// Of an `edu`, the register that answers with the inverse of what was written.
const LIVENESS: u64 = 4;
const LONG: Duration = Duration::from_secs(30);

/// Waits until the liveness register answers with the inverse of `value`.
#[track_caller]
fn becomes(registers: &BarMapping, value: u32) {
    let begin = Instant::now();
    while registers.read::<u32>(LIVENESS).unwrap() != !value {
        assert!(begin.elapsed() < LONG, "{value} was not written");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_register_is_written_whenever_the_eventfd_is_signalled() {
    let device = device(lone());
    let registers = device.map_bar(BAR).unwrap();
    registers.write(LIVENESS, 0_u32).unwrap();
    let [one, two] = [eventfd::new(), eventfd::new()];
    let first = device
        .ioeventfd(BAR, LIVENESS, 0xdead_beef_u32, &one)
        .unwrap();
    let second = device.ioeventfd(BAR, LIVENESS, 2_u32, &two).unwrap();
    assert_eq!(registers.read::<u32>(LIVENESS).unwrap(), !0);
    for _ in 0..3 {
        eventfd::signal(&one);
        becomes(&registers, 0xdead_beef);
        eventfd::signal(&two);
        becomes(&registers, 2);
    }
    assert_eq!(device.holders().ioeventfds, 2);

    // Removed, it writes no more; the other does.
    first.remove().unwrap();
    eventfd::signal(&one);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(registers.read::<u32>(LIVENESS).unwrap(), !2);
    registers.write(LIVENESS, 0_u32).unwrap();
    eventfd::signal(&two);
    becomes(&registers, 2);
    drop(second);
    registers.write(LIVENESS, 0_u32).unwrap();
    eventfd::signal(&two);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(registers.read::<u32>(LIVENESS).unwrap(), !0);

    // One that has been signalled before writes at once.
    let again = device.ioeventfd(BAR, LIVENESS, 7_u32, &two).unwrap();
    becomes(&registers, 7);
    drop((again, registers));
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_write_is_of_its_width() {
    let device = device(lone());
    let registers = device.map_bar(BAR).unwrap();
    // The source of a transfer, which is not begun.
    let source = 0x80;
    registers.write(source, u64::MAX).unwrap();
    let eventfd = eventfd::new();
    let value = 0x0123_4567_89ab_cdef_u64;
    let wide = device.ioeventfd(BAR, source, value, &eventfd).unwrap();
    eventfd::signal(&eventfd);
    let begin = Instant::now();
    while registers.read::<u64>(source).unwrap() != value {
        assert!(begin.elapsed() < LONG);
    }
    drop(wide);
    // Registers of other widths: an `edu` takes none, so it is left as it is.
    for made in [
        device.ioeventfd(BAR, source, 1_u8, &eventfd),
        device.ioeventfd(BAR, source, 1_u16, &eventfd),
    ] {
        made.unwrap().remove().unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_cannot_be_written_by_an_eventfd_is_refused() {
    let edu = device(lone());
    let eventfd = eventfd::new();
    let first = edu.ioeventfd(BAR, LIVENESS, 1_u32, &eventfd).unwrap();
    let refused = edu
        .ioeventfd(BAR, LIVENESS, 1_u32, eventfd::new())
        .unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::EXIST));
    assert!(refused.to_string().contains("the same value"), "{refused}");
    // Of another value or width it is another.
    drop(edu.ioeventfd(BAR, LIVENESS, 2_u32, &eventfd).unwrap());
    drop(edu.ioeventfd(BAR, LIVENESS, 1_u16, &eventfd).unwrap());
    drop(first);
    drop(edu.ioeventfd(BAR, LIVENESS, 1_u32, &eventfd).unwrap());

    let config = edu.ioeventfd(RegionIndex::CONFIG, 4, 1_u16, &eventfd);
    assert!(matches!(
        config,
        Err(Error::NoIoEventFd {
            index: RegionIndex::CONFIG,
            ..
        })
    ));
    let size = edu.region_info(BAR).unwrap().size;
    let outside = edu.ioeventfd(BAR, size, 1_u8, &eventfd);
    assert!(matches!(outside, Err(Error::OutOfBounds { .. })));
    let askew = edu.ioeventfd(BAR, 2, 1_u32, &eventfd);
    assert!(matches!(askew, Err(Error::Misaligned { .. })));
    let absent = edu.ioeventfd(RegionIndex::BAR5, 0, 1_u32, &eventfd);
    assert!(matches!(absent, Err(Error::NoRegion { .. })));
    let null = File::open("/dev/null").unwrap();
    let refused = edu.ioeventfd(BAR, LIVENESS, 1_u32, &null).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));

    // The table of MSI-X is written by the kernel alone.
    let igb = device(igb());
    let config = igb.config().unwrap();
    let msix = config.find(vfio::CapabilityId::MSI_X).unwrap().unwrap();
    let table: u32 = config.read(msix + 4).unwrap();
    let (bar, offset) = (RegionIndex::new(table & 7), u64::from(table & !7));
    let refused = igb.ioeventfd(bar, offset, 1_u32, &eventfd).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    assert!(refused.to_string().contains("the MSI-X table"), "{refused}");
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_has_a_thousand_and_lets_go_of_them_one_by_one() {
    let device = device(lone());
    let eventfd = eventfd::new();
    let mut all: Vec<_> = (0..1000_u32)
        .map(|value| device.ioeventfd(BAR, LIVENESS, value, &eventfd).unwrap())
        .collect();
    let refused = device
        .ioeventfd(BAR, LIVENESS, 1000_u32, &eventfd)
        .unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOSPC));
    drop(all.pop());
    drop(device.ioeventfd(BAR, LIVENESS, 1000_u32, &eventfd).unwrap());
    let refused = device.try_close().unwrap_err();
    let Error::StillHeld(holders) = refused.error() else {
        panic!("{refused}");
    };
    assert_eq!(holders.to_string(), "999 ioeventfds");
    drop(all);
    refused.into_value().try_close().unwrap();
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_driver_without_them_says_so() {
    let mtty = Mtty::new();
    let device = mtty
        .cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap();
    let refused = device.ioeventfd(BAR, 0, 1_u8, eventfd::new()).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOTTY));
    device.try_close().unwrap();
}
