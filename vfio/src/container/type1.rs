//! The kernel's own container, with an IOMMU of type 1.

// UNSAFETY: implements the contract between a driver and the ledger of `iommufd`.
#![expect(
    unsafe_code,
    reason = "the contract is an unsafe trait; maps what the ledger holds"
)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use iommufd::driver::{Emptied, Notices, Space, SpaceDriver, Watch};
use iommufd::{Access, Granule, IovaRange, KernelError, Observer};
use iommufd_sys::ioctl::{ArgszArg, ByValue, Ioctl, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use crate::cause::refusal;
use crate::error::{Error, Result};
use crate::group::Kind;
use crate::ioctl::{self, Audience, legacy};

/// The open container.
///
/// # Invariants
/// `fd` is a container of VFIO's own, and no iommufd, whose mappings outlive the groups; it was opened for
/// this, and nobody else has the file. `groups` have been put into it and not been seen to leave it: at least as many as the kernel has in it.
#[derive(Debug)]
pub(crate) struct Type1 {
    fd: OwnedFd,
    watch: Watch,
    /// Changed in exclusive operations of the space only.
    groups: AtomicUsize,
    /// Whether what its groups do is translated by nothing, as who joined the first has answered for.
    /// Changed in exclusive operations of the space only.
    is_bare: AtomicBool,
    /// Whether there is a guard of the record of what is written.
    pub(super) tracked: AtomicBool,
}

impl Type1 {
    /// The container that is open as `fd`, which nobody else has.
    pub(super) fn new(
        fd: OwnedFd,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<(Space, Arc<Self>)> {
        let watch = Watch::new(observer);
        let ioctl = &nr::GET_API_VERSION;
        let audience = Audience::Context(&watch);
        match ioctl::without_argument(fd.as_fd(), audience, ioctl) {
            Ok(version) if u32::try_from(version) == Ok(sys::VFIO_API_VERSION) => {}
            _ => return Err(Error::NotContainer),
        }
        let kind = sys::VFIO_TYPE1v2_IOMMU;
        let audience = Audience::Context(&watch);
        match legacy::by_value(fd.as_fd(), audience, &nr::CHECK_EXTENSION, kind) {
            Ok(1..) => {}
            _ => return Err(Error::NotContainer),
        }
        // INVARIANT: the caller's word, and it answers as one.
        let driver = Arc::new(Self {
            fd,
            watch,
            groups: AtomicUsize::new(0),
            is_bare: AtomicBool::new(false),
            tracked: AtomicBool::new(false),
        });
        let space_driver = Arc::clone(&driver) as Arc<dyn SpaceDriver>;
        // SAFETY: the container is nobody else's, and lent to nobody; nothing else in this crate maps
        // in it.
        let space = unsafe { Space::new(space_driver) };
        Ok((space, driver))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn own_watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether a group may be in it.
    pub(super) fn has_groups(&self) -> bool {
        self.groups.load(Ordering::Acquire) > 0
    }

    /// Puts a group in, and gives the container its IOMMU if it has none.
    pub(super) fn enter(&self, space: &Space, group: BorrowedFd<'_>, kind: Kind) -> Result<()> {
        let enter = |notices: &mut Notices<'_>| match self.enter_now(group, kind, notices) {
            Ok(emptied) => (Ok(()), emptied),
            Err(error) => (Err(error), Emptied::No),
        };
        // SAFETY: it says that all is unmapped only where the kernel has made the container's IOMMU
        // anew: it had none then, and with the one before went all that was mapped.
        unsafe { space.exclusively(enter) }?
    }

    fn enter_now(
        &self,
        group: BorrowedFd<'_>,
        kind: Kind,
        notices: &mut Notices<'_>,
    ) -> Result<Emptied> {
        legacy::set_container(group, Audience::Notices(notices), self.fd())
            .map_err(|errno| refusal(nr::GROUP_SET_CONTAINER.describe(), errno))?;
        let ready = self.make_ready(kind, notices);
        // Nothing is open by way of the group yet, so nothing keeps it in. If it stays all the same it
        // is one that is not seen to leave.
        if ready.is_ok() || unset_container(group, Audience::Notices(notices)).is_err() {
            self.groups.fetch_add(1, Ordering::AcqRel);
        }
        ready
    }

    /// Gives the container, in which the kernel has a group now, its IOMMU, if it has none.
    fn make_ready(&self, kind: Kind, notices: &mut Notices<'_>) -> Result<Emptied> {
        let has_others = self.has_groups();
        if has_others && self.has_iommu(notices) {
            // A group that was given may be one without an IOMMU, too, for which nobody answers.
            return match self.is_bare.load(Ordering::Acquire) && kind != Kind::NoIommu {
                true => Err(Error::NoIommu),
                false => Ok(Emptied::No),
            };
        }
        let iommu = match kind {
            Kind::Translated | Kind::Unknown => sys::VFIO_TYPE1v2_IOMMU,
            Kind::NoIommu => sys::VFIO_NOIOMMU_IOMMU,
        };
        let ioctl: &Ioctl<ByValue> = &nr::SET_IOMMU;
        legacy::by_value(self.fd(), Audience::Notices(notices), ioctl, iommu)
            .map_err(|errno| refusal(ioctl.describe(), errno))?;
        self.is_bare.store(kind == Kind::NoIommu, Ordering::Release);
        Ok(match has_others {
            true => Emptied::Yes,
            false => Emptied::No,
        })
    }

    /// Whether the container has an IOMMU: the kernel takes it away with the last group, which can be
    /// when the devices of that are unplugged or given back.
    fn has_iommu(&self, notices: &mut Notices<'_>) -> bool {
        let mut info = sys::vfio_iommu_type1_info::sized();
        let audience = Audience::Notices(notices);
        let answer = ioctl::fixed(self.fd(), audience, &nr::IOMMU_GET_INFO, &mut info);
        // Without one nobody knows the question; what is no IOMMU answers it in another way.
        !matches!(answer, Err(Errno::INVAL))
    }

    /// Takes a group out. With the last one all mappings go.
    pub(super) fn leave(&self, space: &Space, group: BorrowedFd<'_>) -> Result<()> {
        let leave = |notices: &mut Notices<'_>| match self.leave_now(group, notices) {
            Ok(0) => (Ok(()), Emptied::Yes),
            Ok(_) => (Ok(()), Emptied::No),
            Err(error) => (Err(error), Emptied::No),
        };
        // SAFETY: when the last group leaves, the kernel unmaps all that is mapped in the container
        // before it answers (`vfio_iommu_type1_release`). By the invariant none is left in it when
        // none is counted; and none comes, as this operation is exclusive.
        unsafe { space.exclusively(leave) }??;
        Ok(())
    }

    /// How many are left.
    fn leave_now(
        &self,
        group: BorrowedFd<'_>,
        notices: &mut Notices<'_>,
    ) -> Result<usize, KernelError> {
        match unset_container(group, Audience::Notices(notices)) {
            Ok(()) => {}
            // It is in no container any more: its devices have been unplugged.
            Err(error) if error.errno == Errno::INVAL => {}
            Err(error) => return Err(error),
        }
        let before = self.groups.fetch_sub(1, Ordering::AcqRel);
        Ok(before.saturating_sub(1))
    }

    /// Asks `unmap` once more if the kernel has done it and could not say so.
    fn unmap_by(
        &self,
        notices: &mut Notices<'_>,
        mut unmap: impl FnMut(Audience<'_, '_>) -> Result<u64, Errno>,
    ) -> Result<u64, KernelError> {
        let answer = match unmap(Audience::Notices(notices)) {
            Err(Errno::FAULT) => unmap(Audience::Notices(notices)),
            answer => answer,
        };
        answer.map_err(|errno| refusal(nr::IOMMU_UNMAP_DMA.describe(), errno))
    }
}

/// Takes a group out of whatever container it is in.
pub(super) fn unset_container(
    group: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
) -> Result<(), KernelError> {
    let ioctl = &nr::GROUP_UNSET_CONTAINER;
    ioctl::without_argument(group, audience, ioctl)
        .map(drop)
        .map_err(|errno| refusal(ioctl.describe(), errno))
}

// SAFETY:
// - the kernel answers a map with an error only if it has mapped nothing, as it writes no answer
//   that could fail, and undoes what it has begun;
// - an unmap that it answers with success has unmapped all that there was in the range (also if
//   that was nothing, which it tells by a size of 0), under the container's lock, with the IOMMU's
//   caches invalidated and the pages unpinned;
// - by the invariant of `Type1` nobody else has the container.
unsafe impl SpaceDriver for Type1 {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    unsafe fn map(
        &self,
        range: IovaRange,
        address: u64,
        access: Access,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        // SAFETY: the caller promises the same.
        unsafe {
            legacy::map_dma(
                self.fd(),
                Audience::Notices(notices),
                range,
                address,
                access,
            )
        }
        .map_err(|errno| refusal(nr::IOMMU_MAP_DMA.describe(), errno))
    }

    fn unmap(&self, range: IovaRange, notices: &mut Notices<'_>) -> Result<u64, KernelError> {
        self.unmap_by(notices, |audience| {
            legacy::unmap_dma(self.fd(), audience, range)
        })
    }

    fn read_dirty(
        &self,
        range: IovaRange,
        page: Granule,
        words: &mut [u64],
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        legacy::read_dirty(self.fd(), Audience::Notices(notices), range, page, words)
            .map_err(|errno| refusal(nr::IOMMU_DIRTY_PAGES.describe(), errno))
    }

    fn unmap_reading_dirty(
        &self,
        range: IovaRange,
        page: Granule,
        words: &mut [u64],
        notices: &mut Notices<'_>,
    ) -> Result<u64, KernelError> {
        self.unmap_by(notices, |audience| {
            legacy::unmap_dma_reading(self.fd(), audience, range, page, words)
        })
    }
}
