//! What it means that the kernel refuses the options of a page table: the IOMMU has not got one, or this kernel does not
//! know it.
//!
//! The answer to both is `EOPNOTSUPP`. But with each option came an ioctl, which a kernel that does not know the one does
//! not know, either, and of that it says so. It is made for an object that there never is: ids begin at 1.

use iommufd_sys::ioctl::{SizedArg, iommufd as nr};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::funnel;
use crate::paging::Options;

/// An option, and how the kernel is asked whether it is as new.
struct Asked {
    feature: &'static str,
    is_wanted: bool,
    ask: fn(&Context) -> Result<()>,
}

/// What the refusal of a table with `options` means; `has_queue` is that of a table for which that came later than fault
/// queues.
pub(crate) fn meaning(error: Error, context: &Context, options: Options, has_queue: bool) -> Error {
    if error.errno() != Some(Errno::OPNOTSUPP) {
        return error;
    }
    let newest_first = [
        Asked {
            feature: "page tables for PASIDs (IOMMU_HWPT_ALLOC_PASID)",
            is_wanted: options.contains(Options::PASID),
            ask: |context| {
                let mut arg = sys::iommu_veventq_alloc::sized();
                let mut notices = context.notices();
                let queue = context.checked(&nr::VEVENTQ_ALLOC, &mut notices, |fd| {
                    funnel::veventq_alloc(fd, &mut arg)
                });
                queue.map(drop)
            },
        },
        Asked {
            feature: "fault queues of other page tables than nested ones (IOMMU_HWPT_FAULT_ID_VALID)",
            is_wanted: has_queue,
            ask: |context| context.call(&nr::VDEVICE_ALLOC, &mut SizedArg::sized()),
        },
        Asked {
            feature: "page tables with dirty tracking, and nesting parents",
            is_wanted: options.intersects(Options::DIRTY_TRACKING | Options::NEST_PARENT),
            ask: |context| context.call(&nr::HWPT_SET_DIRTY_TRACKING, &mut SizedArg::sized()),
        },
    ];
    for option in newest_first.iter().filter(|option| option.is_wanted) {
        if let Err(Error::Unsupported { since, .. }) = (option.ask)(context) {
            let feature = option.feature;
            return Error::Unsupported { feature, since };
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use iommufd_sys::ioctl::Description;
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;
    use crate::context::Iommufd;
    use crate::error::KernelError;
    use crate::funnel::script::answering;

    /// Since when there is what a refusal is for want of, on a kernel that knows only the ioctls of releases up to 6.`minor`.
    fn since(minor: u8, errno: Errno, options: Options, has_queue: bool) -> Option<String> {
        let later = [
            nr::HWPT_SET_DIRTY_TRACKING.describe(),
            nr::VDEVICE_ALLOC.describe(),
            nr::VEVENTQ_ALLOC.describe(),
        ];
        let _kernel = answering(move |asked| {
            let is_asked = |ioctl: &&Description| ioctl.request == asked.opcode;
            match later.iter().find(is_asked) {
                Some(ioctl) if ioctl.since.minor > minor => Err(Errno::NOTTY),
                Some(_) => Err(Errno::NOENT),
                // The question by which a context is known: the option's value.
                None => {
                    asked.arg[16..24].fill(0);
                    Ok(())
                }
            }
        });
        let file = memfd_create(c"kernel", MemfdFlags::CLOEXEC).unwrap();
        let iommufd = Iommufd::from_fd(file).unwrap();
        let error = KernelError::new("IOMMU_HWPT_ALLOC", errno, "as the test has it");
        match meaning(error.into(), iommufd.context(), options, has_queue) {
            Error::Unsupported { since, .. } => Some(since.to_string()),
            error => {
                assert_eq!(error.errno(), Some(errno));
                None
            }
        }
    }

    #[test]
    fn what_the_kernel_does_not_know_is_told_from_what_the_iommu_has_not() {
        let (none, refused) = (Options::empty(), Errno::OPNOTSUPP);
        for (minor, options, has_queue, answer) in [
            (14, Options::PASID, false, Some("6.15")),
            (15, Options::PASID, false, None),
            (12, none, true, Some("6.13")),
            (13, none, true, None),
            (12, Options::PASID, true, Some("6.15")),
            (12, Options::all(), false, Some("6.15")),
            (12, none, false, None),
            (6, Options::DIRTY_TRACKING, false, Some("6.7")),
            (6, Options::NEST_PARENT, false, Some("6.7")),
            (7, Options::DIRTY_TRACKING, false, None),
        ] {
            let since = since(minor, refused, options, has_queue);
            assert_eq!(since.as_deref(), answer, "6.{minor} {options:?}");
        }
    }

    #[test]
    fn another_refusal_is_what_it_says() {
        assert_eq!(since(6, Errno::INVAL, Options::all(), true), None);
    }
}
