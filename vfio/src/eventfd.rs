//! Eventfds that the kernel signals: how it is told of them, and how they are waited for.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use iommufd::KernelError;
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::vfio as sys;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::bound::Bound;
use crate::buffer::AlignedBytes;
use crate::cause;
use crate::error::{Error, Result};
use crate::query::malformed;

/// An eventfd that nobody has signalled.
pub(crate) fn create() -> Result<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    rustix::event::eventfd(0, flags).map_err(|errno| refused("eventfd", errno))
}

/// A request to have these eventfds signalled, from vector 0 of the interrupts at `index` on; with
/// none, to disable them all.
///
/// # Errors
/// [`Error::Malformed`] if there are more than a request can have.
pub(crate) fn request(index: u32, eventfds: &[OwnedFd]) -> Result<AlignedBytes> {
    assemble(index, eventfds).ok_or(malformed(
        "the list of eventfds",
        "longer than a request can be",
    ))
}

fn assemble(index: u32, eventfds: &[OwnedFd]) -> Option<AlignedBytes> {
    let numbers: Vec<i32> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut head = sys::vfio_irq_set::sized();
    head.index = index;
    head.count = u32::try_from(numbers.len()).ok()?;
    head.flags = sys::VFIO_IRQ_SET_ACTION_TRIGGER
        | if numbers.is_empty() {
            sys::VFIO_IRQ_SET_DATA_NONE
        } else {
            sys::VFIO_IRQ_SET_DATA_EVENTFD
        };
    let len = size_of_val(&head).checked_add(size_of_val(&*numbers))?;
    let mut arg = AlignedBytes::zeroed(len);
    arg.put(0, &head)?;
    arg.put(size_of_val(&head), &*numbers)?;
    Some(arg)
}

/// Waits until one of `bound`'s eventfds is signalled, at most `timeout`. Returns how often it has
/// been since it was last asked for, or `None` when the time is over.
pub(crate) fn wait(
    bound: &Bound,
    eventfd: BorrowedFd<'_>,
    timeout: Duration,
) -> Result<Option<u64>> {
    // A time that no clock reaches is no limit.
    let deadline = Instant::now().checked_add(timeout);
    loop {
        if let Some(count) = take(bound, eventfd)? {
            return Ok(Some(count));
        }
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(None);
        }
        let left = left.map(timespec);
        let mut files = [PollFd::from_borrowed_fd(eventfd, PollFlags::IN)];
        match poll(&mut files, left.as_ref()) {
            // Time over, a signal, or an interrupt: the next round tells.
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(refused("poll", errno)),
        }
    }
}

/// How often an eventfd of `bound`'s has been signalled since it was last asked for, without
/// waiting; `None` if it has not.
pub(crate) fn take(bound: &Bound, eventfd: BorrowedFd<'_>) -> Result<Option<u64>> {
    // In a child of a fork the counts are the parent's.
    bound.fd()?;
    let mut count = [0; size_of::<u64>()];
    match rustix::io::read(eventfd, &mut count) {
        Ok(moved) if moved == count.len() => Ok(Some(u64::from_ne_bytes(count))),
        Ok(_) => Err(malformed("an eventfd", "its count is cut short")),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(refused("read of an eventfd", errno)),
    }
}

/// What becomes of the error of something that could not be disabled when it was dropped: it is
/// told, and counted.
pub(crate) fn refused_drop(bound: &Bound, what: &'static str, disabled: Result<()>) {
    match disabled {
        Ok(()) | Err(Error::Iommufd(iommufd::Error::Forked)) => {}
        Err(Error::Iommufd(error)) => bound.iommufd().refused_drop(what, &error),
        // Only the kernel refuses.
        Err(_) => {}
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn refused(operation: &'static str, errno: Errno) -> Error {
    KernelError::new(operation, errno, cause::of_eventfd(errno)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_every_eventfd() {
        let eventfds = [create().unwrap(), create().unwrap()];
        let arg = request(sys::VFIO_PCI_MSIX_IRQ_INDEX, &eventfds).unwrap();
        let words: Vec<i32> = arg
            .bytes()
            .as_chunks()
            .0
            .iter()
            .map(|word| i32::from_ne_bytes(*word))
            .collect();
        let numbers = [eventfds[0].as_raw_fd(), eventfds[1].as_raw_fd()];
        // argsz is written when the request is made; trigger | eventfd, MSI-X, from 0, two.
        assert_eq!(words[1..7], [0x24, 2, 0, 2, numbers[0], numbers[1]]);
    }

    #[test]
    fn a_request_to_disable_has_no_vectors() {
        let arg = request(sys::VFIO_PCI_MSI_IRQ_INDEX, &[]).unwrap();
        let head: sys::vfio_irq_set = arg.head().unwrap();
        assert_eq!(
            (head.flags, head.index, head.start, head.count),
            (0x21, 1, 0, 0)
        );
    }
}
