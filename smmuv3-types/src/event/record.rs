//! An event as it lies in the queue.

use core::fmt;

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{EventKind, StreamId, entry};

/// An event, as the 32 bytes that it has in the event queue, and in which Linux hands it to a VMM
/// (`struct iommu_vevent_arm_smmuv3`). Every bit is kept.
///
/// Linux has put the guest's stream in the place of the host's.
#[doc(alias = "iommu_vevent_arm_smmuv3")]
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct EventRecord([U64; 4]);

impl EventRecord {
    /// How many bytes an event has.
    pub const BYTES: usize = 32;

    /// The one of these words. Each is a number, in the machine's own order of bytes.
    #[must_use]
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [first, second, third, fourth] = words;
        Self([
            U64::new(first),
            U64::new(second),
            U64::new(third),
            U64::new(fourth),
        ])
    }

    /// Its words.
    #[must_use]
    pub const fn words(&self) -> [u64; 4] {
        let [first, second, third, fourth] = self.0;
        [first.get(), second.get(), third.get(), fourth.get()]
    }

    /// The one of these bytes, as they lie in the queue.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        zerocopy::transmute!(*bytes)
    }

    /// Its bytes, as they lie in the queue.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::BYTES] {
        zerocopy::transmute!(*self)
    }

    /// Its number, bits 7:0 of the first word.
    #[must_use]
    pub const fn number(&self) -> u8 {
        entry::ID.get(self.0[0].get()) as u8
    }

    /// Its kind, or `None` if the number is reserved or IMPLEMENTATION DEFINED.
    #[must_use]
    pub const fn kind(&self) -> Option<EventKind> {
        EventKind::from_number(self.number())
    }

    /// `StreamID`, bits 63:32 of the first word: the stream that it is about. Every event of the
    /// architecture's has one.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        entry::stream(self.0[0].get())
    }
}

impl fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Ok(event) => write!(f, "EventRecord({:#018x?}, {event:?})", self.words()),
            Err(error) => write!(f, "EventRecord({:#018x?}, {error})", self.words()),
        }
    }
}
