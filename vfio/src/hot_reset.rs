//! Resets of a bus or slot, and of every function on it.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use iommufd::driver::device_with_id;
use iommufd::{DeviceKey, Iommufd};
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::address::PciAddress;
use crate::bound::Bound;
use crate::buffer::AlignedBytes;
use crate::cause::refusal;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gate::Revocation;
use crate::query::malformed;
use crate::switches;

/// The first call tells how many there are, the second has the room; more if some were plugged in
/// or out meanwhile.
const ROUNDS: usize = 8;

/// More functions than there can be below one bridge: 256 buses of 256 functions.
const MOST: usize = 1 << 16;

const GET_INFO: &str = nr::DEVICE_GET_PCI_HOT_RESET_INFO.name();

/// What `VFIO_PCI_DEVID_NOT_OWNED` is as an id: the header has it as -1.
const NOT_OWNED: u32 = sys::VFIO_PCI_DEVID_NOT_OWNED.cast_unsigned();

/// Whose a function is that a hot reset takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FunctionOwner {
    /// It is bound to the same context.
    #[doc(alias = "VFIO_PCI_HOT_RESET_FLAG_DEV_ID")]
    Bound,
    /// It is not bound, but another function of its IOMMU group is, to the same context. So it is
    /// nobody else's.
    #[doc(alias = "VFIO_PCI_DEVID_OWNED")]
    Group,
    /// It is somebody else's, or may become that: a hot reset is refused.
    #[doc(alias = "VFIO_PCI_DEVID_NOT_OWNED")]
    Other,
}

/// A function that a hot reset takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AffectedFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Whose it is.
    pub owner: FunctionOwner,
    /// Which device of this process it is, if it is bound to the same context: see
    /// [`iommufd::Device::key`]. What another process has bound to the context has none here.
    pub device: Option<DeviceKey>,
}

impl AffectedFunction {
    /// What `raw` says, where `key` is the device of an id.
    fn of(
        raw: &sys::vfio_pci_dependent_device,
        key: impl Fn(u32) -> Result<Option<DeviceKey>>,
    ) -> Result<Self> {
        let owner = match raw.devid() {
            sys::VFIO_PCI_DEVID_OWNED => FunctionOwner::Group,
            NOT_OWNED => FunctionOwner::Other,
            _ => FunctionOwner::Bound,
        };
        Ok(Self {
            address: address(raw)?,
            owner,
            device: match owner {
                FunctionOwner::Bound => key(raw.devid())?,
                _ => None,
            },
        })
    }
}

/// What a hot reset takes with it: see [`Device::hot_reset_scope`].
///
/// It says how it was when it was asked for: functions come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotResetScope {
    functions: Vec<AffectedFunction>,
}

impl HotResetScope {
    /// The functions, the device itself among them.
    #[must_use]
    pub fn functions(&self) -> &[AffectedFunction] {
        &self.functions
    }

    /// Whether all of them are the context's, so that the kernel resets them.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.others().is_empty()
    }

    /// Whether it takes a device with it.
    #[must_use]
    pub fn includes(&self, device: &Device) -> bool {
        let key = Some(device.iommu().key());
        self.functions.iter().any(|function| function.device == key)
    }

    fn others(&self) -> Vec<PciAddress> {
        let other = |function: &&AffectedFunction| function.owner == FunctionOwner::Other;
        self.functions
            .iter()
            .filter(other)
            .map(|function| function.address)
            .collect()
    }

    /// Of the devices that must be named, those that are not.
    fn unnamed(&self, named: &[DeviceKey]) -> Vec<PciAddress> {
        let is_named = |key| named.contains(&key);
        let unnamed = |function: &&AffectedFunction| {
            function.owner == FunctionOwner::Bound && !function.device.is_some_and(is_named)
        };
        self.functions
            .iter()
            .filter(unnamed)
            .map(|function| function.address)
            .collect()
    }

    fn parse(
        flags: u32,
        raw: &[sys::vfio_pci_dependent_device],
        key: impl Fn(u32) -> Result<Option<DeviceKey>>,
    ) -> Result<Self> {
        // Without the flag the ids are those of groups: the file is a group's.
        if flags & sys::VFIO_PCI_HOT_RESET_FLAG_DEV_ID == 0 {
            return Err(malformed(GET_INFO, "no ids of devices"));
        }
        let functions = raw
            .iter()
            .map(|raw| AffectedFunction::of(raw, &key))
            .collect::<Result<_>>()?;
        let scope = Self { functions };
        let owned = flags & sys::VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED != 0;
        match scope.is_owned() == owned {
            true => Ok(scope),
            false => Err(malformed(
                GET_INFO,
                "it contradicts itself about who owns what",
            )),
        }
    }
}

impl Device {
    /// What a [hot reset](Self::hot_reset) would take with it: every function in the slot of the
    /// device, where the slot can be reset, else every one on its bus and below.
    ///
    /// Since Linux 6.6 (by the character device).
    ///
    /// # Errors
    /// `ENODEV`: the device is in no slot, and on no bus below a bridge, that can be reset. `EAGAIN`:
    /// functions are being plugged in or out. `ENOTTY`: it is no PCI function. [`Error::Malformed`], if
    /// the kernel's answer makes no sense; [`iommufd::Error::Forked`].
    ///
    /// # System calls
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`, until two answers are the same.
    #[doc(alias = "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO")]
    pub fn hot_reset_scope(&self) -> Result<HotResetScope> {
        scope(self.bound(), self.iommu().iommufd())
    }

    /// Resets the bus or slot of the device, and with it all that
    /// [`hot_reset_scope`](Self::hot_reset_scope) says: for devices that have no [reset](crate::OpenDevice::reset)
    /// of their own, or do not come back by it.
    ///
    /// Those of the functions that are bound to this context are named: `others` are all but this
    /// one. (More may be named: those on other buses stay as they are.)
    ///
    /// It waits for accesses of mapped registers of all of them that are under way; those that come
    /// meanwhile are refused with [`Error::Revoked`].
    ///
    /// # What it does
    /// - Registers of all the functions are as after power-on. Configuration space, the command
    ///   register and base addresses among it, is as before: the kernel saves and restores it.
    /// - Interrupts stay enabled, and arrive as soon as the device raises them again: their side in
    ///   the device is restored. What was about to be raised is lost.
    /// - Attachments and mappings of memory stay. DMA that is under way ends, and during the reset
    ///   there is none. To attach, detach or replace fails meanwhile with `EBUSY`.
    /// - Mappings of registers stay.
    ///
    /// Since Linux 6.6 (by the character device).
    ///
    /// ```no_run
    /// # fn example(card: &vfio::Device, audio: &vfio::Device) -> vfio::Result<()> {
    /// for function in card.hot_reset_scope()?.functions() {
    ///     println!("{}: {:?}", function.address, function.owner);
    /// }
    /// // Both functions of the card are bound to this context.
    /// card.hot_reset(&[audio])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// With nothing reset: [`Error::HotResetNotOwned`]: a function is not this context's.
    /// [`Error::HotResetUnnamed`]: a device of this context is neither this one nor in `others`.
    /// [`FeatureError::Migrating`](crate::FeatureError::Migrating): one of them is being migrated.
    /// [`Error::AccessHeld`]: this thread holds an access of the registers of one of them. `EBUSY`:
    /// registers of one of them are being accessed by system call; try again. `EINVAL`: a function has
    /// become another's meanwhile, or is bound to no VFIO driver. And those of
    /// [`hot_reset_scope`](Self::hot_reset_scope).
    ///
    /// # System calls
    /// Those of [`hot_reset_scope`](Self::hot_reset_scope), then `VFIO_DEVICE_PCI_HOT_RESET`.
    #[doc(alias = "VFIO_DEVICE_PCI_HOT_RESET")]
    pub fn hot_reset(&self, others: &[&Self]) -> Result<()> {
        let scope = self.hot_reset_scope()?;
        let not_owned = scope.others();
        if !not_owned.is_empty() {
            return Err(Error::HotResetNotOwned {
                functions: not_owned,
            });
        }
        let named = [self].into_iter().chain(others.iter().copied());
        let named: Vec<_> = named.filter(|device| scope.includes(device)).collect();
        let keys: Vec<_> = named.iter().map(|device| device.iommu().key()).collect();
        let functions = scope.unnamed(&keys);
        if !functions.is_empty() {
            return Err(Error::HotResetUnnamed { functions });
        }
        let affected: Vec<_> = named.iter().map(|device| device.bound()).collect();
        reset(self.bound(), &affected, &[])
    }
}

/// Resets the bus or slot of `bound`, while nobody accesses the mapped registers of `affected`, of
/// each of which it is the only one here. `groups` are the files of the groups of all the functions
/// if `bound` was opened by way of its group; else there are none.
pub(crate) fn reset(
    bound: &Bound,
    affected: &[&Arc<Bound>],
    groups: &[BorrowedFd<'_>],
) -> Result<()> {
    let _resetting = affected
        .iter()
        .map(|bound| bound.resets.begin())
        .collect::<Result<Vec<_>, _>>()?;
    let mut request = request(groups).ok_or(malformed(
        "the list of groups",
        "longer than a request can be",
    ))?;
    // Several may have a gate closed, so the order is no matter.
    let closed = affected
        .iter()
        .map(|bound| bound.close_gate(Revocation::Reset))
        .collect::<Result<Vec<_>>>()?;
    let answer = bound
        .sized(&nr::DEVICE_PCI_HOT_RESET, &mut request)
        .map(drop);
    if answer
        .as_ref()
        .is_err_and(|error| error.errno() == Some(Errno::NODEV))
    {
        // The kernel has not begun. (When it refuses something else, it may have taken away the
        // pages of some.)
        closed.into_iter().for_each(crate::gate::Closed::cancel);
        return answer;
    }
    for bound in affected {
        switches::after_reset(bound);
    }
    answer
}

fn request(groups: &[BorrowedFd<'_>]) -> Option<AlignedBytes> {
    let numbers: Vec<i32> = groups.iter().map(AsRawFd::as_raw_fd).collect();
    let mut head = sys::vfio_pci_hot_reset::sized();
    head.count = u32::try_from(numbers.len()).ok()?;
    let len = size_of_val(&head).checked_add(size_of_val(&*numbers))?;
    let mut arg = AlignedBytes::zeroed(len);
    arg.put(0, &head)?;
    arg.put(size_of_val(&head), &*numbers)?;
    Some(arg)
}

/// What the kernel says, and whom it means by it: an id is another device's when the first has gone.
fn scope(bound: &Bound, iommufd: &Iommufd) -> Result<HotResetScope> {
    let ioctl = &nr::DEVICE_GET_PCI_HOT_RESET_INFO;
    let ask = || {
        let (flags, functions) = query(|arg| bound.sized(ioctl, arg).map(drop))?;
        HotResetScope::parse(flags, &functions, |id| Ok(device_with_id(iommufd, id)?))
    };
    let mut before = ask()?;
    for _ in 0..ROUNDS {
        let after = ask()?;
        // A key is never used again: these devices were there when the kernel named them.
        if before == after {
            return Ok(after);
        }
        before = after;
    }
    Err(refusal(ioctl.describe(), Errno::AGAIN).into())
}

/// The functions that a hot reset takes with it, and what their ids mean, as `ask` tells.
pub(crate) fn query(
    ask: impl Fn(&mut AlignedBytes) -> Result<()>,
) -> Result<(u32, Vec<sys::vfio_pci_dependent_device>)> {
    type Head = sys::vfio_pci_hot_reset_info;
    type Function = sys::vfio_pci_dependent_device;
    let mut room = 0_usize;
    let mut last = malformed(GET_INFO, "longer at every call");
    for _ in 0..ROUNDS {
        // No overflow, as there is no more room than for `MOST`.
        let mut answer = AlignedBytes::zeroed(size_of::<Head>() + room * size_of::<Function>());
        answer
            .put(0, &Head::sized())
            .ok_or(malformed(GET_INFO, "shorter than its own head"))?;
        let answered = ask(&mut answer);
        let head: Head = answer
            .head()
            .ok_or(malformed(GET_INFO, "shorter than its own head"))?;
        let count = usize::try_from(head.count).unwrap_or(usize::MAX);
        match answered {
            Ok(()) => {
                let functions = answer.bytes().get(size_of::<Head>()..).unwrap_or_default();
                let (functions, _) = <[Function]>::ref_from_prefix_with_elems(functions, count)
                    .map_err(|_| malformed(GET_INFO, "longer than there was room for"))?;
                return Ok((head.flags, functions.to_vec()));
            }
            Err(error) if error.errno() == Some(Errno::NOSPC) && count <= MOST => {
                room = count;
                last = error;
            }
            // Some were plugged in or out between the kernel's counting and telling.
            Err(error) if error.errno() == Some(Errno::AGAIN) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn address(raw: &sys::vfio_pci_dependent_device) -> Result<PciAddress> {
    // Five bits of device, three of function.
    let (device, function) = (raw.devfn >> 3, raw.devfn & 7);
    PciAddress::new(raw.segment.into(), raw.bus, device, function)
        .ok_or(malformed(GET_INFO, "a function is nowhere"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::os::fd::AsFd;

    use iommufd::KernelError;
    use zerocopy::IntoBytes;

    fn function(id: u32, devfn: u8) -> sys::vfio_pci_dependent_device {
        sys::vfio_pci_dependent_device {
            group_id: id,
            segment: 2,
            bus: 0x1f,
            devfn,
        }
    }

    fn refused(errno: Errno) -> Error {
        KernelError::new(GET_INFO, errno, "a test").into()
    }

    /// No device of this process.
    fn unknown(_: u32) -> Result<Option<DeviceKey>> {
        Ok(None)
    }

    /// A kernel that knows of `counts[n]` functions at the n-th call.
    fn asked(counts: &[u32]) -> (Result<usize>, Vec<u32>) {
        let calls = RefCell::new(Vec::new());
        let answer = query(|arg| {
            let mut calls = calls.borrow_mut();
            let count = *counts.get(calls.len()).or(counts.last()).unwrap();
            let mut head: sys::vfio_pci_hot_reset_info = arg.head().unwrap();
            let room = (arg.bytes().len() - 12) / 8;
            calls.push(u32::try_from(room).unwrap());
            head.count = count;
            head.flags = 1;
            arg.put(0, &head).unwrap();
            if count as usize > room {
                return Err(refused(Errno::NOSPC));
            }
            for place in 0..count {
                arg.put(12 + 8 * place as usize, &function(place + 1, 0))
                    .unwrap();
            }
            Ok(())
        });
        (
            answer.map(|(_, functions)| functions.len()),
            calls.into_inner(),
        )
    }

    #[test]
    fn the_room_follows_how_many_there_are() {
        let (found, rooms) = asked(&[3]);
        assert_eq!((found.unwrap(), &*rooms), (3, &[0, 3][..]));
        let (found, rooms) = asked(&[1, 4, 2]);
        assert_eq!((found.unwrap(), &*rooms), (2, &[0, 1, 4][..]));
    }

    #[test]
    fn a_kernel_that_never_has_enough_is_left_alone() {
        let growing: Vec<u32> = (1..20).collect();
        let (found, rooms) = asked(&growing);
        assert_eq!(found.unwrap_err().errno(), Some(Errno::NOSPC));
        assert_eq!(rooms.len(), ROUNDS);
        assert_eq!(asked(&[u32::MAX]).1.len(), 1);
    }

    #[test]
    fn an_answer_is_read_as_it_stands() {
        let bytes: [u8; 8] = function(7, 0x2b).as_bytes().try_into().unwrap();
        assert_eq!(bytes, [7, 0, 0, 0, 2, 0, 0x1f, 0x2b]);
        let raw = [function(7, 0x2b), function(0, 0), function(u32::MAX, 1)];
        let scope = HotResetScope::parse(1, &raw, unknown).unwrap();
        assert!(!scope.is_owned());
        let seen: Vec<_> = scope
            .functions()
            .iter()
            .map(|function| (function.address.to_string(), function.owner))
            .collect();
        assert_eq!(
            seen,
            [
                ("0002:1f:05.3".to_owned(), FunctionOwner::Bound),
                ("0002:1f:00.0".to_owned(), FunctionOwner::Group),
                ("0002:1f:00.1".to_owned(), FunctionOwner::Other),
            ]
        );
        assert_eq!(scope.unnamed(&[]).len(), 1);
        assert!(
            HotResetScope::parse(3, &raw[..2], unknown)
                .unwrap()
                .is_owned()
        );
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_refused() {
        let raw = [function(7, 0), function(u32::MAX, 1)];
        for (flags, raw) in [
            (3, &raw[..]),
            (1, &raw[..1]),
            (0, &raw[..1]),
            (2, &raw[..1]),
        ] {
            let refused = HotResetScope::parse(flags, raw, unknown);
            assert!(matches!(refused, Err(Error::Malformed { .. })), "{flags}");
        }
        // More than there is room for.
        let overfull = query(|arg| {
            let mut head = sys::vfio_pci_hot_reset_info::sized();
            head.count = 2;
            arg.put(0, &head).unwrap();
            Ok(())
        });
        assert!(matches!(overfull, Err(Error::Malformed { .. })));
    }

    #[test]
    fn a_reset_names_every_group_or_none() {
        let words = |groups: &[BorrowedFd<'_>]| -> Vec<i32> {
            let arg = request(groups).unwrap();
            let words = arg.bytes().as_chunks().0.iter();
            words
                .skip(1)
                .map(|word| i32::from_ne_bytes(*word))
                .collect()
        };
        assert_eq!(words(&[])[..2], [0, 0]);
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        assert_eq!(words(&[file.as_fd(); 2])[..4], [0, 2, number, number]);
    }
}
