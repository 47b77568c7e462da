//! The ranges in which a device records what it writes.

use iommufd::{Granule, Iova, IovaRange};
use iommufd_sys::vfio as sys;

use crate::feature::FeatureError;

/// The smallest page that the kernel reports.
pub(super) const LEAST: Granule = Granule::KIB_4;

/// How many ranges the kernel takes whatever its pages are: those that fit into one of 4 KiB.
const MOST: usize = 4096 / size_of::<sys::vfio_device_feature_dma_logging_range>();

/// What is asked for at once: 64 GiB, which are 2 MiB of bits.
const AT_ONCE: u64 = 64 << 30;

/// Ranges that can be recorded.
///
/// # Invariants
/// At least one and at most [`MOST`]; by address, and none overlaps another; each of whole pages, and
/// without the last address there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Box<[IovaRange]>);

impl Ranges {
    pub(super) fn new(granule: Granule, ranges: &[IovaRange]) -> Result<Self, FeatureError> {
        let page = granule.bytes();
        if granule < LEAST {
            return Err(FeatureError::PageTooSmall { bytes: page });
        }
        match ranges.len() {
            0 => return Err(FeatureError::NoRanges),
            len if len > MOST => {
                return Err(FeatureError::TooManyRanges {
                    ranges: len,
                    most: MOST,
                });
            }
            _ => {}
        }
        for &range in ranges {
            let end = range.last().checked_add(1);
            let whole = |address: Iova| address.get().is_multiple_of(page);
            if !whole(range.start()) || !end.is_some_and(whole) {
                return Err(FeatureError::RangeNotOfPages { range, page });
            }
        }
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable_by_key(|range| range.start());
        for (one, other) in sorted.iter().zip(sorted.iter().skip(1)) {
            if one.overlaps(*other) {
                return Err(FeatureError::RangesOverlap(*one, *other));
            }
        }
        Ok(Self(sorted.into()))
    }

    pub(super) fn as_slice(&self) -> &[IovaRange] {
        &self.0
    }

    /// As the kernel takes them.
    pub(super) fn raw(&self) -> Vec<sys::vfio_device_feature_dma_logging_range> {
        let ranges = self.0.iter();
        ranges
            .map(|range| sys::vfio_device_feature_dma_logging_range {
                iova: range.start().get(),
                // The whole address space is none of them.
                length: range.len().unwrap_or(u64::MAX),
            })
            .collect()
    }

    /// What there is of them in `bitmap`, in pieces to ask for, where the device records by `page`s.
    pub(super) fn within(
        &self,
        bitmap: IovaRange,
        page: Granule,
    ) -> Result<Vec<IovaRange>, FeatureError> {
        let mut parts = Vec::new();
        for range in self.0.iter().filter(|range| range.overlaps(bitmap)) {
            let first = range.start().max(bitmap.start());
            let last = range.last().min(bitmap.last());
            // Reading a part of a page would make the rest of it clean, too.
            let cut = |address: Iova| !address.get().is_multiple_of(page.bytes());
            let begins_within = first > range.start() && cut(first);
            let ends_within = last < range.last() && last.checked_add(1).is_none_or(cut);
            if begins_within || ends_within {
                let page = page.bytes();
                return Err(FeatureError::BitmapNotOfPages { bitmap, page });
            }
            pieces(first, last, &mut parts);
        }
        Ok(parts)
    }
}

/// The addresses from `first` to `last` in pieces that end at multiples of their size.
fn pieces(mut first: Iova, last: Iova, parts: &mut Vec<IovaRange>) {
    loop {
        let boundary = Iova::new(first.get() | (AT_ONCE - 1));
        let end = boundary.min(last);
        parts.extend(IovaRange::new(first, end));
        match end.checked_add(1) {
            Some(next) if next <= last => first = next,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    fn ranges(all: &[IovaRange]) -> Result<Ranges, FeatureError> {
        Ranges::new(LEAST, all)
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_by_name() {
        assert_eq!(ranges(&[]), Err(FeatureError::NoRanges));
        let page = |at: u64| range(at << 12, (at << 12) | 0xfff);
        let many: Vec<_> = (0..257).map(|at| page(2 * at)).collect();
        assert!(ranges(&many[..256]).is_ok());
        assert_eq!(
            ranges(&many),
            Err(FeatureError::TooManyRanges {
                ranges: 257,
                most: 256
            })
        );
        let (one, other) = (range(0, 0x2fff), range(0x2000, 0x3fff));
        for both in [[one, other], [other, one]] {
            assert_eq!(ranges(&both), Err(FeatureError::RangesOverlap(one, other)));
        }
        for wrong in [
            range(0, 0xffe),
            range(1, 0xfff),
            range(0, u64::MAX),
            range(u64::MAX - 0xfff, u64::MAX),
        ] {
            assert_eq!(
                ranges(&[page(1), wrong]),
                Err(FeatureError::RangeNotOfPages {
                    range: wrong,
                    page: 4096
                })
            );
        }
        let small = Granule::new(2048).unwrap();
        assert_eq!(
            Ranges::new(small, &[page(0)]),
            Err(FeatureError::PageTooSmall { bytes: 2048 })
        );
        let large = Granule::new(1 << 21).unwrap();
        assert!(Ranges::new(large, &[page(0)]).is_err());
        assert!(Ranges::new(large, &[range(0, (1 << 21) - 1)]).is_ok());
    }

    #[test]
    fn ranges_are_in_the_order_of_their_addresses() {
        let (low, high) = (range(0x1000, 0x1fff), range(0x8000, 0x9fff));
        let both = ranges(&[high, low]).unwrap();
        assert_eq!(both.as_slice(), [low, high]);
        let raw: Vec<_> = both
            .raw()
            .iter()
            .map(|raw| (raw.iova, raw.length))
            .collect();
        assert_eq!(raw, [(0x1000, 0x1000), (0x8000, 0x2000)]);
    }

    #[test]
    fn only_whole_pages_of_what_is_recorded_are_asked_for() {
        let both = ranges(&[range(0x1000, 0x1fff), range(0x8000, 0x9fff)]).unwrap();
        let within = |first, last| both.within(range(first, last), LEAST);
        assert_eq!(
            within(0, u64::MAX).unwrap(),
            [range(0x1000, 0x1fff), range(0x8000, 0x9fff)]
        );
        assert_eq!(within(0x9000, 0xffff).unwrap(), [range(0x9000, 0x9fff)]);
        assert_eq!(within(0x2000, 0x7fff).unwrap(), []);
        // The bitmap begins in the middle of a hole, which is no matter.
        assert_eq!(within(0x2345, 0x8fff).unwrap(), [range(0x8000, 0x8fff)]);
        for (first, last) in [(0x8800, 0xffff), (0, 0x97ff)] {
            let bitmap = range(first, last);
            let page = 4096;
            assert_eq!(
                within(first, last),
                Err(FeatureError::BitmapNotOfPages { bitmap, page })
            );
        }
        // The device's pages are larger than what was asked for: whole ranges do.
        let large = Granule::new(1 << 16).unwrap();
        assert!(both.within(range(0, 0xffff), large).is_ok());
        assert!(both.within(range(0x9000, 0xffff), large).is_err());
    }

    #[test]
    fn what_is_long_is_asked_for_in_pieces() {
        let long = ranges(&[range(0x1000, (200 << 30) - 1)]).unwrap();
        let parts = long.within(IovaRange::ALL, LEAST).unwrap();
        let gib = 1 << 30;
        assert_eq!(
            parts,
            [
                range(0x1000, 64 * gib - 1),
                range(64 * gib, 128 * gib - 1),
                range(128 * gib, 192 * gib - 1),
                range(192 * gib, 200 * gib - 1),
            ]
        );
    }
}
