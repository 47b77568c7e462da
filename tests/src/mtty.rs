//! A mediated device: the kernel's sample `mtty`, a serial card that is all software.

use std::path::PathBuf;
use std::{fs, process};

use vfio::{Cdev, VfioGroup};

/// A mediated device, removed when dropped.
///
/// Removing it waits until its file is closed everywhere, so it is made before all that holds it.
#[derive(Debug)]
pub struct Mtty {
    folder: PathBuf,
}

impl Mtty {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        // Any name of the form of a UUID will do.
        let name = format!("00000000-0000-4000-8000-{:012x}", process::id());
        let types = "/sys/class/mdev_bus/mtty/mdev_supported_types";
        let kind = fs::read_dir(types)
            .expect("a kernel with the sample mtty")
            .map(|entry| entry.unwrap().path())
            .min()
            .unwrap();
        fs::write(kind.join("create"), &name).unwrap();
        Self {
            folder: PathBuf::from("/sys/bus/mdev/devices").join(name),
        }
    }

    /// Its name, which is a UUID.
    #[must_use]
    pub fn name(&self) -> &str {
        self.folder.file_name().unwrap().to_str().unwrap()
    }

    /// Opens its group.
    #[must_use]
    pub fn group(&self) -> VfioGroup {
        let group = fs::read_link(self.folder.join("iommu_group")).unwrap();
        let node = PathBuf::from("/dev/vfio").join(group.file_name().unwrap());
        VfioGroup::open_at(node).unwrap()
    }

    /// Opens its character device.
    #[must_use]
    pub fn cdev(&self) -> Cdev {
        let mut nodes = fs::read_dir(self.folder.join("vfio-dev")).unwrap();
        let node = nodes.next().unwrap().unwrap().file_name();
        Cdev::open(PathBuf::from("/dev/vfio/devices").join(node)).unwrap()
    }
}

impl Default for Mtty {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Mtty {
    fn drop(&mut self) {
        let gone = fs::write(self.folder.join("remove"), "1");
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}
