//! Whether mappings overlap, known without looking at each of them.

use crate::address::{Iova, IovaRange};

/// The ranges that are mapped, as long as no two of them overlap. From then on it is only known
/// that two did: hardly ever is there a reason to look.
///
/// They are in the order of their addresses, in blocks that are moved as little as possible. Every
/// map and unmap comes here: it takes a few comparisons where few are mapped, and no memory that is
/// not there already, unless there are more than ever before.
///
/// # Invariants
/// No block is empty, but for the only one. The ranges of a block, and the blocks, are in order.
#[derive(Default)]
pub(super) struct Overlaps {
    blocks: Vec<Block>,
    /// Room for the next blocks, so that what comes and goes allocates nothing.
    spare: Vec<Vec<Span>>,
    found: bool,
}

/// How many ranges a block has room for.
const ROOM: usize = 64;
/// Two neighbours that have no more together are one.
const FEW: usize = ROOM / 2;

struct Block {
    /// The first address of its first range.
    start: u64,
    spans: Vec<Span>,
}

/// A range, by its first and its last address.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    last: u64,
}

impl Overlaps {
    /// Whether two of the ranges may overlap.
    #[inline]
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// The ranges that end at `from` or later, in the order of their addresses; `None` if two of all
    /// may overlap.
    pub(super) fn in_order(&self, from: Iova) -> Option<impl Iterator<Item = IovaRange>> {
        let blocks = self.blocks.get(self.block_of(from.get())..);
        let spans = blocks.into_iter().flatten().flat_map(|block| &block.spans);
        let ranges =
            spans.filter_map(|span| IovaRange::new(Iova::new(span.start), Iova::new(span.last)));
        let behind = ranges.skip_while(move |range| range.last() < from);
        (!self.found).then_some(behind)
    }

    #[inline]
    pub(super) fn added(&mut self, range: IovaRange) {
        if self.found {
            return;
        }
        let span = Span {
            start: range.start().get(),
            last: range.last().get(),
        };
        let at = self.block_of(span.start);
        let Some(block) = self.blocks.get_mut(at) else {
            let mut spans = self.room();
            spans.push(span);
            self.blocks.push(Block {
                start: span.start,
                spans,
            });
            return;
        };
        let place = block.place_after(span.start);
        // As they do not overlap, those that begin earlier end earlier as well.
        let before = place.checked_sub(1).and_then(|n| block.spans.get(n));
        let overlaps_before = before.is_some_and(|before| before.last >= span.start);
        let after = block.spans.get(place).map(|after| after.start);
        let after = after.or_else(|| self.blocks.get(at + 1).map(|next| next.start));
        if overlaps_before || after.is_some_and(|after| after <= span.last) {
            *self = Self {
                found: true,
                ..Self::default()
            };
            return;
        }
        self.insert(at, place, span);
    }

    #[inline]
    pub(super) fn removed(&mut self, range: IovaRange) {
        let start = range.start().get();
        let at = self.block_of(start);
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        let Some(place) = block.place_after(start).checked_sub(1) else {
            return;
        };
        if block
            .spans
            .get(place)
            .is_none_or(|span| span.start != start)
        {
            return;
        }
        if place + 1 == block.spans.len() {
            // What was mapped last is often what is unmapped first.
            block.spans.pop();
        } else {
            block.spans.remove(place);
        }
        if let Some(first) = block.spans.first() {
            block.start = first.start;
        }
        if block.spans.len() <= FEW && self.blocks.len() > 1 {
            self.merge(at);
        }
    }

    /// The block in which a range that begins at `start` is, or would be.
    #[inline]
    fn block_of(&self, start: u64) -> usize {
        match self.blocks.len() {
            0 | 1 => 0,
            _ => {
                let after = self.blocks.partition_point(|block| block.start <= start);
                after.saturating_sub(1)
            }
        }
    }

    #[inline]
    fn insert(&mut self, at: usize, place: usize, span: Span) {
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        if block.spans.len() == ROOM {
            return self.split(at, place, span);
        }
        if place == 0 {
            block.start = span.start;
        }
        if place == block.spans.len() {
            block.spans.push(span);
        } else {
            block.spans.insert(place, span);
        }
    }

    /// Inserts where a block is full: of which two are made, unless it fits before the next one.
    #[cold]
    fn split(&mut self, at: usize, place: usize, span: Span) {
        if place == ROOM
            && let Some(next) = self.blocks.get_mut(at + 1)
            && next.spans.len() < FEW
        {
            // With a block of its own there would be two that have few.
            next.spans.insert(0, span);
            next.start = span.start;
            return;
        }
        let mut upper = self.room();
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        // What comes in the order of its addresses leaves full blocks behind.
        let middle = if place == ROOM { ROOM } else { ROOM / 2 };
        upper.extend(block.spans.drain(middle..));
        match place.checked_sub(middle) {
            Some(place) => upper.insert(place, span),
            None => {
                block.spans.insert(place, span);
                block.start = block.start.min(span.start);
            }
        }
        let start = upper.first().map_or(span.start, |first| first.start);
        let upper = Block {
            start,
            spans: upper,
        };
        self.blocks.insert(at + 1, upper);
    }

    /// Makes one of a block with few ranges and a neighbour, if that has few as well; of a block with
    /// none, nothing, and then of its neighbours one.
    fn merge(&mut self, at: usize) {
        if self
            .blocks
            .get(at)
            .is_some_and(|block| block.spans.is_empty())
        {
            self.spare.push(self.blocks.remove(at).spans);
        }
        for lower in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            let together = self.blocks.get(lower..lower + 2);
            let len = together.map(|pair| pair.iter().map(|block| block.spans.len()).sum());
            if len.is_none_or(|len: usize| len > FEW) {
                continue;
            }
            let mut upper = self.blocks.remove(lower + 1).spans;
            if let Some(block) = self.blocks.get_mut(lower) {
                block.spans.append(&mut upper);
            }
            self.spare.push(upper);
            return;
        }
    }

    /// Room for a block.
    fn room(&mut self) -> Vec<Span> {
        let spare = self.spare.pop();
        spare.unwrap_or_else(|| Vec::with_capacity(ROOM))
    }
}

/// The same addresses in ranges that do not overlap, by address.
pub(super) fn apart(mut ranges: Vec<IovaRange>) -> Vec<IovaRange> {
    ranges.sort_unstable_by_key(|range| range.start());
    let mut apart: Vec<IovaRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match apart.last_mut() {
            Some(before) if before.overlaps(range) => {
                let last = before.last().max(range.last());
                *before = IovaRange::new(before.start(), last).unwrap_or(*before);
            }
            _ => apart.push(range),
        }
    }
    apart
}

impl Block {
    /// How many of its ranges begin at `start` or before.
    #[inline]
    fn place_after(&self, start: u64) -> usize {
        self.spans.partition_point(|span| span.start <= start)
    }
}

#[cfg(test)]
mod tests {
    use hardware_records::testing::Random;

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

    /// What there is of the invariants to be seen.
    fn check(overlaps: &Overlaps) {
        let mut before = None;
        for block in &overlaps.blocks {
            let least = usize::from(overlaps.blocks.len() > 1);
            assert!((least..=ROOM).contains(&block.spans.len()));
            assert_eq!(block.spans.capacity(), ROOM, "it was allocated once");
            assert!(
                block
                    .spans
                    .first()
                    .is_none_or(|first| first.start == block.start)
            );
            for span in &block.spans {
                assert!(before.is_none_or(|before| before < span.start) && span.start <= span.last);
                before = Some(span.last);
            }
        }
        let few = |pair: &[Block]| pair[0].spans.len() + pair[1].spans.len() < FEW;
        assert!(!overlaps.blocks.windows(2).any(few), "they should be one");
    }

    #[test]
    fn many_that_come_and_go_are_those_of_a_naive_model() {
        for seed in 0..30 {
            let mut random = Random::new(seed);
            let mut overlaps = Overlaps::default();
            let mut model: Vec<(u64, u64)> = Vec::new();
            let most = [3, 70, 400, 3000][seed as usize % 4];
            let space = 20 * most;
            for _ in 0..8 * most {
                let grows = random.below(most) >= model.len() as u64;
                if grows {
                    let start = random.below(space);
                    let last = start + random.below(6);
                    let collides = model.iter().any(|(s, l)| *s <= last && start <= *l);
                    // Most of what would collide is left out: after one there is nothing to be seen.
                    if collides && random.below(4 * most) > 0 {
                        continue;
                    }
                    overlaps.added(range(start, last));
                    assert_eq!(overlaps.found(), collides);
                    if collides {
                        assert!(overlaps.blocks.is_empty() && overlaps.spare.is_empty());
                        break;
                    }
                    model.push((start, last));
                } else if !model.is_empty() {
                    let gone = random.below(model.len() as u64) as usize;
                    let (start, last) = model.swap_remove(gone);
                    overlaps.removed(range(start, last));
                }
                check(&overlaps);
                if random.below(64) == 0 {
                    let from = random.below(space);
                    let seen = overlaps.in_order(Iova::new(from)).unwrap();
                    let mut expected: Vec<_> =
                        model.iter().filter(|(_, last)| *last >= from).collect();
                    expected.sort_unstable();
                    assert!(
                        seen.eq(expected
                            .into_iter()
                            .map(|(start, last)| range(*start, *last)))
                    );
                }
                let count: usize = overlaps.blocks.iter().map(|block| block.spans.len()).sum();
                assert_eq!(count, model.len());
            }
        }
    }

    #[test]
    fn what_comes_at_one_end_and_goes_at_the_other_takes_no_more_room() {
        let mut overlaps = Overlaps::default();
        for n in 0..10_000 {
            overlaps.added(range(n * 10, n * 10 + 9));
            if let Some(old) = u64::checked_sub(n, 500) {
                overlaps.removed(range(old * 10, old * 10 + 9));
            }
        }
        check(&overlaps);
        assert!(overlaps.blocks.len() + overlaps.spare.len() <= 500 / ROOM + 2);
        for n in 9_500..10_000 {
            overlaps.removed(range(n * 10, n * 10 + 9));
        }
        assert!(overlaps.blocks.iter().all(|block| block.spans.is_empty()));
        // What is not there is not removed.
        overlaps.added(range(10, 19));
        overlaps.removed(range(11, 19));
        overlaps.removed(range(0, 9));
        overlaps.added(range(15, 15));
        assert!(overlaps.found());
    }
}
