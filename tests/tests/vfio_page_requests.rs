//! Page requests of real devices: of those that have none.

use iommufd::{FaultQueue, HwPt, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::edu::{bind, lone};
use tests::refused;

/// Whether a device has page requests the kernel looks at when it is attached.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_without_page_requests_is_not_attached_to_a_table_that_takes_them() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let queue = FaultQueue::new(&iommufd).unwrap();
    let table = HwPt::builder(&ioas, device.iommu())
        .fault_queue(&queue)
        .allocate()
        .unwrap();
    refused(device.attach(&table), Errno::NODEV);
    // Nothing is lost by it, and an attached device stays where it is.
    let mut attachment = device.attach(&ioas).unwrap();
    let refusal = attachment.replace(&table).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::NODEV));
    table.try_destroy().unwrap();
    attachment.detach().unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}
