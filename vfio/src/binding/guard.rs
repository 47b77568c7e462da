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
    // What cannot be looked at now is not taken for free.
    let is_held = || {
        for node in Node::all_of(roots, address)? {
            if node.is_held_here(roots)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if known || is_held().map_err(|error| Error::sysfs(roots.pci_device(address), error))? {
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

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_free() {
        let mut tree = Tree::new();
        let name = "abcd:ef:07.0";
        let address = name.parse().unwrap();
        tree.function(name, 3);
        tree.cdev(name, "vfio0", "4095:7");
        refuse_own(&tree.roots, address).unwrap();
        // No folder: it cannot be read, as with too many open files.
        tree.file("proc/self/fd", "");
        tree.roots.proc = tree.roots.sys.with_file_name("proc");
        let refused = refuse_own(&tree.roots, address);
        assert!(matches!(refused, Err(Error::Sysfs { .. })));
    }

    #[test]
    fn what_a_driver_has_made_of_a_function_goes_with_it() {
        let tree = Tree::new();
        let name = "abcd:ef:05.0";
        let address = name.parse().unwrap();
        tree.function(name, 3);
        let child = format!("sys/devices/pci0000:00/{name}/00000000-0000-4000-8000-000000000001");
        // `/dev/null` plays a mediated device, which this process has open.
        tree.file(&format!("{child}/vfio-dev/vfio1/dev"), "1:3\n");
        tree.link(&format!("{child}/subsystem"), "sys/bus/pci");
        let _file = File::open("/dev/null").unwrap();
        refuse_own(&tree.roots, address).expect("what is behind a bridge does not go with it");
        tree.remove(&format!("{child}/subsystem"));
        tree.link(&format!("{child}/subsystem"), "sys/bus/mdev");
        let refused = refuse_own(&tree.roots, address);
        assert!(matches!(refused, Err(Error::InUseHere { .. })));
        // By a link it is not its own.
        let other = "abcd:ef:06.0";
        tree.function(other, 3);
        tree.link(&format!("sys/devices/pci0000:00/{other}/physfn"), &child);
        refuse_own(&tree.roots, other.parse().unwrap()).unwrap();
    }
}
