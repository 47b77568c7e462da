//! What sysfs says of a device, where there is a sysfs: nothing here is needed to drive one.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use iommufd::{GroupId, GroupIdentity};

use crate::address::PciAddress;

/// Where sysfs and the device nodes are; a test has its own.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    pub(crate) sys: PathBuf,
    pub(crate) dev: PathBuf,
    pub(crate) proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sys: PathBuf::from("/sys"),
            dev: PathBuf::from("/dev"),
            proc: PathBuf::from("/proc"),
        }
    }
}

/// What sysfs knows of a VFIO character device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// `vfio0`, or `noiommu-vfio0`.
    pub(crate) name: String,
    pub(crate) address: Option<PciAddress>,
    pub(crate) group: GroupIdentity,
    /// Whether the kernel emulates it.
    pub(crate) mediated: Option<bool>,
}

impl Node {
    /// Whether no IOMMU keeps the device from any memory of the machine.
    pub(crate) fn is_noiommu(&self) -> bool {
        is_noiommu(&self.name)
    }
}

/// Whether a character device of this name has no IOMMU behind it.
pub(crate) fn is_noiommu(name: &str) -> bool {
    name.starts_with("noiommu-")
}

/// Whether a character device of this name, which may have been removed, has one.
pub(crate) fn is_device(name: &str) -> bool {
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let number = name.strip_prefix("vfio").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether a group of this name, which may have been removed, has an IOMMU.
pub(crate) fn is_group(name: &str) -> bool {
    let number = name.strip_suffix(" (deleted)").unwrap_or(name);
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// What the number of a character device stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CharDevice {
    /// A VFIO device.
    Vfio(Node),
    /// Something else.
    Other,
    /// There is no sysfs that would tell.
    Unknown,
}

impl Roots {
    pub(crate) fn pci_devices(&self) -> PathBuf {
        self.sys.join("bus/pci/devices")
    }

    pub(crate) fn pci_device(&self, address: PciAddress) -> PathBuf {
        self.pci_devices().join(address.to_string())
    }

    pub(crate) fn group(&self, group: GroupId) -> PathBuf {
        self.sys
            .join(format!("kernel/iommu_groups/{}", group.get()))
    }

    pub(crate) fn group_devices(&self, group: GroupId) -> PathBuf {
        self.group(group).join("devices")
    }

    pub(crate) fn vfio_group(&self, group: GroupId) -> PathBuf {
        self.dev.join("vfio").join(group.get().to_string())
    }

    pub(crate) fn vfio_node(&self, name: &str) -> PathBuf {
        self.dev.join("vfio/devices").join(name)
    }

    /// Looks up a character device by its number.
    pub(crate) fn char_device(&self, major: u32, minor: u32) -> CharDevice {
        let numbers = self.sys.join("dev/char");
        let entry = numbers.join(format!("{major}:{minor}"));
        let Ok(entry) = fs::canonicalize(entry) else {
            return if numbers.is_dir() {
                CharDevice::Other
            } else {
                CharDevice::Unknown
            };
        };
        if link_name(&entry.join("subsystem"))
            .ok()
            .flatten()
            .as_deref()
            != Some("vfio-dev")
        {
            return CharDevice::Other;
        }
        let Some(name) = last_name(&entry) else {
            return CharDevice::Other;
        };
        // Of a sysfs that is partly masked the link may lead nowhere: that tells nothing.
        let device = fs::canonicalize(entry.join("device"));
        let address = device.as_ref().ok();
        let address = address.and_then(|path| last_name(path)?.parse().ok());
        // The bus that all mediated devices are on.
        let mediated = device.as_ref().ok().and_then(|device| {
            let bus = bus(device).ok().flatten();
            bus.map(|bus| bus == "mdev")
        });
        let group = match device.and_then(|device| group_of(&device)) {
            Ok(Some(group)) => GroupIdentity::Group(group),
            // A device that no IOMMU knows shares none.
            Ok(None) => GroupIdentity::Alone,
            Err(_) => GroupIdentity::Unknown,
        };
        CharDevice::Vfio(Node {
            name,
            address,
            group,
            mediated,
        })
    }
}

impl Roots {
    /// What VFIO calls the group whose node has these numbers: `5`, or `noiommu-5`.
    pub(crate) fn group_name(&self, major: u32, minor: u32) -> Option<String> {
        let entry = self.sys.join(format!("dev/char/{major}:{minor}"));
        let entry = fs::canonicalize(entry).ok()?;
        let class = link_name(&entry.join("subsystem")).ok()??;
        (class == "vfio").then(|| last_name(&entry))?
    }

    /// The last name of the path by which the file was opened, where procfs tells.
    pub(crate) fn file_name(&self, file: &impl AsRawFd) -> Option<String> {
        let link = format!("self/fd/{}", file.as_raw_fd());
        last_name(&fs::read_link(self.proc.join(link)).ok()?)
    }
}

/// The IOMMU group of the device whose folder this is; `None` if it is in none.
pub(crate) fn group_of(device: &Path) -> io::Result<Option<GroupId>> {
    let Some(name) = link_name(&device.join("iommu_group"))? else {
        return Ok(None);
    };
    let number = name
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(GroupId::new(number)))
}

/// The bus of the device whose folder this is.
pub(crate) fn bus(device: &Path) -> io::Result<Option<String>> {
    link_name(&device.join("subsystem"))
}

/// The name that a link ends in; `None` if there is no link.
pub(crate) fn link_name(link: &Path) -> io::Result<Option<String>> {
    match fs::read_link(link) {
        Ok(target) => Ok(last_name(&target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, sorted; none if there is no such folder.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The name under which the device in this folder has a VFIO character device.
pub(crate) fn vfio_name(device: &Path) -> io::Result<Option<String>> {
    let names = names(&device.join("vfio-dev"))?;
    Ok(names
        .into_iter()
        .find(|name| name.trim_start_matches("noiommu-").starts_with("vfio")))
}

/// An attribute that is one line of text.
pub(crate) fn line(file: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(file)?.trim().to_owned())
}

/// An attribute that is a number such as `0x8086`.
pub(crate) fn hex(file: &Path) -> Option<u16> {
    let line = line(file).ok()?;
    u16::from_str_radix(line.strip_prefix("0x")?, 16).ok()
}

pub(crate) fn last_name(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(path.file_name()?.as_bytes()).into_owned())
}

/// A sysfs made of files, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);

    pub(crate) struct Tree {
        top: PathBuf,
        pub(crate) roots: Roots,
    }

    impl Tree {
        pub(crate) fn new() -> Self {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let top = std::env::temp_dir().join(format!("vfio-{}-{number}", std::process::id()));
            let roots = Roots {
                sys: top.join("sys"),
                dev: top.join("dev"),
                ..Roots::default()
            };
            fs::create_dir_all(roots.sys.join("bus/pci/devices")).unwrap();
            fs::create_dir_all(roots.sys.join("dev/char")).unwrap();
            Self { top, roots }
        }

        pub(crate) fn file(&self, path: &str, text: &str) {
            self.bytes(path, text.as_bytes());
        }

        pub(crate) fn bytes(&self, path: &str, bytes: &[u8]) {
            let path = self.top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        pub(crate) fn text(&self, path: &str) -> String {
            fs::read_to_string(self.top.join(path)).unwrap()
        }

        pub(crate) fn link(&self, path: &str, target: &str) {
            let path = self.top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(self.top.join(target), path).unwrap();
        }

        pub(crate) fn remove(&self, path: &str) {
            fs::remove_file(self.top.join(path)).unwrap();
        }

        pub(crate) fn remove_folder(&self, path: &str) {
            fs::remove_dir_all(self.top.join(path)).unwrap();
        }

        /// A function with identifiers, in a group.
        pub(crate) fn function(&self, address: &str, group: u32) {
            let device = format!("sys/devices/pci0000:00/{address}");
            self.file(&format!("{device}/vendor"), "0x1234\n");
            self.file(&format!("{device}/device"), "0x11e8\n");
            self.link(&format!("sys/bus/pci/devices/{address}"), &device);
            self.link(
                &format!("{device}/iommu_group"),
                &format!("sys/kernel/iommu_groups/{group}"),
            );
            self.link(
                &format!("sys/kernel/iommu_groups/{group}/devices/{address}"),
                &device,
            );
        }

        pub(crate) fn bind(&self, address: &str, driver: &str) {
            let device = format!("sys/devices/pci0000:00/{address}");
            self.link(
                &format!("{device}/driver"),
                &format!("sys/bus/pci/drivers/{driver}"),
            );
        }

        pub(crate) fn cdev(&self, address: &str, name: &str, numbers: &str) {
            let device = format!("sys/devices/pci0000:00/{address}");
            let node = format!("{device}/vfio-dev/{name}");
            self.file(&format!("{node}/dev"), numbers);
            self.link(&format!("{node}/device"), &device);
            self.link(&format!("{node}/subsystem"), "sys/class/vfio-dev");
            self.link(&format!("sys/dev/char/{numbers}"), &node);
            self.file(&format!("dev/vfio/devices/{name}"), "");
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.top).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_device_leads_to_its_function_and_group() {
        let tree = fake::Tree::new();
        tree.function("0000:00:04.0", 7);
        tree.cdev("0000:00:04.0", "vfio0", "511:0");
        let CharDevice::Vfio(node) = tree.roots.char_device(511, 0) else {
            panic!("no node")
        };
        assert_eq!(node.name, "vfio0");
        assert_eq!(node.address, "00:04.0".parse().ok());
        assert_eq!(node.group, GroupIdentity::Group(GroupId::new(7)));
        assert!(!node.is_noiommu());
    }

    #[test]
    fn a_device_that_is_masked_in_sysfs_may_be_of_any_group() {
        let tree = fake::Tree::new();
        tree.function("0000:00:04.0", 7);
        tree.cdev("0000:00:04.0", "vfio0", "511:0");
        let link = "sys/devices/pci0000:00/0000:00:04.0/vfio-dev/vfio0/device";
        tree.remove(link);
        tree.link(link, "sys/devices/masked");
        let CharDevice::Vfio(node) = tree.roots.char_device(511, 0) else {
            panic!("no node")
        };
        assert_eq!(node.group, GroupIdentity::Unknown);
        assert_eq!(node.address, None);
        // One that is there, and in no group, shares none.
        tree.file("sys/devices/masked/vendor", "0x1234");
        let CharDevice::Vfio(node) = tree.roots.char_device(511, 0) else {
            panic!("no node")
        };
        assert_eq!(node.group, GroupIdentity::Alone);
    }

    #[test]
    fn a_mediated_device_is_told_by_its_bus() {
        let tree = fake::Tree::new();
        tree.function("0000:00:04.0", 7);
        tree.cdev("0000:00:04.0", "vfio0", "511:0");
        let mediated = || match tree.roots.char_device(511, 0) {
            CharDevice::Vfio(node) => node.mediated,
            other => panic!("{other:?}"),
        };
        assert_eq!(mediated(), None);
        let link = "sys/devices/pci0000:00/0000:00:04.0/subsystem";
        for (bus, is) in [("pci", false), ("mdev", true)] {
            tree.link(link, &format!("sys/bus/{bus}"));
            assert_eq!(mediated(), Some(is));
            tree.remove(link);
        }
    }

    #[test]
    fn what_is_not_vfio_is_told_apart_from_what_cannot_be_told() {
        let tree = fake::Tree::new();
        tree.file("sys/devices/virtual/mem/null/dev", "1:3");
        tree.link("sys/devices/virtual/mem/null/subsystem", "sys/class/mem");
        tree.link("sys/dev/char/1:3", "sys/devices/virtual/mem/null");
        assert_eq!(tree.roots.char_device(1, 3), CharDevice::Other);
        assert_eq!(tree.roots.char_device(1, 4), CharDevice::Other);
        let nowhere = Roots {
            sys: PathBuf::from("/nonexistent"),
            ..Roots::default()
        };
        assert_eq!(nowhere.char_device(1, 3), CharDevice::Unknown);
    }

    #[test]
    fn noiommu_shows_in_the_name() {
        let tree = fake::Tree::new();
        tree.function("0000:00:04.0", 7);
        tree.cdev("0000:00:04.0", "noiommu-vfio0", "511:0");
        let CharDevice::Vfio(node) = tree.roots.char_device(511, 0) else {
            panic!("no node")
        };
        assert!(node.is_noiommu());
        let device = tree.roots.pci_device("00:04.0".parse().unwrap());
        assert_eq!(
            vfio_name(&device).unwrap().as_deref(),
            Some("noiommu-vfio0")
        );
    }
}
