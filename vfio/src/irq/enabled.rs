//! Whose the interrupts of a device are, and until when they are enabled.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::bound::Bound;
use crate::error::{Error, Result};
use crate::eventfd;
use crate::holders::Hold;
use crate::irq::set::{self, Action, Which};
use crate::irq::{IrqIndex, IrqKind};

/// Enabled interrupts of one kind, or one interrupt: disabled with the last that holds this.
///
/// # Invariants
/// While `on`, the interrupts are enabled, and the device's claim is of `which`.
#[derive(Debug)]
pub(super) struct Enabled {
    hold: Hold,
    which: Claimed,
    on: AtomicBool,
}

/// What is claimed of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// All interrupts of a kind, and with them all kinds: of a PCI function.
    Kind(IrqKind),
    /// One of another device.
    Line(IrqIndex),
}

impl From<IrqKind> for Claimed {
    fn from(kind: IrqKind) -> Self {
        Self::Kind(kind)
    }
}

impl From<IrqIndex> for Claimed {
    fn from(index: IrqIndex) -> Self {
        Self::Line(index)
    }
}

impl Claimed {
    /// The index, and of those that have it the first.
    pub(super) fn place(self) -> (u32, u32) {
        match self {
            Self::Kind(kind) => (kind.index(), 0),
            Self::Line(index) => (index.get(), index.number()),
        }
    }

    /// Which are disabled by being triggered. (That without a count `vfio-ccw` takes for a trigger,
    /// and `vfio-ap` knows eventfds alone.)
    fn none(self) -> Which<'static> {
        match self {
            Self::Kind(_) => Which::All(0),
            Self::Line(_) => Which::Eventfds(&[None]),
        }
    }

    fn claim(self, bound: &Bound) -> Result<()> {
        match self {
            Self::Kind(kind) => bound.interrupts.claim(kind),
            Self::Line(index) => bound.lines.claim(index),
        }
    }

    fn release(self, bound: &Bound) {
        match self {
            Self::Kind(_) => bound.interrupts.release(),
            Self::Line(index) => bound.lines.release(index),
        }
    }
}

impl Enabled {
    /// Enables `which` by `enable`.
    ///
    /// # Errors
    /// [`Error::InterruptsEnabled`] or [`Error::LineEnabled`], [`iommufd::Error::Forked`], and those of
    /// `enable`, after which none may be enabled.
    pub(super) fn new<T>(
        hold: Hold,
        which: impl Into<Claimed>,
        enable: impl FnOnce(&Bound) -> Result<T>,
    ) -> Result<(Self, T)> {
        let which = which.into();
        let claim = Claim::take(hold.bound(), which)?;
        let answer = enable(hold.bound())?;
        claim.keep();
        // INVARIANT: the kernel has just enabled them.
        let on = AtomicBool::new(true);
        Ok((Self { hold, which, on }, answer))
    }

    pub(super) fn bound(&self) -> &Bound {
        self.hold.bound()
    }

    /// The index of the interrupts, and of those that have it the first.
    pub(super) fn place(&self) -> (u32, u32) {
        self.which.place()
    }

    /// Asks for something to be done with some of them, from `start` on.
    pub(super) fn set(&self, start: u32, action: Action, which: Which<'_>) -> Result<u32> {
        let (index, first) = self.place();
        let start = first.saturating_add(start);
        set::set(self.bound(), index, start, action, which)
    }

    /// Disables them, if they are not yet.
    pub(super) fn stop(&self) -> Result<()> {
        if self.on.load(Ordering::Acquire) {
            self.set(0, Action::Trigger, self.which.none())?;
            self.on.store(false, Ordering::Release);
            self.which.release(self.bound());
        }
        Ok(())
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        // After a refusal the interrupts count as enabled: no others can be enabled, and the
        // kernel, which has its own references to the eventfds, disables them when the device is
        // closed.
        let disabled = self.stop();
        eventfd::refused_drop(self.bound(), "interrupts", disabled);
    }
}

/// Which kind of interrupts is enabled, or is being enabled or disabled. A number, not a lock: no
/// lock is held across the ioctl, and a child of a fork can ask.
#[derive(Debug, Default)]
pub(crate) struct EnabledKind(AtomicU32);

impl EnabledKind {
    /// The kind, if there is one.
    pub(crate) fn get(&self) -> Option<IrqKind> {
        Self::kind(self.0.load(Ordering::Acquire))
    }

    /// Enters `kind` if there is none, and says which there is otherwise.
    fn claim(&self, kind: IrqKind) -> Result<(), Error> {
        self.0
            .compare_exchange(0, Self::code(kind), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(|code| Error::InterruptsEnabled {
                kind: Self::kind(code).unwrap_or(kind),
            })
    }

    /// The number that stands for `kind`: 0 stands for none.
    fn code(kind: IrqKind) -> u32 {
        kind.index().saturating_add(1)
    }

    fn kind(code: u32) -> Option<IrqKind> {
        IrqKind::ALL
            .into_iter()
            .find(|kind| Self::code(*kind) == code)
    }

    fn release(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The right to enable interrupts of a device, given back if it comes to nothing.
struct Claim<'b> {
    bound: &'b Bound,
    which: Claimed,
    kept: bool,
}

impl<'b> Claim<'b> {
    fn take(bound: &'b Bound, which: Claimed) -> Result<Self> {
        bound.watch().check_process()?;
        which.claim(bound)?;
        Ok(Self {
            bound,
            which,
            kept: false,
        })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.which.release(self.bound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_claimed_at_a_time() {
        let enabled = EnabledKind::default();
        assert_eq!(enabled.get(), None);
        enabled.claim(IrqKind::MsiX).unwrap();
        assert_eq!(enabled.get(), Some(IrqKind::MsiX));
        let refused = enabled.claim(IrqKind::Msi);
        assert!(matches!(
            refused,
            Err(Error::InterruptsEnabled {
                kind: IrqKind::MsiX
            })
        ));
        for kind in IrqKind::ALL {
            enabled.release();
            enabled.claim(kind).unwrap();
            assert_eq!(enabled.get(), Some(kind));
        }
    }
}
