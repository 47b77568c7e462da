//! A virtual IOMMU that is made with the queue of its events.

use iommufd::{Ioas, Iommufd, NestParent, NestedHwPt, VDevice, VEvent, Viommu};
use rustix::io::Errno;
use tests::mock::nesting::{MockEvent, MockViommu, Stage1, VirtualNumber};
use tests::mock::{MockDevice, trigger_vevent};
use tests::{raw, refused};

/// Without a queue the kernel has nobody to tell, and the event is lost for good.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_first_event_is_told_to_whoever_made_the_queue_with_the_virtual_iommu() {
    for at_once in [true, false] {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let parent = NestParent::new(&ioas, &device).unwrap();
        let (viommu, mut events) = if at_once {
            let made = Viommu::<MockViommu>::with_events::<MockEvent>(&parent, &device, 8);
            let (viommu, events) = made.unwrap();
            (viommu, Some(events))
        } else {
            (Viommu::new(&parent, &device).unwrap(), None)
        };
        let vdevice = VDevice::new(&viommu, &device, VirtualNumber(0x99)).unwrap();
        let nested = NestedHwPt::new(&viommu, &device, &Stage1::default()).unwrap();
        let attachment = device.attach(vdevice.through(&nested, ())).unwrap();

        let told = trigger_vevent(&iommufd, device.id());
        match &mut events {
            Some(events) => {
                told.unwrap();
                let event = VEvent::Event(MockEvent { virt_id: 0x99 });
                assert_eq!(events.read().unwrap(), [event]);
            }
            None => assert_eq!(told, Err(Errno::OPNOTSUPP)),
        }
        attachment.detach().unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn without_the_queue_there_is_no_virtual_iommu_either() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let before = raw::objects(&iommufd);
    // A queue for no event is none.
    let answer = Viommu::<MockViommu>::with_events::<MockEvent>(&parent, &device, 0);
    refused(answer, Errno::INVAL);
    assert_eq!(raw::objects(&iommufd), before);
    parent.try_destroy().unwrap();
}
