//! Whose the interrupts of a device are, and until when they are enabled.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use iommufd::Group;

use crate::bound::Bound;
use crate::error::{Error, Result};
use crate::eventfd;
use crate::holders::Hold;
use crate::irq::IrqKind;
use crate::irq::set::{self, Action, Which};

/// Enabled interrupts of one kind: disabled with the last that holds this.
///
/// # Invariants
/// While `on`, the interrupts are enabled, and the device's claim is of `kind`.
#[derive(Debug)]
pub(super) struct Enabled {
    hold: Hold,
    kind: IrqKind,
    on: AtomicBool,
    /// What is attached or not with the device, if that matters to them.
    group: Option<Group>,
}

impl Enabled {
    /// Enables interrupts of `kind` by `enable`.
    ///
    /// # Errors
    /// [`Error::InterruptsEnabled`], [`iommufd::Error::Forked`], and those of `enable`, after which
    /// none may be enabled.
    pub(super) fn new<T>(
        hold: Hold,
        kind: IrqKind,
        enable: impl FnOnce(&Bound) -> Result<T>,
    ) -> Result<(Self, T)> {
        let claim = Claim::take(hold.bound(), kind)?;
        let answer = enable(hold.bound())?;
        claim.keep();
        // INVARIANT: the kernel has just enabled them.
        let on = AtomicBool::new(true);
        let enabled = Self {
            hold,
            kind,
            on,
            group: None,
        };
        Ok((enabled, answer))
    }

    /// Has it know what is attached with the device, if an IOMMU translates for that.
    pub(super) fn of_group(mut self, group: Option<&Group>) -> Self {
        self.group = group.cloned();
        self
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    pub(super) fn bound(&self) -> &Bound {
        self.hold.bound()
    }

    /// Asks for something to be done with some of them.
    pub(super) fn set(&self, start: u32, action: Action, which: Which<'_>) -> Result<u32> {
        set::set(self.bound(), self.kind.index(), start, action, which)
    }

    /// Disables them, if they are not yet.
    pub(super) fn stop(&self) -> Result<()> {
        if self.on.load(Ordering::Acquire) {
            self.set(0, Action::Trigger, Which::All(0))?;
            self.on.store(false, Ordering::Release);
            self.bound().interrupts.release();
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
    kept: bool,
}

impl<'b> Claim<'b> {
    fn take(bound: &'b Bound, kind: IrqKind) -> Result<Self> {
        bound.watch().check_process()?;
        bound.interrupts.claim(kind)?;
        Ok(Self { bound, kept: false })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.bound.interrupts.release();
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
