//! Addresses, each in the space it belongs to.

use std::fmt;

/// An I/O virtual address: what a device puts on the bus, and what the IOMMU translates.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(u64);

impl Iova {
    /// The address `address`.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The plain number, to program into a device.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, or `None` past the end of the address space.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(address) => Some(Self(address)),
            None => None,
        }
    }
}

impl fmt::Debug for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iova({:#x})", self.0)
    }
}

impl fmt::Display for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl From<Iova> for u64 {
    fn from(iova: Iova) -> Self {
        iova.0
    }
}

/// A range of I/O virtual addresses, never empty; its last address *belongs* to it.
///
/// The kernel's ranges are inclusive, as the last one can end at the end of the address space,
/// where an exclusive end has no number.
///
/// # Invariants
/// `start <= last`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IovaRange {
    start: Iova,
    last: Iova,
}

impl IovaRange {
    /// All addresses there are.
    pub const ALL: Self = Self {
        start: Iova(0),
        last: Iova(u64::MAX),
    };

    /// From `start` to `last`, both included; `None` if `last` comes before `start`.
    #[must_use]
    pub const fn new(start: Iova, last: Iova) -> Option<Self> {
        if start.0 <= last.0 {
            Some(Self { start, last })
        } else {
            None
        }
    }

    /// `len` bytes from `start`; `None` if that is nothing, or passes the end of the address space.
    #[must_use]
    pub const fn with_len(start: Iova, len: u64) -> Option<Self> {
        let Some(beyond) = len.checked_sub(1) else {
            return None;
        };
        match start.checked_add(beyond) {
            Some(last) => Some(Self { start, last }),
            None => None,
        }
    }

    /// As [`with_len`](Self::with_len), of what a kernel has answered: cut off at the end of the
    /// address space, and one address at the least.
    pub(crate) const fn saturating(start: Iova, len: u64) -> Self {
        Self {
            start,
            last: Iova(start.0.saturating_add(len.saturating_sub(1))),
        }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> Iova {
        self.start
    }

    /// The last address that belongs to the range.
    #[must_use]
    pub const fn last(self) -> Iova {
        self.last
    }

    /// How many bytes; `None` for the whole address space, whose length no `u64` holds.
    #[must_use]
    pub const fn len(self) -> Option<u64> {
        // The invariant makes the subtraction exact.
        self.last.0.wrapping_sub(self.start.0).checked_add(1)
    }

    /// Always false: a range has at least one address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether every address of `other` is in this range.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.last.0 <= self.last.0
    }

    /// Whether the two ranges share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 <= other.last.0 && other.start.0 <= self.last.0
    }

    /// What is in both ranges.
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.last.min(other.last))
    }

    /// What of this range is not in `other`: what comes before it, and what comes after.
    pub(crate) fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = match other.start.0.checked_sub(1) {
            Some(last) => Self::new(self.start, self.last.min(Iova(last))),
            None => None,
        };
        let after = match other.last.checked_add(1) {
            Some(start) => Self::new(self.start.max(start), self.last),
            None => None,
        };
        before.into_iter().chain(after)
    }
}

impl fmt::Debug for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IovaRange({self})")
    }
}

impl fmt::Display for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    #[test]
    fn the_last_address_belongs_to_the_range() {
        let page = IovaRange::with_len(Iova::new(0x1000), 0x1000).unwrap();
        assert_eq!(page, range(0x1000, 0x1fff));
        assert_eq!(page.len(), Some(0x1000));
        assert!(!page.overlaps(range(0x2000, 0x2000)));
        assert!(page.overlaps(range(0x1fff, 0x2000)));
    }

    #[test]
    fn a_range_can_end_at_the_end_of_the_address_space() {
        let last_page = IovaRange::with_len(Iova::new(u64::MAX - 0xfff), 0x1000).unwrap();
        assert_eq!(last_page.last(), Iova::new(u64::MAX));
        assert_eq!(
            IovaRange::with_len(Iova::new(u64::MAX - 0xfff), 0x1001),
            None
        );
        assert_eq!(IovaRange::ALL.len(), None);
        assert!(IovaRange::ALL.contains(last_page));
    }

    #[test]
    fn of_a_range_there_is_left_what_another_does_not_take() {
        let left = |whole: IovaRange, taken| whole.without(taken).collect::<Vec<_>>();
        let whole = range(10, 19);
        assert_eq!(left(whole, whole), []);
        assert_eq!(left(whole, IovaRange::ALL), []);
        assert_eq!(left(whole, range(0, 9)), [whole]);
        assert_eq!(left(whole, range(20, u64::MAX)), [whole]);
        assert_eq!(left(whole, range(0, 10)), [range(11, 19)]);
        assert_eq!(left(whole, range(19, 19)), [range(10, 18)]);
        let middle = left(whole, range(12, 13));
        assert_eq!(middle, [range(10, 11), range(14, 19)]);
        assert_eq!(
            left(IovaRange::ALL, range(0, u64::MAX - 1)),
            [range(u64::MAX, u64::MAX)]
        );
    }

    #[test]
    fn an_empty_or_reversed_range_is_not_a_range() {
        assert_eq!(IovaRange::with_len(Iova::new(0), 0), None);
        assert_eq!(IovaRange::new(Iova::new(2), Iova::new(1)), None);
    }
}
