//! Message signalled interrupts, each vector an eventfd.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use iommufd::{Group, KernelError};
use rustix::io::Errno;

use crate::bound::Bound;
use crate::cause;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
use crate::holders::{Hold, Kind};
use crate::irq::enabled::Enabled;
use crate::irq::owned::OwnedVector;
use crate::irq::set::{Action, Which};
use crate::irq::{IrqFlags, IrqInfo, IrqKind, MsiKind, TRANSLATED};
use crate::query::malformed;

/// Enabled message signalled interrupts of one kind: disabled when dropped.
///
/// A device raises them only while bus mastering is enabled, as they are writes to memory:
/// see [`ConfigSpace::enable_bus_master`](crate::ConfigSpace::enable_bus_master).
///
/// It holds the device open. Dropping it waits until no interrupt is being handled any more;
/// [`disable`](Self::disable) does the same, and tells. What [`owned`](Self::owned) gave keeps them
/// enabled.
///
/// On Arm the IOMMU translates interrupts as it does all that the device writes: they can be
/// enabled while the device is attached, and those of a device that was detached do not arrive. (Before
/// Linux 6.15 neither do they when it is attached again, or elsewhere: they are to be disabled before
/// that, and enabled after it.)
///
/// A [reset](OpenDevice::reset) leaves them enabled: the kernel writes the device's side of it again. An
/// interrupt that the device was about to raise is lost.
///
/// Since Linux 6.6 (by the character device).
///
/// ```no_run
/// # fn example(device: &vfio::Device) -> vfio::Result<()> {
/// use std::time::Duration;
/// use vfio::{Interrupts, MsiKind};
///
/// let interrupts = Interrupts::enable(device, MsiKind::Msi, 1)?;
/// // … have the device do something …
/// if interrupts.vector(0)?.wait(Duration::from_secs(1))?.is_none() {
///     println!("no interrupt for a second");
/// }
/// interrupts.disable()?;
/// # Ok(())
/// # }
/// ```
///
/// # Vector by vector
/// Whoever hands vectors on, as a VMM does to its guest, [reserves](Self::reserve) as many as may be
/// used, and [connects](Self::connect) each to an eventfd of its own when the guest unmasks it. No
/// other vector is disturbed by that. Of MSI-X more can be had later, where the kernel can
/// ([`grows`](Self::grows)).
///
/// ```no_run
/// # fn example(device: &vfio::Device, guests: &std::os::fd::OwnedFd) -> vfio::Result<()> {
/// use vfio::{Interrupts, MsiKind};
///
/// let mut interrupts = Interrupts::reserve(device, MsiKind::MsiX, 8)?;
/// // The guest has unmasked vector 3, and KVM has its eventfd.
/// interrupts.connect(3, guests)?;
/// // The guest has masked it again.
/// interrupts.disable_vector(3)?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `VFIO_DEVICE_GET_INFO`, `VFIO_DEVICE_GET_IRQ_INFO`, `eventfd2` and `VFIO_DEVICE_SET_IRQS` to
/// enable them, the last of these to disable them, and for each vector; `fcntl` for a duplicate of an
/// eventfd that is not its own; `read` and `ppoll` to wait.
///
/// # Invariants
/// The kernel signals what `vectors` has, and has set aside as many vectors as `room` says.
#[must_use = "dropping the interrupts disables them"]
pub struct Interrupts {
    // Disabled before the eventfds are closed.
    enabled: Arc<Enabled>,
    /// What is attached or not with the device, if an IOMMU translates for it.
    group: Option<Group>,
    vectors: BTreeMap<u32, Target>,
    room: Room,
}

/// Which vectors can be enabled.
#[derive(Debug, Clone, Copy)]
struct Room {
    kind: MsiKind,
    /// How many the device has.
    available: u32,
    /// How many the kernel has set aside.
    room: u32,
    /// Whether it sets aside more.
    grows: bool,
}

impl Room {
    fn new(kind: MsiKind, info: IrqInfo, room: u32) -> Self {
        Self {
            kind,
            available: info.count,
            room,
            // The kernel says of MSI that it does not.
            grows: !info.flags.contains(IrqFlags::NORESIZE),
        }
    }

    /// Refuses a vector that the kernel would.
    fn check(self, vector: u32) -> Result<()> {
        let Self {
            available,
            room,
            grows,
            ..
        } = self;
        let kind = self.kind.into();
        if vector >= available {
            return Err(Error::VectorOutOfRange {
                kind,
                vector,
                available,
            });
        }
        if vector >= room && !grows {
            return Err(Error::NoRoom { kind, vector, room });
        }
        Ok(())
    }
}

/// Refuses to have vectors set aside where the kernel would refuse it and lose them.
fn check_attached(group: Option<&Group>, kind: IrqKind) -> Result<()> {
    match TRANSLATED && group.is_some_and(|group| group.attached() == 0) {
        true => Err(Error::InterruptsUnattached { kind }),
        false => Ok(()),
    }
}

/// What a vector signals.
enum Target {
    /// An eventfd that was made for it.
    Own(Arc<OwnedFd>),
    /// A duplicate of one that the caller waits for.
    Callers(OwnedFd),
}

impl Target {
    fn own() -> Result<Self> {
        Ok(Self::Own(Arc::new(eventfd::create()?)))
    }

    fn as_own(&self) -> Option<&Arc<OwnedFd>> {
        match self {
            Self::Own(eventfd) => Some(eventfd),
            Self::Callers(_) => None,
        }
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(eventfd) => eventfd.as_fd(),
            Self::Callers(eventfd) => eventfd.as_fd(),
        }
    }
}

impl Interrupts {
    /// Enables `count` vectors of `kind`, from 0 on, each with an eventfd of its own.
    ///
    /// # Errors
    /// [`Error::FewerVectors`], with nothing enabled, if the device has fewer, or the machine has
    /// no more to give; [`Error::NoInterrupts`] if the device has none of that kind,
    /// [`Error::NotPci`] if it has others; [`Error::InterruptsEnabled`] if interrupts are enabled
    /// already, of whichever kind;
    /// [`Error::NoVector`] for a count of 0; on Arm [`Error::InterruptsUnattached`] if no device of
    /// the IOMMU group is attached. `EMFILE`: too many open files. `ENOSPC`: the machine is out of
    /// vectors. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_SET_IRQS")]
    pub fn enable(device: &OpenDevice, kind: MsiKind, count: u32) -> Result<Self> {
        Self::start(device, kind, count, || Target::own().map(Some))
    }

    /// Enables interrupts of `kind` with room for `room` vectors, none of which signals anything
    /// yet: [`connect`](Self::connect) and [`enable_vector`](Self::enable_vector) have them do so.
    ///
    /// What the device raises meanwhile MSI-X keeps, once for each vector; of MSI it is lost.
    ///
    /// # Errors
    /// As for [`enable`](Self::enable).
    pub fn reserve(device: &OpenDevice, kind: MsiKind, room: u32) -> Result<Self> {
        Self::start(device, kind, room, || Ok(None))
    }

    fn start(
        device: &OpenDevice,
        kind: MsiKind,
        room: u32,
        target: impl Fn() -> Result<Option<Target>>,
    ) -> Result<Self> {
        let hold = Hold::new(device.bound(), Kind::Interrupts);
        let irq_kind = IrqKind::from(kind);
        let (enabled, (info, targets)) = Enabled::new(hold, irq_kind, |bound| {
            if room == 0 {
                return Err(Error::NoVector {
                    vector: 0,
                    enabled: 0,
                });
            }
            let fewer = |available| Error::FewerVectors {
                kind: irq_kind,
                requested: room,
                available,
            };
            let info = IrqInfo::of(bound, irq_kind)?;
            match info.count {
                0 => return Err(Error::NoInterrupts { kind: irq_kind }),
                available if available < room => return Err(fewer(available)),
                _ => {}
            }
            check_attached(device.group(), irq_kind)?;
            let targets = (0..room).map(|_| target()).collect::<Result<Vec<_>>>()?;
            let eventfds: Vec<_> = targets
                .iter()
                .map(|target| target.as_ref().map(AsFd::as_fd))
                .collect();
            let index = irq_kind.index();
            match super::set::set(bound, index, 0, Action::Trigger, Which::Eventfds(&eventfds))? {
                0 => Ok((info, targets)),
                // The kernel has enabled nothing, and says how many there could be.
                available => Err(fewer(available)),
            }
        })?;
        let vectors = (0..room).zip(targets);
        Ok(Self {
            enabled: Arc::new(enabled),
            group: device.group().cloned(),
            vectors: vectors
                .filter_map(|(vector, target)| Some((vector, target?)))
                .collect(),
            room: Room::new(kind, info, room),
        })
    }

    /// Their kind.
    #[must_use]
    pub fn kind(&self) -> MsiKind {
        self.room.kind
    }

    /// How many vectors are enabled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether no vector is enabled: see [`reserve`](Self::reserve).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// Whether a vector is enabled.
    #[must_use]
    pub fn is_enabled(&self, vector: u32) -> bool {
        self.vectors.contains_key(&vector)
    }

    /// How many vectors there is room for, from 0 on: as many as were asked for.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.room.room
    }

    /// Whether vectors can be enabled past their [room](Self::room). Of MSI they cannot; of MSI-X
    /// where the kernel can set one aside without disabling the others, since Linux 6.4.
    #[doc(alias = "VFIO_IRQ_INFO_NORESIZE")]
    #[must_use]
    pub fn grows(&self) -> bool {
        self.room.grows
    }

    /// Enables a vector by itself, with an eventfd of its own; if it was enabled, a new one takes the
    /// place of what it had signalled.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); `EMFILE`: too many open files.
    pub fn enable_vector(&mut self, vector: u32) -> Result<()> {
        self.check_room(vector)?;
        self.put(vector, Some(Target::own()?))
    }

    /// Has a vector signal `eventfd`, which is the caller's to wait for: enables it, or takes what it
    /// has signalled so far out.
    ///
    /// The kernel lets go of one eventfd before it takes another. An interrupt between the two is
    /// kept by MSI-X, and may be lost by MSI.
    ///
    /// # Errors
    /// [`Error::VectorOutOfRange`]: the device has fewer. [`Error::NoRoom`]: there are no vectors past
    /// the [room](Self::room) until all are disabled. [`Error::VectorHeld`]: an [`OwnedVector`] waits
    /// for what it would signal no more. On Arm [`Error::InterruptsUnattached`], past the room: no device
    /// of the IOMMU group is attached. `EINVAL`: it is no eventfd. `ENOSPC`: the machine is out of
    /// vectors. `EMFILE`. [`iommufd::Error::Forked`].
    ///
    /// What the vector signalled before, the kernel is asked to take back then: where it does not,
    /// the vector [is not enabled](Self::is_enabled) any more. The other vectors are as they were.
    pub fn connect(&mut self, vector: u32, eventfd: impl AsFd) -> Result<()> {
        self.check_room(vector)?;
        let duplicate = eventfd.as_fd().try_clone_to_owned().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
            KernelError::new("fcntl", errno, cause::of_eventfd(errno))
        })?;
        self.put(vector, Some(Target::Callers(duplicate)))
    }

    /// Disables a vector, and no other. The room for it stays. What the device raises then MSI-X keeps,
    /// once, until the vector is enabled again; of MSI it is lost.
    ///
    /// # Errors
    /// [`Error::NoVector`]: it was not enabled. [`Error::VectorHeld`]: an [`OwnedVector`] waits for it.
    /// The kernel's refusal, with the vector as it was; [`iommufd::Error::Forked`].
    pub fn disable_vector(&mut self, vector: u32) -> Result<()> {
        if !self.is_enabled(vector) {
            return Err(self.no_vector(vector));
        }
        self.put(vector, None)
    }

    /// Refuses a vector that the kernel would, or that it would lose.
    fn check_room(&self, vector: u32) -> Result<()> {
        self.room.check(vector)?;
        // There is one for it already.
        if vector < self.room.room || self.is_enabled(vector) {
            return Ok(());
        }
        // In a child of a fork none counts as attached.
        self.enabled.bound().watch().check_process()?;
        check_attached(self.group.as_ref(), self.kind().into())
    }

    /// Has the kernel signal `target` for `vector`, or nothing.
    fn put(&mut self, vector: u32, target: Option<Target>) -> Result<()> {
        self.enabled.bound().watch().check_process()?;
        let own = self.vectors.get(&vector).and_then(Target::as_own);
        // Handles of it are made through a shared reference to this, so there will be no more.
        if own.is_some_and(|eventfd| Arc::strong_count(eventfd) > 1) {
            return Err(Error::VectorHeld { vector });
        }
        match (self.ask(vector, target.as_ref()), target) {
            (Ok(()), Some(target)) => self.vectors.insert(vector, target).map_or((), drop),
            (Ok(()), None) => self.vectors.remove(&vector).map_or((), drop),
            (Err(error), None) => return Err(error),
            (Err(error), Some(_)) => {
                let before = self.vectors.get(&vector);
                if before.is_some() && self.ask(vector, before).is_err() {
                    self.vectors.remove(&vector);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn ask(&self, vector: u32, target: Option<&Target>) -> Result<()> {
        let eventfd = target.map(AsFd::as_fd);
        let which = Which::Eventfds(slice::from_ref(&eventfd));
        match self.enabled.set(vector, Action::Trigger, which)? {
            0 => Ok(()),
            _ => Err(malformed(
                "VFIO_DEVICE_SET_IRQS",
                "vectors are counted that were not asked for",
            )),
        }
    }

    /// Raises a vector, as if the device did: to see that whoever waits does what is to be done.
    ///
    /// # Errors
    /// [`Error::NoVector`]: it is not enabled; the kernel's refusal; [`iommufd::Error::Forked`].
    pub fn trigger(&self, vector: u32) -> Result<()> {
        if !self.is_enabled(vector) {
            return Err(self.no_vector(vector));
        }
        self.enabled
            .set(vector, Action::Trigger, Which::All(1))
            .map(drop)
    }

    /// Raises several vectors at once, each once, as [`trigger`](Self::trigger) does.
    ///
    /// # Errors
    /// As for [`trigger`](Self::trigger), with none raised.
    pub fn trigger_all(&self, vectors: impl IntoIterator<Item = u32>) -> Result<()> {
        let mut chosen = Vec::new();
        for vector in vectors {
            if !self.is_enabled(vector) {
                return Err(self.no_vector(vector));
            }
            let place = usize::try_from(vector).map_err(|_| self.no_vector(vector))?;
            if chosen.len() <= place {
                chosen.resize(place.saturating_add(1), false);
            }
            if let Some(chosen) = chosen.get_mut(place) {
                *chosen = true;
            }
        }
        // To raise none would be to disable all.
        if chosen.is_empty() {
            return Ok(());
        }
        self.enabled
            .set(0, Action::Trigger, Which::Only(&chosen))
            .map(drop)
    }

    /// One of the vectors.
    ///
    /// # Errors
    /// [`Error::NoVector`]: it is not enabled; [`Error::NotWaitedForHere`]: it signals an eventfd of
    /// the caller's.
    pub fn vector(&self, vector: u32) -> Result<Vector<'_>> {
        Ok(Vector {
            bound: self.enabled.bound(),
            vector,
            eventfd: self.own(vector)?.as_fd(),
        })
    }

    /// All the vectors with eventfds of their own, in order.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = Vector<'_>> {
        let own = self
            .vectors
            .iter()
            .filter_map(|(vector, target)| Some((*vector, target.as_own()?)));
        let vectors: Vec<_> = own
            .map(|(vector, eventfd)| Vector {
                bound: self.enabled.bound(),
                vector,
                eventfd: eventfd.as_fd(),
            })
            .collect();
        vectors.into_iter()
    }

    /// One of the vectors, to be kept: for another thread, or for an event loop.
    ///
    /// It keeps the interrupts enabled when this is dropped. As long as there is one, they cannot be
    /// disabled, nor can this vector.
    ///
    /// # Errors
    /// As for [`vector`](Self::vector).
    pub fn owned(&self, vector: u32) -> Result<OwnedVector> {
        let eventfd = Arc::clone(self.own(vector)?);
        Ok(OwnedVector::new(Arc::clone(&self.enabled), vector, eventfd))
    }

    fn own(&self, vector: u32) -> Result<&Arc<OwnedFd>> {
        let target = self
            .vectors
            .get(&vector)
            .ok_or_else(|| self.no_vector(vector))?;
        target.as_own().ok_or(Error::NotWaitedForHere)
    }

    fn no_vector(&self, vector: u32) -> Error {
        let enabled = u32::try_from(self.len()).unwrap_or(u32::MAX);
        Error::NoVector { vector, enabled }
    }

    /// Disables them, so that others can be enabled.
    ///
    /// # Errors
    /// The interrupts as they were, with [`Error::VectorsHeld`]: there are [`OwnedVector`]s; the
    /// kernel's refusal; [`iommufd::Error::Forked`].
    #[expect(clippy::result_large_err, reason = "it gives back what it was given")]
    pub fn disable(self) -> Result<(), Refused<Self>> {
        // Others are made through a reference to this.
        let holders = Arc::strong_count(&self.enabled).saturating_sub(1);
        let disabled = match holders {
            0 => self.enabled.stop(),
            _ => Err(Error::VectorsHeld { holders }),
        };
        disabled.map_err(|error| Refused::new(self, error))
    }
}

impl fmt::Debug for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupts")
            .field("kind", &self.kind())
            .field("vectors", &self.vectors.len())
            .finish_non_exhaustive()
    }
}

/// One interrupt vector: an eventfd that counts how often it has fired.
///
/// As a file (`AsFd`) it is readable when it has, for an event loop.
#[derive(Clone, Copy)]
pub struct Vector<'i> {
    bound: &'i Bound,
    vector: u32,
    eventfd: BorrowedFd<'i>,
}

impl Vector<'_> {
    /// Which vector it is.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.vector
    }

    /// Waits until the interrupt fires, at most `timeout`. Returns how often it has fired since it
    /// was last asked for, or `None` when the time is over.
    ///
    /// Of several threads that wait for one vector, one gets the count.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`]; `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        eventfd::wait(self.bound, self.eventfd, timeout)
    }

    /// How often the interrupt has fired since it was last asked for, without waiting; `None` if it
    /// has not.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`].
    pub fn take(&self) -> Result<Option<u64>> {
        eventfd::take(self.bound, self.eventfd)
    }
}

impl AsFd for Vector<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd
    }
}

impl fmt::Debug for Vector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vector")
            .field("number", &self.vector)
            .field("eventfd", &self.eventfd)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_past_the_room_are_there_only_where_it_grows() {
        let info = |flags| IrqInfo { flags, count: 8 };
        let fixed = Room::new(MsiKind::MsiX, info(IrqFlags::NORESIZE), 2);
        fixed.check(1).unwrap();
        for vector in [2, 7] {
            let refused = fixed.check(vector);
            assert!(matches!(refused, Err(Error::NoRoom { room: 2, .. })));
        }
        let growing = Room::new(MsiKind::MsiX, info(IrqFlags::EVENTFD), 2);
        growing.check(7).unwrap();
        for room in [fixed, growing] {
            for vector in [8, u32::MAX] {
                let refused = room.check(vector);
                assert!(matches!(
                    refused,
                    Err(Error::VectorOutOfRange { available: 8, .. })
                ));
            }
        }
    }
}
