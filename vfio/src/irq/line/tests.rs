//! What the kernel is asked for a line, byte by byte.

use std::cell::RefCell;
use std::ffi::c_int;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use iommufd_sys::ioctl::vfio as nr;
use rustix::io::Errno;

use super::*;
use crate::device::Device;
use crate::ioctl::script::{Asked, answering, device};

/// Of `vfio_irq_set`: what the data is, and what is to be done.
const NOTHING: i32 = 1;
const EVENTFD: i32 = 4;
const MASK: i32 = 8;
const UNMASK: i32 = 16;
const TRIGGER: i32 = 32;

/// A level-triggered line of a platform device.
const LEVEL: (u32, u32) = (7, 1);
/// An edge, or a message.
const EDGE: (u32, u32) = (1, 1);

/// Flags, index, start, count and data of each request.
type Log = Rc<RefCell<Vec<Vec<i32>>>>;

/// Which request is refused, counted from 0, and with what.
type Refusal = Rc<RefCell<Option<(usize, Errno)>>>;

/// A kernel with a device of this kind, with these interrupts: their flags, and how many there are.
fn kernel(flags: u32, lines: &'static [(u32, u32)]) -> (Log, Refusal, impl Drop) {
    let (log, refusal) = (Log::default(), Refusal::default());
    let until = answering({
        let (log, refusal) = (Rc::clone(&log), Rc::clone(&refusal));
        move |ask| answer(flags, lines, &log, *refusal.borrow(), ask)
    });
    (log, refusal, until)
}

fn answer(
    flags: u32,
    lines: &[(u32, u32)],
    log: &Log,
    refusal: Option<(usize, Errno)>,
    mut ask: Asked<'_>,
) -> Result<c_int, Errno> {
    if ask.ioctl == nr::DEVICE_GET_INFO.describe() {
        ask.set(4, &flags.to_ne_bytes());
        ask.set(12, &u32::try_from(lines.len()).unwrap().to_ne_bytes());
        return Ok(0);
    }
    if ask.ioctl == nr::DEVICE_GET_IRQ_INFO.describe() {
        let line = lines.get(ask.u32(8) as usize).ok_or(Errno::INVAL)?;
        ask.set(4, &line.0.to_ne_bytes());
        ask.set(12, &line.1.to_ne_bytes());
        return Ok(0);
    }
    assert_eq!(ask.ioctl, nr::DEVICE_SET_IRQS.describe());
    let words = ask.arg.as_chunks().0.iter();
    let words: Vec<i32> = words.map(|word| i32::from_ne_bytes(*word)).collect();
    let data = if words[1] & EVENTFD != 0 { words[4] } else { 0 };
    let mut log = log.borrow_mut();
    log.push(words[1..5 + usize::from(words[1] & EVENTFD != 0)].to_vec());
    match refusal {
        Some((place, errno)) if place + 1 == log.len() => Err(errno),
        _ if data < -1 => Err(Errno::INVAL),
        _ => Ok(0),
    }
}

fn by_hand(action: i32, index: i32) -> Vec<i32> {
    vec![NOTHING | action, index, 0, 1]
}

fn by(action: i32, index: i32, eventfd: i32) -> Vec<i32> {
    vec![EVENTFD | action, index, 0, 1, eventfd]
}

fn taken(log: &Log) -> Vec<Vec<i32>> {
    log.borrow_mut().drain(..).collect()
}

/// A platform device with an edge and a level.
fn platform() -> (Device, Log, Refusal, impl Drop) {
    let (log, refusal, kernel) = kernel(4, &[EDGE, LEVEL]);
    (device(), log, refusal, kernel)
}

fn eventfd() -> OwnedFd {
    eventfd::create().unwrap()
}

#[test]
fn a_line_is_unmasked_and_enabled_and_at_the_end_disabled() {
    let (device, log, _, _kernel) = platform();
    let line = device.line(IrqIndex::new(1)).unwrap();
    let own = line.eventfd().unwrap().as_raw_fd();
    assert_eq!(taken(&log), [by_hand(UNMASK, 1), by(TRIGGER, 1, own)]);
    assert!(line.is_maskable());
    line.mask().unwrap();
    line.unmask().unwrap();
    line.trigger().unwrap();
    assert_eq!(
        taken(&log),
        [MASK, UNMASK, TRIGGER].map(|action| by_hand(action, 1))
    );
    assert_eq!(line.take().unwrap(), None);
    rustix::io::write(line.eventfd().unwrap(), &2_u64.to_ne_bytes()).unwrap();
    assert_eq!(line.wait(Duration::from_secs(60)).unwrap(), Some(2));
    line.disable().unwrap();
    // By an eventfd that is none: not by a count of 0, which some take for a trigger.
    assert_eq!(taken(&log), [by(TRIGGER, 1, -1)]);
}

#[test]
fn an_edge_is_not_masked_and_the_kernel_is_not_asked() {
    let (device, log, _, _kernel) = platform();
    let mut line = device.line(IrqIndex::new(0)).unwrap();
    assert_eq!(taken(&log).len(), 1, "nothing is unmasked");
    let eventfd = eventfd();
    for refused in [
        line.mask(),
        line.unmask(),
        line.mask_by(&eventfd),
        line.unmask_by(&eventfd),
        line.mask_by_none(),
        line.unmask_by_none(),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::NotMaskable { .. }));
        assert_eq!(refused.to_string(), "interrupt 0 cannot be masked");
    }
    assert!(taken(&log).is_empty());
}

#[test]
fn lines_are_enabled_side_by_side_and_each_once() {
    let (device, log, refusal, _kernel) = platform();
    let first = device.line(IrqIndex::new(0)).unwrap();
    let second = device.line(IrqIndex::new(1)).unwrap();
    taken(&log);
    let refused = device.line(IrqIndex::new(1)).unwrap_err();
    assert_eq!(refused.to_string(), "interrupt 1 is enabled already");
    assert!(taken(&log).is_empty(), "the kernel is not asked");
    assert_eq!(device.holders().lines, 2);
    assert_eq!(device.holders().to_string(), "2 enabled interrupts");
    drop(first);
    let first = device.line(IrqIndex::new(0)).unwrap();
    // What the kernel refuses is not claimed.
    drop(second);
    for (place, errno) in [(0, Errno::IO), (1, Errno::BUSY)] {
        taken(&log);
        *refusal.borrow_mut() = Some((place, errno));
        let refused = device.line(IrqIndex::new(1)).unwrap_err();
        assert_eq!(refused.errno(), Some(errno));
        assert_eq!(taken(&log).len(), place + 1);
    }
    *refusal.borrow_mut() = None;
    drop(device.line(IrqIndex::new(1)).unwrap());
    drop(first);
    assert!(device.holders().is_empty());
}

#[test]
fn what_is_not_there_is_refused() {
    let (device, log, _, _kernel) = platform();
    for index in [
        IrqIndex::new(2),
        IrqIndex::new(u32::MAX),
        IrqIndex::new(0).at(1),
    ] {
        let refused = device.line(index).unwrap_err();
        assert!(matches!(refused, Error::NoLine { index: found } if found == index));
    }
    assert!(matches!(
        device.irq_info(crate::IrqKind::Intx),
        Err(Error::NotPci)
    ));
    assert!(matches!(device.intx(), Err(Error::NotPci)));
    assert!(matches!(
        device.signal(crate::SignalKind::Request),
        Err(Error::NotPci)
    ));
    assert!(log.borrow().is_empty());
    // And a PCI function's are found otherwise.
    let (log, _, _kernel) = kernel(2, &[LEVEL, EDGE, EDGE, EDGE, EDGE]);
    for refused in [
        device.line(IrqIndex::new(0)).map(drop),
        device.line_info(IrqIndex::new(0)).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::IsPci)));
    }
    assert!(log.borrow().is_empty());
}

#[test]
fn eventfds_mask_and_unmask_and_are_forgotten_with_the_line() {
    let (device, log, _, _kernel) = platform();
    let fired = eventfd();
    let mut line = IrqLine::enable_with(&device, IrqIndex::new(1), &fired).unwrap();
    assert!(matches!(line.take(), Err(Error::NotWaitedForHere)));
    assert!(matches!(line.eventfd(), Err(Error::NotWaitedForHere)));
    taken(&log);
    let (masks, unmasks) = (eventfd(), eventfd());
    line.mask_by(&masks).unwrap();
    line.unmask_by(&unmasks).unwrap();
    // The kernel has room for one of each.
    assert_eq!(
        taken(&log),
        [
            by(MASK, 1, -1),
            by(MASK, 1, masks.as_raw_fd()),
            by(UNMASK, 1, -1),
            by(UNMASK, 1, unmasks.as_raw_fd()),
        ]
    );
    line.mask_by_none().unwrap();
    assert_eq!(taken(&log), [by(MASK, 1, -1)]);
    drop(line);
    assert_eq!(taken(&log), [by(UNMASK, 1, -1), by(TRIGGER, 1, -1)]);
    // Also if it was refused: one that was there before has gone, or not.
    let mut line = device.line(IrqIndex::new(1)).unwrap();
    line.mask_by(&masks).unwrap();
    taken(&log);
    line.disable().unwrap();
    assert_eq!(taken(&log), [by(MASK, 1, -1), by(TRIGGER, 1, -1)]);
}

#[test]
fn an_eventfd_that_is_refused_leaves_the_one_before() {
    let (device, log, refusal, _kernel) = platform();
    let mut line = device.line(IrqIndex::new(1)).unwrap();
    let own = line.eventfd().unwrap().as_raw_fd();
    let other = eventfd();
    taken(&log);
    *refusal.borrow_mut() = Some((0, Errno::INVAL));
    let refused = line.connect(&other).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    let asked = taken(&log);
    assert_eq!((asked.len(), &asked[1]), (2, &by(TRIGGER, 1, own)));
    assert_eq!(line.eventfd().unwrap().as_raw_fd(), own);
    *refusal.borrow_mut() = None;
    line.connect(&other).unwrap();
    assert!(matches!(line.take(), Err(Error::NotWaitedForHere)));
    // A duplicate, which is the device's to put back.
    let duplicate = taken(&log)[0][4];
    assert_ne!(duplicate, other.as_raw_fd());
    drop(other);
    *refusal.borrow_mut() = Some((0, Errno::INVAL));
    drop(line.connect(File::open("/dev/null").unwrap()));
    assert_eq!(taken(&log)[1], by(TRIGGER, 1, duplicate));
}

#[test]
fn a_line_that_the_kernel_does_not_disable_comes_back_and_is_still_taken() {
    let (device, log, refusal, _kernel) = platform();
    let mut line = device.line(IrqIndex::new(1)).unwrap();
    line.unmask_by(eventfd()).unwrap();
    taken(&log);
    *refusal.borrow_mut() = Some((1, Errno::IO));
    let refused = line.disable().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::IO));
    assert_eq!(taken(&log), [by(UNMASK, 1, -1), by(TRIGGER, 1, -1)]);
    let line = refused.into_value();
    assert!(matches!(
        device.line(IrqIndex::new(1)),
        Err(Error::LineEnabled { .. })
    ));
    *refusal.borrow_mut() = Some((0, Errno::IO));
    drop(line);
    // It goes when the device is closed; until then it counts as enabled.
    assert_eq!(device.iommu().iommufd().leaks().objects, 1);
    assert!(matches!(
        device.line(IrqIndex::new(1)),
        Err(Error::LineEnabled { .. })
    ));
}

#[test]
fn messages_of_one_index_are_lines_of_their_own() {
    // A CDX device.
    let (log, _, _kernel) = kernel(1 << 8, &[(9, 4)]);
    let device = device();
    assert_eq!(device.line_info(IrqIndex::new(0)).unwrap().count, 4);
    let lines = [0, 3].map(|number| device.line(IrqIndex::new(0).at(number)).unwrap());
    let eventfds = lines
        .each_ref()
        .map(|line| line.eventfd().unwrap().as_raw_fd());
    assert_eq!(
        taken(&log),
        [
            vec![EVENTFD | TRIGGER, 0, 0, 1, eventfds[0]],
            vec![EVENTFD | TRIGGER, 0, 3, 1, eventfds[1]],
        ]
    );
    assert_eq!(lines[1].index(), IrqIndex::new(0).at(3));
    lines[1].trigger().unwrap();
    assert_eq!(taken(&log), [[NOTHING | TRIGGER, 0, 3, 1]]);
    drop(lines);
    assert_eq!(
        taken(&log),
        [
            [EVENTFD | TRIGGER, 0, 0, 1, -1],
            [EVENTFD | TRIGGER, 0, 3, 1, -1],
        ]
    );
}

#[test]
fn what_s390_tells_of_its_devices_comes_by_lines() {
    for (flags, lines) in [
        (
            1 << 4,
            &[
                IrqIndex::CCW_IO,
                IrqIndex::CCW_REPORT,
                IrqIndex::CCW_REQUEST,
            ][..],
        ),
        (1 << 5, &[IrqIndex::AP_REQUEST, IrqIndex::AP_CONFIG_CHANGE]),
    ] {
        let (log, _, _kernel) = kernel(flags, &[EDGE; 3]);
        let device = device();
        for (place, index) in lines.iter().enumerate() {
            let line = device.line(*index).unwrap();
            let eventfd = line.eventfd().unwrap().as_raw_fd();
            let place = i32::try_from(place).unwrap();
            assert_eq!(taken(&log), [by(TRIGGER, place, eventfd)]);
            drop(line);
            assert_eq!(taken(&log), [by(TRIGGER, place, -1)]);
        }
    }
}
