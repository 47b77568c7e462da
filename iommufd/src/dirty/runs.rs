//! What is asked for in one ioctl: mappings that follow one another without a hole, and all of them.
//!
//! The kernel's walk ends at the first address that is not mapped, and it does not say so. And it
//! knows nothing smaller than an entry of the page table, which can be as large as the mapping in
//! which it is: asked for a part of one, it clears the dirty bit of the whole, and reports only
//! what comes after the beginning of what it was asked for. So what is asked for begins and ends
//! with a mapping. No entry reaches from one mapping into another.

use crate::address::IovaRange;
use crate::ledger::Reading;

/// What is asked for at once, unless a single mapping is larger: the kernel keeps maps and unmaps
/// waiting meanwhile, for about half a second with the smallest pages.
const AT_ONCE: u64 = 64 << 30;

/// The mappings of a range, by address, as they were at one moment.
#[derive(Default)]
pub(super) struct Snapshot {
    mappings: Vec<IovaRange>,
    /// Those before have been read.
    next: usize,
    /// Of the ledger, when it was taken.
    version: Option<u64>,
}

impl Snapshot {
    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.mappings.clear();
        self.next = 0;
        self.version = None;
    }

    /// Looks again, at the mappings that touch `range`, if anything has been mapped or unmapped
    /// since. Says whether it did.
    pub(super) fn renew(&mut self, reading: &Reading<'_>, range: IovaRange) -> bool {
        let version = Some(reading.version());
        if self.version == version {
            return false;
        }
        self.reset();
        self.version = version;
        reading.add_touching(range, &mut self.mappings);
        self.mappings
            .sort_unstable_by_key(|mapping| mapping.start());
        true
    }

    /// All the mappings.
    pub(super) fn mappings(&self) -> &[IovaRange] {
        &self.mappings
    }

    /// The next run.
    pub(super) fn next_run(&mut self) -> Option<IovaRange> {
        next_run(&self.mappings, &mut self.next, AT_ONCE)
    }
}

/// The runs of `mappings`, which are in the order of their addresses.
pub(super) fn runs(mappings: &[IovaRange]) -> impl Iterator<Item = IovaRange> {
    let mut next = 0;
    std::iter::from_fn(move || next_run(mappings, &mut next, AT_ONCE))
}

/// The run that begins with mapping number `next`, of `at_once` bytes at the most if there is a
/// choice; `next` is the first that is not in it.
fn next_run(mappings: &[IovaRange], next: &mut usize, at_once: u64) -> Option<IovaRange> {
    let mut run = *mappings.get(*next)?;
    loop {
        *next += 1;
        let Some(mapping) = mappings.get(*next) else {
            return Some(run);
        };
        let last = mapping.last().max(run.last());
        let joined = IovaRange::new(run.start(), last)?;
        // They overlap only if a stranger has unmapped one of them.
        let follows = run.last().checked_add(1) == Some(mapping.start());
        let short = joined.len().is_some_and(|len| len <= at_once);
        if !(follows && short || run.overlaps(*mapping)) {
            return Some(run);
        }
        run = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Iova;

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    #[track_caller]
    fn check(mappings: &[(u64, u64)], at_once: u64, expected: &[(u64, u64)]) {
        let mappings: Vec<_> = mappings.iter().map(|(s, l)| range(*s, *l)).collect();
        let mut next = 0;
        let runs: Vec<_> = std::iter::from_fn(|| next_run(&mappings, &mut next, at_once)).collect();
        let expected: Vec<_> = expected.iter().map(|(s, l)| range(*s, *l)).collect();
        assert_eq!(runs, expected);
        assert_eq!(next, mappings.len());
    }

    #[test]
    fn what_follows_is_joined_and_a_hole_parts() {
        check(&[], 100, &[]);
        check(&[(0, 9)], 100, &[(0, 9)]);
        check(&[(0, 9), (10, 19), (20, 20)], 100, &[(0, 20)]);
        check(&[(0, 9), (11, 19), (20, 29)], 100, &[(0, 9), (11, 29)]);
        let end = u64::MAX;
        check(&[(0, 1), (end - 1, end)], 100, &[(0, 1), (end - 1, end)]);
        check(
            &[(0, end - 1), (end, end)],
            end,
            &[(0, end - 1), (end, end)],
        );
    }

    #[test]
    fn a_run_is_cut_where_a_mapping_ends_and_a_long_mapping_stays_whole() {
        let pages = [(0, 9), (10, 19), (20, 29), (30, 39)];
        check(&pages, 10, &pages);
        check(&pages, 20, &[(0, 19), (20, 39)]);
        check(&pages, 35, &[(0, 29), (30, 39)]);
        check(&[(0, 99), (100, 101)], 10, &[(0, 99), (100, 101)]);
        check(
            &[(0, 4), (5, 99), (100, 101)],
            10,
            &[(0, 4), (5, 99), (100, 101)],
        );
    }

    #[test]
    fn what_overlaps_is_one() {
        check(&[(0, 99), (10, 19), (100, 109)], 200, &[(0, 109)]);
        check(&[(0, 9), (0, 99), (50, 149)], 10, &[(0, 149)]);
    }
}
