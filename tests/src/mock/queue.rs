//! A hardware queue of the mock driver: the kernel refuses to unmap the memory that it lies in.

use std::os::fd::{AsFd, OwnedFd};

use iommufd::{Ioas, Iova, Mapping};
use rustix::io::Errno;

use super::{MockDevice, abi};
use crate::{ids, raw};

/// A hardware queue in mapped memory. While it lives an unmap of that memory answers `EBUSY`.
///
/// It is made past the SDK, as by a stranger who has the same `/dev/iommu`.
#[derive(Debug)]
pub struct MockQueue {
    file: OwnedFd,
    /// In the order of their destruction.
    objects: Vec<u32>,
}

impl MockQueue {
    /// A queue in the first page of `mapping`, for which `device` lends its IOMMU.
    ///
    /// # Errors
    /// The kernel's: `EPERM` if the memory is not readable for devices.
    pub fn new(device: &MockDevice, ioas: &Ioas, mapping: &Mapping) -> Result<Self, Errno> {
        Self::at(device, ioas, mapping.iova())
    }

    /// A queue in the page at `iova`, where memory is mapped.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn at(device: &MockDevice, ioas: &Ioas, iova: Iova) -> Result<Self, Errno> {
        let file = ioas.iommufd().as_fd().try_clone_to_owned().unwrap();
        // Filled front to back: whatever fails, what was made before is destroyed.
        let mut queue = Self {
            file,
            objects: Vec::new(),
        };
        let parent = raw::nest_parent_alloc(&queue.file, device.id(), ids::of(ioas))?;
        queue.objects.insert(0, parent);
        let viommu = raw::viommu_alloc(&queue.file, abi::TYPE_SELFTEST, device.id(), parent)?;
        queue.objects.insert(0, viommu);
        let kind = abi::TYPE_SELFTEST;
        let id = raw::hw_queue_alloc(&queue.file, kind, viommu, iova.get(), super::PAGE)?;
        queue.objects.insert(0, id);
        Ok(queue)
    }
}

impl Drop for MockQueue {
    fn drop(&mut self) {
        for id in &self.objects {
            let gone = raw::destroy(&self.file, *id);
            assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
        }
    }
}
