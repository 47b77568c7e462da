//! A descriptor as it lies in the queue.

use core::fmt;

use super::fields;
use crate::DescriptorKind;
use crate::record::in_memory;

/// A descriptor, as the four words that it has in scalable mode, of which it has the first two in
/// legacy mode (6.5.2). Every bit is kept.
///
/// Nothing but the type has a place that does not depend on the type:
/// [`Descriptor::decode`](crate::Descriptor::decode) reads the rest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DescriptorWords([u64; 4]);

in_memory!(DescriptorWords, 4);

impl DescriptorWords {
    /// How many bytes it has in a queue of 128-bit descriptors.
    pub const NARROW_BYTES: usize = 16;

    /// The one of these bytes of a queue of 128-bit descriptors.
    #[must_use]
    pub fn from_narrow_bytes(bytes: &[u8; 16]) -> Self {
        let [first, second]: [::zerocopy::little_endian::U64; 2] = ::zerocopy::transmute!(*bytes);
        Self([first.get(), second.get(), 0, 0])
    }

    /// Its bytes in a queue of 128-bit descriptors: those of the first two words.
    #[must_use]
    pub fn to_narrow_bytes(&self) -> [u8; 16] {
        let [first, second, ..] = self.0.map(::zerocopy::little_endian::U64::new);
        ::zerocopy::transmute!([first, second])
    }

    /// The number of its type, bits 11:9 and 3:0 of the first word.
    #[must_use]
    pub const fn type_number(&self) -> u8 {
        fields::kind(self.0[0])
    }

    /// Its kind, or `None` for a type that is reserved.
    #[must_use]
    pub const fn kind(&self) -> Option<DescriptorKind> {
        DescriptorKind::from_number(self.type_number())
    }
}

impl From<[u64; 4]> for DescriptorWords {
    fn from(words: [u64; 4]) -> Self {
        Self(words)
    }
}

impl From<[u64; 2]> for DescriptorWords {
    fn from([first, second]: [u64; 2]) -> Self {
        Self([first, second, 0, 0])
    }
}

impl fmt::Debug for DescriptorWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0;
        match self.kind() {
            Some(kind) => write!(f, "DescriptorWords({kind}, {words:#018x?})"),
            None => write!(f, "DescriptorWords({words:#018x?})"),
        }
    }
}
