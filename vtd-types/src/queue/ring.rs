//! Where the producer and the consumer of a queue are.

use super::{QueueError, QueueOffset};
use crate::Gpa;

/// How large the entries of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntrySize {
    /// 16 bytes: of the invalidation queue in legacy mode.
    Bytes16,
    /// 32 bytes: of the invalidation queue in scalable mode, and of the page request queue.
    Bytes32,
}

impl EntrySize {
    /// How many bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Bytes16 => 16,
            Self::Bytes32 => 32,
        }
    }
}

/// A queue: where it is, how large it is, and how large its entries are.
///
/// # Invariants
/// It has from 1 to 128 pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ring {
    base: Gpa,
    pages_log2: u8,
    entry: EntrySize,
}

/// An offset is not that of an entry of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadOffset {
    /// It is beyond the queue.
    #[error("the offset {offset:#x} is beyond the queue of {size:#x} bytes")]
    Beyond {
        /// The offset.
        offset: u32,
        /// How many bytes the queue has.
        size: u32,
    },
    /// It is in the middle of an entry.
    #[error("the offset {0:#x} is in the middle of an entry")]
    Misaligned(u32),
}

impl BadOffset {
    /// What `IQERCD_REG.IQEI` says, if it is the tail of the invalidation queue.
    #[must_use]
    pub const fn error(&self) -> QueueError {
        match self {
            Self::Beyond { .. } => QueueError::TailBeyond,
            Self::Misaligned(_) => QueueError::TailMisaligned,
        }
    }
}

impl Ring {
    pub(super) const fn new(base: Gpa, pages_log2: u8, entry: EntrySize) -> Self {
        Self {
            base,
            pages_log2: if pages_log2 < 7 { pages_log2 } else { 7 },
            entry,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn base(&self) -> Gpa {
        self.base
    }

    /// How large its entries are.
    #[must_use]
    pub const fn entry_size(&self) -> EntrySize {
        self.entry
    }

    /// How many bytes it has: at most 512 KiB.
    #[must_use]
    pub const fn size(&self) -> u32 {
        0x1000_u32.wrapping_shl(self.pages_log2 as u32)
    }

    /// How many entries it has. One of them is always free: with head and tail the same, it is
    /// empty.
    #[must_use]
    pub const fn entries(&self) -> u32 {
        self.size() / self.entry.bytes()
    }

    /// The two indices, from the registers.
    ///
    /// Bits of a register that are reserved are not looked at.
    ///
    /// # Errors
    /// One of them is not that of an entry. If it is the tail of the invalidation queue, the
    /// queue stops with [`BadOffset::error`].
    ///
    /// ```
    /// use vtd_types::{HostAddressWidth, Iqa, QueueOffset};
    ///
    /// // A page of descriptors of 256 bits, at 0x1000.
    /// let ring = Iqa::from_bits(0x1800).ring(HostAddressWidth::MAX);
    /// // The head is at the last, the tail has wrapped.
    /// let mut indices = ring
    ///     .indices(QueueOffset::from_bits(0xfe0), QueueOffset::from_bits(0x20))
    ///     .expect("both are of entries");
    /// let mut seen = Vec::new();
    /// while let Some(address) = indices.first() {
    ///     seen.push(address.get());
    ///     indices.consume();
    /// }
    /// assert_eq!(seen, [0x1fe0, 0x1000]);
    /// assert_eq!(indices.head().bits(), 0x20);
    /// ```
    pub const fn indices(
        &self,
        head: QueueOffset,
        tail: QueueOffset,
    ) -> Result<RingIndices, BadOffset> {
        let (head, tail) = match (self.check(head), self.check(tail)) {
            (Ok(head), Ok(tail)) => (head, tail),
            (_, Err(bad)) | (Err(bad), _) => return Err(bad),
        };
        Ok(RingIndices {
            ring: *self,
            head,
            tail,
        })
    }

    const fn check(&self, offset: QueueOffset) -> Result<u32, BadOffset> {
        let offset = offset.bytes();
        if offset >= self.size() {
            return Err(BadOffset::Beyond {
                offset,
                size: self.size(),
            });
        }
        if offset & self.entry.bytes().wrapping_sub(1) != 0 {
            return Err(BadOffset::Misaligned(offset));
        }
        Ok(offset)
    }
}

/// The head and the tail of a queue.
///
/// One of them is the guest's: there are never more entries to consume than the queue has, less
/// one.
///
/// # Invariants
/// Both are of entries of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingIndices {
    ring: Ring,
    head: u32,
    tail: u32,
}

impl RingIndices {
    /// The queue.
    #[must_use]
    pub const fn ring(&self) -> Ring {
        self.ring
    }

    /// What is consumed next, for `IQH_REG` or `PQH_REG`.
    #[must_use]
    pub const fn head(&self) -> QueueOffset {
        QueueOffset::from_bits(self.head as u64)
    }

    /// Where is written next, for `IQT_REG` or `PQT_REG`.
    #[must_use]
    pub const fn tail(&self) -> QueueOffset {
        QueueOffset::from_bits(self.tail as u64)
    }

    /// How many entries there are to consume.
    #[must_use]
    pub const fn len(&self) -> u32 {
        // Both are less than the size, which is a power of two.
        (self.tail.wrapping_sub(self.head) & self.ring.size().wrapping_sub(1))
            / self.ring.entry.bytes()
    }

    /// Whether there is nothing to consume.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Whether there is no room for an entry.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.after(self.tail) == self.head
    }

    /// Where the entry is that is to be consumed next, or `None` if there is none.
    #[must_use]
    pub const fn first(&self) -> Option<Gpa> {
        if self.is_empty() {
            None
        } else {
            Some(self.at(self.head))
        }
    }

    /// The entry at [`first`](Self::first) is consumed. Does nothing if there is none.
    pub const fn consume(&mut self) {
        if !self.is_empty() {
            self.head = self.after(self.head);
        }
    }

    /// Where the entry is that is to be written next, or `None` if there is no room.
    #[must_use]
    pub const fn free(&self) -> Option<Gpa> {
        if self.is_full() {
            None
        } else {
            Some(self.at(self.tail))
        }
    }

    /// The entry at [`free`](Self::free) is written. Does nothing if there is no room.
    pub const fn produce(&mut self) {
        if !self.is_full() {
            self.tail = self.after(self.tail);
        }
    }

    const fn after(&self, offset: u32) -> u32 {
        offset.wrapping_add(self.ring.entry.bytes()) & self.ring.size().wrapping_sub(1)
    }

    /// The address of an entry. The queue need not be aligned to its size: past the last address
    /// there is, it goes on with the first.
    const fn at(&self, offset: u32) -> Gpa {
        Gpa::masked(self.ring.base.get().wrapping_add(offset as u64))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::{HostAddressWidth, Iqa, Pqa};

    fn rings() -> Vec<Ring> {
        let width = HostAddressWidth::MAX;
        let mut rings = Vec::new();
        for size in 0..8 {
            rings.push(Iqa::from_bits(0x7_0000 | size).ring(width));
            rings.push(Iqa::from_bits(0x7_0000 | 1 << 11 | size).ring(width));
            rings.push(Pqa::from_bits(0x7_0000 | size).ring(width));
        }
        rings
    }

    #[test]
    fn sizes_are_those_of_the_registers() {
        for (n, ring) in rings().into_iter().enumerate() {
            let size = n / 3;
            // 2^(QS + 8) descriptors of 128 bits, 2^(QS + 7) of 256.
            let entries = if n % 3 == 0 { 256 } else { 128 };
            assert_eq!(ring.entries(), entries << size);
            assert_eq!(ring.size(), 4096 << size);
            assert_eq!(ring.base().get(), 0x7_0000);
        }
    }

    #[test]
    fn every_offset_is_of_an_entry_or_an_error() {
        for ring in rings() {
            let (size, entry) = (ring.size(), ring.entry_size().bytes());
            for offset in (0..0x8_0000).step_by(16) {
                let register = QueueOffset::from_bits(u64::from(offset) | 0xfff8_0000 | 0xf);
                assert_eq!(register.bytes(), offset);
                let made = ring.indices(QueueOffset::default(), register);
                if offset >= size {
                    assert_eq!(made, Err(BadOffset::Beyond { offset, size }));
                } else if offset % entry != 0 {
                    assert_eq!(made, Err(BadOffset::Misaligned(offset)));
                } else {
                    assert_eq!(made.unwrap().len(), offset / entry);
                }
            }
        }
    }

    #[test]
    fn consuming_and_producing_end_and_go_through_every_place_in_order() {
        for ring in rings() {
            let entry = ring.entry_size().bytes();
            let start = QueueOffset::from_bits((ring.size() - 2 * entry).into());
            let mut queue = ring.indices(start, start).unwrap();
            assert!(queue.is_empty());
            for round in 0..ring.entries() - 1 {
                let offset = (start.bytes() + round * entry) % ring.size();
                assert_eq!(queue.free().unwrap().get(), 0x7_0000 + u64::from(offset));
                queue.produce();
                assert_eq!(queue.len(), round + 1);
            }
            assert!(queue.is_full());
            let full = queue;
            queue.produce();
            assert_eq!((queue, queue.free()), (full, None));
            for round in 0..ring.entries() - 1 {
                let offset = (start.bytes() + round * entry) % ring.size();
                assert_eq!(queue.first().unwrap().get(), 0x7_0000 + u64::from(offset));
                queue.consume();
            }
            let empty = queue;
            queue.consume();
            assert_eq!((queue, queue.first()), (empty, None));
            assert_eq!(queue.head(), queue.tail());
        }
    }
}
