//! Who has a device open, as procfs tells.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
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
        // A process calls itself what it likes: nothing of that commands a terminal.
        let name = self.name.replace(char::is_control, "?");
        write!(f, "process {} ({name})", self.process)
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
    /// The device's folder in sysfs, as the kernel calls it.
    folder: Option<PathBuf>,
}

/// What procfs calls the file of a device that was opened by way of its group.
const GROUP_DEVICE: &str = "anon_inode:[vfio-device]";

impl Node {
    /// That of the function at `address`, if it is with VFIO.
    pub(crate) fn of(roots: &Roots, address: PciAddress) -> Option<Self> {
        Self::of_folder(roots, &roots.pci_device(address)).ok()?
    }

    /// All that the kernel waits for when the function loses its driver: its own, and those of the
    /// mediated devices that the driver has made of it.
    pub(super) fn all_of(roots: &Roots, address: PciAddress) -> io::Result<Vec<Self>> {
        let folder = roots.pci_device(address);
        let mut nodes = Vec::from_iter(Self::of_folder(roots, &folder)?);
        for name in sysfs::names(&folder)? {
            let child = folder.join(name);
            // What a link leads to is not a child.
            let is_child = child.symlink_metadata().is_ok_and(|it| it.is_dir());
            if is_child && sysfs::bus(&child)?.is_some_and(|bus| bus == "mdev") {
                nodes.extend(Self::of_folder(roots, &child)?);
            }
        }
        Ok(nodes)
    }

    /// That of the device whose folder this is. What makes no sense is none.
    fn of_folder(roots: &Roots, folder: &Path) -> io::Result<Option<Self>> {
        let Some(name) = sysfs::vfio_name(folder)? else {
            return Ok(None);
        };
        let text = sysfs::line(&folder.join("vfio-dev").join(&name).join("dev"));
        let text = match text {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let numbers = text
            .split_once(':')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let place = fs::metadata(roots.vfio_node(&name)).ok();
        Ok(numbers.map(|numbers| Self {
            numbers,
            place: place.map(|file| (file.dev(), file.ino())),
            folder: fs::canonicalize(folder).ok(),
        }))
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
    fn is_open_in(&self, roots: &Roots, process: &str) -> io::Result<bool> {
        let files: PathBuf = roots.proc.join(process).join("fd");
        // Files that are closed meanwhile are passed over.
        let mut files = fs::read_dir(files)?.flatten();
        Ok(files.any(|file| {
            let info = || {
                roots
                    .proc
                    .join(process)
                    .join("fdinfo")
                    .join(file.file_name())
            };
            self.is(&file.path()) || is_of_a_group(&file.path()) && self.is_told_by(&info())
        }))
    }

    /// Whether it is what procfs tells of a file: a device that was opened by way of its group has no
    /// node. Linux 7.3 tells; an older kernel may not.
    fn is_told_by(&self, info: &Path) -> bool {
        let info = fs::read(info).unwrap_or_default();
        let mut lines = info.split(|byte| *byte == b'\n');
        self.folder.as_ref().is_some_and(|folder| {
            lines.any(|line| {
                let path = line.strip_prefix(b"vfio-device-syspath: ");
                path.is_some_and(|path| path == folder.as_os_str().as_bytes())
            })
        })
    }

    /// Whether this process has registers of it mapped, which hold it open without a file.
    fn is_mapped_here(&self, roots: &Roots) -> io::Result<bool> {
        let Some((device, inode)) = self.place else {
            return Ok(false);
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
        let maps = fs::read(roots.proc.join("self/maps"))?;
        Ok(String::from_utf8_lossy(&maps).lines().any(is))
    }

    /// Whether this process holds the device by an open file or by mapped registers, whoever opened
    /// it; as far as there is a procfs that may be looked at.
    ///
    /// # Errors
    /// It could not be looked at now, as with too many open files.
    pub(crate) fn is_held_here(&self, roots: &Roots) -> io::Result<bool> {
        let told = |answer: io::Result<bool>| match answer {
            Err(error) if is_hidden(&error) => Ok(false),
            answer => answer,
        };
        Ok(told(self.is_open_in(roots, "self"))? || told(self.is_mapped_here(roots))?)
    }

    /// The processes that have it open, as far as this one may look at them.
    pub(crate) fn users(&self, roots: &Roots) -> Vec<User> {
        let names = sysfs::names(&roots.proc).unwrap_or_default();
        let processes = names.into_iter().filter_map(|name| name.parse().ok());
        let mut users: Vec<User> = processes
            .filter(|process: &u32| {
                // Processes that have gone, or may not be looked at, are passed over.
                let open = self.is_open_in(roots, &process.to_string());
                open.unwrap_or(false)
            })
            .map(|process| User {
                process,
                name: sysfs::line(&roots.proc.join(format!("{process}/comm"))).unwrap_or_default(),
            })
            .collect();
        users.sort_by_key(|user| user.process);
        users
    }
}

fn is_of_a_group(file: &Path) -> bool {
    fs::read_link(file).is_ok_and(|link| link.as_os_str() == GROUP_DEVICE)
}

/// Whether procfs is not there, or not to be looked at.
fn is_hidden(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
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
            folder: None,
        }
    }

    #[test]
    fn who_has_a_device_open_is_found() {
        let roots = Roots::default();
        let file = File::open("/dev/null").unwrap();
        assert!(null().is_held_here(&roots).unwrap());
        let users = null().users(&roots);
        let own = users.iter().find(|user| user.process == std::process::id());
        assert!(!own.unwrap().name.is_empty());
        drop(file);
        let other = Node {
            numbers: (4095, 1 << 19),
            place: None,
            folder: None,
        };
        assert_eq!(other.users(&roots), []);
        assert!(!other.is_held_here(&roots).unwrap());
    }

    #[test]
    fn what_is_mapped_is_found_without_a_file() {
        let roots = Roots::default();
        // This very program is.
        let program = fs::metadata("/proc/self/exe").unwrap();
        let node = |inode| Node {
            numbers: (4095, 1 << 19),
            place: Some((program.dev(), inode)),
            folder: None,
        };
        assert!(node(program.ino()).is_held_here(&roots).unwrap());
        assert!(!node(u64::MAX).is_held_here(&roots).unwrap());
    }

    #[test]
    fn who_has_it_by_its_group_is_found() {
        let mut tree = Tree::new();
        let address = "0000:00:04.0";
        tree.function(address, 3);
        tree.cdev(address, "vfio0", "4095:7");
        let node = Node::of(&tree.roots, address.parse().unwrap()).unwrap();
        let folder = node.folder.clone().unwrap();
        tree.roots.proc = tree.roots.sys.with_file_name("proc");
        let info = |path: &str| {
            let text = format!("pos:\t0\nflags:\t02000002\n{path}\n");
            tree.file("proc/77/fdinfo/5", &text);
        };
        tree.file("proc/77/comm", "vmm\n");
        tree.file("proc/77/fd/4", "");
        std::os::unix::fs::symlink(GROUP_DEVICE, tree.roots.proc.join("77/fd/5")).unwrap();
        info(&format!("vfio-device-syspath: {}", folder.display()));
        let names: Vec<_> = node
            .users(&tree.roots)
            .into_iter()
            .map(|user| user.name)
            .collect();
        assert_eq!(names, ["vmm"]);
        for other in [
            "",
            "vfio-device-syspath: /sys/devices/other",
            "vfio-device-syspath: ",
        ] {
            info(other);
            assert_eq!(node.users(&tree.roots), [], "{other}");
        }
    }

    #[test]
    fn without_procfs_nobody_is_found() {
        let nowhere = Roots {
            proc: "/nonexistent".into(),
            ..Roots::default()
        };
        assert_eq!(null().users(&nowhere), []);
        assert!(!null().is_held_here(&nowhere).unwrap());
    }

    #[test]
    fn a_name_commands_no_terminal() {
        let user = User {
            process: 7,
            name: "\u{1b}]0;root\u{7}\nä".to_owned(),
        };
        assert_eq!(user.to_string(), "process 7 (?]0;root??ä)");
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
