//! Page requests: from the device's question to its answer.

use std::os::fd::AsFd;

use iommufd::PageResponse;
use iommufd_sys::iommufd as sys;
use tests::at::page;
use tests::page_requests::{Setup, ask};
use zerocopy::{FromZeros, IntoBytes};

use crate::measure::{Bound, Plan, loops};

/// The device asks, the queue is read, and the device is answered. The mock's question is in both, and costs the most.
pub(crate) fn round_trips() {
    let setup = Setup::new();
    // Two queues: what the SDK reads it knows of.
    let other = Setup::new();
    let queue = other.queue.as_fd();
    let mut groups = Vec::with_capacity(16);
    let mut request = sys::iommu_hwpt_pgfault::new_zeroed();
    let wait = |queue: &_| {
        let mut fds = [rustix::event::PollFd::new(
            queue,
            rustix::event::PollFlags::IN,
        )];
        assert_eq!(rustix::event::poll(&mut fds, None).unwrap(), 1);
    };
    loops(
        "fault round trip",
        Bound::Gate,
        Plan::new(15, 300),
        || {
            ask(&other.device, 1, page(0));
            wait(&queue);
            let len = rustix::io::read(queue, request.as_mut_bytes()).unwrap();
            assert_eq!(len, size_of::<sys::iommu_hwpt_pgfault>());
            let answer = sys::iommu_hwpt_page_response {
                cookie: request.cookie,
                code: sys::IOMMUFD_PAGE_RESP_SUCCESS,
            };
            rustix::io::write(queue, answer.as_bytes()).unwrap();
        },
        || {
            ask(&setup.device, 1, page(0));
            assert!(setup.queue.wait(None).unwrap());
            assert_eq!(setup.queue.read_into(&mut groups).unwrap(), 1);
            for group in groups.drain(..) {
                group.respond(PageResponse::Success).unwrap();
            }
        },
    );
}
