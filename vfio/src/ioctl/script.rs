//! In unit tests: somebody who answers in the kernel's place, and sees every byte that it would.

// UNSAFETY: reads and writes the memory that an ioctl's argument points to, as the kernel would.
#![expect(unsafe_code, reason = "plays the kernel")]

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use iommufd::{GroupIdentity, Iommufd, driver};
use iommufd_sys::ioctl::{Description, Fd};
use rustix::io::Errno;

use crate::bound::{Behind, Bound, Fresh, Home};
use crate::device::{Device, Inner};
use crate::device_file::DeviceFile;

type Answer = Box<dyn FnMut(Asked<'_>) -> Result<c_int, Errno>>;

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// An ioctl that was issued.
pub(crate) struct Asked<'a> {
    /// Which one.
    pub(crate) ioctl: Description,
    /// The argument: all of its `argsz` bytes, the bytes of a name without its end, or nothing.
    pub(crate) arg: &'a mut [u8],
}

impl Asked<'_> {
    /// The `u32` that is `offset` bytes into the argument.
    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.arg[offset..offset + 4].try_into().unwrap())
    }

    /// The `u64` that is `offset` bytes into the argument.
    pub(crate) fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.arg[offset..offset + 8].try_into().unwrap())
    }

    /// Sets bytes of the argument, as numbers have it with `to_ne_bytes`.
    pub(crate) fn set(&mut self, offset: usize, bytes: &[u8]) {
        self.arg[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The `len` bytes at the address that is `offset` bytes into the argument.
    pub(crate) fn data(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let address = usize::try_from(self.u64(offset)).unwrap();
        let start = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the argument's address is that of a buffer of so many bytes, which is lent to the
        // ioctl: the kernel would read or write it.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

/// Has `answer` answer this thread's ioctls, until the value is dropped.
#[must_use = "the kernel answers again when it is dropped"]
pub(crate) fn answering(
    answer: impl FnMut(Asked<'_>) -> Result<c_int, Errno> + 'static,
) -> impl Drop {
    struct Until;

    impl Drop for Until {
        fn drop(&mut self) {
            ANSWER.take();
        }
    }

    ANSWER.set(Some(Box::new(answer)));
    Until
}

/// A file that knows no ioctl: what is not answered by a script fails with `ENOTTY`.
pub(crate) fn file() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

/// A context that is none.
pub(crate) fn iommufd() -> Iommufd {
    // SAFETY: `/dev/null` refuses every ioctl.
    unsafe { driver::unasked(file()) }
}

/// A device that no kernel has bound, in a context that is none.
pub(crate) fn device() -> Device {
    device_of(file())
}

/// The same, whose regions are in `file`.
pub(crate) fn device_of(file: OwnedFd) -> Device {
    let iommufd = iommufd();
    let bound = Bound::new(DeviceFile::new(file, None), Home::Context(iommufd.clone()));
    let iommu = iommu(&iommufd, &bound);
    let fresh = Fresh {
        bound,
        iommu,
        behind: Behind::Iommu,
    };
    Device::new(Inner::new(fresh, None))
}

fn iommu(iommufd: &Iommufd, bound: &Arc<Bound>) -> iommufd::Device {
    let driver = Arc::clone(bound) as Arc<dyn driver::DeviceDriver>;
    // SAFETY: there is no kernel in which the id could be another's.
    unsafe { iommufd::Device::from_bound(iommufd, 1, GroupIdentity::Unknown, driver) }.unwrap()
}

/// The answer, if there is somebody to give it.
///
/// # Safety
/// `arg` is what the ioctl takes.
pub(super) unsafe fn answer(ioctl: Description, arg: *mut c_void) -> Option<Result<c_int, Errno>> {
    // SAFETY: the caller's promise.
    let len = unsafe { len(ioctl, arg) };
    let mut nothing = [];
    let arg: &mut [u8] = match len {
        0 => &mut nothing,
        // SAFETY: the kernel would be given these bytes.
        len => unsafe { std::slice::from_raw_parts_mut(arg.cast(), len) },
    };
    ANSWER.with_borrow_mut(|answer| Some(answer.as_mut()?(Asked { ioctl, arg })))
}

/// # Safety
/// As for [`answer`].
unsafe fn len(ioctl: Description, arg: *mut c_void) -> usize {
    match (ioctl.min_size, ioctl.size) {
        // The name of a device is all that is a pointer and has no size.
        (0, 0) if ioctl.fd == Fd::Group && !arg.is_null() => {
            // SAFETY: a string that ends with a zero.
            let name = unsafe { CStr::from_ptr(arg.cast()) };
            name.to_bytes().len()
        }
        (0, size) => size as usize,
        _ => {
            // SAFETY: the first field is the size of the whole.
            let argsz = unsafe { arg.cast::<u32>().read() };
            argsz as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use iommufd_sys::ioctl::vfio as nr;

    use super::*;
    use crate::{DeviceFlags, RegionIndex};

    #[test]
    fn a_script_sees_the_argument_and_its_answer_comes_back() {
        let asked = Rc::new(Cell::new(0));
        let _kernel = answering({
            let asked = Rc::clone(&asked);
            move |mut ask| {
                assert_eq!(ask.ioctl, nr::DEVICE_GET_INFO.describe());
                assert_eq!((ask.arg.len(), ask.u32(0)), (24, 24));
                assert_eq!(ask.u64(16), 0);
                ask.set(4, &3_u32.to_ne_bytes());
                ask.set(8, &9_u32.to_ne_bytes());
                asked.set(asked.get() + 1);
                Ok(0)
            }
        });
        let info = device().info().unwrap();
        assert_eq!(info.flags, DeviceFlags::RESET | DeviceFlags::PCI);
        assert_eq!((info.regions, asked.get()), (9, 1));
    }

    #[test]
    fn an_ioctl_without_an_argument_has_none() {
        let _kernel = answering(|ask| {
            assert_eq!(ask.ioctl, nr::DEVICE_RESET.describe());
            assert!(ask.arg.is_empty());
            Err(Errno::AGAIN)
        });
        let error = device().reset().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::AGAIN));
    }

    #[test]
    fn what_an_argument_points_to_is_read_and_written() {
        let mut data = [1_u8, 2, 3];
        let address = data.as_mut_ptr().expose_provenance() as u64;
        let mut asked = Asked {
            ioctl: nr::DEVICE_FEATURE.describe(),
            arg: &mut address.to_ne_bytes(),
        };
        asked.data(0, 3)[1] = 9;
        assert_eq!(data, [1, 9, 3]);
    }

    #[test]
    fn without_a_script_nothing_is_known() {
        drop(answering(|_| Ok(0)));
        let error = device().region_info(RegionIndex::BAR0).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOTTY));
    }
}
