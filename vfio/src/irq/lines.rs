//! Which interrupts of a device are enabled that is no PCI function.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::irq::IrqIndex;

/// Those that are enabled, or being enabled or disabled. The lock is held across no ioctl; a child of a
/// fork, in which it may be held for ever, is refused before.
#[derive(Debug, Default)]
pub(crate) struct EnabledLines(Mutex<BTreeSet<IrqIndex>>);

impl EnabledLines {
    /// Enters `index`, of which there must be no other.
    pub(super) fn claim(&self, index: IrqIndex) -> Result<()> {
        match self.0.lock().insert(index) {
            true => Ok(()),
            false => Err(Error::LineEnabled { index }),
        }
    }

    pub(super) fn release(&self, index: IrqIndex) {
        self.0.lock().remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_claimed_by_itself() {
        let lines = EnabledLines::default();
        let [first, second] = [0, 1].map(IrqIndex::new);
        for index in [first, second, first.at(1)] {
            lines.claim(index).unwrap();
        }
        let refused = lines.claim(second).unwrap_err();
        assert!(matches!(refused, Error::LineEnabled { index } if index == second));
        lines.release(second);
        lines.claim(second).unwrap();
    }
}
