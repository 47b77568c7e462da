//! Page requests of a device that is attached to a guest's table.

use iommufd::{Error, FaultQueue, Iova, NestedHwPt, PageResponse, Pasid, Permissions};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::mock::nesting::CONFIG;
use tests::mock::{self, trigger_iopf};
use tests::page_requests::{NO_PASID, ask, is_gone, one};
use tests::raw;
use tests::{at::page, ids};

use super::Fixture;
use crate::past;

pub(super) fn viommu_alloc_nested_iopf(fixture: Fixture) {
    let fd = &fixture.iommufd;
    let queue = FaultQueue::new(fd).unwrap();
    let Some(guest) = &fixture.guest else {
        let answer = past::table(fd, 0, 0, |arg| arg.flags = sys::IOMMU_HWPT_FAULT_ID_VALID);
        assert_eq!(answer, Err(Errno::NOENT));
        assert_eq!(trigger_iopf(fd, 0, NO_PASID, 1, 1, 0), Err(Errno::NOENT));
        queue.try_close().unwrap().try_destroy().unwrap();
        return;
    };
    let device = &guest.device;
    let before = raw::objects(fd);
    // Nothing, and what is no queue of page requests.
    for wrong in [0, 9999, ids::of(&fixture.ioas), guest.id()] {
        let answer = past::table(fd, device.id(), guest.id(), |arg| {
            arg.flags = sys::IOMMU_HWPT_FAULT_ID_VALID;
            arg.fault_id = wrong;
        });
        assert_eq!(answer, Err(Errno::NOENT), "{wrong}");
    }
    assert_eq!(raw::objects(fd), before);
    let table = NestedHwPt::builder(&guest.viommu, device, &CONFIG).fault_queue(&queue);
    let table = table.allocate().unwrap();
    // The table keeps the queue.
    assert_eq!(raw::destroy(fd, ids::of(&queue)), Err(Errno::BUSY));
    let refusal = queue.try_close().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    let queue = refusal.into_value();

    // Which device it is behind the virtual IOMMU must be known first. The SDK has no word for that.
    let parent = device.page_table();
    let attach = || mock::mock_domain_replace(fd, device.stdev(), ids::of(&table));
    assert_eq!(attach(), Err(Errno::NOENT));
    let vdevice = guest.vdevice(0x99);
    ask(device, 1, page(0));
    assert!(queue.read().unwrap().is_empty(), "it is still where it was");
    let Fixture { guest, .. } = fixture;
    let guest = guest.unwrap();
    let mut attachment = guest.attachment;
    attachment.replace(vdevice.through(&table, ())).unwrap();
    let device = &guest.device;
    assert_eq!(device.page_table(), ids::of(&table));
    assert_eq!(raw::destroy(fd, ids::of(&table)), Err(Errno::BUSY));

    // A request is handed out, and answered once.
    let all = Permissions::READ | Permissions::WRITE | Permissions::EXEC;
    let (address, number) = (0xdead_0000, 0x77);
    trigger_iopf(fd, device.id(), NO_PASID, number, all.bits(), address).unwrap();
    assert!(queue.wait(None).unwrap());
    let group = one(&queue);
    assert_eq!(group.requests().len(), 1);
    let request = &group.requests()[0];
    assert_eq!(request.address(), Iova::new(address));
    assert_eq!(request.permissions(), all);
    assert_eq!(request.group().get(), number);
    assert_eq!(request.pasid(), None);
    assert_eq!(group.device().as_ref(), Some(&**device));
    group.respond(PageResponse::Success).unwrap();
    // The guest's PASIDs are in its tables: what carries one comes to the same queue.
    trigger_iopf(fd, device.id(), 5, number, 1, address).unwrap();
    let group = one(&queue);
    assert_eq!(group.requests()[0].pasid(), Pasid::new(5));
    group.respond(PageResponse::Invalid).unwrap();

    // What waits for an answer when the device goes elsewhere is answered by the kernel.
    ask(device, 2, page(2));
    ask(device, 3, page(3));
    let waits = queue.read().unwrap();
    assert_eq!(waits.len(), 2);
    ask(device, 4, page(4));
    attachment.replace(&guest.parent).unwrap();
    assert_eq!(device.page_table(), parent);
    assert!(queue.read().unwrap().is_empty(), "nor is it handed out");
    for group in waits {
        assert!(is_gone(group.respond(PageResponse::Success)));
    }
    attachment.detach().unwrap();
    table.try_destroy().unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
    vdevice.try_destroy().unwrap();
}
