//! Resets of a bus or slot, and of every function on it.

mod by_groups;
mod carry_out;
mod query;

pub use self::by_groups::{GroupFunction, GroupResetScope};
use iommufd::driver::device_with_id;
use iommufd::{DeviceKey, Iommufd};
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use self::carry_out::reset;
use self::query::{GET_INFO, ROUNDS, address, query};
use crate::address::PciAddress;
use crate::bound::Bound;
use crate::cause::refusal;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::query::malformed;

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

#[cfg(test)]
mod tests {
    use super::*;

    use zerocopy::IntoBytes;

    fn function(id: u32, devfn: u8) -> sys::vfio_pci_dependent_device {
        sys::vfio_pci_dependent_device {
            group_id: id,
            segment: 2,
            bus: 0x1f,
            devfn,
        }
    }

    /// No device of this process.
    fn unknown(_: u32) -> Result<Option<DeviceKey>> {
        Ok(None)
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
    }
}
