//! Which functions this process has open by this crate, so that it does not wait for itself.

use std::collections::BTreeMap;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::address::PciAddress;

/// How many open files there are of each function.
static OPEN: Mutex<BTreeMap<PciAddress, usize>> = Mutex::new(BTreeMap::new());

/// The process that `OPEN` is about: the first that needed it. A child of it has a copy, of which
/// another thread may have held the lock when it was made, so there it is never looked at.
static OWNER: AtomicU32 = AtomicU32::new(0);

fn is_owner() -> bool {
    let own = process::id();
    match OWNER.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => true,
        Err(owner) => owner == own,
    }
}

/// How many files of the function this crate has open in this process. In a child of a fork nothing
/// is known.
pub(crate) fn count(address: PciAddress) -> usize {
    if !is_owner() {
        return 0;
    }
    OPEN.lock().get(&address).copied().unwrap_or(0)
}

/// Counts an open file of a function, if it is one of a function that is known.
#[derive(Debug)]
pub(crate) struct InUse(Option<PciAddress>);

impl InUse {
    pub(crate) fn new(address: Option<PciAddress>) -> Self {
        let address = address.filter(|_| is_owner());
        if let Some(address) = address {
            let mut open = OPEN.lock();
            let count = open.entry(address).or_default();
            *count = count.saturating_add(1);
        }
        Self(address)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Some(address) = self.0.filter(|_| is_owner()) else {
            return;
        };
        let mut open = OPEN.lock();
        match open.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_function() {
        // Of no other test's.
        let (one, two) = (
            PciAddress::new(0xabcd, 1, 2, 3),
            PciAddress::new(0xabcd, 1, 2, 4),
        );
        let now = || (count(one.unwrap()), count(two.unwrap()));
        assert_eq!(now(), (0, 0));
        let first = InUse::new(one);
        let second = InUse::new(one);
        let unknown = InUse::new(None);
        assert_eq!(now(), (2, 0));
        drop(first);
        assert_eq!(now(), (1, 0));
        let other = InUse::new(two);
        drop((second, unknown));
        assert_eq!(now(), (0, 1));
        drop(other);
        assert_eq!(now(), (0, 0));
    }
}
