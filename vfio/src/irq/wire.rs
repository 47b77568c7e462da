//! One interrupt that is enabled, and what it signals: what lines of all devices do alike.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use iommufd::KernelError;

use crate::bound::Bound;
use crate::cause;
use crate::error::{Error, Result};
use crate::eventfd;
use crate::holders::Hold;
use crate::irq::enabled::{Claimed, Enabled};
use crate::irq::set::{self, Action, Which};

/// An interrupt that is enabled: disabled when it is dropped.
///
/// # Invariants
/// The kernel signals `eventfd`.
#[derive(Debug)]
pub(super) struct Wire {
    // Disabled before the eventfd is closed.
    enabled: Enabled,
    eventfd: OwnedFd,
    /// Whether the eventfd was made for it, or is a duplicate of the caller's.
    own: bool,
}

impl Wire {
    /// Enables `which` when `prepare` has found that it can be, with an eventfd of its own or with that
    /// of the caller.
    pub(super) fn enable(
        hold: Hold,
        which: impl Into<Claimed>,
        callers: Option<BorrowedFd<'_>>,
        prepare: impl FnOnce(&Bound) -> Result<()>,
    ) -> Result<Self> {
        let which = which.into();
        let eventfd = callers.map_or_else(eventfd::create, duplicate)?;
        let (enabled, ()) = Enabled::new(hold, which, |bound| {
            prepare(bound)?;
            let (index, start) = which.place();
            let target = Which::Eventfds(&[Some(eventfd.as_fd())]);
            set::set(bound, index, start, Action::Trigger, target).map(drop)
        })?;
        // INVARIANT: the kernel has just been told of it.
        Ok(Self {
            enabled,
            eventfd,
            own: callers.is_none(),
        })
    }

    pub(super) fn bound(&self) -> &Bound {
        self.enabled.bound()
    }

    /// Its index, and its number among those that have it.
    pub(super) fn place(&self) -> (u32, u32) {
        self.enabled.place()
    }

    /// Has it signal the caller's eventfd.
    pub(super) fn connect(&mut self, eventfd: BorrowedFd<'_>) -> Result<()> {
        let eventfd = duplicate(eventfd)?;
        self.ask(Action::Trigger, Some(eventfd.as_fd()))?;
        // INVARIANT: the kernel has taken it.
        self.eventfd = eventfd;
        self.own = false;
        Ok(())
    }

    /// Has it signal what it has, once more: some drivers let go of that before they refuse another.
    pub(super) fn connect_again(&self) -> Result<()> {
        self.ask(Action::Trigger, Some(self.eventfd.as_fd()))
    }

    /// Has something done by hand.
    pub(super) fn act(&self, action: Action) -> Result<()> {
        self.enabled.set(0, action, Which::All(1)).map(drop)
    }

    /// Has an eventfd do something, in the place of another: the kernel has room for one.
    pub(super) fn act_by(&self, action: Action, eventfd: BorrowedFd<'_>) -> Result<()> {
        self.act_by_none(action)?;
        self.ask(action, Some(eventfd))
    }

    /// Has no eventfd do it any more.
    pub(super) fn act_by_none(&self, action: Action) -> Result<()> {
        self.ask(action, None)
    }

    fn ask(&self, action: Action, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        let which = Which::Eventfds(&[eventfd]);
        self.enabled.set(0, action, which).map(drop)
    }

    pub(super) fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        eventfd::wait(self.bound(), self.eventfd()?, timeout)
    }

    pub(super) fn take(&self) -> Result<Option<u64>> {
        eventfd::take(self.bound(), self.eventfd()?)
    }

    /// The eventfd, if it is its own.
    pub(super) fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        match self.own {
            true => Ok(self.eventfd.as_fd()),
            false => Err(Error::NotWaitedForHere),
        }
    }

    /// Disables it, if it is not yet.
    pub(super) fn stop(&self) -> Result<()> {
        self.enabled.stop()
    }
}

/// A duplicate of the caller's eventfd, which is closed here.
fn duplicate(eventfd: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(eventfd, 0)
        .map_err(|errno| KernelError::new("fcntl", errno, cause::of_eventfd(errno)).into())
}
