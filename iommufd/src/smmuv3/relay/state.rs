//! What a relay knows of its guest, as plain data.

use std::collections::BTreeMap;

use smmuv3_types::{
    Cr0, Cr2, EventKind, EventRecord, Features, Gbpa, IdRegisters, NestedSte, Reduced, StreamId,
    StrtabBase, StrtabBaseCfg,
};

use super::configuration::Configuration;
use super::registers::Registers;

/// What a relay knows of its guest, to go with the guest to another machine: the registers that it
/// was told of, and the entries of the stream table that it goes by. The guest may have changed its
/// table meanwhile, and not said so yet: so the entries are part of it.
///
/// It is plain data. [`to_bytes`](Self::to_bytes) makes bytes of it for the VMM's own state,
/// [`from_bytes`](Self::from_bytes) reads them, and trusts nothing in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) offered: IdRegisters,
    pub(super) registers: Registers,
    pub(super) streams: BTreeMap<StreamId, Saved>,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) configuration: Configuration,
    /// What the guest is yet to be told.
    pub(super) event: Option<EventRecord>,
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
    /// There are too few bytes, or too many.
    #[error("the state has {len} bytes where it should have {needed}")]
    Length {
        /// How many there are.
        len: usize,
        /// How many there should be.
        needed: usize,
    },
    /// What it says of a stream is nothing that a relay saves.
    #[error("what is saved of stream {0} makes no sense")]
    Stream(StreamId),
    /// Its streams are not in order, or one is there twice.
    #[error("stream {0} is out of order")]
    Order(StreamId),
}

const MAGIC: u32 = u32::from_le_bytes(*b"SMV3");

/// How many bytes come before the streams: so many words of 32 bits.
const HEAD: usize = 17 * 4;
/// How many bytes a stream has.
const STREAM: usize = 40;

const ENTRY: u32 = 0;
const BAD: u32 = 1;
const BAD_WITH_EVENT: u32 = 2;
const BAD_WITH_EVENT_TO_TELL: u32 = 3;

impl State {
    /// The version of the bytes that [`to_bytes`](Self::to_bytes) makes.
    pub const VERSION: u32 = 1;

    /// The state as bytes, the same on every machine.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let offered = &self.offered;
        let registers = &self.registers;
        let mut bytes = Vec::with_capacity(HEAD + STREAM * self.streams.len());
        let mut put = |word: u32| bytes.extend(word.to_le_bytes());
        put(MAGIC);
        put(Self::VERSION);
        offered.idr().into_iter().for_each(&mut put);
        put(offered.iidr.bits());
        put(offered.aidr.bits());
        put(registers.cr0.bits());
        put(registers.cr2.bits());
        put(registers.gbpa.bits());
        put(registers.strtab_base_cfg.bits());
        bytes.extend(registers.strtab_base.bits().to_le_bytes());
        // There are no more than 2^32 streams, and not so many devices.
        let count = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        bytes.extend(count.to_le_bytes());
        for (stream, saved) in &self.streams {
            let (kind, words) = saved.encode();
            bytes.extend(stream.get().to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            words
                .iter()
                .for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        bytes
    }

    /// The state of these bytes.
    ///
    /// # Errors
    /// [`BadState`]: they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadState> {
        let too_short = |needed| BadState::Length {
            len: bytes.len(),
            needed,
        };
        let word = |index: usize| -> Result<u32, BadState> {
            let bytes = bytes.get(index * 4..).and_then(<[u8]>::first_chunk);
            bytes.map_or(Err(too_short(HEAD)), |word| Ok(u32::from_le_bytes(*word)))
        };
        if word(0)? != MAGIC {
            return Err(BadState::NotOne);
        }
        match word(1)? {
            Self::VERSION => {}
            other => return Err(BadState::Version(other)),
        }
        let idr = [word(2)?, word(3)?, word(4)?, word(5)?, word(6)?, word(7)?];
        let offered = IdRegisters::from_bits(idr, word(8)?, word(9)?);
        let base = u64::from(word(14)?) | u64::from(word(15)?) << 32;
        let registers = Registers {
            cr0: Cr0::from_bits(word(10)?),
            cr2: Cr2::from_bits(word(11)?),
            gbpa: Gbpa::from_bits(word(12)?),
            strtab_base_cfg: StrtabBaseCfg::from_bits(word(13)?),
            strtab_base: StrtabBase::from_bits(base),
        };
        let count = word(16)? as usize;
        let needed = STREAM.saturating_mul(count).saturating_add(HEAD);
        let (records, rest) = bytes.get(HEAD..).unwrap_or_default().as_chunks::<STREAM>();
        if records.len() != count || !rest.is_empty() {
            return Err(too_short(needed));
        }
        let mut streams = BTreeMap::new();
        for record in records {
            let (stream, saved) = Saved::decode(record)?;
            let last = streams.last_key_value().map(|(last, _)| *last);
            if last.is_some_and(|last| last >= stream) {
                return Err(BadState::Order(stream));
            }
            streams.insert(stream, saved);
        }
        Ok(Self {
            offered,
            registers,
            streams,
        })
    }

    /// The first stream of which something is saved that an SMMU with these features would not have
    /// made of any entry.
    pub(super) fn impossible(&self, features: &Features) -> Option<StreamId> {
        let impossible = |saved: &Saved| match saved.configuration {
            Configuration::Entry(entry) => entry.ste().reduce(features) != Reduced::Install(entry),
            Configuration::Bad(_) | Configuration::Unread => false,
        };
        self.streams
            .iter()
            .find(|(_, saved)| impossible(saved))
            .map(|(stream, _)| *stream)
    }
}

impl Saved {
    fn encode(&self) -> (u32, [u64; 4]) {
        match self.configuration {
            Configuration::Entry(entry) => {
                let [first, second] = entry.words();
                (ENTRY, [first, second, 0, 0])
            }
            Configuration::Bad(Some(event)) if self.event.is_some() => {
                (BAD_WITH_EVENT_TO_TELL, event.words())
            }
            Configuration::Bad(Some(event)) => (BAD_WITH_EVENT, event.words()),
            // What was not read is not saved.
            Configuration::Bad(None) | Configuration::Unread => (BAD, [0; 4]),
        }
    }

    fn decode(record: &[u8; STREAM]) -> Result<(StreamId, Self), BadState> {
        let (numbers, _) = record.as_chunks::<4>();
        let number = |index: usize| numbers.get(index).map_or(0, |it| u32::from_le_bytes(*it));
        let word = |index| u64::from(number(index)) | u64::from(number(index + 1)) << 32;
        let stream = StreamId::new(number(0));
        let words = [word(2), word(4), word(6), word(8)];
        let event = EventRecord::from_words(words);
        let is_event = event.stream() == stream
            && matches!(
                event.kind(),
                Some(EventKind::BadSte | EventKind::SteFetch | EventKind::BadStreamId)
            );
        let bad = BadState::Stream(stream);
        let (configuration, event) = match (number(1), words) {
            (ENTRY, [first, second, 0, 0]) => {
                let entry = NestedSte::from_words([first, second]).map_err(|_| bad)?;
                (Configuration::Entry(entry), None)
            }
            (BAD, [0, 0, 0, 0]) => (Configuration::Bad(None), None),
            (BAD_WITH_EVENT, _) if is_event => (Configuration::Bad(Some(event)), None),
            (BAD_WITH_EVENT_TO_TELL, _) if is_event => {
                (Configuration::Bad(Some(event)), Some(event))
            }
            _ => return Err(bad),
        };
        let saved = Self {
            configuration,
            event,
        };
        Ok((stream, saved))
    }
}
