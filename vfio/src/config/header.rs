//! The header of configuration space: what every PCI function has.

use std::fmt;

use bitflags::bitflags;
use parking_lot::MutexGuard;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::config::ConfigSpace;
use crate::error::{Error, Result};
use crate::gate::Revocation;
use crate::ids::PciIds;
use crate::query::malformed;
use crate::region::RegionIndex;
use crate::switches;

bitflags! {
    /// The command register (PCI Express Base, "Command Register").
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Command: u16 {
        /// The function decodes accesses of its I/O ports.
        const IO = 1 << 0;
        /// The function decodes accesses of its memory: of its registers.
        const MEMORY = 1 << 1;
        /// The function may make memory requests: DMA, and interrupts by MSI and MSI-X.
        const BUS_MASTER = 1 << 2;
        /// It responds to parity errors.
        const PARITY_ERROR_RESPONSE = 1 << 6;
        /// It reports errors.
        const SERR = 1 << 8;
        /// It raises no `INTx` interrupts.
        const INTERRUPT_DISABLE = 1 << 10;
        // Whatever else is set is kept.
        const _ = !0;
    }
}

bitflags! {
    /// The status register (PCI Express Base, "Status Register").
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Status: u16 {
        /// An `INTx` interrupt is pending.
        const INTERRUPT = 1 << 3;
        /// There is a list of capabilities.
        const CAPABILITIES_LIST = 1 << 4;
        /// A request of the function's met a parity error.
        const MASTER_DATA_PARITY_ERROR = 1 << 8;
        /// The function ended a request with a target abort.
        const SIGNALED_TARGET_ABORT = 1 << 11;
        /// A request of the function's ended with a target abort.
        const RECEIVED_TARGET_ABORT = 1 << 12;
        /// A request of the function's ended with a master abort: nobody answered.
        const RECEIVED_MASTER_ABORT = 1 << 13;
        /// The function reported an error.
        const SIGNALED_SYSTEM_ERROR = 1 << 14;
        /// The function met a parity error.
        const DETECTED_PARITY_ERROR = 1 << 15;
        // Whatever else is set is kept.
        const _ = !0;
    }
}

/// What a function is, by class (PCI Code and ID Assignment, "Class Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClassCode {
    /// The class, such as 2 of network controllers.
    pub base: u8,
    /// The class within that.
    pub sub: u8,
    /// The programming interface.
    pub interface: u8,
}

impl fmt::Display for ClassCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            base,
            sub,
            interface,
        } = self;
        write!(f, "{base:02x}{sub:02x}{interface:02x}")
    }
}

/// How the header is laid out (PCI Express Base, "Header Type Register").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderLayout {
    /// That of a device.
    Endpoint,
    /// That of a bridge.
    Bridge,
    /// That of a `CardBus` bridge.
    CardBus,
    /// One that no specification has.
    Other(u8),
}

/// The pin by which a function raises `INTx` interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterruptPin {
    /// `INTA#`.
    A,
    /// `INTB#`.
    B,
    /// `INTC#`.
    C,
    /// `INTD#`.
    D,
}

/// What a base address register says (PCI Express Base, "Base Address Registers").
///
/// The kernel shows registers of its own: what is written there moves nothing. An address is what
/// the host has given the BAR at first, and what was written later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bar {
    /// I/O ports.
    Io {
        /// The first port.
        address: u32,
    },
    /// Memory.
    Memory {
        /// The first byte.
        address: u64,
        /// Whether it may be above 4 GiB: the register takes the place of two.
        is_64_bit: bool,
        /// Whether reads have no side effects.
        prefetchable: bool,
    },
}

/// The header of a function's configuration space.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Vendor and device.
    pub ids: PciIds,
    /// The command register.
    pub command: Command,
    /// The status register.
    pub status: Status,
    /// The revision of the device.
    pub revision: u8,
    /// What it is.
    pub class: ClassCode,
    /// How the rest is laid out.
    pub layout: HeaderLayout,
    /// Whether its device may have more functions.
    pub multifunction: bool,
    /// The vendor of the card, and its model; of an endpoint.
    pub subsystem: Option<PciIds>,
    /// The pin of its `INTx` interrupts, if it has any.
    pub interrupt_pin: Option<InterruptPin>,
    bars: [Option<Bar>; 6],
}

impl Header {
    /// What the base address register of this region says; `None` if it is none, or not in use
    /// (the second half of a 64-bit one is not).
    #[must_use]
    pub fn bar(&self, index: RegionIndex) -> Option<Bar> {
        let index = usize::try_from(index.get()).ok()?;
        self.bars.get(index).copied().flatten()
    }

    /// The base address registers that are in use.
    pub fn bars(&self) -> impl Iterator<Item = (RegionIndex, Bar)> + '_ {
        let indexes = (0..).map(RegionIndex::new);
        let all = indexes.zip(&self.bars);
        all.filter_map(|(index, bar)| Some((index, (*bar)?)))
    }
}

/// The first 64 bytes of configuration space, of an endpoint.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct RawHeader {
    vendor: u16,
    device: u16,
    command: u16,
    status: u16,
    revision: u8,
    interface: u8,
    sub: u8,
    base: u8,
    cache_line: u8,
    latency: u8,
    kind: u8,
    self_test: u8,
    bars: [u32; 6],
    cardbus: u32,
    subsystem_vendor: u16,
    subsystem: u16,
    rom: u32,
    capabilities: u8,
    reserved: [u8; 7],
    line: u8,
    pin: u8,
    timing: [u8; 2],
}

/// In a header type: the layout, and whether there are more functions.
const LAYOUT: u8 = 0x7f;
const MULTIFUNCTION: u8 = 1 << 7;
/// In a base address register: I/O ports.
const IO: u32 = 1 << 0;
/// In one of memory: how wide it is, and which value says 64 bits; prefetchable.
const WIDTH: u32 = 0b11 << 1;
const WIDTH_64: u32 = 0b10 << 1;
const PREFETCHABLE: u32 = 1 << 3;

fn parse(raw: &RawHeader) -> Result<Header> {
    // What reads answer of a function that is not there, or not any more.
    if raw.vendor == u16::MAX {
        return Err(malformed(
            "configuration space",
            "the function is not there",
        ));
    }
    let layout = match raw.kind & LAYOUT {
        0 => HeaderLayout::Endpoint,
        1 => HeaderLayout::Bridge,
        2 => HeaderLayout::CardBus,
        other => HeaderLayout::Other(other),
    };
    // How many registers of it are base addresses.
    let bars = match layout {
        HeaderLayout::Endpoint => 6,
        HeaderLayout::Bridge => 2,
        HeaderLayout::CardBus | HeaderLayout::Other(_) => 0,
    };
    let subsystem = PciIds {
        vendor: raw.subsystem_vendor,
        device: raw.subsystem,
    };
    Ok(Header {
        ids: PciIds {
            vendor: raw.vendor,
            device: raw.device,
        },
        command: Command::from_bits_retain(raw.command),
        status: Status::from_bits_retain(raw.status),
        revision: raw.revision,
        class: ClassCode {
            base: raw.base,
            sub: raw.sub,
            interface: raw.interface,
        },
        layout,
        multifunction: raw.kind & MULTIFUNCTION != 0,
        subsystem: (layout == HeaderLayout::Endpoint).then_some(subsystem),
        interrupt_pin: match raw.pin {
            1 => Some(InterruptPin::A),
            2 => Some(InterruptPin::B),
            3 => Some(InterruptPin::C),
            4 => Some(InterruptPin::D),
            // None, or a value that is reserved.
            _ => None,
        },
        bars: parse_bars(&raw.bars, bars)?,
    })
}

/// The first `count` of these registers as base addresses.
fn parse_bars(raw: &[u32; 6], count: usize) -> Result<[Option<Bar>; 6]> {
    let mut bars = [None; 6];
    let mut registers = raw.iter().zip(&mut bars).take(count);
    while let Some((&low, bar)) = registers.next() {
        *bar = match low {
            0 => None,
            _ if low & IO != 0 => Some(Bar::Io { address: low & !3 }),
            _ => {
                let is_64_bit = low & WIDTH == WIDTH_64;
                let high = match is_64_bit {
                    true => registers.next().map(|(&high, _)| high),
                    false => Some(0),
                };
                let high = high.ok_or(malformed(
                    "a base address register",
                    "its second half is missing",
                ))?;
                Some(Bar::Memory {
                    address: u64::from(high) << 32 | u64::from(low & !0xf),
                    is_64_bit,
                    prefetchable: low & PREFETCHABLE != 0,
                })
            }
        };
    }
    Ok(bars)
}

/// The command register.
const COMMAND: u64 = 0x04;
/// The status register.
const STATUS: u64 = 0x06;

impl ConfigSpace {
    /// The header.
    ///
    /// # Errors
    /// [`Error::Malformed`], if it contradicts itself, or the function is not there any more;
    /// as for [`Region::read_bytes`](crate::Region::read_bytes).
    pub fn header(&self) -> Result<Header> {
        parse(&self.read_struct(0)?)
    }

    /// The command register.
    ///
    /// # Errors
    /// As for [`Region::read`](crate::Region::read).
    pub fn command(&self) -> Result<Command> {
        self.read(COMMAND).map(Command::from_bits_retain)
    }

    /// The status register.
    ///
    /// # Errors
    /// As for [`Region::read`](crate::Region::read).
    pub fn status(&self) -> Result<Status> {
        self.read(STATUS).map(Status::from_bits_retain)
    }

    /// Has the function answer accesses of its memory. Mapped registers can be accessed again.
    ///
    /// It does when the device is opened.
    ///
    /// # Errors
    /// As for [`enable_bus_master`](Self::enable_bus_master).
    pub fn enable_memory_decode(&self) -> Result<()> {
        self.set_command(Command::MEMORY, true, "memory decoding")
    }

    /// Has the function answer no accesses of its memory. It [revokes](crate::Revocation) mapped
    /// registers, and waits for accesses of them that are under way.
    ///
    /// # Errors
    /// As for [`enable_bus_master`](Self::enable_bus_master); [`Error::AccessHeld`] if this thread
    /// holds an access.
    pub fn disable_memory_decode(&self) -> Result<()> {
        self.set_command(Command::MEMORY, false, "memory decoding")
    }

    /// Sets or clears a bit of the command register, and looks whether it was taken.
    pub(super) fn set_command(&self, bit: Command, on: bool, what: &'static str) -> Result<()> {
        let bound = self.region.bound();
        // In a child of a fork the lock may be held for ever.
        bound.watch().check_process()?;
        // Before the lock: an observer hears of it, who may ask for the lock.
        switches::learn(&self.region)?;
        let mut closed = None;
        // Two threads must not undo each other's change of the register.
        let mut edit = bound.config_edits.lock();
        loop {
            let mut command = self.command_that_is()?;
            command.set(bit, on);
            // What is under way is waited for without the lock: it may ask for it.
            if !command.contains(Command::MEMORY) && closed.is_none() {
                let wait = || bound.close_gate(Revocation::MemoryDecode);
                closed = Some(MutexGuard::unlocked(&mut edit, wait)?);
                continue;
            }
            self.write(COMMAND, command.bits())?;
            break;
        }
        let taken = self.command_that_is()?.contains(bit) == on;
        taken.then_some(()).ok_or(Error::NotTaken { what })
    }

    /// The command register, of a function that answers: what is read of one that does not has all
    /// bits set, and is not to be written back.
    fn command_that_is(&self) -> Result<Command> {
        match self.command()? {
            command if command.bits() == u16::MAX => Err(malformed(
                "configuration space",
                "the function does not answer",
            )),
            command => Ok(command),
        }
    }
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed(bytes: &[u8]) -> bool {
    RawHeader::read_from_prefix(bytes).is_ok_and(|(raw, _)| parse(&raw).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn raw(kind: u8, bars: [u32; 6]) -> RawHeader {
        let mut raw = RawHeader::read_from_bytes(&[0; 64]).unwrap();
        raw.vendor = 0x8086;
        raw.kind = kind;
        raw.bars = bars;
        raw
    }

    #[test]
    fn a_header_is_read_field_by_field() {
        let mut bytes = [0; 64];
        bytes[..16].copy_from_slice(&[
            0x86, 0x80, 0xc9, 0x10, 0x06, 0x04, 0x10, 0x80, 1, 0x30, 0x20, 0x02, 0x10, 0, 0x80, 0,
        ]);
        bytes[0x2c..0x30].copy_from_slice(&[0x86, 0x80, 0x01, 0xa0]);
        bytes[0x3d] = 2;
        let header = parse(&RawHeader::read_from_bytes(&bytes).unwrap()).unwrap();
        assert_eq!(header.ids.to_string(), "8086:10c9");
        assert_eq!(
            header.command,
            Command::MEMORY | Command::BUS_MASTER | Command::INTERRUPT_DISABLE
        );
        let status = Status::CAPABILITIES_LIST | Status::DETECTED_PARITY_ERROR;
        assert_eq!(header.status, status);
        assert_eq!(header.class.to_string(), "022030");
        assert_eq!((header.revision, header.multifunction), (1, true));
        assert_eq!(header.subsystem.unwrap().to_string(), "8086:a001");
        assert_eq!(header.interrupt_pin, Some(InterruptPin::B));
        assert_eq!(header.layout, HeaderLayout::Endpoint);
        assert_eq!(header.bars().count(), 0);
    }

    #[test]
    fn p11_a_bar_is_under_its_own_index_behind_one_of_64_bits() {
        let header = parse(&raw(0, [0xfe00_000c, 1, 0xe001, 0, 0xd000_0000, 0])).unwrap();
        let memory = |address, is_64_bit, prefetchable| Bar::Memory {
            address,
            is_64_bit,
            prefetchable,
        };
        let bars: Vec<_> = header.bars().collect();
        assert_eq!(
            bars,
            [
                (RegionIndex::BAR0, memory(0x1_fe00_0000, true, true)),
                (RegionIndex::BAR2, Bar::Io { address: 0xe000 }),
                (RegionIndex::BAR4, memory(0xd000_0000, false, false)),
            ]
        );
        assert_eq!(header.bar(RegionIndex::BAR1), None);
        assert_eq!(header.bar(RegionIndex::CONFIG), None);
        assert_eq!(header.bar(RegionIndex::new(!0)), None);
        // A bridge has two, and what follows is no base address.
        let header = parse(&raw(1, [1, 0xe001, 0xe001, 0, 0, 0])).unwrap();
        assert_eq!(header.bars().count(), 2);
        assert_eq!(header.subsystem, None);
    }

    #[test]
    fn half_a_bar_and_a_function_that_is_gone_are_refused() {
        assert!(parse(&raw(0, [0, 0, 0, 0, 0, 4])).is_err());
        assert!(parse(&raw(1, [0, 4, 0, 0, 0, 0])).is_err());
        assert!(parse(&RawHeader::read_from_bytes(&[0xff; 64]).unwrap()).is_err());
    }

    #[test]
    fn whatever_a_function_answers_is_a_header_or_an_error() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..64).map(|_| random.next().to_le_bytes()[2]).collect();
            let Ok(header) = parse(&RawHeader::read_from_bytes(&bytes).unwrap()) else {
                continue;
            };
            assert_eq!(header.command.bits().to_le_bytes(), bytes[4..6]);
            let mut after_64 = None;
            for (index, bar) in header.bars() {
                assert_ne!(after_64, Some(index));
                let wide = matches!(
                    bar,
                    Bar::Memory {
                        is_64_bit: true,
                        ..
                    }
                );
                after_64 = wide.then_some(RegionIndex::new(index.get() + 1));
            }
        }
    }
}
