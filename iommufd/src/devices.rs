//! The devices of a context, by the ids under which the kernel's messages speak of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::by_number::ByNumber;
use crate::device::DeviceInner;
use crate::group::GroupIdentity;

/// Which device it is: told from every other of this process, before and after. The kernel hands out
/// an id again, this is used once.
///
/// It holds nothing: a map by it does not keep the devices open. See
/// [`Device::key`](crate::Device::key). The order is that in which the devices were bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey(u64);

impl DeviceKey {
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
    bound: RwLock<ByNumber<u32, Entry>>,
}

struct Entry {
    key: DeviceKey,
    group: GroupIdentity,
    device: Weak<DeviceInner>,
}

/// A device that is not held: one that the kernel has named, or that is attached. It may be gone by
/// now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedDevice {
    id: u32,
    key: DeviceKey,
}

/// Who is who, as long as it is held: meanwhile no device is released, and no id changes hands.
///
/// A message that is read from the kernel meanwhile means the devices that have the ids now.
pub(crate) struct Names<'d> {
    bound: RwLockReadGuard<'d, ByNumber<u32, Entry>>,
}

impl Devices {
    /// Adds a device that is bound under `id`.
    pub(crate) fn enter(
        &self,
        id: u32,
        key: DeviceKey,
        group: GroupIdentity,
        device: Weak<DeviceInner>,
    ) {
        let entry = Entry { key, group, device };
        // What it replaces, if anything, is dropped after the lock; it owns nothing.
        let _old = self.bound.write().insert(id, entry);
    }

    /// How many others are, or may be, of the device's group, of which this is known.
    pub(crate) fn siblings(&self, key: DeviceKey, group: GroupIdentity) -> usize {
        let bound = self.bound.read();
        let others = bound.values().filter(|entry| entry.key != key);
        others.filter(|entry| entry.group.may_be(group)).count()
    }

    /// Removes a device, which is about to be released.
    pub(crate) fn leave(&self, id: u32, key: DeviceKey) {
        let mut bound = self.bound.write();
        if bound.get(&id).is_some_and(|entry| entry.key == key) {
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

impl NamedDevice {
    pub(crate) fn new(id: u32, key: DeviceKey) -> Self {
        Self { id, key }
    }

    pub(crate) fn key(self) -> DeviceKey {
        self.key
    }
}

impl Names<'_> {
    /// Which device it is that has the id.
    pub(crate) fn of(&self, id: u32) -> Option<NamedDevice> {
        let key = self.bound.get(&id)?.key;
        Some(NamedDevice { id, key })
    }

    fn entry(&self, named: NamedDevice) -> Option<Weak<DeviceInner>> {
        let entry = self.bound.get(&named.id)?;
        (entry.key == named.key).then(|| Weak::clone(&entry.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_pass_to_the_next_device_of_the_same_id() {
        let devices = Devices::default();
        let (first, second) = (DeviceKey::next(), DeviceKey::next());
        devices.enter(7, first, GroupIdentity::Alone, Weak::new());
        let named = devices.names().of(7).unwrap();
        assert!(devices.names().entry(named).is_some());
        devices.leave(7, second);
        assert!(devices.names().of(7).is_some(), "somebody else left");
        devices.leave(7, first);
        assert!(devices.names().of(7).is_none());
        devices.enter(7, second, GroupIdentity::Alone, Weak::new());
        assert!(devices.names().entry(named).is_none());
        assert_eq!(devices.names().of(7).unwrap().key, second);
    }

    #[test]
    fn siblings_are_those_that_are_or_may_be_of_one_group() {
        use GroupIdentity::{Alone, Group, Unknown};

        let group = |number| Group(crate::GroupId::new(number));
        let all = [Alone, group(1), group(1), group(2), Unknown];
        let devices = Devices::default();
        let keys = all.map(|_| DeviceKey::next());
        for ((id, key), group) in (0..).zip(keys).zip(all) {
            devices.enter(id, key, group, Weak::new());
        }
        let count = |place: usize| devices.siblings(keys[place], all[place]);
        assert_eq!([0, 1, 2, 3, 4].map(count), [0, 2, 2, 1, 3]);
        devices.leave(4, keys[4]);
        assert_eq!([0, 1, 2, 3].map(count), [0, 1, 1, 0]);
    }

    #[test]
    fn a_device_that_is_gone_is_not_found() {
        let devices = Devices::default();
        devices.enter(7, DeviceKey::next(), GroupIdentity::Alone, Weak::new());
        let named = devices.names().of(7).unwrap();
        assert!(devices.find(named).is_none());
    }
}
