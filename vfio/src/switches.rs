//! What a write to configuration space does to the registers that are mapped: the one place where
//! such writes are looked at.

use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};

use crate::bound::Bound;
use crate::config::{CAPABILITIES_LIST, CAPABILITIES_POINTER, CapabilityId, STATUS};
use crate::error::Result;
use crate::gate::{Closed, Revocation};
use crate::info::{DeviceFlags, DeviceInfo};
use crate::query::malformed;
use crate::region::{Region, RegionIndex};

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

/// How many entries of a list of capabilities the kernel looks at.
const MOST: usize = 48;

/// Which bytes of configuration space decide whether a function's registers can be accessed: where
/// the capabilities are. Of a kind there is one, in a sound function; the kernel heeds each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Places {
    power: Vec<u64>,
    express: Vec<u64>,
    advanced: Vec<u64>,
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
    /// Taken for a write to them, and to look how they stand: the kernel goes by the last write.
    turn: Mutex<Written>,
    /// The function is the kernel's own, and is believed whatever it says: what is written may mean
    /// nothing to it.
    emulated: OnceLock<()>,
}

impl Switches {
    /// Tells that the function is one that the kernel emulates.
    pub(crate) fn are_emulated(&self) {
        // Whoever has told before has told the same.
        self.emulated.set(()).ok();
    }
}

/// What was written to the switches.
#[derive(Debug, Default)]
struct Written {
    /// Memory decoding was switched off. The kernel goes by this, and not by what the function says:
    /// one that does not answer any more says that everything is on.
    decode_off: bool,
}

/// A write to configuration space that is to be made, with the gate closed if it needs to be.
#[derive(Debug)]
pub(crate) struct Write<'r> {
    region: &'r Region,
    closed: Option<Closed<'r>>,
    effect: Effect,
    /// What is written to the switch of memory decoding, if it is.
    decode: Option<bool>,
    turn: Option<MutexGuard<'r, Written>>,
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
        let decode = written(offset, bytes, COMMAND).map(|command| command & MEMORY != 0);
        // After what is under way is over: it may ask for its turn.
        let turn = (effect != Effect::None).then(|| region.bound().switches.turn.lock());
        Ok(Self {
            region,
            closed,
            effect,
            decode,
            turn,
        })
    }

    /// The write was made, or refused half way (unless `whole`): the gate stays closed or opens, by
    /// what was written, and as the function says itself.
    pub(crate) fn end(mut self, whole: bool) {
        if let Some(turn) = &mut self.turn {
            let emulated = self.region.bound().switches.emulated.get().is_some();
            match self.decode.filter(|_| !emulated) {
                Some(on) if whole => turn.decode_off = !on,
                // It may be off.
                Some(false) => turn.decode_off = true,
                Some(true) | None => {}
            }
            look(self.region, turn, self.effect);
        }
        drop(self.turn);
        // Only now, as what stands keeps the gate closed.
        drop(self.closed);
    }
}

/// Finds out where the switches are, which makes an ioctl the first time: for who takes a lock before
/// a write.
pub(crate) fn learn(region: &Region) -> Result<()> {
    places(region).map(drop)
}

/// Looks how the switches of a device stand that somebody else has had.
pub(crate) fn of_another(bound: &Arc<Bound>) -> Result<()> {
    let region = Region::open(bound, RegionIndex::CONFIG)?;
    learn(&region)?;
    look(&region, &bound.switches.turn.lock(), Effect::MayOpen);
    Ok(())
}

/// Looks how the switches stand that a reset sets back, or the end of low power.
pub(crate) fn after_reset(bound: &Arc<Bound>) {
    // Who has never written to configuration space has not touched them.
    if let Some(Some(_)) = bound.switches.places.get()
        && let Ok(region) = Region::open(bound, RegionIndex::CONFIG)
    {
        look(&region, &bound.switches.turn.lock(), Effect::MayOpen);
    }
}

/// Where the switches are. The configuration space is read for it the first time.
fn places(region: &Region) -> Result<Option<&Places>> {
    let bound = region.bound();
    if let Some(places) = bound.switches.places.get() {
        return Ok(places.as_ref());
    }
    let is_pci = DeviceInfo::of(bound)?.flags.contains(DeviceFlags::PCI);
    let places = if is_pci { Some(find(region)?) } else { None };
    // Whoever comes at the same time has found the same.
    Ok(bound.switches.places.get_or_init(|| places).as_ref())
}

/// Walks the list of capabilities as the kernel did when the device was opened: it heeds whatever it
/// came by, also where the list then goes round in circles or leaves its place.
fn find(region: &Region) -> Result<Places> {
    let mut places = Places::default();
    if region.read::<u16>(STATUS)? & CAPABILITIES_LIST == 0 {
        return Ok(places);
    }
    let mut next = region.read::<u8>(CAPABILITIES_POINTER)?;
    for _ in 0..MOST {
        if next == 0 {
            break;
        }
        let offset = u64::from(next);
        let mut head = [0; 2];
        region.read_bytes(offset, &mut head)?;
        let [id, pointer] = head;
        match CapabilityId(id) {
            CapabilityId::POWER_MANAGEMENT => places.power.push(offset),
            CapabilityId::PCI_EXPRESS => places.express.push(offset),
            CapabilityId::ADVANCED_FEATURES => places.advanced.push(offset),
            // The kernel lists none of these. What it lists would be forgotten, if this were believed.
            CapabilityId(u8::MAX) => {
                return Err(malformed(
                    "configuration space",
                    "the function does not answer",
                ));
            }
            _ => {}
        }
        next = pointer;
    }
    Ok(places)
}

/// Tells the gate how the switches stand, by what was `written`, and as the function says.
fn look(region: &Region, written: &Written, effect: Effect) {
    let bound = region.bound();
    let Some(Some(places)) = bound.switches.places.get() else {
        return;
    };
    let tell = |cause, off: Option<bool>| match off {
        Some(off) => bound.gate.stands(cause, off),
        // A function that does not say is believed to have done what it was told.
        None if effect == Effect::Closes(cause) => bound.gate.stands(cause, true),
        None => {}
    };
    let command = region.read::<u8>(COMMAND).ok();
    let decode_off = match written.decode_off {
        true => Some(true),
        false => command.map(|command| command & MEMORY == 0),
    };
    tell(Revocation::MemoryDecode, decode_off);
    let state = |place: &u64| region.read::<u8>(place.saturating_add(POWER_CONTROL));
    let states: Result<Vec<u8>> = places.power.iter().map(state).collect();
    let off = states.map(|states| states.iter().any(|state| state & POWER_STATE == D3));
    tell(Revocation::PowerState, off.ok());
}

/// What a write of `bytes` at `offset` writes to the byte at `at`, if it does.
fn written(offset: u64, bytes: &[u8], at: u64) -> Option<u8> {
    let index = usize::try_from(at.checked_sub(offset)?).ok()?;
    bytes.get(index).copied()
}

impl Places {
    /// What a write of `bytes` at `offset` does.
    fn effect(&self, offset: u64, bytes: &[u8]) -> Effect {
        let within = |capabilities: &[u64], at: u64, bits: u8| -> Vec<u8> {
            let places = capabilities
                .iter()
                .filter_map(|place| place.checked_add(at));
            let values = places.filter_map(|place| written(offset, bytes, place));
            values.map(|value| value & bits).collect()
        };
        let express = within(&self.express, EXPRESS_CONTROL, EXPRESS_RESET);
        let advanced = within(&self.advanced, ADVANCED_CONTROL, ADVANCED_RESET);
        let power = within(&self.power, POWER_CONTROL, POWER_STATE);
        let command = written(offset, bytes, COMMAND);
        if express.iter().chain(&advanced).any(|reset| *reset != 0) {
            return Effect::Closes(Revocation::Reset);
        }
        if power.contains(&D3) {
            return Effect::Closes(Revocation::PowerState);
        }
        if command.is_some_and(|command| command & MEMORY == 0) {
            return Effect::Closes(Revocation::MemoryDecode);
        }
        match power.is_empty() && command.is_none() {
            true => Effect::None,
            false => Effect::MayOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;
    use std::os::fd::OwnedFd;
    use std::rc::Rc;

    use iommufd_sys::ioctl::vfio as nr;
    use iommufd_sys::vfio as sys;
    use rustix::fs::{MemfdFlags, OFlags};

    use super::*;
    use crate::ioctl::script;
    use crate::pci::PowerState;
    use crate::{ConfigSpace, Device, Error};

    fn places() -> Places {
        Places {
            power: vec![0x40],
            express: vec![0x60],
            advanced: vec![0x98],
        }
    }

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
                places().effect(offset, bytes),
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
            let places = places();
            let whole = places.effect(offset, &bytes);
            let pieces = (offset..).zip(&bytes);
            let most = pieces
                .map(|(at, byte)| places.effect(at, &[*byte]))
                .max_by_key(|effect| rank(*effect));
            assert_eq!(
                whole,
                most.unwrap_or(Effect::None),
                "{offset:#x} {bytes:x?}"
            );
        }
    }

    /// A function's configuration space: 256 bytes of zeroes, with memory decoding on, and this.
    fn function(bytes: &[(usize, &[u8])]) -> OwnedFd {
        let mut space = [0; 256];
        space[4] = MEMORY;
        for (at, bytes) in bytes {
            space[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        let file = rustix::fs::memfd_create("function", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(rustix::io::pwrite(&file, &space, 0).unwrap(), space.len());
        file
    }

    /// A device with that configuration space, of which a kernel tells that calls `asked` first.
    fn device(file: &OwnedFd, asked: impl Fn() + 'static) -> (Device, impl Drop) {
        let device = script::device_of(file.try_clone().unwrap());
        let kernel = script::answering(move |mut ask| {
            asked();
            if ask.ioctl == nr::DEVICE_GET_INFO.describe() {
                ask.set(4, &sys::VFIO_DEVICE_FLAGS_PCI.to_ne_bytes());
            } else if ask.ioctl != nr::DEVICE_FEATURE.describe() {
                assert_eq!(ask.ioctl, nr::DEVICE_GET_REGION_INFO.describe());
                assert_eq!(ask.u32(8), RegionIndex::CONFIG.get());
                ask.set(4, &3_u32.to_ne_bytes());
                ask.set(16, &256_u64.to_ne_bytes());
            }
            Ok(0)
        });
        (device, kernel)
    }

    fn closed_by(device: &Device) -> Option<Revocation> {
        match device.bound().gate.enter() {
            Ok(_) => None,
            Err(Error::Revoked { cause }) => Some(cause),
            Err(error) => panic!("{error}"),
        }
    }

    /// The capabilities of a list begin with this.
    const LIST: (usize, &[u8]) = (6, &[0x10]);

    /// An observer hears of the ioctls, and may edit configuration space itself.
    #[test]
    fn nobody_hears_of_an_ioctl_while_an_edit_is_under_way() {
        let file = function(&[LIST, (0x34, &[0x40]), (0x40, &[1, 0])]);
        let edits: [fn(&ConfigSpace) -> Result<()>; 3] = [
            ConfigSpace::enable_bus_master,
            ConfigSpace::disable_memory_decode,
            |config| config.set_power_state(PowerState::D3),
        ];
        for edit in edits {
            let bound = Rc::new(OnceCell::<Arc<Bound>>::new());
            let asked = Rc::clone(&bound);
            let (device, _kernel) = device(&file, move || {
                let bound = asked.get().unwrap();
                assert!(bound.config_edits.try_lock().is_some(), "edited");
                assert!(bound.switches.turn.try_lock().is_some(), "written");
            });
            bound.set(Arc::clone(device.bound())).unwrap();
            edit(&device.config().unwrap()).unwrap();
        }
    }

    /// As one that is gone does, which reads as ones: the kernel goes by what was written.
    #[test]
    fn a_function_that_does_not_say_that_decoding_is_off_is_not_believed() {
        let file = function(&[]);
        // What is written goes elsewhere.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
        let (device, _kernel) = device(&file, || ());
        let config = device.config().unwrap();
        assert!(matches!(
            config.disable_memory_decode(),
            Err(Error::NotTaken { .. })
        ));
        assert_eq!(closed_by(&device), Some(Revocation::MemoryDecode));
        // A reset leaves it so, as the kernel does.
        after_reset(device.bound());
        assert_eq!(closed_by(&device), Some(Revocation::MemoryDecode));
        config.enable_memory_decode().unwrap();
        assert_eq!(closed_by(&device), None);
    }

    /// One of the kernel's own, which has a command register that means nothing, has its memory still.
    #[test]
    fn a_function_that_the_kernel_emulates_is_believed() {
        let file = function(&[]);
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
        let (device, _kernel) = device(&file, || ());
        device.bound().switches.are_emulated();
        device.config().unwrap().disable_memory_decode().ok();
        assert_eq!(closed_by(&device), None);
    }

    /// The kernel heeds what it came by when the device was opened.
    #[test]
    fn a_switch_in_a_list_that_is_broken_or_has_it_twice_is_one() {
        for list in [
            // Round in a circle, into the header, and twice.
            &[(0x40, &[1, 0x40][..])][..],
            &[(0x40, &[1, 0x08]), (0x08, &[9, 0])],
            &[(0x40, &[1, 0x50]), (0x50, &[1, 0])],
            // Where no specification lets it be.
            &[(0x40, &[9, 0x53]), (0x53, &[1, 0])],
        ] {
            let power = list.iter().filter(|(_, head)| head[0] == 1);
            for (place, _) in power {
                let file = function(&[&[LIST, (0x34, &[0x40])], list].concat());
                let (device, _kernel) = device(&file, || ());
                let control = *place as u64 + POWER_CONTROL;
                let config = device.config().unwrap();
                config.write(control, D3).unwrap();
                assert_eq!(closed_by(&device), Some(Revocation::PowerState), "{list:?}");
                config.write(control, 0_u8).unwrap();
                assert_eq!(closed_by(&device), None);
            }
        }
    }

    #[test]
    fn what_a_function_that_is_gone_says_of_its_capabilities_is_not_remembered() {
        let file = function(&[LIST, (0x34, &[0x40]), (0x40, &[0xff, 0])]);
        let (device, _kernel) = device(&file, || ());
        let config = device.config().unwrap();
        assert!(matches!(
            config.write(0x44, D3),
            Err(Error::Malformed { .. })
        ));
        assert_eq!(closed_by(&device), None);
        assert_eq!(rustix::io::pwrite(&file, &[1], 0x40).unwrap(), 1);
        config.write(0x44, D3).unwrap();
        assert_eq!(closed_by(&device), Some(Revocation::PowerState));
    }

    /// All its bits are set, and would be written back: it could be one that only comes back later.
    #[test]
    fn what_a_function_that_is_gone_says_of_its_command_register_is_not_written_back() {
        let file = function(&[(4, &[0xff, 0xff])]);
        let (device, _kernel) = device(&file, || ());
        let config = device.config().unwrap();
        for edit in [
            ConfigSpace::enable_bus_master,
            ConfigSpace::disable_bus_master,
            ConfigSpace::enable_memory_decode,
        ] {
            assert!(matches!(edit(&config), Err(Error::Malformed { .. })));
        }
        assert_eq!(rustix::io::pwrite(&file, &[2, 0], 4).unwrap(), 2);
        config.enable_bus_master().unwrap();
        assert_eq!(config.command().unwrap().bits(), 6);
    }

    /// Where the host suspends it, the kernel brings it to D0 first.
    #[test]
    fn a_function_that_comes_back_from_low_power_in_d0_has_its_registers() {
        let file = function(&[LIST, (0x34, &[0x40]), (0x40, &[1, 0])]);
        let (device, _kernel) = device(&file, || ());
        let config = device.config().unwrap();
        for suspended in [false, true] {
            config.set_power_state(PowerState::D3).unwrap();
            let low_power = device.low_power().unwrap();
            assert_eq!(closed_by(&device), Some(Revocation::LowPower));
            if suspended {
                assert_eq!(rustix::io::pwrite(&file, &[0], 0x44).unwrap(), 1);
            }
            low_power.exit().unwrap();
            let cause = (!suspended).then_some(Revocation::PowerState);
            assert_eq!(closed_by(&device), cause);
        }
    }

    #[test]
    fn switches_that_somebody_else_has_left_off_are_off() {
        let power: &[(usize, &[u8])] = &[LIST, (0x34, &[0x40]), (0x40, &[1, 0, 0, 0, 3])];
        for (bytes, cause) in [
            (&[][..], None),
            (&[(4, &[0][..])], Some(Revocation::MemoryDecode)),
            (power, Some(Revocation::PowerState)),
        ] {
            let file = function(bytes);
            let (device, _kernel) = device(&file, || ());
            of_another(device.bound()).unwrap();
            assert_eq!(closed_by(&device), cause);
        }
    }
}
