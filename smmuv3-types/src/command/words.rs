//! A command as it lies in the queue.

use core::fmt;

use zerocopy::little_endian::U64;

use crate::Opcode;
use crate::entry;

/// A command, as the two words that it has (4.1.1). Every bit is kept.
///
/// Nothing but the opcode has a place that does not depend on the opcode:
/// [`Command::decode`](crate::Command::decode) reads the rest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CommandWords([u64; 2]);

impl CommandWords {
    /// How many bytes a command has.
    pub const BYTES: usize = 16;

    /// The one of these words. Each is a number, in the machine's own order of bytes.
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// Its words.
    #[must_use]
    pub const fn words(&self) -> [u64; 2] {
        self.0
    }

    /// The one of these bytes, as they lie in the queue.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let words: [U64; 2] = zerocopy::transmute!(*bytes);
        Self(words.map(U64::get))
    }

    /// Its bytes, as they lie in the queue.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        zerocopy::transmute!(self.0.map(U64::new))
    }

    /// The number of its opcode, bits 7:0 of the first word.
    #[must_use]
    pub const fn opcode_number(&self) -> u8 {
        entry::ID.get(self.0[0]) as u8
    }

    /// Its opcode, or `None` for one that is reserved or IMPLEMENTATION DEFINED.
    #[must_use]
    pub const fn opcode(&self) -> Option<Opcode> {
        Opcode::from_number(self.opcode_number())
    }
}

impl From<[u64; 2]> for CommandWords {
    fn from(words: [u64; 2]) -> Self {
        Self(words)
    }
}

impl fmt::Debug for CommandWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0;
        match self.opcode() {
            Some(opcode) => write!(f, "CommandWords({opcode}, {first:#018x}, {second:#018x})"),
            None => write!(f, "CommandWords({first:#018x}, {second:#018x})"),
        }
    }
}
