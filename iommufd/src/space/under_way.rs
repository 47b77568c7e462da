//! Where maps are under way in a space, of which its ledger does not say yet where they will be.

use parking_lot::Mutex;

use crate::address::IovaRange;

/// The ranges of maps that have got no answer yet.
#[derive(Default)]
pub(super) struct UnderWay {
    ranges: Mutex<Vec<IovaRange>>,
}

/// A map that is under way: drop it when it is recorded what became of it.
#[must_use = "its range is free for others when it is dropped"]
pub(super) struct Place<'u> {
    all: &'u UnderWay,
    range: IovaRange,
}

impl UnderWay {
    /// A map of `range` begins, whatever else does there.
    pub(super) fn at(&self, range: IovaRange) -> Place<'_> {
        self.ranges.lock().push(range);
        Place { all: self, range }
    }

    /// A map begins where `choose` says, which is told where others are under way; nobody begins
    /// meanwhile.
    pub(super) fn where_it_fits(
        &self,
        choose: impl FnOnce(&[IovaRange]) -> Option<IovaRange>,
    ) -> Option<Place<'_>> {
        let mut ranges = self.ranges.lock();
        let range = choose(&ranges)?;
        ranges.push(range);
        Some(Place { all: self, range })
    }
}

impl Place<'_> {
    pub(super) fn range(&self) -> IovaRange {
        self.range
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut ranges = self.all.ranges.lock();
        if let Some(index) = ranges.iter().position(|range| *range == self.range) {
            ranges.swap_remove(index);
        }
    }
}
