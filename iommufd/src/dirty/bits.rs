//! Bits in words: bit `i` is bit `i % 64` of word `i / 64`, as the kernel's bitmaps have it.

use std::num::NonZeroU64;

const WORD: u64 = u64::BITS as u64;

/// How many words are looked at at once where nothing is expected.
const CHUNK: usize = 32;

/// How many are looked at one by one before that: a large page of 2 MiB has bits in 8.
const NEAR: usize = 8;

/// How many words hold `bits` bits.
pub(super) fn words_for(bits: u64) -> usize {
    // The crate is for 64-bit machines.
    bits.div_ceil(WORD) as usize
}

/// Sets the bits from `first` to `last`, as far as there are words for them.
pub(super) fn set(words: &mut [u64], first: u64, last: u64) {
    let (from, to) = (first / WORD, last / WORD);
    for at in from..=to {
        let Some(word) = words.get_mut(at as usize) else {
            return;
        };
        let low = if at == from { first % WORD } else { 0 };
        let high = if at == to { last % WORD } else { WORD - 1 };
        *word |= (u64::MAX << low) & (u64::MAX >> (WORD - 1 - high));
    }
}

/// Moves the first `bits` bits of `from` to bit `at` and on of `to`, where set bits stay set.
/// `from` is all zeroes after.
pub(super) fn take(to: &mut [u64], at: u64, from: &mut [u64], bits: u64) {
    let (skip, shift) = ((at / WORD) as usize, at % WORD);
    if shift == 0 {
        return take_words(to.get_mut(skip..).unwrap_or_default(), from, bits);
    }
    let mut next = 0;
    loop {
        next = first_other(from, next, 0);
        let Some(word) = from.get_mut(next) else {
            return;
        };
        let found = std::mem::take(word) & mask_of(next, bits);
        if let Some(low) = to.get_mut(skip + next) {
            *low |= found << shift;
        }
        if let Some(high) = to.get_mut(skip + next + 1) {
            *high |= found >> (WORD - shift);
        }
        next += 1;
    }
}

/// Moves the first `bits` bits of `from` to the beginning of `to`, where set bits stay set. `from` is
/// all zeroes after.
fn take_words(to: &mut [u64], from: &mut [u64], bits: u64) {
    let whole = ((bits / WORD) as usize).min(from.len());
    let (from, rest) = from.split_at_mut(whole);
    let shared = whole.min(to.len());
    let (to, next) = to.split_at_mut(shared);
    let chunks = from.chunks_mut(CHUNK).zip(to.chunks_mut(CHUNK));
    for (from, to) in chunks {
        // Mostly there is nothing.
        if from.iter().fold(0, |all, word| all | word) != 0 {
            for (from, to) in from.iter_mut().zip(to) {
                *to |= std::mem::take(from);
            }
        }
    }
    if let (Some(from), Some(to)) = (rest.first(), next.first_mut()) {
        *to |= from & low_bits(bits % WORD);
    }
    for beyond in [from.get_mut(shared..).unwrap_or_default(), rest] {
        clear_words(beyond);
    }
}

/// Clears what is set: hardly anything.
fn clear_words(words: &mut [u64]) {
    for words in words.chunks_mut(CHUNK) {
        if words.iter().fold(0, |all, word| all | word) != 0 {
            words.fill(0);
        }
    }
}

/// Whether bit `at` is set.
pub(super) fn is_set(words: &[u64], at: u64) -> bool {
    let word = words.get((at / WORD) as usize);
    word.is_some_and(|word| word & (1 << (at % WORD)) != 0)
}

/// How many of the first `bits` bits are set.
pub(super) fn count(words: &[u64], bits: u64) -> u64 {
    let whole = ((bits / WORD) as usize).min(words.len());
    let (whole, rest) = words.split_at(whole);
    let ones = |word: u64| u64::from(word.count_ones());
    let rest = rest
        .first()
        .map_or(0, |word| ones(word & low_bits(bits % WORD)));
    whole.iter().map(|word| ones(*word)).sum::<u64>() + rest
}

/// Clears the first `bits` bits.
pub(super) fn clear(words: &mut [u64], bits: u64) {
    let whole = ((bits / WORD) as usize).min(words.len());
    let (whole, rest) = words.split_at_mut(whole);
    whole.fill(0);
    if let Some(word) = rest.first_mut() {
        *word &= !low_bits(bits % WORD);
    }
}

/// The lowest `count` bits, which is less than all of them.
fn low_bits(count: u64) -> u64 {
    !(u64::MAX << count)
}

/// Those of word number `at` that are among the first `bits` bits.
fn mask_of(at: usize, bits: u64) -> u64 {
    match bits.saturating_sub(WORD.saturating_mul(at as u64)) {
        0 => 0,
        left if left >= WORD => u64::MAX,
        left => u64::MAX >> (WORD - left),
    }
}

/// The runs of set bits among the first `bits`: the first and the last bit of each.
///
/// A word is looked at once, however many runs are in it: for its *edges*, the bits that differ from
/// the one before them. They are by turns the first bit of a run, and the first after one.
///
/// # Invariants
/// `rest` has a bit that is not set. The lowest of `edges` is the first bit of a run, or there is none.
#[derive(Debug, Clone)]
pub(super) struct Runs<'w> {
    /// The words of which all bits count.
    whole: &'w [u64],
    /// Those bits that count of the word that follows.
    rest: u64,
    /// The number of the word that is looked at.
    at: usize,
    /// Its edges after the last run.
    edges: u64,
}

impl<'w> Runs<'w> {
    pub(super) fn new(words: &'w [u64], bits: u64) -> Self {
        let whole = ((bits / WORD) as usize).min(words.len());
        let (whole, rest) = words.split_at(whole);
        let rest = rest.first().map_or(0, |word| word & low_bits(bits % WORD));
        let first = whole.first().map_or(rest, |word| *word);
        Self {
            whole,
            rest,
            at: 0,
            edges: edges(first, 0),
        }
    }

    /// Goes on to the first word from number `from` on that is not `filler`, and says what it is.
    #[inline]
    fn go_on(&mut self, from: usize, filler: u64) -> u64 {
        // Where something is, more is near.
        let near = self.whole.len().min(from + NEAR);
        for at in from..near {
            if let Some(word) = self.whole.get(at)
                && *word != filler
            {
                self.at = at;
                return *word;
            }
        }
        self.at = first_far(self.whole, from.max(near), filler);
        match self.whole.get(self.at) {
            Some(word) => *word,
            None if self.at == self.whole.len() => self.rest,
            None => 0,
        }
    }

    /// The number of the lowest of `edges`. The others stay.
    #[inline]
    fn take(&mut self, edges: NonZeroU64) -> u64 {
        self.edges = edges.get() & (edges.get() - 1);
        self.at as u64 * WORD + u64::from(edges.trailing_zeros())
    }
}

impl Iterator for Runs<'_> {
    type Item = (u64, u64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let begin = NonZeroU64::new(self.edges)
            .or_else(|| NonZeroU64::new(edges(self.go_on(self.at + 1, 0), 0)))?;
        let first = self.take(begin);
        // If it goes on to the end of the word, the next that is not all ones has an edge.
        let end = NonZeroU64::new(self.edges)
            .or_else(|| NonZeroU64::new(edges(self.go_on(self.at + 1, u64::MAX), 1)))?;
        // At least the first bit is in it.
        Some((first, self.take(end) - 1))
    }
}

/// Which bits of a word are other than the one before them; before the lowest there is `before`.
#[inline]
fn edges(word: u64, before: u64) -> u64 {
    word ^ (word << 1 | before)
}

/// The first word from number `from` on that is not `filler`; the number of words, or `from` if
/// that is more, if there is none.
#[inline]
fn first_other(words: &[u64], from: usize, filler: u64) -> usize {
    let rest = words.get(from..).unwrap_or_default();
    // Where something is, more is near.
    let near = rest.iter().take(NEAR).position(|word| *word != filler);
    near.map_or_else(
        || first_far(words, from + NEAR.min(rest.len()), filler),
        |at| from + at,
    )
}

/// The same, where it is not expected to be near.
fn first_far(words: &[u64], from: usize, filler: u64) -> usize {
    let rest = words.get(from..).unwrap_or_default();
    let (chunks, _) = rest.as_chunks::<CHUNK>();
    let same = |chunk: &&[u64; CHUNK]| chunk.iter().fold(0, |other, w| other | (w ^ filler)) == 0;
    let skipped = chunks.iter().take_while(same).count() * CHUNK;
    let rest = rest.get(skipped..).unwrap_or_default();
    let other = rest.iter().position(|word| *word != filler);
    from + skipped + other.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirty::lcg::Lcg;

    /// The same, bit by bit.
    fn naive(words: &[u64], bits: u64) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for bit in (0..bits).filter(|bit| is_set(words, *bit)) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == bit => *last = bit,
                _ => runs.push((bit, bit)),
            }
        }
        runs
    }

    #[track_caller]
    fn check(words: &[u64], bits: u64) {
        let runs: Vec<_> = Runs::new(words, bits).collect();
        assert_eq!(runs, naive(words, bits), "{bits} bits of {words:x?}");
        let sum: u64 = runs.iter().map(|(first, last)| last - first + 1).sum();
        assert_eq!(count(words, bits), sum);
    }

    #[test]
    fn a_run_is_found_at_every_place_with_every_length() {
        for bits in [1, 63, 64, 65, 128, 200] {
            for first in 0..bits {
                for last in first..bits {
                    let mut words = vec![0; words_for(bits)];
                    set(&mut words, first, last);
                    let runs: Vec<_> = Runs::new(&words, bits).collect();
                    assert_eq!(runs, [(first, last)], "of {bits}");
                }
            }
        }
    }

    #[test]
    fn a_run_is_found_behind_and_across_chunks() {
        let bits = 5 * CHUNK as u64 * WORD;
        for first in (0..bits).step_by(509) {
            for len in [1, 64, 2047, 2048, 2049, 6000] {
                let last = (first + len - 1).min(bits - 1);
                let mut words = vec![0; words_for(bits)];
                set(&mut words, first, last);
                let runs: Vec<_> = Runs::new(&words, bits).collect();
                assert_eq!(runs, [(first, last)]);
            }
        }
    }

    #[test]
    fn runs_are_those_of_a_naive_model() {
        let mut random = Lcg::new(1);
        for round in 0..2000 {
            let bits = 1 + random.below(40 * WORD * (1 + round % 4));
            let mut words = vec![0; words_for(bits)];
            for _ in 0..random.below(12) {
                let first = random.below(bits);
                let len = match random.below(3) {
                    0 => 1,
                    1 => 1 + random.below(WORD),
                    _ => 1 + random.below(bits),
                };
                set(&mut words, first, (first + len - 1).min(bits - 1));
            }
            check(&words, bits);
        }
        check(&[], 0);
        check(&[u64::MAX; 3], 3 * WORD);
        check(&[0x5555_5555_5555_5555; 40], 40 * WORD);
    }

    #[test]
    fn bits_past_the_end_do_not_count() {
        let mut words = [u64::MAX; 2];
        assert_eq!(Runs::new(&words, 70).collect::<Vec<_>>(), [(0, 69)]);
        assert_eq!(count(&words, 70), 70);
        clear(&mut words, 70);
        assert_eq!(words, [0, u64::MAX << 6]);
        assert_eq!(Runs::new(&words, 70).next(), None);
        set(&mut words, 120, 1000);
        assert_eq!(words, [0, u64::MAX << 6], "there are no words for more");
    }

    #[test]
    fn bits_are_taken_to_every_place() {
        let mut random = Lcg::new(7);
        for at in 0..200 {
            for bits in [1, 5, 63, 64, 65, 127, 130] {
                let before: Vec<u64> = (0..6).map(|_| random.word()).collect();
                let given: Vec<u64> = (0..3).map(|_| random.word()).collect();
                let (mut to, mut from) = (before.clone(), given.clone());
                take(&mut to, at, &mut from, bits);
                assert!(from.iter().all(|word| *word == 0));
                for bit in 0..6 * WORD {
                    let moved = (at..at + bits).contains(&bit) && is_set(&given, bit - at);
                    let expected = is_set(&before, bit) || moved;
                    assert_eq!(is_set(&to, bit), expected, "bit {bit} of {bits} at {at}");
                }
            }
        }
    }

    // What follows goes through every case there is within some words: a proof, as far as the words
    // beyond them are no other.

    #[test]
    fn every_mask_has_the_bits_that_are_among_the_first() {
        for bits in 0..=4 * WORD {
            for at in 0..5 {
                let mask = mask_of(at, bits);
                let expected = |bit: u64| at as u64 * WORD + bit < bits;
                assert!((0..WORD).all(|bit| (mask & 1 << bit != 0) == expected(bit)));
            }
        }
        assert_eq!(mask_of(usize::MAX, u64::MAX), 0);
        assert_eq!(mask_of(0, u64::MAX), u64::MAX);
    }

    #[test]
    fn every_range_of_some_words_is_set_counted_and_cleared() {
        const WORDS: usize = 3;
        let all = WORDS as u64 * WORD;
        for first in 0..all {
            for last in first..all + 2 {
                let mut words = [0; WORDS];
                set(&mut words, first, last);
                let within = |bit: u64| (first..=last).contains(&bit);
                assert!((0..all).all(|bit| is_set(&words, bit) == within(bit)));
            }
        }
        for bits in 0..=all {
            let mut words = [u64::MAX; WORDS];
            assert_eq!(count(&words, bits), bits);
            clear(&mut words, bits);
            assert!((0..all).all(|bit| is_set(&words, bit) == (bit >= bits)));
            assert_eq!(count(&words, all), all - bits);
        }
    }

    #[test]
    fn every_pattern_across_two_words_has_its_runs() {
        // Bits 56 to 71.
        for pattern in 0..=u64::from(u16::MAX) {
            let words = [pattern << 56, pattern >> 8];
            for bits in [60, 64, 66, 72, 128] {
                let runs = Runs::new(&words, bits);
                let mut next = 0;
                for (first, last) in runs {
                    assert!(first >= next && first <= last && last < bits);
                    assert!((next..first).all(|bit| !is_set(&words, bit)));
                    assert!((first..=last).all(|bit| is_set(&words, bit)));
                    next = last + 1;
                    assert!(next == bits || !is_set(&words, next), "it could be longer");
                    next += 1;
                }
                assert!((next..bits).all(|bit| !is_set(&words, bit)));
            }
        }
    }

    #[test]
    fn every_number_of_bits_is_taken_to_every_place() {
        const WORDS: usize = 4;
        for at in 0..2 * WORD {
            for bits in 0..=2 * WORD {
                let (mut to, mut from) = ([0; WORDS], [u64::MAX; 3]);
                take(&mut to, at, &mut from, bits);
                assert_eq!(from, [0; 3]);
                // Where there are no words for them, they are dropped.
                let (mut short, mut from) = ([0; 1], [u64::MAX; 3]);
                take(&mut short, at, &mut from, bits);
                assert_eq!((short[0], from), (to[0], [0; 3]));
                let within = |bit: u64| (at..at + bits).contains(&bit);
                assert!((0..WORDS as u64 * WORD).all(|bit| is_set(&to, bit) == within(bit)));
            }
        }
    }

    #[test]
    fn every_place_of_a_word_that_is_other_is_found_from_every_place_before_it() {
        const WORDS: usize = 3 * CHUNK + 5;
        for filler in [0, u64::MAX] {
            for other in 0..=WORDS {
                let mut words = [filler; WORDS];
                if let Some(word) = words.get_mut(other) {
                    *word = 7;
                }
                for from in 0..WORDS + 2 {
                    let expected = if from <= other {
                        other
                    } else {
                        from.max(WORDS)
                    };
                    assert_eq!(first_other(&words, from, filler), expected);
                }
            }
        }
    }
}
