//! A command as it lies in the queue.

use core::fmt;

use hardware_records::in_memory;

use crate::{Opcode, entry};

/// A command, as the two words that it has (4.1.1). Every bit is kept.
///
/// Nothing but the opcode has a place that does not depend on the opcode:
/// [`Command::decode`](crate::Command::decode) reads the rest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CommandWords([u64; 2]);

in_memory!(CommandWords, 2);

impl CommandWords {
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
