//! Whether a place is empty, when an unmap that found nothing there does not say so.
//!
//! The kernel is asked to map there what is nobody's memory. It looks at the whole place, under its lock, before it does
//! anything else: `EEXIST` as long as anything is there, be it as it is being unmapped.

use iommufd_sys::ioctl::iommufd as nr;
use rustix::io::Errno;

use crate::address::IovaRange;
use crate::context::Notices;
use crate::funnel;
use crate::ioas::IoasInner;

impl IoasInner {
    /// Whether there was a moment for each part of `range` at which the kernel had nothing mapped there,
    /// while nobody but a stranger maps there.
    pub(super) fn is_vacant(&self, range: IovaRange, notices: &mut Notices<'_>) -> bool {
        match self.could_map(range, notices) {
            Ok(()) => true,
            // A device has come that reserves a part of it. It could not have, had something been there.
            Err(Errno::INVAL) => {
                let Ok((usable, _)) = self.usable(notices) else {
                    return false;
                };
                let mut parts = usable.into_iter().filter_map(|part| part.common(range));
                parts.all(|part| self.could_map(part, notices).is_ok())
            }
            Err(_) => false,
        }
    }

    /// Whether something could be mapped in all of `range` just now; else why not.
    fn could_map(&self, range: IovaRange, notices: &mut Notices<'_>) -> Result<(), Errno> {
        let (context, start) = (self.context(), range.start().get());
        let length = range.len().ok_or(Errno::OVERFLOW)?;
        // A fault that is injected into it is as well told by EFAULT, or by anything else, once.
        let mut unpinned = 0;
        for _ in 0..3 {
            let answer = context.noted(&nr::IOAS_MAP, notices, || {
                funnel::map_nothing(context.fd(), self.id(), start, length)
            });
            match answer {
                Err(errno @ (Errno::EXIST | Errno::INVAL)) => return Err(errno),
                Err(Errno::FAULT) if unpinned > 0 => return Ok(()),
                Err(errno) => unpinned += usize::from(errno == Errno::FAULT),
                // No device is there for which it would have been pinned; if one comes just now, it is refused.
                Ok(()) => {
                    let undone = self.issue_unmap(range, notices);
                    let _undone = undone.or_else(|_| self.issue_unmap(range, notices));
                    return Ok(());
                }
            }
        }
        Err(Errno::AGAIN)
    }
}
