//! Who has a device open, as procfs tells.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use crate::address::PciAddress;
use crate::discovery::PciFunction;
use crate::sysfs::{self, Roots};

/// A process that has a device open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Its id.
    pub process: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.process, self.name)
    }
}

/// The character device of a function. It is looked up once: when its driver is being unbound, it
/// goes from sysfs and from `/dev`, and who has it open is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Major and minor number.
    numbers: (u32, u32),
    /// The node in `/dev`: the device and inode of its file.
    place: Option<(u64, u64)>,
}

impl Node {
    /// That of the function at `address`, if it is with VFIO.
    pub(crate) fn of(roots: &Roots, address: PciAddress) -> Option<Self> {
        Self::of_folder(roots, &roots.pci_device(address))
    }

    /// All that the kernel waits for when the function loses its driver: its own, and those of the
    /// mediated devices that the driver has made of it.
    pub(super) fn all_of(roots: &Roots, address: PciAddress) -> Vec<Self> {
        let folder = roots.pci_device(address);
        let names = sysfs::names(&folder).unwrap_or_default();
        let children = names.into_iter().map(|name| folder.join(name));
        // What a link leads to is not a child.
        let children =
            children.filter(|child| child.symlink_metadata().is_ok_and(|it| it.is_dir()));
        let is_mediated =
            |child: &PathBuf| matches!(sysfs::bus(child), Ok(Some(bus)) if bus == "mdev");
        let mediated = children.filter(is_mediated);
        let mediated = mediated.filter_map(|child| Self::of_folder(roots, &child));
        Self::of_folder(roots, &folder)
            .into_iter()
            .chain(mediated)
            .collect()
    }

    fn of_folder(roots: &Roots, folder: &Path) -> Option<Self> {
        let name = sysfs::vfio_name(folder).ok()??;
        let text = sysfs::line(&folder.join("vfio-dev").join(&name).join("dev")).ok()?;
        let (major, minor) = text.split_once(':')?;
        let place = fs::metadata(roots.vfio_node(&name)).ok();
        Some(Self {
            numbers: (major.parse().ok()?, minor.parse().ok()?),
            place: place.map(|file| (file.dev(), file.ino())),
        })
    }

    /// Whether an entry of a process's open files is it. What there is to know is in this machine: no
    /// file server is asked that may not answer.
    fn is(&self, file: &Path) -> bool {
        let Ok(file) = statx(CWD, file, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE) else {
            return false;
        };
        let kind = FileType::from_raw_mode(file.stx_mode.into());
        kind == FileType::CharacterDevice
            && (file.stx_rdev_major, file.stx_rdev_minor) == self.numbers
    }

    /// Whether a process has it among its open files; `process` is its name in procfs.
    fn is_open_in(&self, roots: &Roots, process: &str) -> bool {
        let files: PathBuf = roots.proc.join(process).join("fd");
        // Files that are closed meanwhile, and processes that may not be looked at, are passed over.
        fs::read_dir(files)
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| self.is(&file.path()))
    }

    /// Whether this process has registers of it mapped, which hold it open without a file.
    fn is_mapped_here(&self, roots: &Roots) -> bool {
        let Some((device, inode)) = self.place else {
            return false;
        };
        let device = format!(
            "{:02x}:{:02x}",
            rustix::fs::major(device),
            rustix::fs::minor(device)
        );
        let inode = inode.to_string();
        // Addresses, rights, offset, device, inode and path.
        let is = |line: &str| {
            let mut words = line.split_whitespace().skip(3);
            words.next() == Some(&device) && words.next() == Some(&inode)
        };
        let maps = fs::read(roots.proc.join("self/maps")).unwrap_or_default();
        String::from_utf8_lossy(&maps).lines().any(is)
    }

    /// Whether this process holds the device by an open file or by mapped registers, whoever opened
    /// it.
    pub(crate) fn is_held_here(&self, roots: &Roots) -> bool {
        self.is_open_in(roots, "self") || self.is_mapped_here(roots)
    }

    /// The processes that have it open, as far as this one may look at them.
    pub(crate) fn users(&self, roots: &Roots) -> Vec<User> {
        let names = sysfs::names(&roots.proc).unwrap_or_default();
        let processes = names.into_iter().filter_map(|name| name.parse().ok());
        let mut users: Vec<User> = processes
            .filter(|process: &u32| self.is_open_in(roots, &process.to_string()))
            .map(|process| User {
                process,
                name: sysfs::line(&roots.proc.join(format!("{process}/comm"))).unwrap_or_default(),
            })
            .collect();
        users.sort_by_key(|user| user.process);
        users
    }
}

impl PciFunction {
    /// The processes that have its VFIO device open, as far as this one may look at them: root sees
    /// all of those in its PID namespace. Registers that are mapped, and KVM, hold a device as well,
    /// and do not show.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        let roots = Roots::default();
        Node::of(&roots, self.address).map_or_else(Vec::new, |node| node.users(&roots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;
    use std::fs::File;

    /// `/dev/null` as if it were a VFIO device.
    fn null() -> Node {
        Node {
            numbers: (1, 3),
            place: None,
        }
    }

    #[test]
    fn who_has_a_device_open_is_found() {
        let roots = Roots::default();
        let file = File::open("/dev/null").unwrap();
        assert!(null().is_held_here(&roots));
        let users = null().users(&roots);
        let own = users.iter().find(|user| user.process == std::process::id());
        assert!(!own.unwrap().name.is_empty());
        drop(file);
        let other = Node {
            numbers: (4095, 1 << 19),
            place: None,
        };
        assert_eq!(other.users(&roots), []);
        assert!(!other.is_held_here(&roots));
    }

    #[test]
    fn what_is_mapped_is_found_without_a_file() {
        let roots = Roots::default();
        // This very program is.
        let program = fs::metadata("/proc/self/exe").unwrap();
        let node = |inode| Node {
            numbers: (4095, 1 << 19),
            place: Some((program.dev(), inode)),
        };
        assert!(node(program.ino()).is_held_here(&roots));
        assert!(!node(u64::MAX).is_held_here(&roots));
    }

    #[test]
    fn without_procfs_nobody_is_found() {
        let nowhere = Roots {
            proc: "/nonexistent".into(),
            ..Roots::default()
        };
        assert_eq!(null().users(&nowhere), []);
        assert!(!null().is_held_here(&nowhere));
    }

    #[test]
    fn numbers_are_read_from_sysfs_or_not_at_all() {
        let tree = Tree::new();
        let address = "0000:00:04.0";
        tree.function(address, 3);
        let node = || Node::of(&tree.roots, address.parse().unwrap());
        assert_eq!(node(), None);
        tree.cdev(address, "vfio0", "511:7");
        assert_eq!(node().unwrap().numbers, (511, 7));
        assert!(node().unwrap().place.is_some());
        for garbage in ["", "511", "a:b", "511:", "-1:2", "511:7:8"] {
            let dev = "sys/devices/pci0000:00/0000:00:04.0/vfio-dev/vfio0/dev";
            tree.file(dev, garbage);
            assert_eq!(node(), None, "{garbage:?}");
        }
    }
}
