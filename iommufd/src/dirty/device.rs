//! What devices record themselves, where they do: read by their driver.

use std::fmt;

use super::bitmap::DirtyBitmap;
use super::granule::Granule;
use super::scratch::Pages;
use crate::address::IovaRange;
use crate::error::Result;

/// Where a driver has the kernel set the dirty bits that a device has recorded itself: not in the
/// user's bitmap, but in whole pages, of which nothing else is written.
///
/// It keeps the pages from one read to the next.
#[derive(Default)]
pub struct DeviceDirty {
    pages: Pages,
}

impl DeviceDirty {
    /// Has `ask` tell what is dirty in `run`, and sets the bits of that in `bitmap`, which is to cover all
    /// of `run`.
    ///
    /// `ask` is given what a bit stands for, which is `least` or coarser and divides the run, if `least`
    /// does; and zeroed words that begin with a page and are as long as
    /// [`reach_of_bitmap`](crate::driver::reach_of_bitmap) says. Whatever it answers, what it has set
    /// counts.
    ///
    /// # Errors
    /// [`Error::NotCovered`](crate::Error::NotCovered); `ENOMEM`. Within it is what `ask` has answered.
    pub fn read<B: AsMut<[u64]>, E>(
        &mut self,
        bitmap: &mut DirtyBitmap<B>,
        run: IovaRange,
        least: Granule,
        ask: impl FnOnce(Granule, &mut [u64]) -> Result<(), E>,
    ) -> Result<Result<(), E>> {
        let mut view = bitmap.view();
        view.must_cover(run)?;
        let page = view.granule().max(least).dividing(run).max(least);
        let bits = page.count(run.last().get() - run.start().get());
        let found = self.pages.for_bits(bits.unwrap_or(u64::MAX))?;
        let answer = ask(page, found);
        view.take(run, page, found);
        Ok(answer)
    }
}

impl fmt::Debug for DeviceDirty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceDirty").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Iova;
    use crate::error::Error;

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    #[test]
    fn what_is_found_is_in_the_bitmap_whatever_the_granules() {
        for (granule, asked, dirty) in [
            (0x1000, 0x1000, "0x12000..=0x12fff"),
            (0x400, 0x1000, "0x12000..=0x12fff"),
            // The run divides by 8 KiB, and not by more.
            (0x10000, 0x2000, "0x10000..=0x1ffff"),
        ] {
            let granule = Granule::new(granule).unwrap();
            let mut bitmap = DirtyBitmap::new(range(0, 0xf_ffff), granule).unwrap();
            let run = range(0x1_0000, 0x1_5fff);
            let mut pages = DeviceDirty::default();
            let answer = pages.read(&mut bitmap, run, Granule::KIB_4, |page, words| {
                assert_eq!(page.bytes(), asked);
                assert!(words.iter().all(|word| *word == 0));
                words[0] |= 1 << (0x2000 / page.bytes());
                Err("and then it failed")
            });
            assert_eq!(answer.unwrap(), Err("and then it failed"));
            let found: Vec<_> = bitmap.runs().map(|run| run.to_string()).collect();
            assert_eq!(found, [dirty], "by {granule}");
        }
    }

    #[test]
    fn what_the_bitmap_does_not_cover_is_not_asked_for() {
        let mut bitmap = DirtyBitmap::new(range(0, 0xfff), Granule::KIB_4).unwrap();
        let mut pages = DeviceDirty::default();
        let run = range(0, 0x1fff);
        let refused = pages.read(&mut bitmap, run, Granule::KIB_4, |_, _| -> Result<(), ()> {
            panic!("it is asked")
        });
        assert!(matches!(refused, Err(Error::NotCovered { .. })));
    }

    #[test]
    fn what_is_marked_is_cut_off_where_the_bitmap_ends() {
        let mut bitmap = DirtyBitmap::new(range(0x1000, 0x4fff), Granule::KIB_4).unwrap();
        bitmap.mark_dirty(range(0x5000, u64::MAX));
        bitmap.mark_dirty(range(0, 0xfff));
        assert_eq!(bitmap.count(), 0);
        bitmap.mark_dirty(range(0x2fff, 0x3000));
        assert_eq!(bitmap.count(), 2);
        bitmap.mark_dirty(IovaRange::ALL);
        assert_eq!(bitmap.count(), 4);
    }
}
