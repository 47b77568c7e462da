//! The power management capability.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::config::{CapabilityId, ConfigSpace};
use crate::error::{Error, Result};
use crate::gate::Revocation;
use crate::switches;

/// The power state of a function (PCI Express Base, "Device Power States").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PowerState {
    /// On.
    D0,
    /// Lightly asleep.
    D1,
    /// More so.
    D2,
    /// Off but for configuration space. Its registers cannot be accessed.
    D3,
}

/// The power management capability (PCI Express Base, "PCI Power Management Capability Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PowerManagement {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The version of its layout.
    pub version: u8,
    /// Whether the function has the state D1.
    pub has_d1: bool,
    /// Whether the function has the state D2.
    pub has_d2: bool,
    /// Whether the function keeps its state on the way from D3 to D0. If not, the kernel saves and
    /// restores its configuration space, and the driver has to set up the rest again.
    pub no_soft_reset: bool,
    /// The state it is in.
    pub state: PowerState,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Raw {
    head: u16,
    capabilities: u16,
    control: u16,
}

/// Where control and status are, and of these the state.
const CONTROL: u64 = 4;
const STATE: u16 = 0b11;

fn parse(offset: u64, raw: &Raw) -> PowerManagement {
    let [version, _] = raw.capabilities.to_le_bytes();
    PowerManagement {
        offset,
        version: version & 7,
        has_d1: raw.capabilities & 1 << 9 != 0,
        has_d2: raw.capabilities & 1 << 10 != 0,
        no_soft_reset: raw.control & 1 << 3 != 0,
        state: match raw.control & STATE {
            0 => PowerState::D0,
            1 => PowerState::D1,
            2 => PowerState::D2,
            _ => PowerState::D3,
        },
    }
}

impl ConfigSpace {
    /// The power management capability, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn power_management(&self) -> Result<Option<PowerManagement>> {
        self.capability(CapabilityId::POWER_MANAGEMENT, |offset, raw| {
            Ok(parse(offset, &raw))
        })
    }

    /// Puts the function into a power state. D3 [revokes](crate::Revocation) mapped registers,
    /// and waits for accesses of them that are under way; D0 gives them back.
    ///
    /// # Errors
    /// [`Error::NotTaken`]: the function has no such state or no power management, or is a
    /// physical one whose virtual functions are enabled; [`Error::AccessHeld`]; as for
    /// [`capabilities`](Self::capabilities).
    pub fn set_power_state(&self, state: PowerState) -> Result<()> {
        let what = "the power state";
        let bound = self.region.bound();
        // In a child of a fork the lock may be held for ever.
        bound.watch().check_process()?;
        // Before the lock: an observer hears of it, who may ask for the lock.
        switches::learn(&self.region)?;
        // What is under way is waited for before the lock is taken: it may ask for it.
        let _closed = match state {
            PowerState::D3 => Some(bound.close_gate(Revocation::PowerState)?),
            _ => None,
        };
        let _edit = bound.config_edits.lock();
        let Some(found) = self.power_management()? else {
            return Err(Error::NotTaken { what });
        };
        let control = found.offset.saturating_add(CONTROL);
        let now: u16 = self.read(control)?;
        self.write(control, now & !STATE | state as u16)?;
        match self.power_management()? {
            Some(after) if after.state == state => Ok(()),
            _ => Err(Error::NotTaken { what }),
        }
    }
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed(offset: u64, bytes: &[u8]) -> bool {
    Raw::read_from_prefix(bytes).is_ok_and(|(raw, _)| parse(offset, &raw).version < 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_are() {
        let raw = Raw {
            head: 1,
            capabilities: 0xc803 | 1 << 9,
            control: 0x000b,
        };
        let power = parse(0x40, &raw);
        assert_eq!(
            (power.version, power.has_d1, power.has_d2),
            (3, true, false)
        );
        assert_eq!((power.no_soft_reset, power.state), (true, PowerState::D3));
        assert_eq!(PowerState::D2 as u16, 2);
    }
}
