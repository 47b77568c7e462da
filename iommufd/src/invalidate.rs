//! Invalidations, batched.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

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
        let mut before = 0;
        for batch in commands.chunks(MOST) {
            let mut arg = sys::iommu_hwpt_invalidate::sized();
            arg.hwpt_id = self.id();
            let answer = context.checked(&nr::HWPT_INVALIDATE, &mut context.notices(), |fd| {
                funnel::invalidate::<F>(fd, &mut arg, batch)
            });
            match answer {
                Ok(()) => before += batch.len(),
                Err(Error::Kernel(reason)) => {
                    // A count that the kernel did not write back is the one it was given.
                    let handled = (arg.entry_num as usize).min(batch.len() - 1);
                    let refused = before + handled;
                    let done = if F::COUNT_IS_EXACT { refused } else { before };
                    return Err(Error::InvalidationRefused {
                        done,
                        refused,
                        reason,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
