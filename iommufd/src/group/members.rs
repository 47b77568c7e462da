//! Who of an IOMMU group is attached, to what, and by way of whom.

// UNSAFETY: calls the driver's attach and detach.
#![expect(unsafe_code, reason = "the driver's contract is an unsafe trait")]

use std::sync::Arc;

use rustix::io::Errno;

use crate::context::{Iommufd, Notices};
use crate::device::{Device, DeviceDriver, Kept};
use crate::devices::{DeviceKey, NamedDevice};
use crate::error::{Error, KernelError, Result, TranslationLost};
use crate::group::GroupIdentity;
use crate::group::numbers::Numbers;
use crate::pasid::Pasid;
use crate::target::Target;
use crate::vdevice::VDeviceInner;

/// The devices, and the PASIDs of devices, that have an attachment, or had one that the kernel
/// would not undo.
///
/// # Invariants
/// A member with a target is attached to it in the kernel. As long as there is one, each device to
/// which the kernel's record of the attachment may point is an anchor, and so stays bound.
pub(super) struct Members {
    list: Vec<Member>,
    anchors: Vec<Anchor>,
    /// The PASIDs that are handed out: none that a member has, but by way of who has it.
    numbers: Numbers,
    /// Nobody knows which of them are of one group: see [`anchored`](Self::anchored).
    mixed: bool,
}

/// One attached device, or one attached PASID of it.
pub(super) struct Member {
    pub(super) device: u32,
    /// `None`: the device itself, by its requests that carry no PASID.
    pub(super) pasid: Option<Pasid>,
    key: DeviceKey,
    iommufd: Iommufd,
    // The order matters: releasing the device detaches it, and then its page table can go.
    driver: Arc<dyn DeviceDriver>,
    /// `None`: it has an attachment, but the kernel has detached it, and would not attach it again.
    target: Option<Target>,
    /// Its attachment is gone, and the kernel would not detach it.
    stuck: bool,
}

/// A device by way of which the kernel attached, or last moved, those of its group.
///
/// The kernel attaches a group once, notes by which device, and looks at that device when a page
/// request comes or an interrupt is set up: also when it has been detached, and even closed and
/// freed, while others of its group stay attached (Linux 7.3). So it is not closed before.
struct Anchor {
    pasid: Option<Pasid>,
    device: u32,
    driver: Arc<dyn DeviceDriver>,
}

/// What is not needed any more: to be dropped with no lock held, and after the notices, so that an
/// observer hears of things in their order.
#[derive(Default)]
pub(super) struct Released {
    members: Vec<Member>,
    targets: Vec<Target>,
    anchors: Vec<Anchor>,
}

/// Which members a replace moves, and which it attaches anew: by their places.
pub(super) struct Plan {
    pub(super) moving: Vec<usize>,
    pub(super) anew: Vec<usize>,
}

/// Why nothing was attached or moved.
pub(super) enum Failure {
    /// The kernel refused; all is as it was.
    Refused(KernelError),
    /// And then it would not put everything back.
    Lost(TranslationLost),
}

impl Failure {
    /// The error of an attach to `target`. It can take an ioctl, of which the observer hears: not
    /// under a lock.
    pub(super) fn explained(self, target: &Target) -> Error {
        match self {
            Self::Refused(refused) => target.attach_error(refused),
            Self::Lost(lost) => Error::TranslationLost(Box::new(lost)),
        }
    }
}

impl Member {
    /// A device, or a PASID of one, that is not attached yet.
    pub(super) fn new(device: &Device, pasid: Option<Pasid>) -> Self {
        Self {
            device: device.id(),
            pasid,
            key: device.key(),
            iommufd: device.iommufd().clone(),
            driver: Arc::clone(device.driver()),
            target: None,
            stuck: false,
        }
    }

    fn is(&self, device: u32, pasid: Option<Pasid>) -> bool {
        self.device == device && self.pasid == pasid
    }

    /// What the kernel has it attached to.
    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Which device it is.
    pub(super) fn named(&self) -> NamedDevice {
        NamedDevice::new(self.device, self.key)
    }

    /// The context of the device.
    pub(super) fn iommufd(&self) -> &Iommufd {
        &self.iommufd
    }

    /// Whether there is an attachment of it.
    pub(super) fn has_attachment(&self) -> bool {
        !self.stuck
    }

    /// Its attachment goes, and the kernel would not detach it.
    ///
    /// What the kernel does not need for that is given up: a virtual device holds the device, whose
    /// release is what will detach it.
    pub(super) fn leave_stuck(&mut self) -> Option<Arc<VDeviceInner>> {
        self.stuck = true;
        self.target.as_mut().and_then(Target::take_vdevice)
    }

    /// Lets `target` be what it is attached to, and gives back what that was.
    fn set(&mut self, mut target: Target) -> Option<Target> {
        if self.stuck {
            // As in `leave_stuck`; the last handle is not this one, but the caller's.
            target.take_vdevice();
        }
        self.target.replace(target)
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

    fn detach(&self, notices: &mut Notices<'_>) -> Result<(), KernelError> {
        match self.pasid {
            // SAFETY: the attachment that relied on it is what asks for the detach, and is used up;
            // or it is to be attached again, and nobody is told that it is until then.
            None => unsafe { self.driver.detach(notices) },
            // SAFETY: the same.
            Some(pasid) => unsafe { self.driver.detach_pasid(pasid, notices) },
        }
    }
}

impl Members {
    pub(super) fn new(identity: GroupIdentity) -> Self {
        Self {
            list: Vec::new(),
            anchors: Vec::new(),
            numbers: Numbers::default(),
            mixed: identity == GroupIdentity::Unknown,
        }
    }

    /// Hands out a PASID of at most `bits` bits, which nobody has, nor had when the kernel would not
    /// detach it.
    pub(super) fn allocate_pasid(&mut self, bits: u8) -> Option<Pasid> {
        let list = &self.list;
        self.numbers.allocate(bits, |pasid| {
            list.iter().any(|member| member.pasid == Some(pasid))
        })
    }

    /// Whether a PASID is handed out.
    pub(super) fn is_allocated(&self, pasid: Pasid) -> bool {
        self.numbers.is_allocated(pasid)
    }

    /// A PASID that was handed out is not needed any more.
    pub(super) fn give_back_pasid(&mut self, pasid: Pasid) {
        self.numbers.give_back(pasid);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    /// Those that the kernel has attached by `pasid`.
    pub(super) fn attached(&self, pasid: Option<Pasid>) -> impl Iterator<Item = &Member> {
        let is = move |member: &&Member| member.pasid == pasid && member.target.is_some();
        self.list.iter().filter(is)
    }

    pub(super) fn position(&self, device: u32, pasid: Option<Pasid>) -> Option<usize> {
        self.list.iter().position(|member| member.is(device, pasid))
    }

    pub(super) fn at(&self, place: usize) -> &Member {
        &self.list[place]
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut Member {
        &mut self.list[place]
    }

    /// How many attached devices and PASIDs of others the kernel may know by way of `device`.
    pub(super) fn anchored(&self, device: u32) -> usize {
        let anchors = self.anchors.iter();
        anchors
            .filter(|anchor| anchor.device == device)
            .flat_map(|anchor| self.attached(anchor.pasid))
            .filter(|member| member.device != device)
            .count()
    }

    /// Adds `member`, when the kernel has attached it to `target`.
    pub(super) fn attach(
        &mut self,
        member: Member,
        target: &Target,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Result<(), Failure> {
        self.list.push(member);
        let place = self.list.len() - 1;
        let answer = self.attach_at(place, target, notices, released);
        if answer.is_err() {
            released.members.extend(self.list.pop());
        }
        answer.map_err(Failure::Refused)
    }

    /// Detaches one of the members, and takes it out.
    pub(super) fn detach(
        &mut self,
        place: usize,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Result<()> {
        self.detach_at(place, notices, released)?;
        released.members.push(self.list.swap_remove(place));
        Ok(())
    }

    /// Which members a replace is about, of all devices or of one.
    pub(super) fn plan(&self, device: Option<u32>, pasid: Option<Pasid>) -> Result<Plan> {
        let of = |is: &dyn Fn(&Member) -> bool| -> Vec<usize> {
            let members = self.list.iter().enumerate();
            members
                .filter(|(_, member)| member.pasid == pasid && is(member))
                .map(|(place, _)| place)
                .collect()
        };
        let is_lost = |member: &Member| member.target.is_none() && !member.stuck;
        let attached = || of(&|member| member.target.is_some());
        let plan = match device {
            None => Plan {
                moving: attached(),
                anew: of(&is_lost),
            },
            Some(device) => {
                let place = self.position(device, pasid).ok_or(Error::NotAttached)?;
                match self.list[place].target {
                    // The kernel moves the others with it.
                    Some(_) => Plan {
                        moving: attached(),
                        anew: Vec::new(),
                    },
                    None => Plan {
                        moving: Vec::new(),
                        anew: vec![place],
                    },
                }
            }
        };
        if plan.places().next().is_none() {
            return Err(Error::NotAttached);
        }
        Ok(plan)
    }

    /// Does what is planned.
    pub(super) fn replace(
        &mut self,
        plan: &Plan,
        target: &Target,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Result<(), Failure> {
        if let Some(&first) = plan.moving.first() {
            // The kernel moves the others with the first.
            if let Err(refused) = self.list[first].attach(target, notices) {
                return Err(self.put_back(first, refused, notices, released));
            }
            for &place in &plan.moving {
                let old = self.list[place].set(target.clone());
                if let Some(old) = &old {
                    old.ioas().inner.layout_changed();
                }
                released.targets.extend(old);
            }
            self.anchor(first, true, released);
        }
        for &place in &plan.anew {
            self.attach_at(place, target, notices, released)
                .map_err(Failure::Refused)?;
        }
        Ok(())
    }

    /// Makes sure that the members are still attached to what they were, after the kernel has
    /// `refused` to move them by the one at `first`.
    ///
    /// It says that they are, but VT-d's driver, and AMD's, stop a device's DMA before they look at
    /// what it shall be moved to, and do not let it go on. A move to where it was would be none.
    fn put_back(
        &mut self,
        first: usize,
        refused: KernelError,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Failure {
        if self.list[first].pasid.is_some() || is_harmless(refused.errno) {
            return Failure::Refused(refused);
        }
        let mut devices = Vec::new();
        let mut reason = None;
        let mut lost = |member: &Member, error| {
            devices.push(member.key);
            reason.get_or_insert(error);
        };
        let mut to_attach = Vec::new();
        for place in 0..self.list.len() {
            let member = &self.list[place];
            let (None, Some(target)) = (member.pasid, member.target.clone()) else {
                continue;
            };
            match self.detach_at(place, notices, released) {
                // What nobody holds attached is detached at last.
                Ok(()) if self.list[place].stuck => released.targets.push(target),
                Ok(()) => to_attach.push((place, target)),
                Err(error) => lost(&self.list[place], error),
            }
        }
        for (place, target) in to_attach {
            if let Err(error) = self.attach_at(place, &target, notices, released) {
                lost(&self.list[place], error);
                released.targets.push(target);
            }
        }
        match reason {
            None => Failure::Refused(refused),
            Some(reason) => Failure::Lost(TranslationLost {
                devices,
                refused,
                reason,
            }),
        }
    }

    /// Gives up what is still attached of a device that is released by its owner, who has the
    /// driver: that detaches it.
    pub(super) fn give_up(&mut self, device: u32) -> (usize, Kept) {
        // Not with a driver to each: the first table would go before the last driver.
        let given_up: Vec<_> = self
            .list
            .extract_if(.., |member| member.device == device)
            .collect();
        let count = given_up.len();
        let targets = given_up.into_iter().filter_map(|member| member.target);
        let targets = targets.collect();
        let mut released = Released::default();
        self.weigh_anchors(&mut released);
        // The kernel still has the device attached, by way of these; and it does not hold itself.
        let others = released.anchors.into_iter();
        let others = others.filter(|anchor| anchor.device != device);
        let drivers = others.map(|anchor| anchor.driver).collect();
        (count, Kept::new(targets, drivers))
    }

    /// Attaches the member at `place`, which is not attached.
    fn attach_at(
        &mut self,
        place: usize,
        target: &Target,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Result<(), KernelError> {
        let is_first = self.attached(self.list[place].pasid).next().is_none();
        self.list[place].attach(target, notices)?;
        released
            .targets
            .extend(self.list[place].set(target.clone()));
        self.anchor(place, is_first, released);
        Ok(())
    }

    /// Detaches the member at `place`, if it is attached.
    fn detach_at(
        &mut self,
        place: usize,
        notices: &mut Notices<'_>,
        released: &mut Released,
    ) -> Result<(), KernelError> {
        let member = &mut self.list[place];
        if member.target.is_some() {
            member.detach(notices)?;
        }
        if let Some(target) = member.target.take() {
            target.ioas().inner.layout_changed();
            released.targets.push(target);
        }
        self.weigh_anchors(released);
        Ok(())
    }

    /// Notes that the kernel has attached the member at `place`; and by way of it the others, too,
    /// if it `leads`.
    fn anchor(&mut self, place: usize, leads: bool, released: &mut Released) {
        let member = &self.list[place];
        let anchor = Anchor {
            pasid: member.pasid,
            device: member.device,
            driver: Arc::clone(&member.driver),
        };
        if self.mixed {
            // It may be the first of its group.
            let known =
                |other: &Anchor| (other.device, other.pasid) == (anchor.device, anchor.pasid);
            if !self.anchors.iter().any(known) {
                self.anchors.push(anchor);
            }
        } else if leads {
            let others = self
                .anchors
                .extract_if(.., |other| other.pasid == anchor.pasid);
            released.anchors.extend(others);
            self.anchors.push(anchor);
        }
    }

    /// Lets go of anchors to which nothing is attached any more.
    fn weigh_anchors(&mut self, released: &mut Released) {
        let list = &self.list;
        let is_idle = |anchor: &mut Anchor| {
            let attached =
                |member: &Member| member.pasid == anchor.pasid && member.target.is_some();
            !list.iter().any(attached)
        };
        released
            .anchors
            .extend(self.anchors.extract_if(.., is_idle));
    }
}

impl Plan {
    /// The places of all members that it is about.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.moving.iter().chain(&self.anew).copied()
    }
}

/// Whether a move that the kernel refuses so has not come to the IOMMU's driver, so that nothing was
/// stopped: a device of the group is being reset (and could not be attached again meanwhile), or
/// something is mapped where the device has reserved addresses.
fn is_harmless(errno: Errno) -> bool {
    matches!(errno, Errno::BUSY | Errno::ADDRINUSE)
}
