//! The devices of a context, by the ids under which the kernel's messages speak of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::device::DeviceInner;

/// One device, told from every other of this process, before and after: the kernel hands out an id
/// again, this number is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeviceSerial(u64);

impl DeviceSerial {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The devices of one context that are bound. They hold the context, so it does not hold them.
///
/// # Invariants
/// A device leaves before it is released, so before the kernel hands out its id again: an entry
/// names the device that has the id.
#[derive(Default)]
pub(crate) struct Devices {
    bound: RwLock<HashMap<u32, Entry>>,
}

struct Entry {
    serial: DeviceSerial,
    device: Weak<DeviceInner>,
}

/// A device that the kernel has named. It may be gone by now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedDevice {
    id: u32,
    serial: DeviceSerial,
}

/// Who is who, as long as it is held: meanwhile no device is released, and no id changes hands.
///
/// A message that is read from the kernel meanwhile means the devices that have the ids now.
pub(crate) struct Names<'d> {
    bound: RwLockReadGuard<'d, HashMap<u32, Entry>>,
}

impl Devices {
    /// Adds a device that is bound under `id`.
    pub(crate) fn enter(&self, id: u32, serial: DeviceSerial, device: Weak<DeviceInner>) {
        // What it replaces, if anything, is dropped after the lock; it owns nothing.
        let _old = self.bound.write().insert(id, Entry { serial, device });
    }

    /// Removes a device, which is about to be released.
    pub(crate) fn leave(&self, id: u32, serial: DeviceSerial) {
        let mut bound = self.bound.write();
        if bound.get(&id).is_some_and(|entry| entry.serial == serial) {
            bound.remove(&id);
        }
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            bound: self.bound.read(),
        }
    }

    /// The device that was named, unless it is gone.
    pub(crate) fn find(&self, named: NamedDevice) -> Option<Arc<DeviceInner>> {
        // The lock is released before there is a handle, which may turn out to be the last one.
        let device = self.names().entry(named)?;
        device.upgrade()
    }
}

impl Names<'_> {
    /// Which device it is that has the id.
    pub(crate) fn of(&self, id: u32) -> Option<NamedDevice> {
        let serial = self.bound.get(&id)?.serial;
        Some(NamedDevice { id, serial })
    }

    fn entry(&self, named: NamedDevice) -> Option<Weak<DeviceInner>> {
        let entry = self.bound.get(&named.id)?;
        (entry.serial == named.serial).then(|| Weak::clone(&entry.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_pass_to_the_next_device_of_the_same_id() {
        let devices = Devices::default();
        let (first, second) = (DeviceSerial::next(), DeviceSerial::next());
        devices.enter(7, first, Weak::new());
        let named = devices.names().of(7).unwrap();
        assert!(devices.names().entry(named).is_some());
        devices.leave(7, second);
        assert!(devices.names().of(7).is_some(), "somebody else left");
        devices.leave(7, first);
        assert!(devices.names().of(7).is_none());
        devices.enter(7, second, Weak::new());
        assert!(devices.names().entry(named).is_none());
        assert_eq!(devices.names().of(7).unwrap().serial, second);
    }

    #[test]
    fn a_device_that_is_gone_is_not_found() {
        let devices = Devices::default();
        devices.enter(7, DeviceSerial::next(), Weak::new());
        let named = devices.names().of(7).unwrap();
        assert!(devices.find(named).is_none());
    }
}
