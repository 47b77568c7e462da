//! Has the kernel reset, while nobody accesses what it resets.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use crate::bound::Bound;
use crate::buffer::AlignedBytes;
use crate::error::Result;
use crate::gate::Revocation;
use crate::query::malformed;
use crate::switches;

/// Resets the bus or slot of `bound`, while nobody accesses the mapped registers of `affected`, of
/// each of which it is the only one here. `groups` are the files of the groups of all the functions
/// if `bound` was opened by way of its group; else there are none.
pub(crate) fn reset(
    bound: &Bound,
    affected: &[&Arc<Bound>],
    groups: &[BorrowedFd<'_>],
) -> Result<()> {
    let _resetting = affected
        .iter()
        .map(|bound| bound.resets.begin())
        .collect::<Result<Vec<_>, _>>()?;
    let mut request = request(groups).ok_or(malformed(
        "the list of groups",
        "longer than a request can be",
    ))?;
    // Several may have a gate closed, so the order is no matter.
    let closed = affected
        .iter()
        .map(|bound| bound.close_gate(Revocation::Reset))
        .collect::<Result<Vec<_>>>()?;
    let answer = bound
        .sized(&nr::DEVICE_PCI_HOT_RESET, &mut request)
        .map(drop);
    if answer
        .as_ref()
        .is_err_and(|error| error.errno() == Some(Errno::NODEV))
    {
        // The kernel has not begun. (When it refuses something else, it may have taken away the
        // pages of some.)
        closed.into_iter().for_each(crate::gate::Closed::cancel);
        return answer;
    }
    for bound in affected {
        switches::after_reset(bound);
    }
    answer
}

fn request(groups: &[BorrowedFd<'_>]) -> Option<AlignedBytes> {
    let numbers: Vec<i32> = groups.iter().map(AsRawFd::as_raw_fd).collect();
    let mut head = sys::vfio_pci_hot_reset::sized();
    head.count = u32::try_from(numbers.len()).ok()?;
    let len = size_of_val(&head).checked_add(size_of_val(&*numbers))?;
    let mut arg = AlignedBytes::zeroed(len);
    arg.put(0, &head)?;
    arg.put(size_of_val(&head), &*numbers)?;
    Some(arg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_reset_names_every_group_or_none() {
        let words = |groups: &[BorrowedFd<'_>]| -> Vec<i32> {
            let arg = request(groups).unwrap();
            let words = arg.bytes().as_chunks().0.iter();
            words
                .skip(1)
                .map(|word| i32::from_ne_bytes(*word))
                .collect()
        };
        assert_eq!(words(&[])[..2], [0, 0]);
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        assert_eq!(words(&[file.as_fd(); 2])[..4], [0, 2, number, number]);
    }
}
