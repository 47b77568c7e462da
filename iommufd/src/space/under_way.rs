//! Where maps are under way in a space, of which its ledger does not say yet where they will be.

use parking_lot::Mutex;

use super::free::Searched;
use crate::address::IovaRange;

/// Where maps are under way.
#[derive(Default)]
pub(super) struct UnderWay {
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// The ranges of maps that have got no answer yet.
    ranges: Vec<IovaRange>,
    /// For the next that is to be where it fits.
    searched: Searched,
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
        self.places.lock().ranges.push(range);
        Place { all: self, range }
    }

    /// A map begins where `choose` says, which is told where others are under way, and how far was
    /// searched before; nobody begins meanwhile.
    pub(super) fn where_it_fits(
        &self,
        choose: impl FnOnce(&[IovaRange], &mut Searched) -> Option<IovaRange>,
    ) -> Option<Place<'_>> {
        let mut places = self.places.lock();
        let places = &mut *places;
        let range = choose(&places.ranges, &mut places.searched)?;
        places.ranges.push(range);
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
        let ranges = &mut self.all.places.lock().ranges;
        if let Some(index) = ranges.iter().position(|range| *range == self.range) {
            ranges.swap_remove(index);
        }
    }
}
