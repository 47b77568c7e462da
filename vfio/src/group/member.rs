//! A group that is in a container, and what its devices hold of it.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};

use iommufd::GroupId;
use iommufd::driver::Watch;
use iommufd_sys::ioctl::vfio as nr;
use parking_lot::Mutex;

use super::{GroupDevice, VfioGroup, name};
use crate::address::PciAddress;
use crate::bound::{Bound, Home};
use crate::cause::refusal;
use crate::container::Container;
use crate::device::OpenDevice;
use crate::device_file::DeviceFile;
use crate::error::{Error, Refused, Result};
use crate::holders::{Hold, Holders, Kind};
use crate::ioctl::{Audience, legacy};
use crate::vf_token::VfToken;

/// A VFIO group that is in a [`Container`]: its devices can be opened.
///
/// Cloning gives another handle. Devices hold the group, and the group holds the container. When the
/// last handle and the last device are gone, the group leaves the container and is closed;
/// [`leave`](Self::leave) does the same, and tells. (A group that cannot leave, as somebody has a
/// duplicate of a device's file, is counted: [`Container::leaks`]. What is mapped then stays.)
///
/// With the last group of the kernel's own container all of its mappings go.
///
/// # System calls
/// `VFIO_GROUP_GET_DEVICE_FD` and `VFIO_GROUP_UNSET_CONTAINER`; `close`.
#[derive(Clone)]
#[must_use = "dropping the last handle takes the group out of its container"]
pub struct MemberGroup {
    inner: Arc<MemberInner>,
}

/// # Invariants
/// Unless it has `left`, the group was put into `container`, and nothing here has taken it out.
struct MemberInner {
    group: VfioGroup,
    /// The devices that are open, or being opened.
    open: Mutex<Vec<Opened>>,
    left: bool,
    // Let go of after the group's file is closed.
    container: Container,
}

/// A device that is open, or being opened.
struct Opened {
    name: CString,
    /// Nothing yet, or nothing any more, if it is being opened or closed.
    device: Weak<Bound>,
}

impl Opened {
    /// Whether it is the PCI function at `address`. The kernel knows a function by its address alone.
    fn is_at(&self, is: impl Fn(PciAddress) -> bool) -> bool {
        let name = self.name.to_str().ok();
        name.and_then(|name| name.parse().ok()).is_some_and(is)
    }
}

impl MemberGroup {
    pub(super) fn new(group: VfioGroup, container: &Container) -> Self {
        Self {
            inner: Arc::new(MemberInner {
                group,
                open: Mutex::default(),
                left: false,
                container: container.clone(),
            }),
        }
    }

    /// The container it is in.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.inner.container
    }

    /// Its number: as [`VfioGroup::id`].
    #[must_use]
    pub fn id(&self) -> Option<GroupId> {
        self.inner.group.id()
    }

    /// The group itself.
    pub(super) fn own(&self) -> &VfioGroup {
        &self.inner.group
    }

    /// Whether the function at `address` is open, or being opened, by way of the group.
    pub(crate) fn has_open(&self, address: PciAddress) -> bool {
        let open = self.inner.open.lock();
        open.iter().any(|device| device.is_at(|at| at == address))
    }

    /// Holds open those functions of the group that are, and are where they shall be, for a reset.
    pub(crate) fn devices(&self, is: impl Fn(PciAddress) -> bool) -> Vec<Hold> {
        let open = self.inner.open.lock();
        let wanted = open.iter().filter(|device| device.is_at(&is));
        wanted
            .filter_map(|device| Some(Hold::new(&device.device.upgrade()?, Kind::Reset)))
            .collect()
    }

    /// Opens the PCI function at `address`.
    ///
    /// # Errors
    /// As for [`device`](Self::device).
    pub fn pci_device(&self, address: PciAddress) -> Result<GroupDevice> {
        let name = name::plain(&address.to_string())?;
        self.open(name.clone(), &name, Some(address))
    }

    /// Opens a virtual function whose physical function asks for a VF token, or a physical function
    /// to which that token is given.
    ///
    /// Since Linux 5.7.
    ///
    /// # Errors
    /// As for [`device`](Self::device). `EACCES`: it is another token. `EINVAL`: the function has
    /// none.
    pub fn pci_device_with_token(
        &self,
        address: PciAddress,
        token: VfToken,
    ) -> Result<GroupDevice> {
        let name = address.to_string();
        let text = name::with_token(&name, token)?;
        self.open(name::plain(&name)?, &text, Some(address))
    }

    /// Opens the device of that name: of a platform device, its name in `/sys/bus/platform/devices`;
    /// of a mediated device, its UUID.
    ///
    /// # Errors
    /// [`Error::DeviceOpen`]: it is open by way of this group already. [`Error::NoDeviceName`].
    /// [`Error::NotCompat`]. The kernel's refusal. `ENODEV`: the group has no such device. `EACCES`:
    /// a virtual function whose physical function asks for a VF token. Where an address space stands
    /// in for the container also what a bind and an attach can answer: `EPERM`, `EBUSY`,
    /// `EADDRINUSE`, `EFAULT`, `ENOMEM`. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_GROUP_GET_DEVICE_FD")]
    pub fn device(&self, name: &str) -> Result<GroupDevice> {
        let name = name::plain(name)?;
        self.open(name.clone(), &name, None)
    }

    fn open(
        &self,
        name: CString,
        asked: &CStr,
        address: Option<PciAddress>,
    ) -> Result<GroupDevice> {
        let container = self.container();
        container.watch().check_process()?;
        let seat = Seat::take(&self.inner, name.clone())?;
        container.must_stand_in()?;
        let audience = Audience::Context(container.watch());
        let fd = legacy::device(self.inner.group.as_fd(), audience, asked)
            .map_err(|errno| refusal(nr::GROUP_GET_DEVICE_FD.describe(), errno))?;
        container.devices_changed();
        // Whatever it was asked for as: a function that is open is not taken away by this process.
        let function = address.or_else(|| seat.name.to_str().ok()?.parse().ok());
        let bound = Bound::new(DeviceFile::new(fd, function), Home::Group(seat));
        self.inner.enlist(&name, &bound);
        Ok(GroupDevice::new(OpenDevice::new(bound, None, address)))
    }

    /// Takes the group out of the container.
    ///
    /// # Errors
    /// The group as it was. [`Error::GroupHeld`], without asking the kernel: other handles or
    /// devices hold it. `EBUSY`: a device of it is open by a duplicate of its file.
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_GROUP_UNSET_CONTAINER")]
    pub fn leave(self) -> Result<VfioGroup, Refused<Self>> {
        let mut inner = Arc::try_unwrap(self.inner).map_err(|inner| {
            let holders = Arc::strong_count(&inner).saturating_sub(1);
            Refused::new(Self { inner }, Error::GroupHeld { holders })
        })?;
        match inner.take_out() {
            Ok(()) => Ok(VfioGroup {
                fd: Arc::clone(&inner.group.fd),
                kind: inner.group.kind,
                id: inner.group.id,
            }),
            Err(error) => {
                let inner = Arc::new(inner);
                Err(Refused::new(Self { inner }, error))
            }
        }
    }
}

/// Lends the file, as for KVM, which must be told of it before a device is opened.
impl AsFd for MemberGroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.group.as_fd()
    }
}

impl fmt::Debug for MemberGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberGroup")
            .field("group", &self.inner.group)
            .field("container", &self.inner.container)
            .finish_non_exhaustive()
    }
}

impl MemberInner {
    /// The device has been opened by this name.
    fn enlist(&self, name: &CStr, device: &Arc<Bound>) {
        let mut open = self.open.lock();
        if let Some(opened) = open.iter_mut().find(|opened| *opened.name == *name) {
            opened.device = Arc::downgrade(device);
        }
    }

    fn take_out(&mut self) -> Result<()> {
        if !self.left {
            self.container.leave(self.group.as_fd())?;
            self.left = true;
        }
        Ok(())
    }
}

impl Drop for MemberInner {
    fn drop(&mut self) {
        match self.take_out() {
            Ok(()) | Err(Error::Iommufd(iommufd::Error::Forked)) => {}
            Err(Error::Iommufd(error)) => self.container.watch().refused_drop("group", &error),
            // Only the kernel refuses.
            Err(_) => {}
        }
    }
}

/// What an open device has of its group: the only one that is open by its name.
pub(crate) struct Seat {
    member: Arc<MemberInner>,
    name: CString,
}

impl Seat {
    /// Refuses a device that is open already: the kernel would open it once more, and the interrupts
    /// of the one would be the other's.
    fn take(member: &Arc<MemberInner>, name: CString) -> Result<Self> {
        let mut open = member.open.lock();
        if open.iter().any(|opened| opened.name == name) {
            let name = name.to_string_lossy().into_owned();
            return Err(Error::DeviceOpen { name });
        }
        open.push(Opened {
            name: name.clone(),
            device: Weak::new(),
        });
        Ok(Self {
            member: Arc::clone(member),
            name,
        })
    }

    pub(crate) fn watch(&self) -> &Watch {
        self.member.container.watch()
    }

    /// The group.
    pub(crate) fn group(&self) -> MemberGroup {
        MemberGroup {
            inner: Arc::clone(&self.member),
        }
    }

    /// Answers what `holders` does. If that is nothing, the device is about to be closed, and no reset
    /// of others comes to hold it any more.
    pub(crate) fn retire(&self, holders: impl FnOnce() -> Holders) -> Holders {
        let mut open = self.member.open.lock();
        let holders = holders();
        let own = open.iter_mut().find(|opened| opened.name == self.name);
        if let Some(own) = own.filter(|_| holders.is_empty()) {
            own.device = Weak::new();
        }
        holders
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // In a child of a fork the lock may be held for ever.
        if self.watch().check_process().is_ok() {
            self.member
                .open
                .lock()
                .retain(|opened| opened.name != self.name);
            self.member.container.devices_changed();
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.name).finish()
    }
}
