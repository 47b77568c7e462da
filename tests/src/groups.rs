//! The lab's devices by way of their groups, in a container of either kind.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{fs, process};

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, Ioas, Iova, SharedBuffer};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use vfio::{Container, GroupDevice, MemberGroup, PciAddress, VfioGroup};

use crate::edu::{self, lone, memory_with};
use crate::observe::Recorder;

/// The kernel's own container.
#[must_use]
pub fn own() -> (Container, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let observer = Arc::clone(&recorder);
    let container = Container::open_observed(observer).unwrap();
    recorder.clear();
    (container, recorder)
}

/// An address space that stands in for one.
#[must_use]
pub fn compat() -> (Container, Arc<Recorder>) {
    let (iommufd, recorder) = Recorder::context();
    let container = Container::compat(&Ioas::new(&iommufd).unwrap()).unwrap();
    recorder.clear();
    (container, recorder)
}

/// How a container is made, and what it asks of the kernel is remembered.
pub type Make = fn() -> (Container, Arc<Recorder>);

/// One of each kind.
pub const KINDS: [Make; 2] = [own, compat];

/// The group of the function at `address`, given to `vfio-pci` if it has not got it yet.
#[must_use]
pub fn group(address: PciAddress) -> VfioGroup {
    drop(edu::cdev(address));
    VfioGroup::open_pci(address).unwrap()
}

/// A DMA engine, in a container of its own.
#[derive(Debug)]
pub struct Rig {
    /// The engine.
    pub edu: Edu,
    /// The device.
    pub device: GroupDevice,
    /// Its group.
    pub group: MemberGroup,
    /// What it sees.
    pub container: Container,
    /// What all of that asks of the kernel.
    pub recorder: Arc<Recorder>,
}

impl Rig {
    /// The lone engine in the container.
    #[must_use]
    pub fn within((container, recorder): (Container, Arc<Recorder>)) -> Self {
        let group = group(lone()).join(&container).unwrap();
        let device = group.pci_device(lone()).unwrap();
        Self {
            edu: Edu::new(&device).unwrap(),
            device,
            group,
            container,
            recorder,
        }
    }

    /// As [`edu::copies_through`].
    pub fn copies_through(&self, memory: &SharedBuffer, at: Iova) {
        edu::copies_through(&self.edu, memory, at);
    }

    /// Whether the engine can write where memory was mapped for `access` at `at`.
    #[must_use]
    pub fn writes_to(&self, at: Iova, access: Access) -> bool {
        let memory = memory_with(&[0; BUFFER_LEN]);
        let mapping = self.container.map_at(at, &memory, access).unwrap();
        let reaches = edu::reaches(&self.edu, at, &memory);
        mapping.unmap().unwrap();
        reaches
    }
}

/// Duplicates of all the files of VFIO devices that this process has open.
#[must_use]
pub fn device_files() -> Vec<OwnedFd> {
    let this = Pid::from_raw(process::id().cast_signed()).unwrap();
    let this = pidfd_open(this, PidfdFlags::empty()).unwrap();
    let mut files = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let is = fs::read_link(entry.path()).is_ok_and(|link| {
            let link = link.to_string_lossy();
            link == "anon_inode:[vfio-device]" || link.starts_with("/dev/vfio/devices/")
        });
        if is {
            let number = entry.file_name().to_string_lossy().parse().unwrap();
            files.push(pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).unwrap());
        }
    }
    files
}
