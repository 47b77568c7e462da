//! Somebody who unplugs a PCI function while it is in use.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vfio::PciAddress;

/// For what an answered request takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what must not happen meanwhile.
const MEANWHILE: Duration = Duration::from_millis(200);

/// A function that is being unplugged: the kernel waits until nobody has it open.
#[derive(Debug)]
pub struct Unplug {
    folder: PathBuf,
    waiting: JoinHandle<()>,
}

impl Unplug {
    /// Begins to unplug the function at `address`.
    #[must_use]
    pub fn begin(address: PciAddress) -> Self {
        let folder = PathBuf::from(format!("/sys/bus/pci/devices/{address}"));
        let remove = folder.join("remove");
        let waiting = thread::spawn(move || fs::write(remove, "1").unwrap());
        Self { folder, waiting }
    }

    /// Asserts that the kernel still waits.
    #[track_caller]
    pub fn is_waiting(&self) {
        thread::sleep(MEANWHILE);
        assert!(!self.waiting.is_finished(), "nobody was waited for");
    }

    /// Waits until the function is gone, and plugs it in again.
    #[track_caller]
    pub fn done(self) {
        let begin = Instant::now();
        while !self.waiting.is_finished() {
            assert!(begin.elapsed() < PATIENCE, "somebody still has it");
            thread::sleep(Duration::from_millis(5));
        }
        self.waiting.join().unwrap();
        assert!(!self.folder.exists());
        fs::write("/sys/bus/pci/rescan", "1").unwrap();
        // The lab's: older kernels do not come to it by themselves.
        let grouped = Command::new("group-devices").status().unwrap();
        assert!(grouped.success());
        assert!(self.folder.join("iommu").exists());
    }
}
