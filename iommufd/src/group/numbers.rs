//! Which PASIDs of a group are handed out.

use std::collections::HashSet;

use crate::pasid::Pasid;

/// The PASIDs that are handed out, and the one to begin with.
#[derive(Default)]
pub(super) struct Numbers {
    allocated: HashSet<Pasid>,
    /// The number that was handed out last.
    last: u32,
}

impl Numbers {
    /// Hands out a PASID of at most `bits` bits that is not `in_use` otherwise: the next one after
    /// the last. `None` if there is none.
    pub(super) fn allocate(&mut self, bits: u8, in_use: impl Fn(Pasid) -> bool) -> Option<Pasid> {
        let end = 1_u32 << u32::from(bits).min(Pasid::BITS);
        let after = self.last.saturating_add(1)..end;
        let before = 1..end.min(after.start);
        let free = after
            .chain(before)
            .filter_map(Pasid::new)
            .find(|pasid| !self.allocated.contains(pasid) && !in_use(*pasid))?;
        self.last = free.get();
        self.allocated.insert(free);
        Some(free)
    }

    pub(super) fn is_allocated(&self, pasid: Pasid) -> bool {
        self.allocated.contains(&pasid)
    }

    pub(super) fn give_back(&mut self, pasid: Pasid) {
        self.allocated.remove(&pasid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(numbers: &mut Numbers, bits: u8) -> Option<u32> {
        numbers.allocate(bits, |_| false).map(Pasid::get)
    }

    #[test]
    fn every_number_is_handed_out_once() {
        let mut numbers = Numbers::default();
        let all: Vec<_> = std::iter::from_fn(|| number(&mut numbers, 3)).collect();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(number(&mut numbers, 3), None);
        // The devices of a group need not have the same width.
        assert_eq!(number(&mut numbers, 4), Some(8));
        assert_eq!(number(&mut numbers, 3), None);
    }

    #[test]
    fn what_was_given_back_comes_last() {
        let mut numbers = Numbers::default();
        for expected in [1, 2, 3] {
            assert_eq!(number(&mut numbers, 3), Some(expected));
        }
        for back in [1, 3] {
            numbers.give_back(Pasid::new(back).unwrap());
        }
        let rest: Vec<_> = std::iter::from_fn(|| number(&mut numbers, 3)).collect();
        assert_eq!(rest, [4, 5, 6, 7, 1, 3]);
    }

    #[test]
    fn what_is_in_use_is_passed_over() {
        let mut numbers = Numbers::default();
        let odd = |pasid: Pasid| pasid.get() % 2 == 1;
        let even: Vec<_> = std::iter::from_fn(|| numbers.allocate(3, odd)).collect();
        assert_eq!(
            even.iter().map(|pasid| pasid.get()).collect::<Vec<_>>(),
            [2, 4, 6]
        );
    }

    #[test]
    fn the_width_is_what_the_kernel_says_and_no_more_than_there_is() {
        assert_eq!(number(&mut Numbers::default(), 0), None);
        assert_eq!(number(&mut Numbers::default(), 1), Some(1));
        let mut numbers = Numbers::default();
        let not_the_last = |pasid: Pasid| pasid.get() != 0xf_ffff;
        for bits in [20, 21, u8::MAX] {
            let last = numbers.allocate(bits, not_the_last).unwrap();
            assert_eq!(last.get(), 0xf_ffff);
            assert_eq!(numbers.allocate(bits, not_the_last), None);
            numbers.give_back(last);
        }
    }
}
