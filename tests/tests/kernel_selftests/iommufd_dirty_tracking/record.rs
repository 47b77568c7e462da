//! What devices write, and what there has to be in a bitmap then.

use std::ops::Range;

use iommufd::{Iova, IovaRange};

/// No entry.
pub(super) const NONE: [Range<u64>; 0] = [];

/// How many patterns there are.
pub(super) const PATTERNS: usize = 6;

/// Entries to write to, of `count` in all, as runs.
pub(super) fn patterns(count: u64) -> [Vec<Range<u64>>; PATTERNS] {
    let middle = count / 3..=2 * count / 3;
    // Odd, by which each bit of a byte has its turn.
    let step = count / 64 * 2 + 3;
    [
        runs(count, |n| n == 0),
        runs(count, |n| n == count - 1),
        runs(count, |_| true),
        runs(count, |n| n % step == 0),
        runs(count, |n| middle.contains(&n)),
        edges(count),
    ]
}

/// The entries at the edges of bytes, words and pages of bits, of `count` entries in all.
pub(super) fn edges(count: u64) -> Vec<Range<u64>> {
    runs(count, |n| n.is_power_of_two() || (n + 1).is_power_of_two())
}

fn runs(count: u64, is_in: impl Fn(u64) -> bool) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for n in (0..count).filter(|n| is_in(*n)) {
        match runs.last_mut() {
            Some(run) if run.end == n => run.end += 1,
            _ => runs.push(n..n + 1),
        }
    }
    runs
}

/// What of `runs` is in `within`.
pub(super) fn cut(runs: &[Range<u64>], within: &Range<u64>) -> Vec<Range<u64>> {
    let cut = |run: &Range<u64>| run.start.max(within.start)..run.end.min(within.end);
    runs.iter().map(cut).filter(|run| !run.is_empty()).collect()
}

/// Sets the bits of what is `dirty`, in a bitmap of `range` that has one for each `granule` bytes.
pub(super) fn set(bitmap: &mut [u8], range: IovaRange, granule: u64, dirty: &[IovaRange]) {
    for run in dirty {
        let bit = |iova: Iova| (iova.get() - range.start().get()) / granule;
        let (first, last) = (bit(run.start()), bit(run.last()));
        let (from, to) = ((first / 8) as usize, (last / 8) as usize);
        let (low, high) = (0xff << (first % 8), 0xff >> (7 - last % 8));
        if from == to {
            bitmap[from] |= low & high;
        } else {
            bitmap[from] |= low;
            bitmap[from + 1..to].fill(0xff);
            bitmap[to] |= high;
        }
    }
}
