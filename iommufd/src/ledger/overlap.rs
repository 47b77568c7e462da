//! Whether mappings overlap, known without looking at each of them.

use std::collections::BTreeMap;

use crate::address::{Iova, IovaRange};

/// The ranges that are mapped, as long as no two of them overlap. From then on it is only known
/// that two did: hardly ever is there a reason to look.
#[derive(Default)]
pub(super) struct Overlaps {
    /// The last address of each, by its first.
    ranges: BTreeMap<Iova, Iova>,
    found: bool,
}

impl Overlaps {
    /// Whether two of the ranges may overlap.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    pub(super) fn added(&mut self, range: IovaRange) {
        if self.found {
            return;
        }
        // As they do not overlap, those that begin earlier end earlier as well.
        let before = self.ranges.range(..=range.last()).next_back();
        if before.is_some_and(|(_, &last)| last >= range.start()) {
            self.found = true;
            self.ranges.clear();
        } else {
            self.ranges.insert(range.start(), range.last());
        }
    }

    pub(super) fn removed(&mut self, range: IovaRange) {
        self.ranges.remove(&range.start());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    #[test]
    fn ranges_beside_one_another_do_not_overlap_and_others_do() {
        let some = || {
            let mut overlaps = Overlaps::default();
            for (start, last) in [(10, 19), (30, 39), (20, 29), (u64::MAX, u64::MAX)] {
                overlaps.added(range(start, last));
                assert!(!overlaps.found());
            }
            overlaps
        };
        for (start, last) in [
            (0, 10),
            (19, 20),
            (15, 16),
            (0, 99),
            (39, 99),
            (0, u64::MAX),
        ] {
            let mut overlaps = some();
            overlaps.added(range(start, last));
            assert!(overlaps.found(), "{start}..={last}");
        }
        let mut overlaps = some();
        for (start, last) in [(0, 9), (40, u64::MAX - 1)] {
            overlaps.added(range(start, last));
        }
        overlaps.removed(range(20, 29));
        overlaps.added(range(20, 20));
        assert!(!overlaps.found());
        overlaps.added(range(20, 20));
        assert!(overlaps.found());
    }
}
