//! What the kernel tells of VFIO devices, besides their interrupts.

use std::time::Duration;

use iommufd::Iommufd;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use tests::edu::{attached, bind, cdev, lone};
use tests::raw;
use tests::unplug::Unplug;
use vfio::{Error, SignalKind};

const KINDS: [(SignalKind, u32); 2] = [
    (SignalKind::Request, sys::VFIO_PCI_REQ_IRQ_INDEX),
    (SignalKind::Error, sys::VFIO_PCI_ERR_IRQ_INDEX),
];
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn each_kind_is_told_by_itself_until_it_is_disabled() {
    let iommufd = Iommufd::open().unwrap();
    let cdev = cdev(lone());
    let file = raw::witness(&cdev);
    let device = cdev.bind(&iommufd).unwrap();
    let signals = KINDS.map(|(kind, _)| device.signal(kind).unwrap());
    for (place, (kind, index)) in KINDS.into_iter().enumerate() {
        assert_eq!(signals[place].kind(), kind);
        raw::vfio_signal(&file, index).unwrap();
        raw::vfio_signal(&file, index).unwrap();
        assert_eq!(signals[place].wait(PATIENCE).unwrap(), Some(2), "{kind}");
        assert_eq!(
            signals.each_ref().map(|signal| signal.take().unwrap()),
            [None; 2]
        );
        assert_eq!(signals[place].wait(Duration::ZERO).unwrap(), None);
    }
    for (signal, (kind, index)) in signals.into_iter().zip(KINDS) {
        signal.disable().unwrap();
        assert_eq!(raw::vfio_signal(&file, index), Err(Errno::INVAL));
        drop(device.signal(kind).unwrap());
        assert_eq!(raw::vfio_signal(&file, index), Err(Errno::INVAL));
    }
}

/// The kernel would put the second in the place of the first, and take both away with either.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn there_is_one_of_a_kind_whatever_interrupts_are_enabled() {
    let (device, attachment) = attached(lone());
    let first = device.signal(SignalKind::Request).unwrap();
    let second = device.signal(SignalKind::Request);
    assert!(
        matches!(
            second,
            Err(Error::SignalEnabled {
                kind: SignalKind::Request,
                ..
            })
        ),
        "{second:?}"
    );
    let interrupts = device.msi(1).unwrap();
    let other = device.signal(SignalKind::Error).unwrap();
    interrupts.disable().unwrap();
    drop(first);
    let again = device.signal(SignalKind::Request).unwrap();
    drop((again, other, attachment));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_keeps_a_device_open_is_named_with_its_signals() {
    let device = bind(lone(), &Iommufd::open().unwrap());
    let signal = device.signal(SignalKind::Request).unwrap();
    let refused = device.try_close().unwrap_err();
    let Error::StillHeld(holders) = refused.error() else {
        panic!("{refused}");
    };
    assert_eq!(holders.signals, 1);
    assert_eq!(holders.to_string(), "1 signal");
    drop(signal);
    refused.into_value().try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn who_unplugs_a_device_asks_for_it_and_gets_it_when_it_is_closed() {
    let address = lone();
    let (device, attachment) = attached(address);
    let request = device.signal(SignalKind::Request).unwrap();
    assert_eq!(request.take().unwrap(), None);
    let unplug = Unplug::begin(address);
    assert!(request.wait(PATIENCE).unwrap().is_some());
    unplug.is_waiting();
    attachment.detach().unwrap();
    request.disable().unwrap();
    device.try_close().unwrap();
    unplug.done();
    // What was plugged in again is a device as before.
    let (device, attachment) = attached(address);
    drop((device, attachment));
}
