//! Invalidations, batched.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use crate::cause;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::funnel;
use crate::object::Object;

impl Object {
    /// Has the kernel carry out `commands`, of this nested table or virtual IOMMU, in their order.
    #[inline]
    pub(crate) fn invalidate<F: Format>(&self, commands: &[F::Invalidation]) -> Result<()> {
        // Also where nothing is to be done, and so the kernel is not asked.
        self.iommufd().context().check_process()?;
        if commands.len() <= F::MOST_IN_A_CALL {
            return self.invalidate_at_once::<F>(commands, 0);
        }
        self.invalidate_many::<F>(commands)
    }

    /// The same in as many calls as it takes.
    #[cold]
    fn invalidate_many<F: Format>(&self, commands: &[F::Invalidation]) -> Result<()> {
        let most = F::MOST_IN_A_CALL.max(1);
        let batches = commands.chunks(most).zip((0..).step_by(most));
        for (batch, before) in batches {
            self.invalidate_at_once::<F>(batch, before)?;
        }
        Ok(())
    }

    /// The same in one call, in the process to which the context belongs, when those `before` are done.
    // In a function of its own what is kept for the error would be saved and restored each time.
    #[inline(always)]
    fn invalidate_at_once<F: Format>(
        &self,
        commands: &[F::Invalidation],
        before: usize,
    ) -> Result<()> {
        if commands.is_empty() {
            return Ok(());
        }
        let mut arg = sys::iommu_hwpt_invalidate::sized();
        arg.hwpt_id = self.id();
        let context = self.iommufd().context();
        let answer = context.told(&nr::HWPT_INVALIDATE, || {
            funnel::invalidate::<F>(context.fd(), &mut arg, commands)
        });
        match answer {
            Ok(()) => Ok(()),
            Err(errno) => {
                let handled = before + handled(arg.entry_num, commands.len());
                Err(refused::<F>(errno, before, handled))
            }
        }
    }
}

/// What is known when the kernel has handled so many in all, and those `before` in earlier calls.
#[cold]
fn refused<F: Format>(errno: Errno, before: usize, handled: usize) -> Error {
    match cause::refusal(nr::HWPT_INVALIDATE.describe(), errno) {
        Error::Kernel(reason) => Error::InvalidationRefused {
            done: if F::COUNT_IS_EXACT { handled } else { before },
            refused: handled,
            reason,
        },
        error => error,
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
