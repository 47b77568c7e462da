//! Page requests: from the device's question to its answer.

use std::os::fd::{AsFd, BorrowedFd};

use iommufd::{PageRequestGroup, PageResponse};
use iommufd_sys::iommufd as sys;
use rustix::event::{PollFd, PollFlags, poll};
use tests::at::page;
use tests::mock::MockDevice;
use tests::page_requests::{Setup, ask};
use zerocopy::{FromZeros, IntoBytes};

use crate::measure::{Bound, Plan, loops};

/// The device asks, the queue is read, and the device is answered. The mock's question is in both.
pub(crate) fn round_trips() {
    // Two queues: what the SDK reads it knows of.
    let (setup, other) = (Setup::new(), Setup::new());
    let mut raw = Raw::new(&other);
    let mut groups = Vec::with_capacity(1);
    loops(
        "fault round trip",
        Bound::Gate,
        Plan::new(31, 300),
        || raw.round(),
        || round(&setup, &mut groups),
    );
}

/// By the SDK.
pub(crate) fn round(setup: &Setup, groups: &mut Vec<PageRequestGroup>) {
    ask(&setup.device, 1, page(0));
    assert!(setup.queue.wait(None).unwrap());
    assert_eq!(setup.queue.read_into(groups).unwrap(), 1);
    for group in groups.drain(..) {
        group.respond(PageResponse::Success).unwrap();
    }
}

/// By the queue's file.
pub(crate) struct Raw<'q> {
    device: &'q MockDevice,
    queue: BorrowedFd<'q>,
    request: sys::iommu_hwpt_pgfault,
}

impl<'q> Raw<'q> {
    pub(crate) fn new(setup: &'q Setup) -> Self {
        Self {
            device: &setup.device,
            queue: setup.queue.as_fd(),
            request: sys::iommu_hwpt_pgfault::new_zeroed(),
        }
    }

    pub(crate) fn round(&mut self) {
        ask(self.device, 1, page(0));
        let mut files = [PollFd::new(&self.queue, PollFlags::IN)];
        assert_eq!(poll(&mut files, None).unwrap(), 1);
        let len = rustix::io::read(self.queue, self.request.as_mut_bytes()).unwrap();
        assert_eq!(len, size_of::<sys::iommu_hwpt_pgfault>());
        let answer = sys::iommu_hwpt_page_response {
            cookie: self.request.cookie,
            code: sys::IOMMUFD_PAGE_RESP_SUCCESS,
        };
        rustix::io::write(self.queue, answer.as_bytes()).unwrap();
    }
}
