//! Parts of memory, cut wherever a device bears it.

use std::ops::Range;

use iommufd::{Access, DmaSlice};
use tests::at::{PAGE, page};
use tests::mock;

use super::{Fixture, HUGE, Kind};
use crate::part::part;

const HALF: usize = mock::PAGE as usize;

pub(super) fn all_aligns(fixture: Fixture) {
    let Fixture {
        domains,
        ioas,
        kind,
        ..
    } = &fixture;
    let memory = kind.shared(kind.pages());
    for range in kind.cuts() {
        // In the same place of its page as it is in memory, and elsewhere.
        for shift in [0, mock::PAGE] {
            let at = page(0).checked_add(range.start as u64 + shift).unwrap();
            let slice = DmaSlice::new(&memory, range.clone()).unwrap();
            let mapping = ioas.map_at(at, slice, Access::ReadWrite).unwrap();
            domains.assert_map_bytes(at, part(&*memory, range.clone()));
            let touched = range.end.next_multiple_of(PAGE) - range.start / PAGE * PAGE;
            assert_eq!(fixture.pinned(), touched as u64, "{range:?}");
            mapping.unmap().unwrap();
            for one in domains.iter() {
                let gone = one
                    .device
                    .check_map(at, part(&*memory, range.start..range.start + HALF));
                assert!(gone.is_err(), "{range:?}");
            }
            assert_eq!(fixture.pinned(), 0, "{range:?}");
        }
    }
}

impl Kind {
    /// How many pages it takes to try out all cuts.
    pub(super) fn pages(self) -> usize {
        if self.huge { 2 } else { 4 }
    }

    /// All parts of so many pages that begin and end where a device bears it; of huge pages those that begin and end near
    /// the ends and the middle of one.
    pub(super) fn cuts(self) -> Vec<Range<usize>> {
        let points: Vec<usize> = if self.huge {
            let around = |at: usize| [at.saturating_sub(HALF), at, at + HALF];
            let mut points: Vec<_> = (0..=4).flat_map(|n| around(n * HUGE / 2)).collect();
            points.retain(|at| *at <= 2 * HUGE);
            points.dedup();
            points
        } else {
            (0..=self.pages() * PAGE).step_by(HALF).collect()
        };
        let to_end = |(n, start): (usize, &usize)| {
            let start = *start;
            points[n + 1..].iter().map(move |end| start..*end)
        };
        points.iter().enumerate().flat_map(to_end).collect()
    }
}
