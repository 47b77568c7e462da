//! Invalidations, batched.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::cause;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::funnel;
use crate::object::Object;

/// As many as the kernel takes in one call.
const MOST: usize = 1 << 19;

impl Object {
    /// Has the kernel carry out `commands`, of this nested table or virtual IOMMU, in their order.
    pub(crate) fn invalidate<F: Format>(&self, commands: &[F::Invalidation]) -> Result<()> {
        let context = self.iommufd().context();
        // Also where nothing is to be done, and so the kernel is not asked.
        context.check_process()?;
        let mut before = 0;
        for batch in commands.chunks(MOST) {
            let mut arg = sys::iommu_hwpt_invalidate::sized();
            arg.hwpt_id = self.id();
            let answer = context.noted(&nr::HWPT_INVALIDATE, &mut context.notices(), || {
                funnel::invalidate::<F>(context.fd(), &mut arg, batch)
            });
            let Err(errno) = answer else {
                before += batch.len();
                continue;
            };
            match cause::refusal(nr::HWPT_INVALIDATE.describe(), errno) {
                Error::Kernel(reason) => {
                    let refused = before + handled(arg.entry_num, batch.len());
                    let done = if F::COUNT_IS_EXACT { refused } else { before };
                    return Err(Error::InvalidationRefused {
                        done,
                        refused,
                        reason,
                    });
                }
                error => return Err(error),
            }
        }
        Ok(())
    }
}

/// How many of the commands it was `asked` for the kernel has handled, before it refused one.
///
/// It writes their number back, unless it never came to look at them, as when a sandbox refuses the
/// call: then the number is still the one that it was given.
fn handled(written: u32, asked: usize) -> usize {
    usize::try_from(written)
        .ok()
        .filter(|&handled| handled < asked)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::handled;

    #[test]
    fn what_the_kernel_did_not_count_was_not_done() {
        assert_eq!(handled(0, 3), 0);
        assert_eq!(handled(2, 3), 2);
        assert_eq!(handled(3, 3), 0, "as it was sent");
        assert_eq!(handled(u32::MAX, 3), 0);
    }
}
