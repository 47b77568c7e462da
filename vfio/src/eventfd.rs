//! Eventfds that the kernel signals, and how they are waited for.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use iommufd::KernelError;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use crate::bound::Bound;
use crate::cause;
use crate::error::{Error, Result};
use crate::query::malformed;

/// An eventfd that nobody has signalled.
pub(crate) fn create() -> Result<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    rustix::event::eventfd(0, flags).map_err(|errno| refused("eventfd", errno))
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
    match retry_on_intr(|| rustix::io::read(eventfd, &mut count)) {
        Ok(moved) if moved == count.len() => Ok(Some(u64::from_ne_bytes(count))),
        Ok(_) => Err(malformed("an eventfd", "its count is cut short")),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(refused("read of an eventfd", errno)),
    }
}

/// What becomes of the error of something that could not be disabled when it was dropped: it is
/// told, and counted.
pub(crate) fn refused_drop(bound: &Bound, what: &'static str, disabled: Result<()>) {
    match disabled {
        Ok(()) | Err(Error::Iommufd(iommufd::Error::Forked)) => {}
        Err(Error::Iommufd(error)) => bound.watch().refused_drop(what, &error),
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
