//! What the kernel says of a hot reset, read as a whole.

use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::address::PciAddress;
use crate::buffer::AlignedBytes;
use crate::error::Result;
use crate::query::malformed;

/// The first call tells how many there are, the second has the room; more if some were plugged in
/// or out meanwhile.
pub(super) const ROUNDS: usize = 8;

/// More functions than there can be below one bridge: 256 buses of 256 functions.
const MOST: usize = 1 << 16;

pub(super) const GET_INFO: &str = nr::DEVICE_GET_PCI_HOT_RESET_INFO.name();

/// The functions that a hot reset takes with it, and what their ids mean, as `ask` tells.
pub(super) fn query(
    ask: impl Fn(&mut AlignedBytes) -> Result<()>,
) -> Result<(u32, Vec<sys::vfio_pci_dependent_device>)> {
    type Head = sys::vfio_pci_hot_reset_info;
    type Function = sys::vfio_pci_dependent_device;
    let mut room = 0_usize;
    let mut last = malformed(GET_INFO, "longer at every call");
    for _ in 0..ROUNDS {
        // No overflow, as there is no more room than for `MOST`.
        let mut answer = AlignedBytes::zeroed(size_of::<Head>() + room * size_of::<Function>());
        answer
            .put(0, &Head::sized())
            .ok_or(malformed(GET_INFO, "shorter than its own head"))?;
        let answered = ask(&mut answer);
        let head: Head = answer
            .head()
            .ok_or(malformed(GET_INFO, "shorter than its own head"))?;
        let count = usize::try_from(head.count).unwrap_or(usize::MAX);
        match answered {
            Ok(()) => {
                let functions = answer.bytes().get(size_of::<Head>()..).unwrap_or_default();
                let (functions, _) = <[Function]>::ref_from_prefix_with_elems(functions, count)
                    .map_err(|_| malformed(GET_INFO, "longer than there was room for"))?;
                return Ok((head.flags, functions.to_vec()));
            }
            Err(error) if error.errno() == Some(Errno::NOSPC) && count <= MOST => {
                room = count;
                last = error;
            }
            // Some were plugged in or out between the kernel's counting and telling.
            Err(error) if error.errno() == Some(Errno::AGAIN) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Where a function is.
pub(super) fn address(raw: &sys::vfio_pci_dependent_device) -> Result<PciAddress> {
    // Five bits of device, three of function.
    let (device, function) = (raw.devfn >> 3, raw.devfn & 7);
    PciAddress::new(raw.segment.into(), raw.bus, device, function)
        .ok_or(malformed(GET_INFO, "a function is nowhere"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    use iommufd::KernelError;

    use crate::error::Error;

    fn function(id: u32) -> sys::vfio_pci_dependent_device {
        sys::vfio_pci_dependent_device {
            group_id: id,
            segment: 2,
            bus: 0x1f,
            devfn: 0,
        }
    }

    fn refused(errno: Errno) -> Error {
        KernelError::new(GET_INFO, errno, "a test").into()
    }

    /// A kernel that knows of `counts[n]` functions at the n-th call.
    fn asked(counts: &[u32]) -> (Result<usize>, Vec<u32>) {
        let calls = RefCell::new(Vec::new());
        let answer = query(|arg| {
            let mut calls = calls.borrow_mut();
            let count = *counts.get(calls.len()).or(counts.last()).unwrap();
            let mut head: sys::vfio_pci_hot_reset_info = arg.head().unwrap();
            let room = (arg.bytes().len() - 12) / 8;
            calls.push(u32::try_from(room).unwrap());
            head.count = count;
            head.flags = 1;
            arg.put(0, &head).unwrap();
            if count as usize > room {
                return Err(refused(Errno::NOSPC));
            }
            for place in 0..count {
                arg.put(12 + 8 * place as usize, &function(place + 1))
                    .unwrap();
            }
            Ok(())
        });
        (
            answer.map(|(_, functions)| functions.len()),
            calls.into_inner(),
        )
    }

    #[test]
    fn the_room_follows_how_many_there_are() {
        let (found, rooms) = asked(&[3]);
        assert_eq!((found.unwrap(), &*rooms), (3, &[0, 3][..]));
        let (found, rooms) = asked(&[1, 4, 2]);
        assert_eq!((found.unwrap(), &*rooms), (2, &[0, 1, 4][..]));
    }

    #[test]
    fn a_kernel_that_never_has_enough_is_left_alone() {
        let growing: Vec<u32> = (1..20).collect();
        let (found, rooms) = asked(&growing);
        assert_eq!(found.unwrap_err().errno(), Some(Errno::NOSPC));
        assert_eq!(rooms.len(), ROUNDS);
        assert_eq!(asked(&[u32::MAX]).1.len(), 1);
    }

    #[test]
    fn more_than_there_is_room_for_is_refused() {
        // More than there is room for.
        let overfull = query(|arg| {
            let mut head = sys::vfio_pci_hot_reset_info::sized();
            head.count = 2;
            arg.put(0, &head).unwrap();
            Ok(())
        });
        assert!(matches!(overfull, Err(Error::Malformed { .. })));
    }
}
