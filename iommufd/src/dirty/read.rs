//! Reading dirty bits: from the kernel into a bitmap.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use super::bitmap::View;
use super::runs::runs;
use super::scratch::Pages;
use super::tracked::Tracked;
use crate::address::IovaRange;
use crate::context::Notices;
use crate::error::{Error, Result};
use crate::funnel;

/// What becomes of the dirty bits in the page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// They are cleared, and no IOMMU remembers them: the next write sets them anew.
    Clear,
    /// They stay.
    Keep,
}

impl Tracked {
    /// Reads all that is mapped in the bitmap's range.
    pub(super) fn read(&self, bitmap: &mut View<'_>, then: Then) -> Result<()> {
        let ioas = &self.table.ioas().inner;
        ioas.context().check_process()?;
        // Made before any lock, what the observer hears is told after it.
        let mut notices = ioas.context().notices();
        self.with_scratch(|scratch| {
            scratch.snapshot.reset();
            let mut rest = bitmap.range();
            loop {
                // For one ioctl at a time: unmaps that wait go on in between.
                let reading = ioas.ledger().reading();
                if scratch.snapshot.renew(&reading, rest) {
                    for mapping in scratch.snapshot.mappings() {
                        bitmap.must_cover(*mapping)?;
                    }
                }
                let Some(run) = scratch.snapshot.next_run() else {
                    return Ok(());
                };
                self.read_run(run, bitmap, then, &mut scratch.pages, &mut notices)?;
                let beyond = run.last().checked_add(1);
                match beyond.and_then(|next| IovaRange::new(next, rest.last())) {
                    Some(left) => rest = left,
                    None => return Ok(()),
                }
            }
        })
    }

    /// Reads `mappings`, which are in the order of their addresses, covered by the bitmap, and stay
    /// as they are meanwhile. The bits stay, too.
    pub(super) fn read_last(
        &self,
        mappings: &[IovaRange],
        bitmap: &mut View<'_>,
        notices: &mut Notices<'_>,
    ) -> Result<()> {
        self.with_scratch(|scratch| {
            runs(mappings).try_for_each(|run| {
                self.read_run(run, bitmap, Then::Keep, &mut scratch.pages, notices)
            })
        })
    }

    /// Reads what is mapped without a hole.
    fn read_run(
        &self,
        run: IovaRange,
        bitmap: &mut View<'_>,
        then: Then,
        pages: &mut Pages,
        notices: &mut Notices<'_>,
    ) -> Result<()> {
        // The kernel wants whole pages; finer ones than the granule if the run has no others.
        let page = bitmap.granule().dividing(run);
        let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
        arg.hwpt_id = self.table.id();
        arg.flags = match then {
            Then::Clear => 0,
            Then::Keep => sys::IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
        };
        arg.iova = run.start().get();
        // The whole address space has no length, and never is mapped as one.
        arg.length = run.len().unwrap_or(u64::MAX);
        arg.page_size = page.bytes();
        let bits = page.count(run.last().get() - run.start().get());
        let found = pages.for_bits(bits.unwrap_or(u64::MAX))?;
        let context = self.table.iommufd().context();
        let answer = context.checked(&nr::HWPT_GET_DIRTY_BITMAP, notices, |fd| {
            funnel::dirty_bitmap(fd, &mut arg, found)
        });
        // After a refusal as well: what is cleared in the kernel is nowhere else.
        bitmap.take(run, page, found);
        answer.map_err(|error| match error {
            Error::Kernel(reason) => Error::NotRead { range: run, reason },
            error => error,
        })
    }
}
