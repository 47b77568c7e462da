//! What `VFIO_DEVICE_SET_IRQS` is asked, as bytes.

use std::os::fd::{AsRawFd, BorrowedFd};

use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

use crate::bound::Bound;
use crate::buffer::AlignedBytes;
use crate::error::Result;
use crate::query::malformed;

/// Stands for no eventfd.
const NONE: i32 = -1;

/// What becomes of interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// They are kept back.
    Mask,
    /// They are let through; with an eventfd, whenever it is signalled.
    Unmask,
    /// They are raised; with an eventfd, they signal it from now on.
    Trigger,
}

impl Action {
    fn bits(self) -> u32 {
        match self {
            Self::Mask => sys::VFIO_IRQ_SET_ACTION_MASK,
            Self::Unmask => sys::VFIO_IRQ_SET_ACTION_UNMASK,
            Self::Trigger => sys::VFIO_IRQ_SET_ACTION_TRIGGER,
        }
    }
}

/// Of which interrupts, from the first on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// Of so many. To trigger none of an index is to disable all of it.
    All(u32),
    /// Of those that are true.
    Only(&'a [bool]),
    /// Of as many as there are places, each with its eventfd; with none, it has no eventfd any more.
    Eventfds(&'a [Option<BorrowedFd<'a>>]),
}

/// Asks for `action` of the interrupts at `index`, from number `start` on. Answers the kernel's
/// number.
pub(crate) fn set(
    bound: &Bound,
    index: u32,
    start: u32,
    action: Action,
    which: Which<'_>,
) -> Result<u32> {
    let mut arg = request(index, start, action, which).ok_or(malformed(
        "the list of interrupts",
        "longer than a request can be",
    ))?;
    let answer = bound.sized(&nr::DEVICE_SET_IRQS, &mut arg)?;
    Ok(answer.unsigned_abs())
}

fn request(index: u32, start: u32, action: Action, which: Which<'_>) -> Option<AlignedBytes> {
    let (data, count, bytes) = match which {
        Which::All(count) => (sys::VFIO_IRQ_SET_DATA_NONE, count, Vec::new()),
        Which::Only(chosen) => {
            let bytes = chosen.iter().map(|&chosen| u8::from(chosen)).collect();
            (
                sys::VFIO_IRQ_SET_DATA_BOOL,
                u32::try_from(chosen.len()).ok()?,
                bytes,
            )
        }
        Which::Eventfds(eventfds) => {
            let number = |eventfd: &Option<BorrowedFd<'_>>| {
                eventfd.map_or(NONE, |eventfd| eventfd.as_raw_fd())
            };
            let bytes = eventfds
                .iter()
                .flat_map(|eventfd| number(eventfd).to_ne_bytes())
                .collect();
            (
                sys::VFIO_IRQ_SET_DATA_EVENTFD,
                u32::try_from(eventfds.len()).ok()?,
                bytes,
            )
        }
    };
    let mut head = sys::vfio_irq_set::sized();
    head.flags = data | action.bits();
    head.index = index;
    head.start = start;
    head.count = count;
    let len = size_of_val(&head).checked_add(bytes.len())?;
    let mut arg = AlignedBytes::zeroed(len);
    arg.put(0, &head)?;
    arg.put(size_of_val(&head), &*bytes)?;
    Some(arg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd;
    use std::os::fd::AsFd;

    /// Flags, index, start, count, and the data: `argsz` is written when the request is made.
    fn words(index: u32, start: u32, action: Action, which: Which<'_>) -> Vec<i32> {
        let arg = request(index, start, action, which).unwrap();
        let words = arg.bytes().as_chunks().0.iter();
        words
            .skip(1)
            .map(|word| i32::from_ne_bytes(*word))
            .collect()
    }

    #[test]
    fn a_request_names_every_eventfd() {
        let eventfds = [eventfd::create().unwrap(), eventfd::create().unwrap()];
        let [first, second] = eventfds.each_ref().map(AsRawFd::as_raw_fd);
        let places = [Some(eventfds[0].as_fd()), None, Some(eventfds[1].as_fd())];
        // Trigger | eventfd, MSI-X, from 5, three.
        assert_eq!(
            words(2, 5, Action::Trigger, Which::Eventfds(&places))[..7],
            [0x24, 2, 5, 3, first, -1, second]
        );
    }

    #[test]
    fn a_request_to_disable_has_no_vectors() {
        assert_eq!(
            words(1, 0, Action::Trigger, Which::All(0))[..4],
            [0x21, 1, 0, 0]
        );
    }

    #[test]
    fn interrupts_are_chosen_by_bytes() {
        let words = words(
            2,
            1,
            Action::Trigger,
            Which::Only(&[true, false, true, true, true]),
        );
        assert_eq!(words[..4], [0x22, 2, 1, 5]);
        assert_eq!(words[4].to_ne_bytes(), [1, 0, 1, 1]);
        assert_eq!(words[5].to_ne_bytes()[0], 1);
    }

    #[test]
    fn a_line_is_masked_and_unmasked() {
        assert_eq!(
            words(0, 0, Action::Mask, Which::All(1))[..4],
            [0x09, 0, 0, 1]
        );
        assert_eq!(
            words(0, 0, Action::Unmask, Which::All(1))[..4],
            [0x11, 0, 0, 1]
        );
        let eventfd = eventfd::create().unwrap();
        assert_eq!(
            words(
                0,
                0,
                Action::Unmask,
                Which::Eventfds(&[Some(eventfd.as_fd())])
            )[..5],
            [0x14, 0, 0, 1, eventfd.as_raw_fd()]
        );
    }
}
