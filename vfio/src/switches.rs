//! What a write to configuration space does to the registers that are mapped: the one place where
//! such writes are looked at.

use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::bound::Bound;
use crate::config::{self, CapabilityId};
use crate::error::{Error, Result};
use crate::gate::{Closed, Revocation};
use crate::info::{DeviceFlags, DeviceInfo};
use crate::region::Region;

/// The command register, and of it: the function decodes accesses of its memory.
const COMMAND: u64 = 0x04;
const MEMORY: u8 = 1 << 1;
/// In the power management capability: control and status (PCI Bus Power Management, "PMCSR"), of
/// which the lowest bits are the state.
const POWER_CONTROL: u64 = 4;
const POWER_STATE: u8 = 0b11;
const D3: u8 = 0b11;
/// In the PCI Express capability, the upper byte of device control, and of it: a function level
/// reset (PCI Express Base, "Device Control Register").
const EXPRESS_CONTROL: u64 = 9;
const EXPRESS_RESET: u8 = 1 << 7;
/// In the capability of advanced features: control, and of it: a function level reset (PCI
/// Advanced Capabilities ECN, "AF Control").
const ADVANCED_CONTROL: u64 = 4;
const ADVANCED_RESET: u8 = 1 << 0;

/// Which bytes of configuration space decide whether a function's registers can be accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Places {
    power: Option<u64>,
    express: Option<u64>,
    advanced: Option<u64>,
}

/// What a write does to the registers that are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing.
    None,
    /// It may give them back.
    MayOpen,
    /// It takes them away.
    Closes(Revocation),
}

/// What is known of a device's switches.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    /// Where they are; nowhere, if it is no PCI function.
    places: OnceLock<Option<Places>>,
    /// Taken to read how they stand, and to tell the gate.
    reading: Mutex<()>,
}

/// A write to configuration space that is to be made, with the gate closed if it needs to be.
#[derive(Debug)]
pub(crate) struct Write<'r> {
    region: &'r Region,
    closed: Option<Closed<'r>>,
    effect: Effect,
}

impl<'r> Write<'r> {
    /// Looks at a write of `bytes` at `offset` of `region`, which has the index of a configuration
    /// space, and waits for what it would break.
    pub(crate) fn begin(region: &'r Region, offset: u64, bytes: &[u8]) -> Result<Self> {
        let effect = match places(region)? {
            Some(places) => places.effect(offset, bytes),
            None => Effect::None,
        };
        let closed = match effect {
            Effect::Closes(cause) => Some(region.bound().close_gate(cause)?),
            _ => None,
        };
        Ok(Self {
            region,
            closed,
            effect,
        })
    }

    /// The write was made, or refused half way: the gate stays closed or opens, as the function
    /// says itself.
    pub(crate) fn end(self) {
        if self.effect != Effect::None {
            read(self.region, self.effect);
        }
        // Only now, as what stands keeps the gate closed.
        drop(self.closed);
    }
}

/// Looks how the switches stand that a reset sets back.
pub(crate) fn after_reset(bound: &Bound, config: impl FnOnce() -> Result<Region>) {
    // Who has never written to configuration space has not touched them.
    if let Some(Some(_)) = bound.switches.places.get()
        && let Ok(region) = config()
    {
        read(&region, Effect::MayOpen);
    }
}

/// Where the switches are. The configuration space is read for it the first time.
fn places(region: &Region) -> Result<Option<Places>> {
    let bound = region.bound();
    if let Some(places) = bound.switches.places.get() {
        return Ok(*places);
    }
    let is_pci = DeviceInfo::of(bound)?.flags.contains(DeviceFlags::PCI);
    let places = if is_pci { Some(find(region)?) } else { None };
    // Whoever comes at the same time has found the same.
    Ok(*bound.switches.places.get_or_init(|| places))
}

fn find(region: &Region) -> Result<Places> {
    let capabilities = match config::capabilities(region) {
        // Then the kernel knows of none either.
        Err(Error::Malformed { .. }) => Vec::new(),
        found => found?,
    };
    let place = |id| {
        let mut found = capabilities.iter().filter(|capability| capability.id == id);
        found.next().map(|capability| capability.offset)
    };
    Ok(Places {
        power: place(CapabilityId::POWER_MANAGEMENT),
        express: place(CapabilityId::PCI_EXPRESS),
        advanced: place(CapabilityId::ADVANCED_FEATURES),
    })
}

/// Tells the gate how the switches stand.
///
/// Of writes that come at once each reads after it has written, and one after the other: the last
/// to read sees what all of them have made of it.
fn read(region: &Region, effect: Effect) {
    let bound = region.bound();
    let Some(Some(places)) = bound.switches.places.get() else {
        return;
    };
    let _reading = bound.switches.reading.lock();
    let tell = |cause, off: Result<bool>| match off {
        Ok(off) => bound.gate.stands(cause, off),
        // A function that does not say is believed to have done what it was told.
        Err(_) if effect == Effect::Closes(cause) => bound.gate.stands(cause, true),
        Err(_) => {}
    };
    let command = region.read::<u8>(COMMAND);
    tell(
        Revocation::MemoryDecode,
        command.map(|command| command & MEMORY == 0),
    );
    if let Some(power) = places.power {
        let state = region.read::<u8>(power.saturating_add(POWER_CONTROL));
        tell(
            Revocation::PowerState,
            state.map(|state| state & POWER_STATE == D3),
        );
    }
}

impl Places {
    /// What a write of `bytes` at `offset` does.
    fn effect(&self, offset: u64, bytes: &[u8]) -> Effect {
        let written = |at: u64| {
            let index = usize::try_from(at.checked_sub(offset)?).ok()?;
            bytes.get(index).copied()
        };
        let within = |capability: Option<u64>, at| written(capability?.checked_add(at)?);
        let express = within(self.express, EXPRESS_CONTROL);
        let advanced = within(self.advanced, ADVANCED_CONTROL);
        let power = within(self.power, POWER_CONTROL);
        let command = written(COMMAND);
        if express.is_some_and(|control| control & EXPRESS_RESET != 0)
            || advanced.is_some_and(|control| control & ADVANCED_RESET != 0)
        {
            return Effect::Closes(Revocation::Reset);
        }
        if power.is_some_and(|control| control & POWER_STATE == D3) {
            return Effect::Closes(Revocation::PowerState);
        }
        if command.is_some_and(|command| command & MEMORY == 0) {
            return Effect::Closes(Revocation::MemoryDecode);
        }
        match power.or(command) {
            Some(_) => Effect::MayOpen,
            None => Effect::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = Places {
        power: Some(0x40),
        express: Some(0x60),
        advanced: Some(0x98),
    };

    #[test]
    fn what_switches_the_registers_off_is_seen_in_writes_of_any_width() {
        use Revocation::{MemoryDecode, PowerState, Reset};
        for (offset, bytes, effect) in [
            (4, &[0][..], Effect::Closes(MemoryDecode)),
            (4, &[2], Effect::MayOpen),
            (4, &[0x05, 0x04], Effect::Closes(MemoryDecode)),
            (4, &[6, 0, 0, 0], Effect::MayOpen),
            (2, &[0, 0, 0], Effect::Closes(MemoryDecode)),
            (5, &[0], Effect::None),
            (3, &[0], Effect::None),
            (0x44, &[3, 0], Effect::Closes(PowerState)),
            (0x44, &[0], Effect::MayOpen),
            (0x45, &[3], Effect::None),
            (0x68, &[0, 0x80], Effect::Closes(Reset)),
            (0x69, &[0x80], Effect::Closes(Reset)),
            (0x68, &[0x80], Effect::None),
            (0x68, &[0xff, 0x7f, 0xff, 0xff], Effect::None),
            (0x9c, &[1], Effect::Closes(Reset)),
            (0x9c, &[0xfe], Effect::None),
            (0, &[0xff; 256], Effect::Closes(Reset)),
            (0, &[], Effect::None),
            (u64::MAX, &[0; 16], Effect::None),
        ] {
            assert_eq!(
                PLACES.effect(offset, bytes),
                effect,
                "{offset:#x} {bytes:x?}"
            );
        }
        let none = Places::default();
        assert_eq!(none.effect(0x44, &[3]), Effect::None);
        assert_eq!(none.effect(4, &[0]), Effect::Closes(MemoryDecode));
    }

    #[test]
    fn a_write_in_pieces_does_what_it_does_whole() {
        // Whatever is written, one of its bytes does it.
        let rank = |effect| match effect {
            Effect::None => 0,
            Effect::MayOpen => 1,
            Effect::Closes(Revocation::MemoryDecode) => 2,
            Effect::Closes(Revocation::PowerState) => 3,
            Effect::Closes(_) => 4,
        };
        let mut random = crate::random::Random::new(7);
        for _ in 0..20_000 {
            let bytes = random.bytes(12);
            let offset = random.below(0xb0);
            let whole = PLACES.effect(offset, &bytes);
            let pieces = (offset..).zip(&bytes);
            let most = pieces
                .map(|(at, byte)| PLACES.effect(at, &[*byte]))
                .max_by_key(|effect| rank(*effect));
            assert_eq!(
                whole,
                most.unwrap_or(Effect::None),
                "{offset:#x} {bytes:x?}"
            );
        }
    }
}
