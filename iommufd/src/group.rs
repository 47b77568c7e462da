//! IOMMU groups: the kernel attaches whole groups, so what is attached is known by the group.

use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::context::Notices;
use crate::device::{Device, Kept};
use crate::error::{Error, Result};
use crate::fork::Process;
use crate::object::equal_by;
use crate::pasid::Pasid;
use crate::pasid_attachment::PasidTarget;
use crate::target::Target;
use crate::vdevice::VDeviceInner;

mod members;
mod numbers;

use members::{Member, Members, Released};

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

impl GroupIdentity {
    /// Whether two devices of which this is known may be of one group.
    pub(crate) fn may_be(self, other: Self) -> bool {
        match (self, other) {
            (Self::Alone, _) | (_, Self::Alone) => false,
            (Self::Group(one), Self::Group(other)) => one == other,
            (Self::Unknown, _) | (_, Self::Unknown) => true,
        }
    }
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
    members: Mutex<Members>,
    census: Arc<Census>,
    /// In a child of it the lock may be held for ever, so it is not taken there.
    process: Process,
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
    members: MutexGuard<'g, Members>,
    _turn: Turn<'g>,
}

/// What of a device is to be attached.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    /// The device itself, by its requests that carry no PASID.
    Device,
    /// A PASID that the caller has chosen.
    Chosen(Pasid),
    /// A PASID that was handed out, to the caller.
    Allocated(Pasid),
}

impl Who {
    pub(crate) fn pasid(self) -> Option<Pasid> {
        match self {
            Self::Device => None,
            Self::Chosen(pasid) | Self::Allocated(pasid) => Some(pasid),
        }
    }
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
    type Target = Members;

    fn deref(&self) -> &Members {
        &self.members
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Members {
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
                members: Mutex::new(Members::new(identity)),
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
        self.state.members.lock().attached(None).count()
    }

    /// Moves all attached devices of the group to `target`, at once: see [`Attachment::replace`] for
    /// what becomes of their DMA meanwhile, and after an error. Their PASIDs stay where they are:
    /// [`replace_pasid`](Self::replace_pasid) moves these.
    ///
    /// Devices that an earlier replace has left without translation are attached anew.
    ///
    /// [`Attachment::replace`]: crate::Attachment::replace
    ///
    /// # Errors
    /// [`Error::NotAttached`]; [`Error::GroupShared`] if nothing is known of the group and several
    /// devices are attached, or of another device that is: it cannot be told which would move;
    /// [`Error::ForeignContext`]; [`Error::LacksCapability`], of any of the devices, before one is
    /// moved; [`Error::TranslationLost`]; else as for [`Device::attach`].
    pub fn replace(&self, target: impl Into<Target>) -> Result<()> {
        let target = target.into();
        self.replace_all(None, &target)?;
        target.settle()
    }

    /// Moves `pasid` of all devices of the group that have it attached to `target`, at once, as
    /// [`replace`](Self::replace) does with the devices themselves. These, and other PASIDs, stay
    /// where they are.
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
        if target.is_nested() {
            // The kernel may be asked, and a handle may be the last: no lock is held.
            for device in self.members(pasid)? {
                target.iommufd().must_be(device.iommufd(), "target")?;
                target.fits(&device)?;
            }
        }
        self.state.replace(None, pasid, target)
    }

    /// The devices that have an attachment, or those whose `pasid` has one.
    fn members(&self, pasid: Option<Pasid>) -> Result<Vec<Device>> {
        self.state.process.check()?;
        let members: Vec<_> = {
            let members = self.state.members.lock();
            let of_it = members.iter().filter(|member| member.pasid == pasid);
            of_it
                .map(|member| (member.iommufd().clone(), member.named()))
                .collect()
        };
        // One that is gone has no attachment that could be moved.
        let found = members.iter().filter_map(|(iommufd, named)| {
            let device = iommufd.context().devices.find(*named)?;
            Some(Device::from_inner(device))
        });
        Ok(found.collect())
    }

    /// Moves `device`, or one of its PASIDs, which must be the only one to move.
    pub(crate) fn replace_alone(
        &self,
        device: &Device,
        pasid: Option<Pasid>,
        target: &Target,
    ) -> Result<()> {
        self.state.replace(Some(device.id()), pasid, target)
    }

    /// Hands out a PASID of at most `bits` bits; `None` if there is none.
    pub(crate) fn allocate_pasid(&self, bits: u8) -> Result<Option<Pasid>> {
        self.state.process.check()?;
        Ok(self.state.members.lock().allocate_pasid(bits))
    }

    /// A PASID that was handed out is not needed any more.
    pub(crate) fn give_back_pasid(&self, pasid: Pasid) {
        if self.state.process.check().is_ok() {
            self.state.members.lock().give_back_pasid(pasid);
        }
    }

    /// Attaches `device`, of this group, or what of it `who` is, to `target`, of the same context.
    pub(crate) fn attach(&self, device: &Device, who: Who, target: Target) -> Result<()> {
        let pasid = who.pasid();
        let context = device.iommufd().context();
        self.state.process.check()?;
        target.check_for(device.id())?;
        let id = device.id();
        let member = Member::new(device, pasid);
        // Dropped after the lock and the notices, as in `detach`.
        let mut released = Released::default();
        let mut notices = context.notices();
        // Made last, the lock is released first: whatever a refusal drops, it is dropped after.
        let mut members = self.state.lock();
        if let Who::Chosen(pasid) = who
            && members.is_allocated(pasid)
        {
            return Err(Error::PasidTaken { pasid });
        }
        if let Some(at) = members.position(id, pasid) {
            if members.at(at).has_attachment() {
                return Err(Error::AlreadyAttached);
            }
            // There is no attachment of it: what a drop could not do is done now.
            self.state
                .detach(&mut members, at, &mut notices, &mut released)?;
        }
        self.state.check_pasids(&members, id, pasid, &target)?;
        self.state.check_siblings(&members, pasid, &target)?;
        let answer = members.attach(member, &target, &mut notices, &mut released);
        if answer.is_ok() {
            self.state
                .count(|count| count.fetch_add(1, Ordering::Relaxed));
        }
        drop(members);
        drop(notices);
        answer.map_err(|failure| failure.explained(&target))
    }

    /// Detaches `device`, or one of its PASIDs, if it is attached.
    pub(crate) fn detach(&self, device: &Device, pasid: Option<Pasid>) -> Result<()> {
        let context = device.iommufd().context();
        self.state.process.check()?;
        // Dropped after the lock: it may be the last that keeps the page table, and the driver.
        // And after the notices, so that an observer hears of things in their order.
        let mut released = Released::default();
        let mut notices = context.notices();
        let mut members = self.state.members.lock();
        if let Some(at) = members.position(device.id(), pasid) {
            self.state
                .detach(&mut members, at, &mut notices, &mut released)?;
        }
        Ok(())
    }

    /// Whether the device `id` has an attachment.
    pub(crate) fn has_attached(&self, id: u32) -> bool {
        self.with_member(id, None, |member| member.has_attachment())
            .unwrap_or(false)
    }

    /// Notes that the kernel would not detach the device `id`, or its PASID, whose attachment goes.
    #[must_use = "it is to be dropped with no lock held"]
    pub(crate) fn leave_stuck(&self, id: u32, pasid: Option<Pasid>) -> Option<Arc<VDeviceInner>> {
        self.with_member(id, pasid, Member::leave_stuck).flatten()
    }

    /// Gives up a device that is still attached, or has PASIDs that are, and is released by its
    /// owner, who has the driver: that detaches them.
    #[must_use = "it is to be dropped after the device is released"]
    pub(crate) fn give_up(&self, id: u32) -> Kept {
        if self.state.process.check().is_err() {
            return Kept::default();
        }
        let (count, kept) = self.state.members.lock().give_up(id);
        self.state
            .count(|attached| attached.fetch_sub(count, Ordering::Relaxed));
        kept
    }

    /// How many attached siblings of the device `id` the kernel may know by way of it.
    pub(crate) fn anchored(&self, id: u32) -> usize {
        match self.state.process.check() {
            Ok(()) => self.state.members.lock().anchored(id),
            Err(_) => 0,
        }
    }

    fn with_member<T>(
        &self,
        id: u32,
        pasid: Option<Pasid>,
        look: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        self.state.process.check().ok()?;
        let mut members = self.state.members.lock();
        let place = members.position(id, pasid)?;
        Some(look(members.at_mut(place)))
    }

    /// What `device`, or one of its PASIDs, is attached to.
    pub(crate) fn target_of(&self, device: &Device, pasid: Option<Pasid>) -> Option<Target> {
        self.with_member(device.id(), pasid, |member| member.target().cloned())
            .flatten()
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

    /// Detaches one of the members, and takes it out.
    fn detach(
        &self,
        members: &mut Members,
        at: usize,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Result<()> {
        members.detach(at, notices, released)?;
        self.count(|count| count.fetch_sub(1, Ordering::Relaxed));
        Ok(())
    }

    /// Moves the `device`, or its `pasid`, to `target`, if it is the only one to move; or those of
    /// all devices.
    fn replace(&self, device: Option<u32>, pasid: Option<Pasid>, target: &Target) -> Result<()> {
        let context = target.iommufd().context();
        self.process.check()?;
        // Dropped after the lock and the notices, as in `detach`.
        let mut released = Released::default();
        let mut notices = context.notices();
        let mut members = self.lock();
        let plan = members.plan(device, pasid)?;
        for place in plan.places() {
            let iommufd = members.at(place).iommufd();
            target.iommufd().must_be(iommufd, "target")?;
        }
        if let moving @ 1.. = plan.moving.len() {
            let may_move = device.is_none() && self.identity != GroupIdentity::Unknown;
            self.check_alone(if may_move { 1 } else { moving })?;
        } else {
            // What is attached anew moves nobody, but goes where the others are.
            self.check_siblings(&members, pasid, target)?;
        }
        for place in plan.places() {
            // One virtual device is for one device: a target with one moves nobody else.
            let device = members.at(place).device;
            target.check_for(device)?;
            self.check_pasids(&members, device, pasid, target)?;
        }
        let answer = members.replace(&plan, target, &mut notices, &mut released);
        drop(members);
        drop(notices);
        answer.map_err(|failure| failure.explained(target))
    }

    /// Refuses to attach elsewhere than where others of the group are.
    fn check_siblings(
        &self,
        members: &Members,
        pasid: Option<Pasid>,
        target: &Target,
    ) -> Result<()> {
        let is_elsewhere = |member: &Member| member.target().is_some_and(|at| at != target);
        match self.identity {
            GroupIdentity::Group(group) if members.attached(pasid).any(is_elsewhere) => {
                Err(Error::GroupAttachedElsewhere { group })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a table that is not for PASIDs where one of the device, or of its group, is attached
    /// or shall be.
    fn check_pasids(
        &self,
        members: &Members,
        device: u32,
        pasid: Option<Pasid>,
        target: &Target,
    ) -> Result<()> {
        // Of devices whose groups nobody knows only the device itself is certainly of its group.
        let mut group = members
            .iter()
            .filter(|member| member.device == device || self.identity != GroupIdentity::Unknown);
        let is_for_others = |member: &Member| {
            let target = member.target().filter(|_| member.pasid.is_none());
            target.is_some_and(|target| !target.is_for_pasids())
        };
        let refused = match pasid {
            Some(_) if !target.is_for_pasids() => "table to be attached",
            Some(_) if group.any(is_for_others) => "table that the device itself is attached to",
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

equal_by!(state: Group);

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}
