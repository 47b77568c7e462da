//! Hot resets of devices that were opened by way of their groups: the kernel is shown the files of all
//! the groups.

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use iommufd::GroupId;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

use super::carry_out::reset;
use super::query::{GET_INFO, address, query};
use crate::address::PciAddress;
use crate::error::{Error, Result};
use crate::group::{GroupDevice, HeldGroup, MemberGroup, Seat};
use crate::holders::Hold;
use crate::query::malformed;

/// A function that a hot reset of a [`GroupDevice`] takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GroupFunction {
    /// Where it is.
    pub address: PciAddress,
    /// The IOMMU group that it is in: whoever has that open is asked for it.
    pub group: GroupId,
}

/// The address, and the group.
impl fmt::Display for GroupFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, group } = self;
        write!(f, "{address} (group {group})")
    }
}

/// What a hot reset takes with it: see [`GroupDevice::hot_reset_scope`].
///
/// It says how it was when it was asked for: functions come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupResetScope {
    functions: Vec<GroupFunction>,
}

impl GroupResetScope {
    /// The functions, the device itself among them.
    #[must_use]
    pub fn functions(&self) -> &[GroupFunction] {
        &self.functions
    }

    /// Their groups, each once: these are to be open, for [`GroupDevice::hot_reset`].
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups = Vec::new();
        for function in &self.functions {
            if !groups.contains(&function.group) {
                groups.push(function.group);
            }
        }
        groups
    }

    /// Whether it takes the function at `address` with it.
    #[must_use]
    pub fn includes(&self, address: PciAddress) -> bool {
        let mut functions = self.functions.iter();
        functions.any(|function| function.address == address)
    }

    fn parse(flags: u32, raw: &[sys::vfio_pci_dependent_device]) -> Result<Self> {
        // With the flag the ids are those of devices: the file is a character device's.
        if flags & sys::VFIO_PCI_HOT_RESET_FLAG_DEV_ID != 0 {
            return Err(malformed(GET_INFO, "ids of devices instead of groups"));
        }
        let function = |raw: &sys::vfio_pci_dependent_device| {
            Ok(GroupFunction {
                address: address(raw)?,
                group: GroupId::new(raw.group_id),
            })
        };
        let functions = raw.iter().map(function).collect::<Result<_>>()?;
        Ok(Self { functions })
    }
}

/// A group that the caller has.
struct Given<'a> {
    held: &'a dyn HeldGroup,
    /// Its number, if anything tells.
    id: Option<GroupId>,
}

impl<'a> Given<'a> {
    fn new(held: &'a dyn HeldGroup, scope: &GroupResetScope) -> Self {
        let id = held.group().id().or_else(|| {
            // A function that was opened by way of it tells.
            let member = held.member()?;
            let mut functions = scope.functions.iter();
            let own = functions.find(|function| member.has_open(function.address))?;
            Some(own.group)
        });
        Self { held, id }
    }

    fn is(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(one), Some(other)) => one == other,
            _ => self.held.group().as_fd().as_raw_fd() == other.held.group().as_fd().as_raw_fd(),
        }
    }

    /// Whether it has to be shown, or may have to be.
    fn is_needed(&self, needed: &[GroupId]) -> bool {
        self.id.is_none_or(|id| needed.contains(&id))
    }
}

/// Those of the groups that have to be shown, or may have to be, each once.
///
/// # Errors
/// [`Error::HotResetGroupsMissing`]
fn needed<'a>(
    scope: &GroupResetScope,
    held: impl Iterator<Item = &'a dyn HeldGroup>,
) -> Result<Vec<Given<'a>>> {
    let groups = scope.groups();
    let mut given: Vec<Given<'_>> = Vec::new();
    for group in held.map(|held| Given::new(held, scope)) {
        if group.is_needed(&groups) && !given.iter().any(|other| other.is(&group)) {
            given.push(group);
        }
    }
    let is_missing = |id| !given.iter().any(|group| group.id == Some(id));
    let functions = scope.functions.iter().copied();
    let functions: Vec<_> = functions
        .filter(|function| is_missing(function.group))
        .collect();
    if functions.is_empty() {
        // The kernel takes no more groups than there are functions.
        given.retain(|group| group.id.is_some());
    } else if given.iter().all(|group| group.id.is_some()) {
        return Err(Error::HotResetGroupsMissing { functions });
    }
    // One of which nothing tells which it is may be any of those that are missing: the kernel knows.
    Ok(given)
}

impl GroupDevice {
    /// What a [hot reset](Self::hot_reset) would take with it, and of which groups that is: every
    /// function in the slot of the device, where the slot can be reset, else every one on its bus and
    /// below.
    ///
    /// Since Linux 3.12.
    ///
    /// # Errors
    /// `ENODEV`: the device is in no slot, and on no bus below a bridge, that can be reset. `EPERM`: a
    /// function is in no IOMMU group. `EAGAIN`: functions are being plugged in or out. `ENOTTY`: it is
    /// no PCI function. [`Error::Malformed`], if the kernel's answer makes no sense;
    /// [`iommufd::Error::Forked`].
    ///
    /// # System calls
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`, until there is room for its answer.
    #[doc(alias = "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO")]
    pub fn hot_reset_scope(&self) -> Result<GroupResetScope> {
        let ioctl = &nr::DEVICE_GET_PCI_HOT_RESET_INFO;
        let (flags, functions) = query(|arg| self.bound().sized(ioctl, arg).map(drop))?;
        GroupResetScope::parse(flags, &functions)
    }

    /// Resets the bus or slot of the device, and with it all that
    /// [`hot_reset_scope`](Self::hot_reset_scope) says: for devices that have no
    /// [reset](crate::OpenDevice::reset) of their own, or do not come back by it.
    ///
    /// Whoever has a group open may reset what is in it. `groups` are those of the other functions, in
    /// whichever container, or in none; the group of the device itself is known, as are the devices
    /// that are open by way of all of these. (More groups may be named: those that the reset does not
    /// concern are left out.)
    ///
    /// It waits for accesses of mapped registers of all devices that it resets; those that come
    /// meanwhile are refused with [`Error::Revoked`]. None of them can be
    /// [closed](Self::try_close) while it goes on.
    ///
    /// # What it does
    /// As for [`Device::hot_reset`](crate::Device::hot_reset): registers are as after power-on;
    /// configuration space, interrupts and mappings stay.
    ///
    /// Since Linux 3.12.
    ///
    /// ```no_run
    /// # fn example(
    /// #     card: &vfio::GroupDevice, other: &vfio::MemberGroup, unused: &vfio::VfioGroup,
    /// # ) -> vfio::Result<()> {
    /// for function in card.hot_reset_scope()?.functions() {
    ///     println!("{function}");
    /// }
    /// // Two more functions of the card, each in a group of its own.
    /// card.hot_reset(&[other, unused])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// With nothing reset: [`Error::HotResetGroupsMissing`], before the kernel is asked: functions are
    /// in groups that are not in `groups`.
    /// [`FeatureError::Migrating`](crate::FeatureError::Migrating): one of the devices is being
    /// migrated. [`Error::AccessHeld`]: this thread holds an access of the registers of one of them.
    /// `EINVAL`: a function is bound to no VFIO driver, or is a virtual one, which the kernel does not
    /// reset with its physical function; or a group is missing, where
    /// [nothing told](crate::VfioGroup::id) which those are that were named, or a function has come
    /// meanwhile. `EBUSY`: registers of one of the devices are being accessed by system call; try
    /// again. And those of [`hot_reset_scope`](Self::hot_reset_scope).
    ///
    /// # System calls
    /// Those of [`hot_reset_scope`](Self::hot_reset_scope), then `VFIO_DEVICE_PCI_HOT_RESET`.
    #[doc(alias = "VFIO_DEVICE_PCI_HOT_RESET")]
    pub fn hot_reset(&self, groups: &[&dyn HeldGroup]) -> Result<()> {
        let scope = self.hot_reset_scope()?;
        let own = self.bound().seat().map(Seat::group);
        let own = own.iter().map(|own: &MemberGroup| own as &dyn HeldGroup);
        let given = needed(&scope, own.chain(groups.iter().copied()))?;
        let members = given.iter().filter_map(|group| group.held.member());
        let open: Vec<Hold> = members
            .flat_map(|member| member.devices(|address| scope.includes(address)))
            .collect();
        let mut affected: Vec<_> = open.iter().map(Hold::shared).collect();
        // It may have been opened by another name than its address.
        if !affected
            .iter()
            .any(|bound| Arc::ptr_eq(bound, self.bound()))
        {
            affected.push(self.bound());
        }
        let files: Vec<_> = given
            .iter()
            .map(|group| group.held.group().as_fd())
            .collect();
        reset(self.bound(), &affected, &files)
    }
}
