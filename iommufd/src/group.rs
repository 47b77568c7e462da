//! IOMMU groups: the kernel attaches whole groups, so what is attached is known by the group.

// UNSAFETY: calls the driver's attach and detach.
#![expect(unsafe_code, reason = "the driver's contract is an unsafe trait")]

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::attachment::Target;
use crate::context::Notices;
use crate::device::{Device, DeviceDriver};
use crate::error::{Error, Result};
use crate::fork::Process;
use crate::vdevice::VDeviceInner;

/// The kernel's number of an IOMMU group (`/sys/kernel/iommu_groups/N`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(u32);

impl GroupId {
    /// Group number `number`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What is known of a device's IOMMU group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupIdentity {
    /// It is in this group.
    Group(GroupId),
    /// It has a group of its own.
    Alone,
    /// Nothing, as when a file descriptor was passed into a sandbox without sysfs: the device may
    /// share its group with any other.
    Unknown,
}

/// The devices of one IOMMU group that are bound to one context.
///
/// Since Linux 6.6.
#[derive(Clone)]
pub struct Group {
    state: Arc<GroupState>,
}

/// # Invariants
/// `members` are the devices that the kernel has attached, each with what keeps its page table
/// alive. In a group whose identity is known they are all attached to the same.
///
/// Attach, replace and detach take turns, with the lock of `members` held across the ioctl, as
/// the kernel's own lock of the group makes them: this is the order in which they happen.
pub(crate) struct GroupState {
    identity: GroupIdentity,
    members: Mutex<Vec<Member>>,
    census: Arc<Census>,
    /// In a child of it the lock may be held for ever, so it is not taken there.
    process: Process,
}

/// One attached device.
pub(crate) struct Member {
    device: u32,
    // The order matters: releasing the device detaches it, and then its page table can go.
    driver: Arc<dyn DeviceDriver>,
    target: Target,
    /// Its attachment is gone, and the kernel would not detach it.
    stuck: bool,
}

/// How many devices of a context are attached, by what is known of their groups.
#[derive(Default)]
struct Census {
    grouped: AtomicUsize,
    unknown: AtomicUsize,
}

/// The groups of one context. They hold the context, so it does not hold them.
#[derive(Default)]
pub(crate) struct Groups {
    known: Mutex<HashMap<GroupId, Weak<GroupState>>>,
    /// All devices of which nothing is known.
    unknown: Mutex<Weak<GroupState>>,
    census: Arc<Census>,
}

impl Groups {
    /// The group of that identity, which its devices share.
    pub(crate) fn find(&self, identity: GroupIdentity) -> Group {
        let id = match identity {
            GroupIdentity::Alone => return Group::new(identity, &self.census),
            GroupIdentity::Unknown => return self.share(&mut self.unknown.lock(), identity),
            GroupIdentity::Group(id) => id,
        };
        let mut known = self.known.lock();
        known.retain(|_, state| state.strong_count() > 0);
        self.share(known.entry(id).or_default(), identity)
    }

    /// The group that `place` knows, or a new one.
    fn share(&self, place: &mut Weak<GroupState>, identity: GroupIdentity) -> Group {
        if let Some(state) = place.upgrade() {
            return Group { state };
        }
        let group = Group::new(identity, &self.census);
        *place = Arc::downgrade(&group.state);
        group
    }
}

impl Group {
    fn new(identity: GroupIdentity, census: &Arc<Census>) -> Self {
        Self {
            state: Arc::new(GroupState {
                identity,
                members: Mutex::default(),
                census: Arc::clone(census),
                process: Process::current(),
            }),
        }
    }

    /// What is known of it.
    #[must_use]
    pub fn identity(&self) -> GroupIdentity {
        self.state.identity
    }

    /// How many of its devices are attached, through this context.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.state.members.lock().len()
    }

    /// Moves all attached devices of the group to `target`, at once and atomically: no DMA is
    /// blocked in between, and after an error all of them are where they were.
    ///
    /// # Errors
    /// [`Error::NotAttached`]; [`Error::GroupShared`] if nothing is known of the group and several
    /// devices are attached, or of another device that is: it cannot be told which would move;
    /// [`Error::ForeignContext`]; else as for [`Device::attach`].
    pub fn replace(&self, target: impl Into<Target>) -> Result<()> {
        self.state
            .replace(&target.into(), |state, members| match state.identity {
                GroupIdentity::Unknown => state.check_alone(members.len()),
                // All of them may move, but no stranger.
                GroupIdentity::Alone | GroupIdentity::Group(_) => {
                    state.check_alone(members.len().min(1))
                }
            })
    }

    /// Moves a device that must be the only one to move.
    pub(crate) fn replace_alone(&self, target: &Target) -> Result<()> {
        self.state
            .replace(target, |state, members| state.check_alone(members.len()))
    }

    /// Attaches `device`, of this group, to `target`, of the same context.
    pub(crate) fn attach(&self, device: &Device, target: Target) -> Result<()> {
        let context = device.iommufd().context();
        self.state.process.check()?;
        target.check_for(device.id())?;
        let member = Member {
            device: device.id(),
            driver: Arc::clone(device.driver()),
            target,
            stuck: false,
        };
        let mut notices = context.notices();
        // Made last, the lock is released first: whatever a refusal drops, it is dropped after.
        let mut members = self.state.members.lock();
        if members.iter().any(|other| other.device == member.device) {
            return Err(Error::AlreadyAttached);
        }
        if let GroupIdentity::Group(group) = self.state.identity
            && members.iter().any(|other| !other.target.is(&member.target))
        {
            return Err(Error::GroupAttachedElsewhere { group });
        }
        member.attach(&member.target, &mut notices)?;
        member.target.ioas().inner.layout_changed();
        members.push(member);
        self.state
            .count(|count| count.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }

    /// Detaches `device`, if it is attached.
    pub(crate) fn detach(&self, device: &Device) -> Result<()> {
        let context = device.iommufd().context();
        self.state.process.check()?;
        // Dropped after the lock: it may be the last that keeps the page table, and the driver.
        // And after the notices, so that an observer hears of things in their order.
        let _released: Member;
        let mut notices = context.notices();
        let mut members = self.state.members.lock();
        let Some(at) = members
            .iter()
            .position(|member| member.device == device.id())
        else {
            return Ok(());
        };
        members[at].detach(&mut notices)?;
        members[at].target.ioas().inner.layout_changed();
        self.state
            .count(|count| count.fetch_sub(1, Ordering::Relaxed));
        _released = members.swap_remove(at);
        Ok(())
    }

    /// Whether the device `id` has an attachment.
    pub(crate) fn has_attached(&self, id: u32) -> bool {
        self.with_member(id, |member| !member.stuck)
            .unwrap_or(false)
    }

    /// The kernel would not detach the device `id`, whose attachment goes.
    ///
    /// What the kernel does not need for that is given up: a virtual device holds the device, whose
    /// release is what will detach it.
    #[must_use = "it is to be dropped with no lock held"]
    pub(crate) fn is_stuck(&self, id: u32) -> Option<Arc<VDeviceInner>> {
        self.with_member(id, |member| {
            member.stuck = true;
            member.target.take_vdevice()
        })
        .flatten()
    }

    /// Gives up a device that is still attached, and is released: that detaches it.
    #[must_use = "what it holds is to be dropped after the device is released"]
    pub(crate) fn give_up(&self, id: u32) -> Option<Member> {
        self.state.process.check().ok()?;
        let mut members = self.state.members.lock();
        let at = members.iter().position(|member| member.device == id)?;
        self.state
            .count(|count| count.fetch_sub(1, Ordering::Relaxed));
        Some(members.swap_remove(at))
    }

    fn with_member<T>(&self, id: u32, look: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.state.process.check().ok()?;
        let mut members = self.state.members.lock();
        let member = members.iter_mut().find(|member| member.device == id)?;
        Some(look(member))
    }

    /// What `device` is attached to.
    pub(crate) fn target_of(&self, device: &Device) -> Option<Target> {
        self.with_member(device.id(), |member| member.target.clone())
    }
}

impl GroupState {
    /// Moves all members to `target`, if `allowed`.
    fn replace(
        &self,
        target: &Target,
        allowed: impl FnOnce(&Self, &[Member]) -> Result<()>,
    ) -> Result<()> {
        let context = target.iommufd().context();
        self.process.check()?;
        // Dropped after the lock and the notices, as in `detach`.
        let mut released = Vec::new();
        let mut notices = context.notices();
        let mut members = self.members.lock();
        let first = members.first().ok_or(Error::NotAttached)?;
        target.iommufd().must_be(first.target.iommufd(), "target")?;
        allowed(self, &members)?;
        // One virtual device is for one device: a target with one moves nobody else.
        for member in members.iter() {
            target.check_for(member.device)?;
        }
        // The kernel moves the others with the first.
        first.attach(target, &mut notices)?;
        target.ioas().inner.layout_changed();
        for member in members.iter_mut() {
            member.target.ioas().inner.layout_changed();
            released.push(std::mem::replace(&mut member.target, target.clone()));
        }
        Ok(())
    }

    /// Refuses if a device other than the one attached may move with it.
    fn check_alone(&self, members: usize) -> Result<()> {
        let strangers = match self.identity {
            GroupIdentity::Alone => 0,
            // Each of those of which nothing is known may be of this group.
            GroupIdentity::Group(_) => self.census.unknown.load(Ordering::Relaxed),
            GroupIdentity::Unknown => self.census.grouped.load(Ordering::Relaxed),
        };
        match members.saturating_add(strangers) {
            0 | 1 => Ok(()),
            members => Err(Error::GroupShared { members }),
        }
    }

    /// Counts an attached device, if it may be of another group's.
    fn count(&self, change: impl FnOnce(&AtomicUsize) -> usize) {
        match self.identity {
            GroupIdentity::Unknown => change(&self.census.unknown),
            GroupIdentity::Group(_) => change(&self.census.grouped),
            GroupIdentity::Alone => 0,
        };
    }
}

impl Member {
    fn attach(&self, target: &Target, notices: &mut Notices<'_>) -> Result<()> {
        // SAFETY: `target` is borrowed, so it is alive; that it is of the device's context was
        // checked. The group keeps a clone of it as long as the device is attached to it.
        let answer = unsafe { self.driver.attach(target.page_table_id(), notices) };
        // Attaching an address space for the first time pins all that is mapped in it.
        answer.map_err(|error| target.ioas().inner.pin_error(error.into()))
    }

    fn detach(&self, notices: &mut Notices<'_>) -> Result<()> {
        // SAFETY: the attachment that relied on it is what asks for the detach, and is used up.
        let answer = unsafe { self.driver.detach(notices) };
        Ok(answer?)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}
