//! Tests: what the kernel is given, byte by byte, and what it is not.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use iommufd_sys::ioctl::vfio as nr;
use rustix::io::Errno;

use super::*;
use crate::ioctl::script::{answering, device};

const SET: u32 = 1 << 17;

/// What was asked: flags, and the first word of the data.
type Log = Rc<RefCell<Vec<(u32, Option<u32>)>>>;

/// A kernel that knows low power, but refuses to do what `refuses` says.
fn kernel(refuses: impl Fn(u32) -> Option<Errno> + 'static) -> (Log, impl Drop) {
    let log = Log::default();
    let noted = Rc::clone(&log);
    let until = answering(move |asked| {
        assert_eq!(asked.ioctl, nr::DEVICE_FEATURE.describe());
        let (argsz, flags) = (asked.u32(0), asked.u32(4));
        assert_eq!(argsz as usize, asked.arg.len());
        let data = (argsz > 8).then(|| {
            assert_eq!((argsz, asked.u32(12)), (16, 0));
            asked.u32(8)
        });
        noted.borrow_mut().push((flags, data));
        refuses(flags & 0xffff).map_or(Ok(0), Err)
    });
    (log, until)
}

fn gate_is_closed(device: &OpenDevice) -> bool {
    device.bound().gate.enter().is_err()
}

#[test]
fn the_gate_is_closed_exactly_as_long_as_the_guard_lives() {
    let (log, _kernel) = kernel(|_| None);
    let device = device();
    let low_power = device.low_power().unwrap();
    assert!(gate_is_closed(&device));
    assert_eq!(device.holders().features, 1);
    low_power.exit().unwrap();
    assert!(!gate_is_closed(&device));
    drop(device.low_power().unwrap());
    assert!(!gate_is_closed(&device));
    assert!(device.holders().features == 0);
    let both = [(3 | SET, None), (5 | SET, None)];
    assert_eq!(log.borrow()[..2], both);
    assert_eq!(log.borrow()[2..], both);
}

#[test]
fn an_entry_that_is_refused_leaves_nothing() {
    for errno in [Errno::NOTTY, Errno::INVAL] {
        let (_, kernel) = kernel(move |_| Some(errno));
        let device = device();
        let error = device.low_power().unwrap_err();
        match errno {
            Errno::NOTTY => assert!(matches!(
                error,
                Error::Feature(FeatureError::NotThere { .. })
            )),
            _ => assert_eq!(error.errno(), Some(errno)),
        }
        assert!(!gate_is_closed(&device));
        assert_eq!(device.holders().features, 0);
        drop(kernel);
        let (_, _kernel) = self::kernel(|_| None);
        device.low_power().unwrap().exit().unwrap();
    }
}

#[test]
fn an_exit_that_is_refused_leaves_the_guard_and_the_gate_closed() {
    let (_, kernel) = kernel(|feature| (feature == 5).then_some(Errno::IO));
    let device = device();
    let refused = device.low_power().unwrap().exit().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::IO));
    let low_power = refused.into_value();
    assert!(gate_is_closed(&device));
    let second = device.low_power().unwrap_err();
    assert!(matches!(
        second,
        Error::Feature(FeatureError::Taken(Guarded::LowPower))
    ));
    drop(kernel);
    let (_, _kernel) = self::kernel(|_| None);
    low_power.exit().unwrap();
    assert!(!gate_is_closed(&device));
}

#[test]
fn whoever_wakes_the_device_up_is_heard() {
    let (log, _kernel) = kernel(|_| None);
    let device = device();
    let low_power = device.low_power_until_woken().unwrap();
    let eventfd = low_power.as_fd();
    let number = eventfd.as_raw_fd().cast_unsigned();
    assert_eq!(*log.borrow(), [(4 | SET, Some(number))]);
    assert!(!low_power.wait(Duration::ZERO).unwrap());
    wake(eventfd);
    assert!(low_power.wait(Duration::from_secs(60)).unwrap());
    assert!(gate_is_closed(&device), "until the guard goes");
    low_power.exit().unwrap();
    assert!(!gate_is_closed(&device));
    assert_eq!(log.borrow()[1], (5 | SET, None));
}

/// As the kernel does.
fn wake(eventfd: BorrowedFd<'_>) {
    rustix::io::write(eventfd, &1_u64.to_ne_bytes()).unwrap();
}
