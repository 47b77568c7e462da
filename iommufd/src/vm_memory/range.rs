//! Ranges of a guest's physical addresses.

use std::fmt;

use ::vm_memory::GuestAddress;

use crate::address::{Iova, IovaRange};

/// A range of a guest's physical addresses, never empty; its last address *belongs* to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
// Devices use the guest's addresses as they are, so both are counted in the same way.
pub struct GuestRange(IovaRange);

impl GuestRange {
    /// From `start` to `last`, both included; `None` if `last` comes before `start`.
    #[must_use]
    pub const fn new(start: GuestAddress, last: GuestAddress) -> Option<Self> {
        match IovaRange::new(Iova::new(start.0), Iova::new(last.0)) {
            Some(range) => Some(Self(range)),
            None => None,
        }
    }

    /// `len` bytes from `start`; `None` if that is nothing, or passes the last address there is.
    #[must_use]
    pub const fn with_len(start: GuestAddress, len: u64) -> Option<Self> {
        match IovaRange::with_len(Iova::new(start.0), len) {
            Some(range) => Some(Self(range)),
            None => None,
        }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> GuestAddress {
        GuestAddress(self.0.start().get())
    }

    /// The last address that belongs to the range.
    #[must_use]
    pub const fn last(self) -> GuestAddress {
        GuestAddress(self.0.last().get())
    }

    /// How many bytes; `None` for all addresses there are, whose number no `u64` holds.
    #[must_use]
    pub const fn len(self) -> Option<u64> {
        self.0.len()
    }

    /// Always false: a range has at least one address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether `address` is in the range.
    #[must_use]
    pub const fn contains(self, address: GuestAddress) -> bool {
        self.start().0 <= address.0 && address.0 <= self.last().0
    }

    /// Whether some address is in both ranges.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.0.overlaps(other.0)
    }

    /// Where devices find it: at the same numbers.
    #[must_use]
    pub const fn iova(self) -> IovaRange {
        self.0
    }
}

/// As [`GuestRange::iova`].
impl From<GuestRange> for IovaRange {
    fn from(range: GuestRange) -> Self {
        range.iova()
    }
}

/// What of the guest's memory devices find there: that at the same numbers.
impl From<IovaRange> for GuestRange {
    fn from(range: IovaRange) -> Self {
        Self(range)
    }
}

impl fmt::Debug for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestRange({self})")
    }
}

impl fmt::Display for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_the_guest_count_alike() {
        let guest = GuestRange::with_len(GuestAddress(3 << 12), 5 << 12).unwrap();
        let device = IovaRange::with_len(Iova::new(3 << 12), 5 << 12).unwrap();
        assert_eq!(IovaRange::from(guest), device);
        assert_eq!(GuestRange::from(device), guest);
        let all = GuestRange::from(IovaRange::ALL);
        assert_eq!((all.start().0, all.last().0), (0, u64::MAX));
    }
}
