//! Eventfds of a caller's.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// One that nobody has signalled.
#[must_use]
pub fn new() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// Signals it once.
pub fn signal(eventfd: &impl AsFd) {
    rustix::io::write(eventfd, &1_u64.to_ne_bytes()).unwrap();
}

/// How often it has been signalled, after waiting for the first time at most `timeout`.
pub fn wait(eventfd: &impl AsFd, timeout: Duration) -> Option<u64> {
    let timeout = Timespec::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(eventfd, PollFlags::IN)], Some(&timeout)).unwrap();
    let mut count = [0; 8];
    match rustix::io::read(eventfd, &mut count) {
        Ok(moved) => {
            assert_eq!(moved, count.len());
            Some(u64::from_ne_bytes(count))
        }
        Err(errno) => {
            assert_eq!(errno, Errno::AGAIN);
            None
        }
    }
}
