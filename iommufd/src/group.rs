//! IOMMU groups: the kernel attaches whole groups, so what is attached is known by the group.

// UNSAFETY: calls the driver's attach and detach.
#![expect(unsafe_code, reason = "the driver's contract is an unsafe trait")]

use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::context::Notices;
use crate::device::{Device, DeviceDriver};
use crate::error::{Error, KernelError, Result};
use crate::fork::Process;
use crate::object::equal_by;
use crate::pasid::Pasid;
use crate::pasid_attachment::PasidTarget;
use crate::target::Target;
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
/// `members` are the devices, and the PASIDs of devices, that the kernel has attached, each with
/// what keeps its page table alive. In a group whose identity is known all devices are attached to
/// the same, and so are the devices that have a certain PASID attached.
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

/// One attached device, or one attached PASID of it.
pub(crate) struct Member {
    device: u32,
    /// `None`: the device itself, by its requests that carry no PASID.
    pasid: Option<Pasid>,
    // The order matters: releasing the device detaches it, and then its page table can go.
    driver: Arc<dyn DeviceDriver>,
    target: Target,
    /// Its attachment is gone, and the kernel would not detach it.
    stuck: bool,
}

/// How many devices and PASIDs of a context are attached, by what is known of their groups.
#[derive(Default)]
struct Census {
    grouped: AtomicUsize,
    unknown: AtomicUsize,
    /// Held while devices are attached or moved: side by side where the groups are known, alone
    /// where nothing is known. Else a device could become attached while one that may be a sibling
    /// of it, and that has just been counted alone, is on its way to another table.
    turns: RwLock<()>,
}

/// The members of a group, while attaching and moving them is the caller's turn.
struct Locked<'g> {
    members: MutexGuard<'g, Vec<Member>>,
    _turn: Turn<'g>,
}

/// See [`Census::turns`].
enum Turn<'g> {
    /// Nobody else's devices are of the group.
    Any,
    SideBySide {
        _turn: RwLockReadGuard<'g, ()>,
    },
    Alone {
        _turn: RwLockWriteGuard<'g, ()>,
    },
}

impl Deref for Locked<'_> {
    type Target = Vec<Member>;

    fn deref(&self) -> &Vec<Member> {
        &self.members
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Vec<Member> {
        &mut self.members
    }
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

    /// How many of its devices are attached, through this context. 0 in a child of a fork.
    #[must_use]
    pub fn attached(&self) -> usize {
        if self.state.process.check().is_err() {
            return 0;
        }
        let members = self.state.members.lock();
        members
            .iter()
            .filter(|member| member.pasid.is_none())
            .count()
    }

    /// Moves all attached devices of the group to `target`, at once and atomically: no DMA is
    /// blocked in between, and after an error all of them are where they were. Their PASIDs stay
    /// where they are: [`replace_pasid`](Self::replace_pasid) moves these.
    ///
    /// # Errors
    /// [`Error::NotAttached`]; [`Error::GroupShared`] if nothing is known of the group and several
    /// devices are attached, or of another device that is: it cannot be told which would move;
    /// [`Error::ForeignContext`]; else as for [`Device::attach`].
    pub fn replace(&self, target: impl Into<Target>) -> Result<()> {
        let target = target.into();
        self.replace_all(None, &target)?;
        target.settle()
    }

    /// Moves `pasid` of all devices of the group that have it attached to `target`, at once and
    /// atomically, as [`replace`](Self::replace) does with the devices themselves. These, and other
    /// PASIDs, stay where they are.
    ///
    /// Since Linux 6.15.
    ///
    /// # Errors
    /// [`Error::NotAttached`]: no device of the group has it attached; [`Error::NotForPasids`];
    /// [`Error::GroupShared`] and [`Error::ForeignContext`] as for [`replace`](Self::replace); else
    /// as for [`Device::attach_pasid`].
    pub fn replace_pasid(&self, pasid: Pasid, target: impl Into<PasidTarget>) -> Result<()> {
        self.replace_all(Some(pasid), &target.into().into())
    }

    /// Moves all devices of the group, or the `pasid` of all, but no stranger.
    fn replace_all(&self, pasid: Option<Pasid>, target: &Target) -> Result<()> {
        self.state
            .replace(pasid, target, |state, moved| match state.identity {
                GroupIdentity::Unknown => state.check_alone(moved),
                GroupIdentity::Alone | GroupIdentity::Group(_) => state.check_alone(moved.min(1)),
            })
    }

    /// Moves a device, or a PASID, that must be the only one to move.
    pub(crate) fn replace_alone(&self, pasid: Option<Pasid>, target: &Target) -> Result<()> {
        self.state
            .replace(pasid, target, |state, moved| state.check_alone(moved))
    }

    /// Attaches `device`, of this group, or one of its PASIDs, to `target`, of the same context.
    pub(crate) fn attach(
        &self,
        device: &Device,
        pasid: Option<Pasid>,
        target: Target,
    ) -> Result<()> {
        let context = device.iommufd().context();
        self.state.process.check()?;
        target.check_for(device.id())?;
        let member = Member {
            device: device.id(),
            pasid,
            driver: Arc::clone(device.driver()),
            target,
            stuck: false,
        };
        // Dropped after the lock and the notices, as in `detach`.
        let _left: Member;
        let mut notices = context.notices();
        // Made last, the lock is released first: whatever a refusal drops, it is dropped after.
        let mut members = self.state.lock();
        if let Some(at) = position(&members, device, pasid) {
            if !members[at].stuck {
                return Err(Error::AlreadyAttached);
            }
            // There is no attachment of it: what a drop could not do is done now.
            _left = self.state.detach(&mut members, at, &mut notices)?;
        }
        self.state
            .check_pasids(&members, member.device, pasid, &member.target)?;
        if let GroupIdentity::Group(group) = self.state.identity
            && members
                .iter()
                .any(|other| other.pasid == pasid && other.target != member.target)
        {
            return Err(Error::GroupAttachedElsewhere { group });
        }
        if let Err(refused) = member.attach(&member.target, &mut notices) {
            // What the error says takes an ioctl, of which the observer hears: not under the lock.
            drop(members);
            drop(notices);
            return Err(member.target.attach_error(refused));
        }
        members.push(member);
        self.state
            .count(|count| count.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }

    /// Detaches `device`, or one of its PASIDs, if it is attached.
    pub(crate) fn detach(&self, device: &Device, pasid: Option<Pasid>) -> Result<()> {
        let context = device.iommufd().context();
        self.state.process.check()?;
        // Dropped after the lock: it may be the last that keeps the page table, and the driver.
        // And after the notices, so that an observer hears of things in their order.
        let _released: Member;
        let mut notices = context.notices();
        let mut members = self.state.members.lock();
        if let Some(at) = position(&members, device, pasid) {
            _released = self.state.detach(&mut members, at, &mut notices)?;
        }
        Ok(())
    }

    /// Whether the device `id` has an attachment.
    pub(crate) fn has_attached(&self, id: u32) -> bool {
        self.with_member(id, None, |member| !member.stuck)
            .unwrap_or(false)
    }

    /// Notes that the kernel would not detach the device `id`, or its PASID, whose attachment goes.
    ///
    /// What the kernel does not need for that is given up: a virtual device holds the device, whose
    /// release is what will detach it.
    #[must_use = "it is to be dropped with no lock held"]
    pub(crate) fn leave_stuck(&self, id: u32, pasid: Option<Pasid>) -> Option<Arc<VDeviceInner>> {
        self.with_member(id, pasid, |member| {
            member.stuck = true;
            member.target.take_vdevice()
        })
        .flatten()
    }

    /// Gives up a device that is still attached, or has PASIDs that are, and is released by its
    /// owner, who has the driver: that detaches them.
    #[must_use = "the page tables are to be dropped after the device is released"]
    pub(crate) fn give_up(&self, id: u32) -> Vec<Target> {
        if self.state.process.check().is_err() {
            return Vec::new();
        }
        let mut members = self.state.members.lock();
        // Not with a driver to each: the first table would go before the last driver.
        let given_up: Vec<_> = members
            .extract_if(.., |member| member.device == id)
            .map(|member| member.target)
            .collect();
        self.state
            .count(|count| count.fetch_sub(given_up.len(), Ordering::Relaxed));
        given_up
    }

    fn with_member<T>(
        &self,
        id: u32,
        pasid: Option<Pasid>,
        look: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        self.state.process.check().ok()?;
        let mut members = self.state.members.lock();
        let member = members.iter_mut().find(|member| member.is(id, pasid))?;
        Some(look(member))
    }

    /// What `device`, or one of its PASIDs, is attached to.
    pub(crate) fn target_of(&self, device: &Device, pasid: Option<Pasid>) -> Option<Target> {
        self.with_member(device.id(), pasid, |member| member.target.clone())
    }
}

impl GroupState {
    /// Takes the turn to attach or move devices of the group.
    fn lock(&self) -> Locked<'_> {
        let turns = &self.census.turns;
        let _turn = match self.identity {
            GroupIdentity::Alone => Turn::Any,
            GroupIdentity::Group(_) => Turn::SideBySide {
                _turn: turns.read(),
            },
            GroupIdentity::Unknown => Turn::Alone {
                _turn: turns.write(),
            },
        };
        let members = self.members.lock();
        Locked { members, _turn }
    }

    /// Detaches one of the members, and takes it out: it is to be dropped with no lock held.
    fn detach(
        &self,
        members: &mut Vec<Member>,
        at: usize,
        notices: &mut Notices<'_>,
    ) -> Result<Member> {
        members[at].detach(notices)?;
        members[at].target.ioas().inner.layout_changed();
        self.count(|count| count.fetch_sub(1, Ordering::Relaxed));
        Ok(members.swap_remove(at))
    }

    /// Moves all devices, or the `pasid` of all devices, to `target`, if so many are `allowed` to.
    fn replace(
        &self,
        pasid: Option<Pasid>,
        target: &Target,
        allowed: impl FnOnce(&Self, usize) -> Result<()>,
    ) -> Result<()> {
        let context = target.iommufd().context();
        self.process.check()?;
        // Dropped after the lock and the notices, as in `detach`.
        let mut released = Vec::new();
        let mut notices = context.notices();
        let mut members = self.lock();
        let to_move = || members.iter().filter(|member| member.pasid == pasid);
        let first = to_move().next().ok_or(Error::NotAttached)?;
        target.iommufd().must_be(first.target.iommufd(), "target")?;
        allowed(self, to_move().count())?;
        for member in to_move() {
            // One virtual device is for one device: a target with one moves nobody else.
            target.check_for(member.device)?;
            self.check_pasids(&members, member.device, pasid, target)?;
        }
        // The kernel moves the others with the first.
        if let Err(refused) = first.attach(target, &mut notices) {
            // As in `attach`.
            drop(members);
            drop(notices);
            return Err(target.attach_error(refused));
        }
        for member in members.iter_mut().filter(|member| member.pasid == pasid) {
            member.target.ioas().inner.layout_changed();
            let mut target = target.clone();
            if member.stuck {
                // As in `leave_stuck`; the last handle is not this one, but the caller's.
                target.take_vdevice();
            }
            released.push(std::mem::replace(&mut member.target, target));
        }
        Ok(())
    }

    /// Refuses a table that is not for PASIDs where one of the device, or of its group, is attached
    /// or shall be.
    fn check_pasids(
        &self,
        members: &[Member],
        device: u32,
        pasid: Option<Pasid>,
        target: &Target,
    ) -> Result<()> {
        // Of devices whose groups nobody knows only the device itself is certainly of its group.
        let mut group = members
            .iter()
            .filter(|member| member.device == device || self.identity != GroupIdentity::Unknown);
        let refused = match pasid {
            Some(_) if !target.is_for_pasids() => "table to be attached",
            Some(_)
                if group.any(|member| member.pasid.is_none() && !member.target.is_for_pasids()) =>
            {
                "table that the device itself is attached to"
            }
            None if !target.is_for_pasids() && group.any(|member| member.pasid.is_some()) => {
                "table to be attached beside a PASID"
            }
            _ => return Ok(()),
        };
        Err(Error::NotForPasids { what: refused })
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

/// Where the device, or its PASID, is among the members.
fn position(members: &[Member], device: &Device, pasid: Option<Pasid>) -> Option<usize> {
    let is = |member: &Member| member.is(device.id(), pasid);
    members.iter().position(is)
}

impl Member {
    fn is(&self, device: u32, pasid: Option<Pasid>) -> bool {
        self.device == device && self.pasid == pasid
    }

    fn attach(&self, target: &Target, notices: &mut Notices<'_>) -> Result<(), KernelError> {
        let id = target.page_table_id();
        let answer = match self.pasid {
            // SAFETY: `target` is borrowed, so it is alive; that it is of the device's context was
            // checked. The group keeps a clone of it as long as the device is attached to it.
            None => unsafe { self.driver.attach(id, notices) },
            // SAFETY: the same.
            Some(pasid) => unsafe { self.driver.attach_pasid(pasid, id, notices) },
        };
        // After a refusal, too: the kernel may have reserved addresses, and have given them up.
        target.ioas().inner.layout_changed();
        answer
    }

    fn detach(&self, notices: &mut Notices<'_>) -> Result<()> {
        let answer = match self.pasid {
            // SAFETY: the attachment that relied on it is what asks for the detach, and is used up.
            None => unsafe { self.driver.detach(notices) },
            // SAFETY: the same.
            Some(pasid) => unsafe { self.driver.detach_pasid(pasid, notices) },
        };
        Ok(answer?)
    }
}

equal_by!(state: Group);

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}
