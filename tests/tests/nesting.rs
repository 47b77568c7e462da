//! Nested tables, virtual IOMMUs and what belongs to them, end to end on the mock driver.

use iommufd::{
    Access, DmaBuffer, Error, HwQueue, Ioas, Iommufd, IovaRange, Leaks, NestParent, NestedHwPt,
    VDevice, VEvent, VEventQueue, Viommu,
};
use tests::at::{PAGE, page};
use tests::mock::nesting::{
    DeviceInvalidation, INVALIDATE_ALL, Loopback, MockEvent, MockViommu, MockViommuWithPage,
    OnParent, Stage1, TableInvalidation, VirtualNumber,
};
use tests::mock::{MockDevice, abi, check_dev_cache, check_iotlb, trigger_vevent};
use tests::{ids, raw};

const CONFIG: Stage1 = Stage1 {
    iotlb: abi::IOTLB_DEFAULT,
    pagetable_type: 0,
};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_nested_on_its_parent_is_attached_and_invalidated() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let nested = NestedHwPt::<OnParent>::new(&parent, &device, &CONFIG).unwrap();
    let attachment = device.attach(&nested).unwrap();
    assert_eq!(device.page_table(), ids::of(&nested));
    let one = |iotlb_id| TableInvalidation { flags: 0, iotlb_id };
    nested.invalidate(&[]).unwrap();
    nested.invalidate(&[one(1), one(3)]).unwrap();
    for (index, value) in [
        (0, abi::IOTLB_DEFAULT),
        (1, 0),
        (2, abi::IOTLB_DEFAULT),
        (3, 0),
    ] {
        check_iotlb(&iommufd, ids::of(&nested), index, value).unwrap();
    }
    let refused = nested.invalidate(&[one(0), one(9), one(2)]).unwrap_err();
    assert!(matches!(
        refused,
        Error::InvalidationRefused {
            done: 1,
            refused: 1,
            ..
        }
    ));
    check_iotlb(&iommufd, ids::of(&nested), 0, 0).unwrap();
    check_iotlb(&iommufd, ids::of(&nested), 2, abi::IOTLB_DEFAULT).unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_behind_a_virtual_iommu() {
    let iommufd = Iommufd::open().unwrap();
    let before = raw::objects(&iommufd);
    {
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let parent = NestParent::new(&ioas, &device).unwrap();
        let viommu = Viommu::<MockViommu>::new(&parent, &device).unwrap();
        let mut events = VEventQueue::<MockEvent>::new(&viommu, 2).unwrap();
        let nested = NestedHwPt::new(&viommu, &device, &CONFIG).unwrap();
        let vdevice = VDevice::new(&viommu, &device, VirtualNumber(0x99)).unwrap();
        assert!(matches!(
            VDevice::new(&viommu, &device, VirtualNumber(0x98)),
            Err(Error::HasVDevice)
        ));
        let attachment = device.attach(vdevice.through(&nested)).unwrap();

        let all = DeviceInvalidation {
            flags: INVALIDATE_ALL,
            vdev_id: 0x99,
            cache_id: 0,
        };
        viommu.invalidate(&[all]).unwrap();
        for index in 0..abi::CACHE_LEN {
            check_dev_cache(&iommufd, device.id(), index, 0).unwrap();
        }

        assert!(!events.wait(Some(std::time::Duration::ZERO)).unwrap());
        for _ in 0..5 {
            trigger_vevent(&iommufd, device.id()).unwrap();
        }
        assert!(events.wait(None).unwrap());
        let event = VEvent::Event(MockEvent { virt_id: 0x99 });
        assert_eq!(events.read().unwrap(), [event, event, VEvent::Lost(3)]);
        assert_eq!(events.read().unwrap(), []);
        trigger_vevent(&iommufd, device.id()).unwrap();
        assert_eq!(events.read().unwrap(), [event]);

        // Attached, it cannot go; dropped in any order, everything goes.
        let vdevice = vdevice.try_destroy().unwrap_err().into_value();
        drop((viommu, nested, parent, ioas, vdevice, events, device));
        drop(attachment);
    }
    assert_eq!(iommufd.leaks(), Leaks::default());
    assert_eq!(raw::objects(&iommufd), before);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn hardware_queues_go_in_the_order_against_which_they_came() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let viommu = Viommu::<MockViommu>::new(&parent, &device).unwrap();
    let memory = DmaBuffer::new(2 * PAGE).unwrap().share();
    let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let at = |n| IovaRange::with_len(page(n), PAGE as u64).unwrap();
    let first = HwQueue::first(&viommu, at(0)).unwrap();
    let second = HwQueue::after(&first, at(1)).unwrap();
    assert_eq!((first.number(), second.number()), (0, 1));
    tests::refused(HwQueue::after(&second, at(1)), rustix::io::Errno::INVAL);
    let first = first.try_destroy().unwrap_err().into_value();
    let mapping = mapping.unmap().unwrap_err().into_value();
    drop(first);
    // The second holds the first.
    let mapping = mapping.unmap().unwrap_err().into_value();
    second.try_destroy().unwrap();
    mapping.unmap().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_page_of_a_virtual_iommu_keeps_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let data = Loopback {
        in_data: 0x1234_5678,
        ..Loopback::default()
    };
    let viommu = Viommu::<MockViommuWithPage>::with_data(&parent, &device, data).unwrap();
    assert_eq!(viommu.data().out_data, 0x1234_5678);
    let page = viommu.map_page().unwrap();
    assert_eq!(page.len() as u64, viommu.data().out_mmap_length);
    assert_eq!(page.read::<u32>(0).unwrap(), 0x1234_5678);
    page.write(4, 0x55_u32).unwrap();
    assert_eq!(page.read::<u64>(0).unwrap(), 0x55_1234_5678);
    assert!(page.read::<u32>(page.len()).is_err());
    let viommu = viommu.try_destroy().unwrap_err().into_value();
    drop(viommu);
    assert_eq!(page.read::<u32>(4).unwrap(), 0x55);
    drop(page);
    assert_eq!(iommufd.leaks(), Leaks::default());
}
