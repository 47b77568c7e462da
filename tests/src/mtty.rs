//! Mediated devices of the kernel's samples, which are all software: `mtty`, a serial card, and `mbochs`, a display.

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
        Self::of("mtty", 0)
    }

    /// A new display instead, with memory that is mapped.
    #[must_use]
    pub fn mbochs() -> Self {
        Self::of("mbochs", 1)
    }

    fn of(parent: &str, variant: u8) -> Self {
        // Any name of the form of a UUID will do.
        let name = format!("00000000-0000-4000-8{variant:03}-{:012x}", process::id());
        let types = format!("/sys/class/mdev_bus/{parent}/mdev_supported_types");
        let kind = fs::read_dir(types)
            .expect("a kernel with the samples of mediated devices")
            .map(|entry| entry.unwrap().path())
            .min()
            .unwrap();
        fs::write(kind.join("create"), &name).unwrap();
        Self {
            folder: PathBuf::from("/sys/bus/mdev/devices").join(name),
        }
    }

    /// Its character device.
    #[must_use]
    pub fn node(&self) -> PathBuf {
        let mut nodes = fs::read_dir(self.folder.join("vfio-dev")).unwrap();
        let node = nodes.next().unwrap().unwrap().file_name();
        PathBuf::from("/dev/vfio/devices").join(node)
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
        Cdev::open(self.node()).unwrap()
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
