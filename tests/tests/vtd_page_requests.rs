//! Page requests of real devices: of those that have none.

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, DmaBuffer, FaultQueue, Ioas, Iommufd, Leaks, Target};
use rustix::io::Errno;
use tests::edu::{bind, lone, pair, reaches, taking_page_requests};
use tests::refused;

/// Whether a device has page requests the kernel looks at when it is attached.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_without_page_requests_is_not_attached_to_a_table_that_takes_them() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let queue = FaultQueue::new(&iommufd).unwrap();
    let table = taking_page_requests(&device, &ioas, &queue);
    refused(device.attach(&table), Errno::NODEV);
    // Nothing is lost by it, and an attached device goes on where it is: VT-d's driver stops it first, and looks then.
    let mut attachment = device.attach(&ioas).unwrap();
    let edu = Edu::new(&device).unwrap();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    assert!(reaches(&edu, mapping.iova(), &memory));
    let refusal = attachment.replace(&table).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::NODEV));
    assert_eq!(attachment.target(), Some(Target::from(&ioas)));
    assert!(reaches(&edu, mapping.iova(), &memory));
    mapping.unmap().unwrap();
    assert!(!reaches(&edu, tests::at::page(0), &memory));
    table.try_destroy().unwrap();
    attachment.detach().unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// All devices of a group go on where they were, when one of them could not be moved.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_that_is_not_moved_goes_on_where_it_was() {
    let iommufd = Iommufd::open().unwrap();
    let pair = pair().map(|address| bind(address, &iommufd));
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    let queue = FaultQueue::new(&iommufd).unwrap();
    let table = taking_page_requests(&pair[0], &ioas, &queue);
    let attachments = [&pair[0], &pair[1]].map(|device| device.attach(&ioas).unwrap());
    let edus = [&pair[0], &pair[1]].map(|device| Edu::new(device).unwrap());
    refused(pair[1].iommu().group().replace(&table), Errno::NODEV);
    for (edu, attachment) in edus.iter().zip(&attachments) {
        assert!(reaches(edu, mapping.iova(), &memory));
        assert_eq!(attachment.target(), Some(Target::from(&ioas)));
    }
    drop(attachments);
    assert!(!reaches(&edus[0], mapping.iova(), &memory));
    assert_eq!(iommufd.leaks(), Leaks::default());
}
