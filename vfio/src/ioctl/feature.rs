//! `VFIO_DEVICE_FEATURE`: what follows its head is another struct for every feature.

// UNSAFETY: an ioctl makes the kernel read and write memory, and open files.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::ffi::c_int;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use iommufd::driver::reach_of_bitmap;
use iommufd_sys::ioctl::{ArgszArg, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Audience, issue};
use crate::buffer::AlignedBytes;
use crate::feature::{Feature, FeatureAccess};

/// What a feature is got as.
///
/// # Safety
/// The kernel finds no address in it when it gets `FEATURE`, and opens no file for that.
pub(crate) unsafe trait Gets: FromBytes + IntoBytes + Immutable {
    const FEATURE: Feature;
}

/// What a feature is set by.
///
/// # Safety
/// The kernel finds no address in it when it sets `FEATURE`, and opens no file for that.
pub(crate) unsafe trait Sets: IntoBytes + Immutable {
    const FEATURE: Feature;
}

// SAFETY: flags.
unsafe impl Gets for sys::vfio_device_feature_migration {
    const FEATURE: Feature = Feature::Migration;
}
// SAFETY: the number of a state; there is never a file when it is got.
unsafe impl Gets for sys::vfio_device_feature_mig_state {
    const FEATURE: Feature = Feature::MigrationState;
}
// SAFETY: a number of bytes.
unsafe impl Gets for sys::vfio_device_feature_mig_data_size {
    const FEATURE: Feature = Feature::MigrationDataSize;
}

/// The bytes of a VF token.
#[derive(IntoBytes, Immutable)]
#[repr(transparent)]
pub(crate) struct TokenBytes(pub(crate) [u8; 16]);

// SAFETY: sixteen bytes that mean nothing.
unsafe impl Sets for TokenBytes {
    const FEATURE: Feature = Feature::VfToken;
}
// SAFETY: the descriptor of an eventfd, of which the kernel takes a reference.
unsafe impl Sets for sys::vfio_device_low_power_entry_with_wakeup {
    const FEATURE: Feature = Feature::LowPowerWithWakeup;
}
// SAFETY: on or off.
unsafe impl Sets for sys::vfio_device_feature_bus_master {
    const FEATURE: Feature = Feature::BusMaster;
}

/// A feature that is set by nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    LowPower,
    LowPowerExit,
    DmaLoggingStop,
    PreCopyInfoV2,
}

impl Bare {
    pub(crate) fn feature(self) -> Feature {
        match self {
            Self::LowPower => Feature::LowPower,
            Self::LowPowerExit => Feature::LowPowerExit,
            Self::DmaLoggingStop => Feature::DmaLoggingStop,
            Self::PreCopyInfoV2 => Feature::PreCopyInfoV2,
        }
    }
}

/// Whether the device has the feature, and all of `access` to it.
pub(crate) fn probe(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    feature: Feature,
    access: FeatureAccess,
) -> Result<(), Errno> {
    let flags = sys::VFIO_DEVICE_FEATURE_PROBE | access.bits();
    // SAFETY: a probe has no data.
    unsafe { call(fd, audience, feature, flags, &mut []) }
}

/// Gets a feature.
pub(crate) fn get<T: Gets>(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    data: &mut T,
) -> Result<(), Errno> {
    let flags = sys::VFIO_DEVICE_FEATURE_GET;
    // SAFETY: `Gets` says that the kernel touches nothing but `data`, of which any bytes are one.
    unsafe { call(fd, audience, T::FEATURE, flags, data.as_mut_bytes()) }
}

/// Sets a feature.
pub(crate) fn set<T: Sets>(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    data: &T,
) -> Result<(), Errno> {
    let mut bytes = data.as_bytes().to_vec();
    let flags = sys::VFIO_DEVICE_FEATURE_SET;
    // SAFETY: `Sets` says that the kernel touches nothing but the data.
    unsafe { call(fd, audience, T::FEATURE, flags, &mut bytes) }
}

/// Sets a feature that has no data.
pub(crate) fn set_bare(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    bare: Bare,
) -> Result<(), Errno> {
    let flags = sys::VFIO_DEVICE_FEATURE_SET;
    // SAFETY: there is no data.
    unsafe { call(fd, audience, bare.feature(), flags, &mut []) }
}

/// Has the device enter another migration state; with the file of the data that it streams there,
/// if a stream begins.
pub(crate) fn set_migration_state(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    state: u32,
) -> Result<Option<OwnedFd>, Errno> {
    let mut arg = sys::vfio_device_feature_mig_state {
        device_state: state,
        // What is read back if the kernel has opened no file.
        data_fd: -1,
    };
    let flags = sys::VFIO_DEVICE_FEATURE_SET;
    let bytes = arg.as_mut_bytes();
    // SAFETY: numbers: no address. The file that the kernel opens is taken over below.
    unsafe { call(fd, audience, Feature::MigrationState, flags, bytes) }?;
    if arg.data_fd < 0 {
        return Ok(None);
    }
    // SAFETY: the ioctl has succeeded, so this is the number of the file that it has opened, which
    // nobody else has taken over; it is not negative.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(arg.data_fd) }))
}

/// Has the device record what it writes in `ranges`. Returns the size of the pages that it records,
/// which is to be `page_size`.
pub(crate) fn start_dma_logging(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    page_size: u64,
    ranges: &[sys::vfio_device_feature_dma_logging_range],
) -> Result<u64, Errno> {
    let mut arg = sys::vfio_device_feature_dma_logging_control {
        page_size,
        num_ranges: u32::try_from(ranges.len()).map_err(|_| Errno::TOOBIG)?,
        __reserved: 0,
        ranges: ranges.as_ptr().expose_provenance() as u64,
    };
    let flags = sys::VFIO_DEVICE_FEATURE_SET;
    let bytes = arg.as_mut_bytes();
    // SAFETY: the kernel only reads `num_ranges` ranges at `ranges`, the borrowed slice.
    unsafe { call(fd, audience, Feature::DmaLogging, flags, bytes) }?;
    Ok(arg.page_size)
}

/// Sets the bits of what the device has written, and forgets them. `bitmap`, all of which may be
/// written, has a bit for each `page_size` of the `length` bytes from `iova` on.
///
/// `EFAULT` if the bitmap does not begin with a page, or is shorter than the kernel's reach.
pub(crate) fn report_dma_logging(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    mut arg: sys::vfio_device_feature_dma_logging_report,
    bitmap: &mut [u64],
) -> Result<(), Errno> {
    if !arg.page_size.is_power_of_two() {
        return Err(Errno::INVAL);
    }
    let reach = reach_of_bitmap(arg.length.div_ceil(arg.page_size));
    let begins_a_page = bitmap
        .as_ptr()
        .addr()
        .is_multiple_of(rustix::param::page_size());
    if !begins_a_page || reach.is_none_or(|reach| size_of_val(bitmap) < reach) {
        return Err(Errno::FAULT);
    }
    arg.bitmap = bitmap.as_mut_ptr().expose_provenance() as u64;
    let flags = sys::VFIO_DEVICE_FEATURE_GET;
    let bytes = arg.as_mut_bytes();
    // SAFETY: the kernel sets bits in pages of which the first begins with the exclusively borrowed
    // slice and the last ends with it or before, as was checked: it walks the bitmap by the code by
    // which it walks that of an IOMMU's dirty bits. It does so only until it returns, and any bits
    // are a valid word.
    unsafe { call(fd, audience, Feature::DmaLoggingReport, flags, bytes) }
}

/// Room for the description of an error of s390's firmware: far more than the 32 bytes it has.
pub(crate) const ZPCI_ERROR_ROOM: usize = 4096;

/// Gets the description of a pending error.
pub(crate) fn zpci_error(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    room: &mut [u8; ZPCI_ERROR_ROOM],
) -> Result<(), Errno> {
    let mut arg = sys::vfio_device_feature_zpci_err {
        data: room.as_mut_ptr().expose_provenance() as u64,
    };
    let flags = sys::VFIO_DEVICE_FEATURE_GET;
    let bytes = arg.as_mut_bytes();
    // SAFETY: the kernel writes one `zpci_ccdf_err` to `data`, the exclusively borrowed bytes. It is
    // not told how many there are: the struct is what the machine's firmware stores, 32 bytes, and part
    // of the architecture.
    unsafe { call(fd, audience, Feature::ZpciError, flags, bytes) }
}

/// Issues the ioctl for `feature`, with `data`, which is as the kernel has left it when that has
/// succeeded.
///
/// # Safety
/// Every address in `data` must be good for what the kernel does with it for this feature; what it
/// writes must be good for the type whose bytes they are; and files that it opens are to be taken
/// over.
unsafe fn call(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    feature: Feature,
    flags: u32,
    data: &mut [u8],
) -> Result<(), Errno> {
    const HEAD: usize = size_of::<sys::vfio_device_feature>();
    let mut head = sys::vfio_device_feature::sized();
    head.flags = feature.number() | flags;
    let len = HEAD.checked_add(data.len()).ok_or(Errno::INVAL)?;
    head.argsz = u32::try_from(len).map_err(|_| Errno::INVAL)?;
    let mut arg = AlignedBytes::zeroed(len);
    arg.put(0, &head).ok_or(Errno::INVAL)?;
    arg.put(HEAD, &*data).ok_or(Errno::INVAL)?;
    let start = arg.bytes_mut().as_mut_ptr().cast();
    // SAFETY: `argsz` is not more than the bytes of the buffer, which is borrowed exclusively,
    // aligned, and plain bytes whatever is written; the rest is the caller's promise.
    let answer = unsafe { issue(fd, audience, &nr::DEVICE_FEATURE, start) };
    let answer: c_int = answer?;
    // Only an answer of 0 is a success of these.
    if answer != 0 {
        return Err(Errno::PROTO);
    }
    let after = arg.bytes().get(HEAD..len).ok_or(Errno::INVAL)?;
    data.copy_from_slice(after);
    Ok(())
}
