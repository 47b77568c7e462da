//! Mock devices that are attached to one address space: what the kernel calls its domains.

use std::ptr::NonNull;

use iommufd::{Attachment, DmaMemory, HwPt, Ioas, Iova};
use rustix::io::Errno;
use tests::mock::{self, MockDevice};

/// Mock devices attached to an address space, each through a page table of its own.
///
/// The kernel gives devices of one kind that are attached to an address space one page table together. So only the first
/// goes that way; each of the others has a table that was made for it.
#[derive(Debug)]
pub(crate) struct Domains {
    attached: Vec<Domain>,
    ioas: Ioas,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) attachment: Attachment,
    pub(crate) device: MockDevice,
}

impl Domains {
    /// `count` devices attached to `ioas`.
    pub(crate) fn new(ioas: &Ioas, count: usize) -> Self {
        let mut domains = Self {
            attached: Vec::new(),
            ioas: ioas.clone(),
        };
        for _ in 0..count {
            domains.add();
        }
        let mut tables: Vec<_> = domains.iter().map(|one| one.device.page_table()).collect();
        tables.dedup();
        assert_eq!(tables.len(), count, "each has a page table of its own");
        domains
    }

    /// Attaches one more.
    pub(crate) fn add(&mut self) {
        let device = MockDevice::new(self.ioas.iommufd()).unwrap();
        let attachment = if self.attached.is_empty() {
            device.attach(&self.ioas).unwrap()
        } else {
            let table = HwPt::new(&self.ioas, &device).unwrap();
            device.attach(table).unwrap()
        };
        self.attached.push(Domain { attachment, device });
    }

    /// Detaches the one that was attached first.
    pub(crate) fn remove_first(&mut self) {
        self.attached.remove(0).attachment.detach().unwrap();
    }

    /// Detaches the one that was attached last.
    pub(crate) fn remove_last(&mut self) {
        let last = self.attached.pop().unwrap();
        last.attachment.detach().unwrap();
    }

    /// Detaches all.
    pub(crate) fn remove_all(&mut self) {
        while !self.is_empty() {
            self.remove_first();
        }
    }

    /// All of them, for a test to move about.
    pub(crate) fn take(&mut self) -> Vec<Domain> {
        std::mem::take(&mut self.attached)
    }

    pub(crate) fn len(&self) -> usize {
        self.attached.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.attached.iter()
    }

    /// Asserts that each of the devices finds `memory` at `iova`.
    #[track_caller]
    pub(crate) fn assert_map(&self, iova: Iova, memory: &impl DmaMemory) {
        self.assert_map_bytes(iova, memory.bytes());
    }

    /// Asserts that each of the devices finds these bytes at `iova`.
    #[track_caller]
    pub(crate) fn assert_map_bytes(&self, iova: Iova, bytes: NonNull<[u8]>) {
        for one in &self.attached {
            assert_eq!(one.device.check_map(iova, bytes), Ok(()), "{iova}");
        }
    }

    /// Asserts that none of the devices finds `memory` at `iova`.
    #[track_caller]
    pub(crate) fn assert_lack(&self, iova: Iova, memory: &impl DmaMemory) {
        for one in &self.attached {
            let found = one.device.check_map(iova, memory.bytes());
            assert_eq!(found, Err(Errno::INVAL), "{iova}");
        }
    }

    /// Asserts that the pages of `memory`, which is mapped `times` times, are pinned as often as that, or not at all if
    /// there is no device.
    #[track_caller]
    pub(crate) fn assert_pinned(&self, times: u32, memory: &impl DmaMemory) {
        let times = if self.is_empty() { 0 } else { times };
        assert_eq!(
            mock::check_pins(self.ioas.iommufd(), memory.bytes(), times),
            Ok(())
        );
    }
}
