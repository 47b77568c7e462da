//! The number of an open group, which its file does not tell.

use iommufd::GroupId;
use rustix::fs::Stat;

use crate::sysfs::Roots;

/// The number, if sysfs tells: it names the group whose device node has the numbers that the file has.
pub(super) fn number(roots: &Roots, stat: &Stat) -> Option<GroupId> {
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    let name = roots.group_name(major, minor)?;
    let number = name.strip_prefix("noiommu-").unwrap_or(&name);
    number.parse().ok().map(GroupId::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;

    #[test]
    fn the_number_is_the_name_of_the_node_in_sysfs() {
        let stat = rustix::fs::stat("/dev/null").unwrap();
        let numbers = "1:3";
        for (name, class, number) in [
            ("7", "vfio", Some(7)),
            ("noiommu-0", "vfio", Some(0)),
            ("null", "mem", None),
            ("x7", "vfio", None),
            // The container.
            ("vfio", "misc", None),
        ] {
            let tree = Tree::new();
            assert_eq!(super::number(&tree.roots, &stat), None);
            let node = format!("sys/devices/virtual/{class}/{name}");
            tree.file(&format!("{node}/dev"), numbers);
            tree.link(&format!("{node}/subsystem"), &format!("sys/class/{class}"));
            tree.link(&format!("sys/dev/char/{numbers}"), &node);
            let found = super::number(&tree.roots, &stat);
            assert_eq!(found, number.map(GroupId::new), "{name}");
        }
    }
}
