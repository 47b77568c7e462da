//! How many bytes a bit stands for.

use std::fmt;

use crate::address::IovaRange;

/// How many bytes one bit of a [`DirtyBitmap`](crate::DirtyBitmap) stands for: a power of two.
///
/// # Invariants
/// `shift` is less than 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Granule {
    shift: u32,
}

impl Granule {
    /// 4096 bytes: what KVM's bitmaps have where pages are of that size.
    pub const KIB_4: Self = Self { shift: 12 };

    /// `bytes` a bit; `None` if that is no power of two.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() {
            Some(Self {
                shift: bytes.trailing_zeros(),
            })
        } else {
            None
        }
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// The coarsest one that divides both ends of `run`, and is no coarser than this.
    pub(super) fn dividing(self, run: IovaRange) -> Self {
        // The end of the address space is divided by all of them, as 0 is.
        let ends = run.start().get() | run.last().get().wrapping_add(1);
        Self {
            shift: self.shift.min(ends.trailing_zeros()),
        }
    }

    /// The number of the granule in which the byte at `offset` is.
    pub(super) const fn index(self, offset: u64) -> u64 {
        offset >> self.shift
    }

    /// Where granule number `index` begins, which there is.
    pub(super) const fn offset(self, index: u64) -> u64 {
        index << self.shift
    }

    /// How many granules there are from a first to a last byte that are `span` apart; `None` if
    /// that is more than a number can say.
    pub(super) const fn count(self, span: u64) -> Option<u64> {
        self.index(span).checked_add(1)
    }
}

impl fmt::Debug for Granule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Granule({self})")
    }
}

impl fmt::Display for Granule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Iova;

    #[test]
    fn a_granule_is_a_power_of_two() {
        assert_eq!(Granule::new(4096), Some(Granule::KIB_4));
        assert_eq!(Granule::new(1).map(Granule::bytes), Some(1));
        assert_eq!(Granule::new(1 << 63).map(Granule::bytes), Some(1 << 63));
        for bytes in [0, 3, 4095, 6144, u64::MAX] {
            assert_eq!(Granule::new(bytes), None, "{bytes}");
        }
    }

    #[test]
    fn the_kernel_is_asked_in_pages_that_divide_the_run() {
        let coarse = Granule::new(1 << 30).unwrap();
        let of = |start, last| {
            let run = IovaRange::new(Iova::new(start), Iova::new(last)).unwrap();
            coarse.dividing(run).bytes()
        };
        assert_eq!(of(0, 0x1fff), 0x2000);
        assert_eq!(of(0x1000, 0x2fff), 0x1000);
        assert_eq!(of(0x4000, 0x47ff), 0x800);
        assert_eq!(of(0, (1 << 40) - 1), 1 << 30);
        assert_eq!(of(u64::MAX - 0x3fff, u64::MAX), 0x4000);
        assert_eq!(of(0, u64::MAX), 1 << 30);
        assert_eq!(Granule::KIB_4.dividing(IovaRange::ALL), Granule::KIB_4);
    }

    /// Every number of one bit, and those beside it.
    fn edges() -> impl Iterator<Item = u64> + Clone {
        let around = |shift: u32| {
            let bit = 1_u64 << shift;
            [bit.wrapping_sub(1), bit, bit | 1]
        };
        (0..64).flat_map(around).chain([u64::MAX - 1, u64::MAX])
    }

    #[test]
    fn every_granule_counts_as_division_does() {
        for shift in 0..64 {
            let granule = Granule::new(1 << shift).unwrap();
            let bytes = u128::from(granule.bytes());
            for number in edges() {
                assert_eq!(
                    u128::from(granule.index(number)),
                    u128::from(number) / bytes
                );
                let count = u128::from(number) / bytes + 1;
                assert_eq!(granule.count(number), u64::try_from(count).ok());
            }
        }
        for bytes in edges() {
            assert_eq!(Granule::new(bytes).is_some(), bytes.count_ones() == 1);
        }
    }

    #[test]
    fn every_granule_that_divides_a_run_divides_both_of_its_ends() {
        for (start, last) in edges().flat_map(|start| edges().map(move |last| (start, last))) {
            let Some(run) = IovaRange::new(Iova::new(start), Iova::new(last)) else {
                continue;
            };
            for shift in 0..64 {
                let wanted = Granule::new(1 << shift).unwrap();
                let granule = wanted.dividing(run);
                let divides = |bytes: u64| {
                    let end = u128::from(last) + 1;
                    start.is_multiple_of(bytes) && end.is_multiple_of(u128::from(bytes))
                };
                assert!(granule <= wanted && divides(granule.bytes()));
                let coarser = granule.bytes().checked_mul(2);
                assert!(coarser.is_none_or(|bytes| bytes > wanted.bytes() || !divides(bytes)));
            }
        }
    }
}
