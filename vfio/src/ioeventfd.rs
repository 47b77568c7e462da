//! Registers that are written by signalling an eventfd.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
use crate::holders::{Hold, Kind};
use crate::query::malformed;
use crate::region::{RegionFlags, RegionIndex, RegionInfo};
use iommufd::volatile::Word;

/// Stands for no eventfd.
const NONE: i32 = -1;

/// An eventfd that writes a value to a register whenever it is signalled, until this is dropped.
///
/// The kernel makes the write, with no detour through the process: a doorbell that a guest rings
/// by way of KVM's eventfd goes to the device. While the device is being reset, the write waits;
/// while its memory decoding is off, it is left out.
///
/// It holds the device open.
///
/// ```no_run
/// # fn example(device: &vfio::Device, guests: &std::os::fd::OwnedFd) -> vfio::Result<()> {
/// use vfio::RegionIndex;
///
/// // Whenever the guest rings, 1 is written to the 32-bit register at 0x60.
/// let doorbell = device.ioeventfd(RegionIndex::BAR0, 0x60, 1_u32, guests)?;
/// # drop(doorbell);
/// # Ok(())
/// # }
/// ```
///
/// Since Linux 6.6 (by the character device).
///
/// # System calls
/// `VFIO_DEVICE_GET_REGION_INFO` and `VFIO_DEVICE_IOEVENTFD` to make it, the last of these to remove it.
///
/// # Invariants
/// While `on`, the kernel makes the write of `key`, which is this one's.
#[must_use = "dropping it ends the writes"]
pub struct IoEventFd {
    hold: Hold,
    key: Key,
    on: bool,
}

/// What the kernel knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    index: RegionIndex,
    /// In the device's file.
    position: u64,
    value: u64,
    /// One bit: 1, 2, 4 or 8 for the width in bytes.
    width: u32,
}

impl Key {
    fn new<W: Word>(info: &RegionInfo, offset: u64, value: W) -> Result<Self> {
        let index = info.index;
        if index > RegionIndex::BAR5 || !info.flags.contains(RegionFlags::WRITE) {
            return Err(Error::NoIoEventFd { index });
        }
        info.check_word::<W>(offset)?;
        let mut bytes = [0; size_of::<u64>()];
        for (to, from) in bytes.iter_mut().zip(value.as_bytes()) {
            *to = *from;
        }
        let position = info.file_offset.checked_add(offset).ok_or(malformed(
            nr::DEVICE_GET_REGION_INFO.name(),
            "past the end of any file",
        ))?;
        Ok(Self {
            index,
            position,
            value: u64::from_le_bytes(bytes),
            width: match size_of::<W>() {
                1 => sys::VFIO_DEVICE_IOEVENTFD_8,
                2 => sys::VFIO_DEVICE_IOEVENTFD_16,
                4 => sys::VFIO_DEVICE_IOEVENTFD_32,
                _ => sys::VFIO_DEVICE_IOEVENTFD_64,
            },
        })
    }

    fn request(self, eventfd: i32) -> sys::vfio_device_ioeventfd {
        let mut arg = sys::vfio_device_ioeventfd::sized();
        arg.flags = self.width;
        arg.offset = self.position;
        arg.data = self.value;
        arg.fd = eventfd;
        arg
    }

    fn ask(self, bound: &Bound, eventfd: i32) -> Result<()> {
        bound
            .fixed(&nr::DEVICE_IOEVENTFD, &mut self.request(eventfd))
            .map(drop)
    }
}

impl OpenDevice {
    /// Has `value` be written to the register at byte `offset` of a BAR whenever `eventfd` is
    /// signalled: at once if it has been.
    ///
    /// The kernel resets the count of `eventfd` with every write, and has a reference of its own to
    /// it.
    ///
    /// # Errors
    /// [`Error::NoIoEventFd`]: it is no BAR; [`Error::OutOfBounds`], [`Error::Misaligned`]. `EEXIST`:
    /// an eventfd writes this value to this register already. `ENOSPC`: the device has 1000 of them.
    /// `EINVAL`: it is no eventfd, or the register is in the MSI-X table. `ENOTTY`: the device's
    /// driver has none. Else as for [`region_info`](Self::region_info).
    #[doc(alias = "VFIO_DEVICE_IOEVENTFD")]
    pub fn ioeventfd<W: Word>(
        &self,
        index: RegionIndex,
        offset: u64,
        value: W,
        eventfd: impl AsFd,
    ) -> Result<IoEventFd> {
        let key = Key::new(&self.region_info(index)?, offset, value)?;
        let hold = Hold::new(self.bound(), Kind::IoEventFd);
        key.ask(hold.bound(), eventfd.as_fd().as_raw_fd())?;
        // INVARIANT: the kernel refuses a second one of the same key.
        Ok(IoEventFd {
            hold,
            key,
            on: true,
        })
    }
}

impl IoEventFd {
    /// Ends the writes.
    ///
    /// # Errors
    /// The kernel's refusal, with the writes going on; [`iommufd::Error::Forked`].
    pub fn remove(mut self) -> Result<(), Refused<Self>> {
        match self.stop() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn stop(&mut self) -> Result<()> {
        if self.on {
            self.key.ask(self.hold.bound(), NONE)?;
            self.on = false;
        }
        Ok(())
    }
}

impl Drop for IoEventFd {
    fn drop(&mut self) {
        // After a refusal it goes when the device is closed.
        let removed = self.stop();
        eventfd::refused_drop(self.hold.bound(), "ioeventfd", removed);
    }
}

impl fmt::Debug for IoEventFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoEventFd")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::tests::info;
    use zerocopy::IntoBytes;

    #[test]
    fn a_request_has_width_place_value_and_eventfd() {
        let info = info(0x1000, 2 << 40);
        let key = Key::new(&info, 0x60, 0xdead_beef_u32).unwrap();
        assert_eq!(
            key.request(5).as_bytes(),
            [
                &[32, 0, 0, 0, 4, 0, 0, 0][..],
                &[0x60, 0, 0, 0, 0, 2, 0, 0],
                &[0xef, 0xbe, 0xad, 0xde, 0, 0, 0, 0],
                &[5, 0, 0, 0, 0, 0, 0, 0],
            ]
            .concat()
        );
        assert_eq!(key.request(NONE).fd, -1);
        let widths = [
            Key::new(&info, 0, u8::MAX),
            Key::new(&info, 0, u16::MAX),
            Key::new(&info, 0, u32::MAX),
            Key::new(&info, 0, u64::MAX),
        ]
        .map(|key| key.map(|key| (key.width, key.value)).unwrap());
        assert_eq!(
            widths,
            [(1, 0xff), (2, 0xffff), (4, 0xffff_ffff), (8, u64::MAX)]
        );
    }

    #[test]
    fn what_is_no_register_of_a_bar_is_refused() {
        let mut info = info(0x1000, 0);
        assert!(matches!(
            Key::new(&info, 0xffe, 0_u32),
            Err(Error::Misaligned { .. })
        ));
        assert!(matches!(
            Key::new(&info, 0x1000, 0_u8),
            Err(Error::OutOfBounds { .. })
        ));
        info.flags = RegionFlags::READ;
        assert!(matches!(
            Key::new(&info, 0, 0_u8),
            Err(Error::NoIoEventFd { .. })
        ));
        info.flags = RegionFlags::all();
        info.index = RegionIndex::CONFIG;
        assert!(matches!(
            Key::new(&info, 0, 0_u8),
            Err(Error::NoIoEventFd { .. })
        ));
    }
}
