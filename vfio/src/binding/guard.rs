//! What is not begun, as this process would wait for itself.

use crate::address::PciAddress;
use crate::binding::users::Node;
use crate::error::{Error, Result};
use crate::in_use;
use crate::sysfs::Roots;

/// Refuses to take a function away that this process has open.
///
/// The kernel would wait until it is closed. The process could not even end meanwhile: its files are
/// closed when its last thread has gone, and the thread that waits would be one.
pub(super) fn refuse_own(roots: &Roots, address: PciAddress) -> Result<()> {
    let known = in_use::count(address) > 0;
    if known || Node::of(roots, address).is_some_and(|node| node.is_held_here(roots)) {
        return Err(Error::InUseHere { address });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_use::InUse;
    use crate::sysfs::fake::Tree;
    use std::fs::File;

    #[test]
    fn what_this_process_has_open_is_refused() {
        let tree = Tree::new();
        let address: PciAddress = "abcd:ef:04.0".parse().unwrap();
        tree.function(&address.to_string(), 3);
        let refused = || match refuse_own(&tree.roots, address) {
            Ok(()) => false,
            Err(Error::InUseHere { .. }) => true,
            Err(other) => panic!("{other}"),
        };
        assert!(!refused());
        let open = InUse::new(Some(address));
        assert!(refused());
        drop(open);
        assert!(!refused());

        // By whatever else: `/dev/null` plays the device.
        tree.cdev(&address.to_string(), "vfio0", "1:3");
        let file = File::open("/dev/null").unwrap();
        assert!(refused());
        drop(file);
    }
}
