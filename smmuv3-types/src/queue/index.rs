//! Where the producer and the consumer of a queue are.

/// How many entries a queue has: a power of two, at most 2^19 (3.5.1).
///
/// # Invariants
/// The logarithm is at most 19.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueSize(u8);

impl QueueSize {
    /// The largest: 2^19 entries.
    pub const MAX: Self = Self(19);

    /// `2^log2` entries, or `None` if `log2` is more than 19.
    #[must_use]
    pub const fn from_log2(log2: u8) -> Option<Self> {
        if log2 <= Self::MAX.0 {
            Some(Self(log2))
        } else {
            None
        }
    }

    /// The logarithm.
    #[must_use]
    pub const fn log2(self) -> u8 {
        self.0
    }

    /// How many entries.
    #[must_use]
    pub const fn entries(self) -> u32 {
        1u32.wrapping_shl(self.0 as u32)
    }
}

/// A place in a queue and how often, modulo 2, the queue was passed through: the low 20 bits of a
/// `PROD` or `CONS` register (3.5.1).
///
/// Where the size says nothing of a bit, it does not count: a guest can write what it likes.
///
/// ```
/// use smmuv3_types::{QueueIndex, QueueSize};
///
/// let size = QueueSize::from_log2(7).unwrap();
/// let last = QueueIndex::new(0xfff7f, size);
/// assert_eq!((last.position(), last.wrap()), (127, false));
/// assert_eq!((last.next().position(), last.next().wrap()), (0, true));
/// assert_eq!(last.next().bits(), 0x80);
/// ```
///
/// # Invariants
/// The bits above the wrap bit are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueIndex {
    bits: u32,
    size: QueueSize,
}

impl QueueIndex {
    /// What the low bits of a register say, for a queue of this size.
    #[must_use]
    pub const fn new(bits: u32, size: QueueSize) -> Self {
        Self {
            bits: bits & Self::mask(size),
            size,
        }
    }

    /// The bits of the place and of the wrap bit.
    const fn mask(size: QueueSize) -> u32 {
        size.entries().wrapping_mul(2).wrapping_sub(1)
    }

    /// The bits, as in the register: the place in `[QS-1:0]`, the wrap bit in `[QS]`, where QS is
    /// the logarithm of the size. All above are 0.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// The size of the queue.
    #[must_use]
    pub const fn size(self) -> QueueSize {
        self.size
    }

    /// The place: which entry, from 0.
    #[must_use]
    pub const fn position(self) -> u32 {
        self.bits & self.size.entries().wrapping_sub(1)
    }

    /// The wrap bit.
    #[must_use]
    pub const fn wrap(self) -> bool {
        self.bits & self.size.entries() != 0
    }

    /// The next place. After the last it is the first, with the wrap bit turned over.
    #[must_use]
    pub const fn next(self) -> Self {
        // The largest of all has 20 bits.
        Self::new(self.bits.wrapping_add(1), self.size)
    }
}

/// The two indices of a queue.
///
/// One side is the guest's, and can be anything: there are never more entries to consume than the
/// queue has, and where the two contradict each other there are none, and no room for one (3.5.1).
///
/// ```
/// use smmuv3_types::{QueueIndices, QueueSize};
///
/// let size = QueueSize::from_log2(2).unwrap();
/// // PROD has passed the end once and is at 1; CONS is at 3.
/// let mut queue = QueueIndices::new(0b101, 0b011, size);
/// let mut seen = Vec::new();
/// while let Some(position) = queue.first() {
///     seen.push(position);
///     queue.consume();
/// }
/// assert_eq!(seen, [3, 0]);
/// assert!(queue.is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueIndices {
    producer: QueueIndex,
    consumer: QueueIndex,
}

impl QueueIndices {
    /// What the low bits of `PROD` and `CONS` say, for a queue of this size.
    #[must_use]
    pub const fn new(producer: u32, consumer: u32, size: QueueSize) -> Self {
        Self {
            producer: QueueIndex::new(producer, size),
            consumer: QueueIndex::new(consumer, size),
        }
    }

    /// Where the producer writes next: `PROD.WR`.
    #[must_use]
    pub const fn producer(&self) -> QueueIndex {
        self.producer
    }

    /// What the consumer reads next: `CONS.RD`.
    #[must_use]
    pub const fn consumer(&self) -> QueueIndex {
        self.consumer
    }

    /// How far the producer is ahead, which is more than there are entries if the two contradict
    /// each other.
    const fn ahead(&self) -> u32 {
        self.producer.bits.wrapping_sub(self.consumer.bits) & QueueIndex::mask(self.producer.size)
    }

    /// Whether the two do not contradict each other (3.5.1). An SMMU need do nothing with a queue
    /// of which they do.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        self.ahead() <= self.producer.size.entries()
    }

    /// How many entries there are to consume: at most as many as the queue has. 0 if the two
    /// contradict each other.
    #[must_use]
    pub const fn len(&self) -> u32 {
        if self.is_consistent() {
            self.ahead()
        } else {
            0
        }
    }

    /// How many entries there is room for. 0 if the two contradict each other.
    #[must_use]
    pub const fn room(&self) -> u32 {
        self.producer.size.entries().saturating_sub(self.ahead())
    }

    /// Whether there is nothing to consume.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for an entry.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// The place of the entry to be consumed next, or `None` if there is none.
    #[must_use]
    pub const fn first(&self) -> Option<u32> {
        if self.is_empty() {
            None
        } else {
            Some(self.consumer.position())
        }
    }

    /// The entry at [`first`](Self::first) is consumed. Does nothing if there is none.
    pub const fn consume(&mut self) {
        if !self.is_empty() {
            self.consumer = self.consumer.next();
        }
    }

    /// The place of the entry to be written next, or `None` if there is no room.
    #[must_use]
    pub const fn free(&self) -> Option<u32> {
        if self.is_full() {
            None
        } else {
            Some(self.producer.position())
        }
    }

    /// The entry at [`free`](Self::free) is written. Does nothing if there is no room.
    pub const fn produce(&mut self) {
        if !self.is_full() {
            self.producer = self.producer.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_small_queues_are_those_of_the_architecture() {
        for log2 in 0..=4 {
            let size = QueueSize::from_log2(log2).unwrap();
            let entries = size.entries();
            for producer in 0..2 * entries {
                for consumer in 0..2 * entries {
                    let queue = QueueIndices::new(producer, consumer, size);
                    let (wr, rd) = (producer % entries, consumer % entries);
                    let same_wrap = producer / entries == consumer / entries;
                    // 3.5.1: the two inconsistent states.
                    let inconsistent = wr > rd && !same_wrap || wr < rd && same_wrap;
                    let len = match (inconsistent, same_wrap) {
                        (true, _) => 0,
                        (false, true) => wr - rd,
                        (false, false) => entries - rd + wr,
                    };
                    assert_eq!(queue.is_consistent(), !inconsistent);
                    assert_eq!(queue.len(), len);
                    assert_eq!(queue.room(), if inconsistent { 0 } else { entries - len });
                    assert_eq!(queue.is_full(), inconsistent || len == entries);
                    assert_eq!(queue.first(), (len != 0).then_some(rd));
                    assert_eq!(queue.free(), (queue.room() != 0).then_some(wr));
                }
            }
        }
    }

    #[test]
    fn consuming_and_producing_end_and_go_through_every_place_in_order() {
        for log2 in [0, 1, 3, 19] {
            let size = QueueSize::from_log2(log2).unwrap();
            let start = size.entries() + size.entries() / 2;
            let mut queue = QueueIndices::new(start, start, size);
            for round in 0..size.entries() {
                let place = (start + round) % size.entries();
                assert_eq!(queue.free(), Some(place));
                queue.produce();
            }
            assert!(queue.is_full() && queue.len() == size.entries());
            let full = queue;
            queue.produce();
            assert_eq!(queue, full);
            for round in 0..size.entries() {
                let place = (start + round) % size.entries();
                assert_eq!(queue.first(), Some(place));
                queue.consume();
            }
            assert!(queue.is_empty());
            let empty = queue;
            queue.consume();
            assert_eq!(queue, empty);
            assert_ne!(queue.producer().wrap(), start / size.entries() == 1);
        }
    }

    #[test]
    fn bits_above_the_wrap_bit_do_not_count() {
        for log2 in 0..=19 {
            let size = QueueSize::from_log2(log2).unwrap();
            let index = QueueIndex::new(u32::MAX, size);
            assert_eq!(index.bits(), (2 << log2) - 1);
            assert_eq!(index.position(), (1 << log2) - 1);
            assert!(index.wrap());
            assert_eq!(index.next(), QueueIndex::new(0, size));
        }
        assert_eq!(QueueSize::from_log2(20), None);
    }
}
