//! A VFIO device that is bound to a context: the file, and what acts on it.

// UNSAFETY: implements the contract between a driver and the core of `iommufd`.
#![expect(unsafe_code, reason = "the driver's contract is an unsafe trait")]

use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use iommufd::driver::{DeviceDriver, Kept, Notices, PageTableId, Watch};
use iommufd::{GroupIdentity, Iommufd, KernelError, Pasid};
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::{Ioctl, vfio as nr};
use iommufd_sys::vfio as sys;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::buffer::AlignedBytes;
use crate::cause::refusal;
use crate::error::{Error, Result};
use crate::group::Seat;
use crate::holders::Tally;
use crate::ioctl::{self, Audience, PointerFree};
use crate::irq::EnabledKind;
use crate::signal::EnabledSignals;

/// The bound device, shared by all that acts on it: the last one closes the file, which detaches
/// and unbinds.
///
/// # Invariants
/// `fd` is a VFIO device that this crate has bound to the context that is its home, or opened by way
/// of the group that is; a file is bound once, for good.
#[derive(Debug)]
pub(crate) struct Bound {
    // Closed first: the kernel's device goes before the context that it is bound to, or the group
    // that it is of, and before what the kernel has it attached to.
    fd: OwnedFd,
    kept: Mutex<Vec<Kept>>,
    home: Home,
    pub(crate) tally: Tally,
    /// Which kind of interrupts is enabled, or is being enabled or disabled.
    pub(crate) interrupts: EnabledKind,
    /// Which kinds of signals are enabled, or are being enabled or disabled.
    pub(crate) signals: EnabledSignals,
    /// Taken for a read and a write of configuration space that belong together.
    pub(crate) config_edits: Mutex<()>,
}

/// What a device is open by way of, and holds.
#[derive(Debug)]
pub(crate) enum Home {
    /// The context that it is bound to.
    Context(Iommufd),
    /// Its seat in a group, which is in a container.
    Group(Seat),
}

impl Home {
    pub(crate) fn watch(&self) -> &Watch {
        match self {
            Self::Context(iommufd) => iommufd.watch(),
            Self::Group(seat) => seat.watch(),
        }
    }
}

/// How a bind can fail.
pub(crate) enum BindFailure {
    /// The kernel refused: the file is as it was.
    Refused(OwnedFd, Error),
    /// A later step failed, and the file has been closed.
    RolledBack(Error),
}

/// Binds `fd` to `iommufd`.
pub(crate) fn bind(
    fd: OwnedFd,
    iommufd: &Iommufd,
    group: GroupIdentity,
) -> Result<(Arc<Bound>, iommufd::Device), BindFailure> {
    if let Err(error) = iommufd.check_process() {
        return Err(BindFailure::Refused(fd, error.into()));
    }
    let answer = ioctl::bind(
        fd.as_fd(),
        Audience::Context(iommufd.watch()),
        iommufd.as_fd(),
    );
    let id = match answer {
        Ok(id) => id,
        Err(errno) => {
            let error = refusal(nr::DEVICE_BIND_IOMMUFD.describe(), errno);
            return Err(BindFailure::Refused(fd, error.into()));
        }
    };
    // INVARIANT: the bind has just succeeded. From here on dropping `bound` unbinds.
    let bound = Bound::new(fd, Home::Context(iommufd.clone()));
    let driver = Arc::clone(&bound) as Arc<dyn DeviceDriver>;
    // SAFETY: `id` is what the bind to this very context answered, a moment ago and for this file
    // alone, so there is no other `Device` of it.
    let device = unsafe { iommufd::Device::from_bound(iommufd, id, group, driver) }
        .map_err(|error| BindFailure::RolledBack(error.into()))?;
    refuse_noiommu(&device).map_err(BindFailure::RolledBack)?;
    Ok((bound, device))
}

/// A device that no IOMMU translates is the only one of which the kernel, asked for no type in
/// particular, says that it does not support telling about its IOMMU; it needs no sysfs.
fn refuse_noiommu(device: &iommufd::Device) -> Result<()> {
    match device.hw_info() {
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => Err(Error::NoIommu),
        // A mediated device has an emulated IOMMU, and answers ENOENT.
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

impl Bound {
    /// The device that is open as `fd`, by way of `home`.
    pub(crate) fn new(fd: OwnedFd, home: Home) -> Arc<Self> {
        Arc::new(Self {
            fd,
            kept: Mutex::default(),
            home,
            tally: Tally::default(),
            interrupts: EnabledKind::default(),
            signals: EnabledSignals::default(),
            config_edits: Mutex::new(()),
        })
    }

    /// Whose process the device belongs to, and who hears of its ioctls: those of its context, or of
    /// its container.
    pub(crate) fn iommufd(&self) -> &Watch {
        self.home.watch()
    }

    /// The file, in the process to which it belongs.
    ///
    /// # Errors
    /// `iommufd::Error::Forked` in a child.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.iommufd().check_process()?;
        Ok(self.fd.as_fd())
    }

    fn audience(&self) -> Audience<'_, 'static> {
        Audience::Context(self.iommufd())
    }

    /// Makes an ioctl with an argument of fixed size.
    pub(crate) fn fixed<T: PointerFree>(&self, ioctl: &Ioctl<T>, arg: &mut T) -> Result<c_int> {
        ioctl::fixed(self.fd()?, self.audience(), ioctl, arg)
            .map_err(|errno| refusal(ioctl.describe(), errno).into())
    }

    /// Makes an ioctl with an argument of variable size.
    pub(crate) fn sized<T: PointerFree>(
        &self,
        ioctl: &Ioctl<T>,
        arg: &mut AlignedBytes,
    ) -> Result<c_int> {
        ioctl::sized(self.fd()?, self.audience(), ioctl, arg)
            .map_err(|errno| refusal(ioctl.describe(), errno).into())
    }

    /// Makes an ioctl without an argument.
    pub(crate) fn without_argument(&self, ioctl: &Ioctl<()>) -> Result<c_int> {
        ioctl::without_argument(self.fd()?, self.audience(), ioctl)
            .map_err(|errno| refusal(ioctl.describe(), errno).into())
    }
}

impl Bound {
    fn attach_as(
        &self,
        mut arg: sys::vfio_device_attach_iommufd_pt,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let ioctl = &nr::DEVICE_ATTACH_IOMMUFD_PT;
        ioctl::fixed(self.fd.as_fd(), Audience::Notices(notices), ioctl, &mut arg)
            .map(drop_answer)
            .map_err(|errno| refusal(ioctl.describe(), errno))
    }

    fn detach_as(
        &self,
        mut arg: sys::vfio_device_detach_iommufd_pt,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let ioctl = &nr::DEVICE_DETACH_IOMMUFD_PT;
        ioctl::fixed(self.fd.as_fd(), Audience::Notices(notices), ioctl, &mut arg)
            .map(drop_answer)
            .map_err(|errno| refusal(ioctl.describe(), errno))
    }
}

// SAFETY:
// - by the invariant `fd` is bound to the context; the kernel unbinds it only when the file is
//   closed, which is when the last `Arc` of this is dropped, and what is kept after that;
// - all calls answer what the kernel answered;
// - nothing else in this crate attaches, and no ioctl of it starts DMA: that takes writes to the
//   device's registers, which are the user's, and reach what is attached.
unsafe impl DeviceDriver for Bound {
    // The core has checked that this is the process of the context.
    unsafe fn attach(
        &self,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let mut arg = sys::vfio_device_attach_iommufd_pt::sized();
        arg.pt_id = target.get();
        self.attach_as(arg, notices)
    }

    unsafe fn detach(&self, notices: &mut Notices<'_>) -> Result<(), KernelError> {
        self.detach_as(sys::vfio_device_detach_iommufd_pt::sized(), notices)
    }

    unsafe fn attach_pasid(
        &self,
        pasid: Pasid,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let mut arg = sys::vfio_device_attach_iommufd_pt::sized();
        arg.flags = sys::VFIO_DEVICE_ATTACH_PASID;
        arg.pt_id = target.get();
        arg.pasid = pasid.get();
        self.attach_as(arg, notices)
    }

    unsafe fn detach_pasid(
        &self,
        pasid: Pasid,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let mut arg = sys::vfio_device_detach_iommufd_pt::sized();
        arg.flags = sys::VFIO_DEVICE_DETACH_PASID;
        arg.pasid = pasid.get();
        self.detach_as(arg, notices)
    }

    fn keep(&self, kept: Kept) {
        self.kept.lock().push(kept);
    }

    fn holders(&self) -> usize {
        self.tally.all()
    }
}

/// These ioctls answer 0 or an error.
fn drop_answer(_: c_int) {}
