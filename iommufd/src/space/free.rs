//! Finding a place in a space, whose kernel finds none.

use rustix::io::Errno;

use super::{Space, SpaceMapping};
use crate::address::{Iova, IovaRange};
use crate::error::{Error, KernelError, Result};
use crate::map::Access;
use crate::memory::DmaSlice;

/// Beyond this a place is aligned no further: the kernel has larger pages than 2 MiB, but memory
/// that is physically so is rare.
const MOST_ALIGNED: u64 = 2 << 20;

/// How often a place is looked for at which the kernel has something all the same.
const TRIES: usize = 64;

impl Space {
    /// Maps memory where it fits, in one of `usable`, at a multiple of `alignment`, which is a power
    /// of two. The first page is left free: too many devices take the address 0 for none.
    ///
    /// # Errors
    /// `ENOSPC`: no free range is long enough; else as for [`map_at`](Self::map_at).
    pub fn map(
        &self,
        memory: impl Into<DmaSlice>,
        usable: &[IovaRange],
        alignment: u64,
        access: Access,
    ) -> Result<SpaceMapping> {
        let memory = memory.into();
        self.inner.watch().check_process()?;
        let len = memory.len() as u64;
        if len == 0 {
            return Err(Error::Empty { what: "mapping" });
        }
        let align = len
            .checked_next_power_of_two()
            .map_or(MOST_ALIGNED, |whole| whole.min(MOST_ALIGNED))
            .max(alignment);
        let inner = &*self.inner;
        // Where the kernel has what nobody here knows of.
        let mut refused = Vec::new();
        for _ in 0..TRIES {
            // What is under way is recorded before it ends: so it is in the one or in the other.
            let place = inner.under_way.where_it_fits(|under_way, searched| {
                let ledger = &inner.ledger;
                let in_the_way = |place: IovaRange| {
                    let mut others = under_way.iter().chain(&refused);
                    others.find(|other| other.overlaps(place)).copied()
                };
                searched.search(len, align, ledger.gone(), |from| {
                    usable.iter().find_map(|usable| {
                        let within = IovaRange::new(usable.start().max(from), usable.last())?;
                        ledger.in_order(within.start(), |mapped| {
                            first_fit(within, mapped, in_the_way, len, align)
                        })
                    })
                })
            });
            let Some(place) = place else {
                break;
            };
            match self.inner.map_at(place.range(), &memory, access) {
                Err(error) if error.errno() == Some(Errno::EXIST) => refused.push(place.range()),
                answer => return answer,
            }
        }
        let cause = "no free range of addresses is long enough";
        Err(KernelError::new("map", Errno::NOSPC, cause).into())
    }
}

/// How far was searched: so that who maps much does not begin at the beginning each time.
#[derive(Default)]
pub(super) struct Searched {
    /// What there was no place for before `next`, as long as nothing has gone.
    len: u64,
    align: u64,
    next: Iova,
    /// Of the ledger, what had gone before the search.
    gone: u64,
}

impl Searched {
    /// Searches from where it may make sense, and if there is nothing from the beginning.
    fn search(
        &mut self,
        len: u64,
        align: u64,
        gone: u64,
        search: impl Fn(Iova) -> Option<IovaRange>,
    ) -> Option<IovaRange> {
        let same = self.gone == gone && self.len <= len && self.align <= align;
        let near = same.then(|| search(self.next)).flatten();
        // What is usable may be more than it was.
        let place = near.or_else(|| search(Iova::default()))?;
        *self = Self {
            len,
            align,
            next: place.last(),
            gone,
        };
        Some(place)
    }
}

/// The first place of `len` bytes at a multiple of `align`, in `within`, beside what is `mapped` there,
/// in the order of its addresses, and what is otherwise in the way.
fn first_fit(
    within: IovaRange,
    mapped: &mut dyn Iterator<Item = IovaRange>,
    in_the_way: impl Fn(IovaRange) -> Option<IovaRange>,
    len: u64,
    align: u64,
) -> Option<IovaRange> {
    let mut mapped = mapped.peekable();
    let mut next = within.start().get().max(align);
    loop {
        let start = Iova::new(next.checked_next_multiple_of(align)?);
        let place = IovaRange::with_len(start, len)?;
        if !within.contains(place) {
            return None;
        }
        while mapped.next_if(|other| other.last() < start).is_some() {}
        let other = mapped.peek().filter(|other| other.overlaps(place));
        match other.copied().or_else(|| in_the_way(place)) {
            Some(other) => next = other.last().get().checked_add(1)?,
            None => return Some(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use hardware_records::testing::Random;

    use super::*;
    use crate::ledger::{Held, Ledger};

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    /// Beside ranges that are mapped, and others that are under way.
    fn search(
        usable: &[IovaRange],
        from: u64,
        [mapped, others]: [&[IovaRange]; 2],
        len: u64,
        align: u64,
    ) -> Option<IovaRange> {
        let ledger = Ledger::default();
        for range in mapped {
            ledger.mapped(&ledger.begin_map(Held::Nothing), *range);
        }
        let in_the_way = |place| others.iter().copied().find(|other| other.overlaps(place));
        usable.iter().find_map(|usable| {
            let within = IovaRange::new(usable.start().max(Iova::new(from)), usable.last())?;
            ledger.in_order(within.start(), |mapped| {
                first_fit(within, mapped, in_the_way, len, align)
            })
        })
    }

    fn fit(taken: &[IovaRange], len: u64) -> Option<u64> {
        let usable = [range(0, 0xffff), range(0x2_0000, u64::MAX)];
        let place = search(&usable, 0, [taken, &[]], len, 0x1000)?;
        assert_eq!(search(&usable, 0, [&[], taken], len, 0x1000), Some(place));
        assert_eq!(place.len(), Some(len));
        Some(place.start().get())
    }

    #[test]
    fn the_first_place_that_is_long_enough_is_taken() {
        assert_eq!(fit(&[], 0x1000), Some(0x1000), "not the first page");
        assert_eq!(fit(&[range(0x1000, 0x1fff)], 0x1000), Some(0x2000));
        let holes = [range(0x8000, 0x8fff), range(0x1000, 0x1fff)];
        assert_eq!(fit(&holes, 0x6000), Some(0x2000));
        assert_eq!(fit(&holes, 0x7000), Some(0x9000));
        assert_eq!(fit(&holes, 0x7001), Some(0x2_0000));
        assert_eq!(fit(&[range(0x1234, 0x1234)], 0x1000), Some(0x2000));
        assert_eq!(fit(&[range(0, u64::MAX)], 0x1000), None);
        assert_eq!(fit(&[range(0x2_1000, u64::MAX)], 0x1_0000), None);
        assert_eq!(fit(&[], u64::MAX), None);
        // One that is stale may lie within another.
        let nested = [
            range(0x1000, 0x4fff),
            range(0x2000, 0x2fff),
            range(0x1000, 0x1fff),
        ];
        assert_eq!(fit(&nested, 0x1000), Some(0x5000));
    }

    #[test]
    fn what_is_searched_again_is_as_much_or_more_while_nothing_has_gone() {
        let mut searched = Searched::default();
        let mut search = |len, align, gone, end: u64| {
            let mut begun = Vec::new();
            let seen = std::cell::RefCell::new(&mut begun);
            let found = searched.search(len, align, gone, |from| {
                seen.borrow_mut().push(from.get());
                let start = from.get().checked_next_multiple_of(0x1000)?;
                (start < end).then(|| range(start, start + 0xfff))
            });
            (found.is_some(), begun)
        };
        let end = 0x3000;
        assert_eq!(search(0x1000, 0x1000, 7, end), (true, vec![0]));
        assert_eq!(search(0x1000, 0x1000, 7, end), (true, vec![0xfff]));
        assert_eq!(search(0x2000, 0x2000, 7, end), (true, vec![0x1fff]));
        let again = (true, vec![0]);
        assert_eq!(search(0x1000, 0x2000, 7, end), again, "less");
        assert_eq!(search(0x1000, 0x1000, 7, end), again, "less aligned");
        assert_eq!(search(0x1000, 0x1000, 8, end), again, "something has gone");
        // There is nothing behind, and then it is tried before.
        assert_eq!(search(0x1000, 0x1000, 8, 0x1000), (true, vec![0xfff, 0]));
        assert_eq!(search(0x1000, 0x1000, 8, 0), (false, vec![0xfff, 0]));
    }

    #[test]
    fn a_place_is_that_of_a_naive_model() {
        let mut random = Random::new(3);
        let usable = [range(0, 0x2f), range(0x38, 0xff)];
        for _ in 0..20_000 {
            let taken: Vec<_> = (0..random.below(12))
                .map(|_| {
                    let start = random.below(0x100);
                    range(start, start + random.below(20))
                })
                .collect();
            let (len, align) = (1 + random.below(24), 1 << random.below(4));
            let from = random.below(0x80);
            let naive = (from.max(align)..0x100)
                .filter(|start| start.is_multiple_of(align))
                .map(|start| range(start, start + len - 1))
                .find(|place| {
                    usable.iter().any(|usable| usable.contains(*place))
                        && !taken.iter().any(|other| other.overlaps(*place))
                });
            let taken = taken
                .split_at(random.below(1 + taken.len() as u64) as usize)
                .into();
            let found = search(&usable, from, taken, len, align);
            assert_eq!(found, naive);
        }
    }
}
