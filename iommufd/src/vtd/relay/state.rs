//! What a relay knows of its guest, as plain data.

use std::collections::BTreeMap;

use vtd_types::{
    Capabilities, ContextEntry, Fault, FaultRecord, Features, Gsts, HostAddressWidth, Pasid,
    PasidEntry, Rtaddr, ScalableContextEntry, SourceId,
};

use super::configuration::Configuration;
use super::context::DeviceContext;
use super::registers::Registers;

/// What a relay knows of its guest, to go with the guest to another machine: the registers that it
/// was told of, and the entries of the guest's tables that it goes by. The guest may have changed
/// its tables meanwhile, and not said so yet: so the entries are part of it.
///
/// It is plain data. [`to_bytes`](Self::to_bytes) makes bytes of it for the VMM's own state,
/// [`from_bytes`](Self::from_bytes) reads them, and trusts nothing in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) offered: Features,
    pub(super) registers: Registers,
    pub(super) devices: BTreeMap<SourceId, Saved>,
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) context: DeviceContext,
    pub(super) untagged: Configuration,
    /// The valid entries.
    pub(super) tagged: BTreeMap<Pasid, Configuration>,
    /// What the guest is yet to be told.
    pub(super) fault: Option<FaultRecord>,
}

/// Bytes that are no state of a relay's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadState {
    /// It does not begin as one.
    #[error("the bytes are not the state of a relay")]
    NotOne,
    /// It is of a version that this crate does not know.
    #[error("the state is of version {0}, and this crate knows 1")]
    Version(u32),
    /// There are too few bytes, or too many: so many.
    #[error("the state ends too early or too late, with {0} bytes")]
    Length(usize),
    /// The registers that were saved are none that a relay has.
    #[error("the registers in the state make no sense")]
    Registers,
    /// What it says of a device is nothing that a relay saves.
    #[error("what is saved of device {0} makes no sense")]
    Device(SourceId),
    /// Its devices are not in order, or one is there twice.
    #[error("device {0} is out of order")]
    Order(SourceId),
}

const MAGIC: u32 = u32::from_le_bytes(*b"VTDR");

const NONE: u64 = 0;
const LEGACY: u64 = 1;
const SCALABLE: u64 = 2;

const UNREAD: u64 = 0;
const BAD: u64 = 1;
const BAD_WITH_FAULT: u64 = 2;
const ENTRY: u64 = 3;
const OF_CONTEXT: u64 = 4;

impl State {
    /// The version of the bytes that [`to_bytes`](Self::to_bytes) makes.
    pub const VERSION: u32 = 1;

    /// The state as bytes, the same on every machine.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let capabilities = self.offered.capabilities();
        let mut words = vec![
            u64::from(MAGIC) | u64::from(Self::VERSION) << 32,
            capabilities.cap.bits(),
            capabilities.ecap.bits(),
            u64::from(self.offered.width().get()) | u64::from(self.registers.status.bits()) << 32,
            self.registers.root.bits(),
            count(self.devices.len()),
        ];
        for (source, saved) in &self.devices {
            saved.encode(*source, &mut words);
        }
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// The state of these bytes.
    ///
    /// # Errors
    /// [`BadState`]: they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadState> {
        let mut words = Words::new(bytes);
        let [magic, version] = halves(words.next()?);
        if magic != MAGIC {
            return Err(BadState::NotOne);
        }
        if version != Self::VERSION {
            return Err(BadState::Version(version));
        }
        let capabilities = Capabilities::from_bits(words.next()?, words.next()?);
        let [width, status] = halves(words.next()?);
        let width = u8::try_from(width).ok().and_then(HostAddressWidth::new);
        let width = width.ok_or(BadState::Registers)?;
        let offered = Features::new(capabilities, width).map_err(|_| BadState::Registers)?;
        let registers = Registers {
            status: Gsts::from_bits(status),
            root: Rtaddr::from_bits(words.next()?),
        };
        if !registers.makes_sense() {
            return Err(BadState::Registers);
        }
        let mut devices = BTreeMap::new();
        for _ in 0..words.next()? {
            let (source, saved) = Saved::decode(&mut words, &offered)?;
            let last = devices.last_key_value().map(|(last, _)| *last);
            if last.is_some_and(|last| last >= source) {
                return Err(BadState::Order(source));
            }
            devices.insert(source, saved);
        }
        words.end()?;
        Ok(Self {
            offered,
            registers,
            devices,
        })
    }
}

impl Registers {
    /// Whether nothing is in them but what a relay keeps.
    fn makes_sense(&self) -> bool {
        let status = self.status;
        let kept = Gsts::default()
            .with_tes(status.tes())
            .with_rtps(status.rtps())
            .with_qies(status.qies());
        kept == status
    }
}

impl Saved {
    fn encode(&self, source: SourceId, words: &mut Vec<u64>) {
        let (context, entry) = match self.context {
            DeviceContext::None => (NONE, [0; 4]),
            DeviceContext::Legacy(entry, _) => {
                let [first, second] = entry.words();
                (LEGACY, [first, second, 0, 0])
            }
            DeviceContext::Scalable(entry, _) => (SCALABLE, entry.words()),
        };
        let (kind, untagged) = match (self.untagged, self.context) {
            (Configuration::Unread, _) => (UNREAD, [0; 3]),
            (Configuration::Bad(None), _) => (BAD, [0; 3]),
            (Configuration::Bad(Some(fault)), _) => {
                let [first, second] = fault.words();
                (BAD_WITH_FAULT, [first, second, 0])
            }
            (Configuration::Entry { .. }, DeviceContext::Legacy(..)) => (OF_CONTEXT, [0; 3]),
            (Configuration::Entry { entry, .. }, _) => (ENTRY, first_words(&entry)),
        };
        words.push(u64::from(source) | context << 16 | kind << 24);
        words.extend(entry);
        words.extend(untagged);
        words.extend(self.fault.map_or([0; 2], |fault| fault.words()));
        words.push(count(self.tagged.len()));
        for (pasid, configuration) in &self.tagged {
            if let Configuration::Entry { entry, .. } = configuration {
                words.push(u64::from(*pasid));
                words.extend(first_words(entry));
            }
        }
    }

    fn decode(words: &mut Words<'_>, features: &Features) -> Result<(SourceId, Self), BadState> {
        let head = words.next()?;
        let source = SourceId::new(low(head));
        let bad = BadState::Device(source);
        let context = DeviceContext::saved(head >> 16 & 0xff, words.array()?, source, features);
        let context = context.ok_or(bad)?;
        let untagged = words.array()?;
        let untagged = match (head >> 24, untagged, context) {
            (UNREAD, [0, 0, 0], _) => Configuration::Unread,
            (BAD, [0, 0, 0], _) => Configuration::Bad(None),
            (BAD_WITH_FAULT, [first, second, 0], _) => {
                let fault = saved_fault([first, second], source).ok_or(bad)?;
                Configuration::Bad(Some(fault))
            }
            (OF_CONTEXT, [0, 0, 0], DeviceContext::Legacy(_, context)) => {
                Configuration::legacy(&context)
            }
            (ENTRY, entry, DeviceContext::Scalable(..)) => {
                Configuration::saved(&of_first_words(entry), source, features).ok_or(bad)?
            }
            _ => return Err(bad),
        };
        let fault = match words.array()? {
            [0, 0] => None,
            fault => Some(saved_fault(fault, source).ok_or(bad)?),
        };
        let mut tagged = BTreeMap::new();
        for _ in 0..words.next()? {
            let pasid = u32::try_from(words.next()?).ok().and_then(Pasid::new);
            let pasid = pasid.filter(|pasid| *pasid != Pasid::ZERO).ok_or(bad)?;
            let entry = of_first_words(words.array()?);
            let entry = Configuration::saved(&entry, source, features).ok_or(bad)?;
            let last = tagged.last_key_value().map(|(last, _)| *last);
            let has_any = context.directory().is_some_and(|it| it.pasids);
            if !has_any || last.is_some_and(|last| last >= pasid) {
                return Err(bad);
            }
            tagged.insert(pasid, entry);
        }
        let saved = Self {
            context,
            untagged,
            tagged,
            fault,
        };
        Ok((source, saved))
    }
}

impl DeviceContext {
    /// The context entry that was saved, if it is one that a relay saves.
    fn saved(kind: u64, words: [u64; 4], source: SourceId, features: &Features) -> Option<Self> {
        let [first, second, third, fourth] = words;
        match (kind, third, fourth) {
            (NONE, 0, 0) if first == 0 && second == 0 => Some(Self::None),
            (LEGACY, 0, 0) => {
                let entry = ContextEntry::from_words([first, second]);
                Self::legacy(entry, source, features).ok()
            }
            (SCALABLE, ..) => {
                let entry = ScalableContextEntry::from_words(words);
                Self::scalable(entry, source, features).ok()
            }
            _ => None,
        }
    }
}

/// The fault that was saved, if it is one of the device's.
fn saved_fault(words: [u64; 2], source: SourceId) -> Option<FaultRecord> {
    let record = FaultRecord::from_words(words);
    match record.decode() {
        Ok(fault @ Fault::Request(request))
            if request.source == source && fault.encode() == record =>
        {
            Some(record)
        }
        _ => None,
    }
}

/// The words of a valid entry that are not 0.
fn first_words(entry: &PasidEntry) -> [u64; 3] {
    let [first, second, third, ..] = entry.words();
    [first, second, third]
}

fn of_first_words([first, second, third]: [u64; 3]) -> PasidEntry {
    PasidEntry::from_words([first, second, third, 0, 0, 0, 0, 0])
}

/// There are not so many of anything that it would not fit.
fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

fn low(word: u64) -> u16 {
    let [a, b, ..] = word.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// Words that are read one after the other.
struct Words<'b> {
    rest: &'b [[u8; 8]],
    /// What is left over of a word.
    odd: usize,
    len: usize,
}

impl<'b> Words<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        let (rest, odd) = bytes.as_chunks();
        Self {
            rest,
            odd: odd.len(),
            len: bytes.len(),
        }
    }

    fn next(&mut self) -> Result<u64, BadState> {
        let (first, rest) = self.rest.split_first().ok_or(BadState::Length(self.len))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*first))
    }

    fn array<const N: usize>(&mut self) -> Result<[u64; N], BadState> {
        let mut array = [0; N];
        for word in &mut array {
            *word = self.next()?;
        }
        Ok(array)
    }

    /// There is nothing more.
    fn end(&self) -> Result<(), BadState> {
        match (self.rest, self.odd) {
            ([], 0) => Ok(()),
            _ => Err(BadState::Length(self.len)),
        }
    }
}
