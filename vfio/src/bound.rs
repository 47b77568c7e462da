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
use crate::device_file::DeviceFile;
use crate::error::{Error, Result};
use crate::feature::claims::{Claims, Resets};
use crate::feature::{self, Feature};
use crate::gate::{Closed, Gate, Revocation};
use crate::group::Seat;
use crate::holders::Tally;
use crate::identity::is_bound;
use crate::ioctl::{self, Audience, PointerFree};
use crate::irq::{EnabledKind, EnabledLines};
use crate::refused_bind;
use crate::region::RegionIndex;
use crate::signal::EnabledSignals;
use crate::switches::{self, Switches};
use crate::vf_token::VfToken;

/// The bound device, shared by all that acts on it: the last one closes the file, which detaches
/// and unbinds.
///
/// # Invariants
/// `file` is a VFIO device that is bound to the context that is its home, or opened by way of the group
/// that is; a file is bound once, for good.
#[derive(Debug)]
pub(crate) struct Bound {
    // Closed first: the kernel's device goes before the context that it is bound to, or the group
    // that it is of, and before what the kernel has it attached to.
    file: DeviceFile,
    kept: Mutex<Vec<Kept>>,
    home: Home,
    pub(crate) tally: Tally,
    /// Which kind of interrupts is enabled, or is being enabled or disabled.
    pub(crate) interrupts: EnabledKind,
    /// Which interrupts are, of a device that is no PCI function.
    pub(crate) lines: EnabledLines,
    /// Which kinds of signals are enabled, or are being enabled or disabled.
    pub(crate) signals: EnabledSignals,
    /// Taken for a read and a write of configuration space that belong together.
    pub(crate) config_edits: Mutex<()>,
    /// Where accesses of mapped registers pass.
    pub(crate) gate: Gate,
    /// Which guards of features there are.
    pub(crate) claims: Claims,
    /// Resets, and changes of the migration state, which exclude them.
    pub(crate) resets: Resets,
    /// What in configuration space closes it.
    pub(crate) switches: Switches,
}

/// What stands between a device and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// An IOMMU.
    Iommu,
    /// The kernel's driver, which emulates the device: a mediated one.
    Emulation,
    /// Nothing.
    Nothing,
}

/// A device that is bound.
pub(crate) struct Fresh {
    pub(crate) bound: Arc<Bound>,
    pub(crate) iommu: iommufd::Device,
    pub(crate) behind: Behind,
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
    Refused(DeviceFile, Error),
    /// A later step failed, and the file has been closed.
    RolledBack(Error),
}

/// Binds `file` to `iommufd`.
pub(crate) fn bind(
    mut file: DeviceFile,
    iommufd: &Iommufd,
    group: GroupIdentity,
    token: Option<VfToken>,
) -> Result<Fresh, BindFailure> {
    if let Err(error) = iommufd.check_process() {
        return Err(BindFailure::Refused(file, error.into()));
    }
    let audience = || Audience::Context(iommufd.watch());
    let id = match ioctl::bind(file.as_fd(), audience(), iommufd.as_fd(), token) {
        Ok(id) => id,
        Err(errno) => {
            let error = match (errno, token) {
                // Whoever else has the file has bound it: tokens were not looked at.
                (Errno::INVAL, Some(_)) if matches!(is_bound(&file), Ok(true)) => {
                    Error::AlreadyBound
                }
                (Errno::INVAL, Some(_)) => {
                    let again = ioctl::bind_with_unreadable_token;
                    let probe = again(file.as_fd(), audience(), iommufd.as_fd());
                    refused_bind::reason_by_probe(probe)
                }
                _ => refused_bind::reason(errno, token.is_some()),
            };
            return Err(BindFailure::Refused(file, error));
        }
    };
    if let Some(kvm) = &mut file.kvm {
        kvm.report_to(iommufd);
    }
    // INVARIANT: the bind has just succeeded. From here on dropping `bound` unbinds.
    let bound = Bound::new(file, Home::Context(iommufd.clone()));
    // SAFETY: `id` is what the bind to this very context answered, a moment ago and for this file
    // alone, so there is no other `Device` of it.
    unsafe { Fresh::of(bound, iommufd, id, group) }
        .map_err(|(_, error)| BindFailure::RolledBack(error))
}

impl Fresh {
    /// The device that `bound` is, under the id that it has in its context.
    ///
    /// # Errors
    /// The device, bound, with the reason.
    ///
    /// # Safety
    /// `id` is what the bind to `iommufd` answered, and no other `iommufd::Device` is made of it.
    pub(crate) unsafe fn of(
        bound: Arc<Bound>,
        iommufd: &Iommufd,
        id: u32,
        group: GroupIdentity,
    ) -> Result<Self, (Arc<Bound>, Error)> {
        let known_as = |group| {
            let driver = Arc::clone(&bound) as Arc<dyn DeviceDriver>;
            // SAFETY: the caller's promise; the second is made when the first is gone.
            unsafe { iommufd::Device::from_bound(iommufd, id, group, driver) }
        };
        let known = known_as(group).map_err(Error::from).and_then(|iommu| {
            let behind = behind(&iommu)?;
            if behind == Behind::Emulation {
                bound.switches.are_emulated();
            }
            if behind == Behind::Iommu || group == GroupIdentity::Alone {
                return Ok((iommu, behind));
            }
            // What no IOMMU translates for shares a group with nobody.
            drop(iommu);
            Ok((known_as(GroupIdentity::Alone)?, behind))
        });
        match known {
            Ok((iommu, behind)) => Ok(Self {
                bound,
                iommu,
                behind,
            }),
            Err(error) => Err((bound, error)),
        }
    }
}

/// What stands between the device and memory: the kernel tells, with no sysfs, when it is asked for no
/// type of information in particular.
fn behind(device: &iommufd::Device) -> Result<Behind> {
    match device.hw_info() {
        Ok(_) => Ok(Behind::Iommu),
        // It does not support telling about an IOMMU of this device only.
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => Ok(Behind::Nothing),
        // The id is one of another kind of objects.
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Behind::Emulation),
        Err(error) => Err(error.into()),
    }
}

impl Bound {
    /// The device that is open as `file`, by way of `home`.
    pub(crate) fn new(file: DeviceFile, home: Home) -> Arc<Self> {
        Arc::new(Self {
            file,
            kept: Mutex::default(),
            home,
            tally: Tally::default(),
            interrupts: EnabledKind::default(),
            lines: EnabledLines::default(),
            signals: EnabledSignals::default(),
            config_edits: Mutex::new(()),
            gate: Gate::default(),
            switches: Switches::default(),
            claims: Claims::default(),
            resets: Resets::default(),
        })
    }

    /// Whose process the device belongs to, and who hears of its ioctls: those of its context, or of
    /// its container.
    pub(crate) fn watch(&self) -> &Watch {
        self.home.watch()
    }

    /// Its seat in a group, if it was opened by way of one.
    pub(crate) fn seat(&self) -> Option<&Seat> {
        match &self.home {
            Home::Context(_) => None,
            Home::Group(seat) => Some(seat),
        }
    }

    /// The file, in the process to which it belongs.
    ///
    /// # Errors
    /// `iommufd::Error::Forked` in a child.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.watch().check_process()?;
        Ok(self.file.as_fd())
    }

    /// Stops accesses of mapped registers for as long as what is returned is there: for who is
    /// about to do what revokes the mappings.
    ///
    /// # Errors
    /// [`Error::AccessHeld`]; `iommufd::Error::Forked`.
    pub(crate) fn close_gate(&self, cause: Revocation) -> Result<Closed<'_>> {
        // In a child of a fork there may be passes that nobody gives back.
        self.watch().check_process()?;
        self.gate.close(cause)
    }

    pub(crate) fn audience(&self) -> Audience<'_, 'static> {
        Audience::Context(self.watch())
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
    /// Exports parts of a BAR as a dma-buf.
    pub(crate) fn export(
        &self,
        index: RegionIndex,
        parts: &[sys::vfio_region_dma_range],
    ) -> Result<OwnedFd> {
        ioctl::export_dma_buf(self.fd()?, self.audience(), index.get(), parts)
            .map_err(|errno| feature::refusal(Feature::DmaBuf, errno))
    }

    /// Resets the device alone, while nobody accesses its mapped registers.
    pub(crate) fn reset(self: &Arc<Self>) -> Result<()> {
        let closed = self.close_gate(Revocation::Reset)?;
        let reset = match self.without_argument(&nr::DEVICE_RESET) {
            Ok(_) => Ok(()),
            // Without a way of resetting it the kernel does not begin.
            Err(error) if error.errno() == Some(Errno::INVAL) => {
                closed.cancel();
                Err(error)
            }
            Err(error) => Err(error),
        };
        // It leaves a low power state of the function's own, also if it is refused later.
        switches::after_reset(self);
        reset
    }

    /// Makes an ioctl that attaches or detaches. These answer 0 or an error.
    fn move_by<T: PointerFree>(
        &self,
        ioctl: &Ioctl<T>,
        mut arg: T,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let audience = Audience::Notices(notices);
        ioctl::fixed(self.file.as_fd(), audience, ioctl, &mut arg)
            .map(drop)
            .map_err(|errno| refusal(ioctl.describe(), errno))
    }
}

// SAFETY:
// - by the invariant `file` is bound to the context; the kernel unbinds it only when the file is
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
        self.move_by(&nr::DEVICE_ATTACH_IOMMUFD_PT, arg, notices)
    }

    unsafe fn detach(&self, notices: &mut Notices<'_>) -> Result<(), KernelError> {
        let arg = sys::vfio_device_detach_iommufd_pt::sized();
        self.move_by(&nr::DEVICE_DETACH_IOMMUFD_PT, arg, notices)
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
        self.move_by(&nr::DEVICE_ATTACH_IOMMUFD_PT, arg, notices)
    }

    unsafe fn detach_pasid(
        &self,
        pasid: Pasid,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let mut arg = sys::vfio_device_detach_iommufd_pt::sized();
        arg.flags = sys::VFIO_DEVICE_DETACH_PASID;
        arg.pasid = pasid.get();
        self.move_by(&nr::DEVICE_DETACH_IOMMUFD_PT, arg, notices)
    }

    fn keep(&self, kept: Kept) {
        self.kept.lock().push(kept);
    }

    fn holders(&self) -> usize {
        self.tally.all()
    }
}
