//! Mock devices that ask for pages, through a page table with a fault queue.

use std::os::fd::{AsFd, OwnedFd};

use iommufd::{
    Attachment, Error, FaultQueue, HwPt, Ioas, Iommufd, Iova, PageRequestGroup, Permissions,
};
use rustix::io::Errno;

use crate::at::page;
use crate::mock::{MockDevice, trigger_iopf};

/// What the kernel takes for no PASID.
pub const NO_PASID: u32 = 0;

/// A device attached to a page table with a queue.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are what their types say")]
pub struct Setup {
    pub iommufd: Iommufd,
    pub device: MockDevice,
    pub ioas: Ioas,
    pub queue: FaultQueue,
    pub hwpt: HwPt,
    pub attachment: Attachment,
}

impl Setup {
    /// In a context of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Iommufd::open().unwrap())
    }

    /// In `iommufd`.
    #[must_use]
    pub fn of(iommufd: Iommufd) -> Self {
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let queue = FaultQueue::new(&iommufd).unwrap();
        let hwpt = table(&ioas, &device, &queue);
        let attachment = device.attach(&hwpt).unwrap();
        Self {
            iommufd,
            device,
            ioas,
            queue,
            hwpt,
            attachment,
        }
    }

    /// The device asks for a page, and the queue hands it out.
    pub fn asked(&self) -> PageRequestGroup {
        ask(&self.device, 1, page(0));
        one(&self.queue)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A page table of `ioas` with a queue.
#[must_use]
pub fn table(ioas: &Ioas, device: &MockDevice, queue: &FaultQueue) -> HwPt {
    let table = HwPt::builder(ioas, device).fault_queue(queue);
    table.allocate().unwrap()
}

/// Lets `device` ask for the page at `address`, to read it, in its group `group`.
pub fn ask(device: &MockDevice, group: u32, address: Iova) {
    let (fd, id, read) = (device.iommufd(), device.id(), Permissions::READ.bits());
    trigger_iopf(fd, id, NO_PASID, group, read, address.get()).unwrap();
}

/// The same with a PASID, in the group 0.
pub fn ask_with(device: &MockDevice, pasid: u32, address: Iova) {
    let (fd, id, read) = (device.iommufd(), device.id(), Permissions::READ.bits());
    trigger_iopf(fd, id, pasid, 0, read, address.get()).unwrap();
}

/// The one group that is there.
pub fn one(queue: &FaultQueue) -> PageRequestGroup {
    let mut groups = queue.read().unwrap();
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

/// The device's own number of the first request of each group.
#[must_use]
pub fn numbers(groups: &[PageRequestGroup]) -> Vec<u32> {
    let numbers = groups.iter().map(|group| group.requests()[0].group().get());
    numbers.collect()
}

/// Whether an answer came too late.
pub fn is_gone<T>(result: Result<T, impl Into<Error>>) -> bool {
    matches!(result.map_err(Into::into), Err(Error::RequestGone))
}

/// Answers, as a stranger with the same file, the group that has the lowest cookie.
///
/// # Errors
/// `EINVAL`: there is none that waits.
pub fn answer_the_first(queue: &impl AsFd) -> Result<(), Errno> {
    let [cookie, success] = [1_u32, 0].map(u32::to_ne_bytes);
    let answer = [cookie, success].concat();
    let len = rustix::io::write(queue, &answer)?;
    assert_eq!(len, answer.len());
    Ok(())
}

/// The queue's file, as a stranger has it.
#[must_use]
pub fn duplicate(queue: &FaultQueue) -> OwnedFd {
    queue.as_fd().try_clone_to_owned().unwrap()
}
