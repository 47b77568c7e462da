//! The kernel fails at every point at which it can while a guest is set up, used and taken down, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use iommufd::{
    Access, Attachment, Error, FaultQueue, HwQueue, Ioas, Iommufd, Mapping, NestParent, NestedHwPt,
    Refused, Result, VDevice, VEventQueue, Viommu, ViommuPage,
};
use tests::at::{PAGE, page, pages};
use tests::faults::nothing_is_left;
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, Loopback, MockEvent, MockViommuWithPage, OnParent, OnViommu,
    TableInvalidation, VirtualNumber,
};

type Kind = MockViommuWithPage;

/// A guest's memory.
fn memory(iommufd: &Iommufd, living: &Living) -> Result<(Ioas, Mapping)> {
    let ioas = Ioas::new(iommufd)?;
    let mapping = ioas.map_at(page(0), living.memory(2 * PAGE), Access::ReadWrite)?;
    Ok((ioas, mapping))
}

/// What is taken down in this order.
struct Setup {
    attachment: Attachment,
    queues: [HwQueue<Kind>; 2],
    table: NestedHwPt<OnViommu>,
    on_parent: NestedHwPt<OnParent>,
    vdevice: VDevice<Kind>,
    events: VEventQueue<MockEvent>,
    page: ViommuPage,
    viommu: Viommu<Kind>,
    parent: NestParent,
    requests: FaultQueue,
}

fn set_up(ioas: &Ioas, device: &MockDevice) -> Result<Setup> {
    let iommufd = ioas.iommufd();
    let mut attachment = device.attach(ioas)?;
    let parent = NestParent::new(ioas, device)?;
    let viommu = Viommu::<Kind>::with_data(&parent, device, Loopback::default())?;
    let page = viommu.map_page()?;
    let events = VEventQueue::new(&viommu, 2)?;
    let requests = FaultQueue::new(iommufd)?;
    let table = NestedHwPt::builder(&viommu, device, &CONFIG)
        .fault_queue(&requests)
        .allocate()?;
    let on_parent = NestedHwPt::new(&parent, device, &CONFIG)?;
    let vdevice = VDevice::new(&viommu, device, VirtualNumber(1))?;
    let first = HwQueue::first(&viommu, pages(0, 1))?;
    let second = HwQueue::after(&first, pages(1, 1))?;
    attachment.replace(vdevice.through(&table, ()))?;
    viommu.invalidate(&[DeviceInvalidation::of_all(1); 3])?;
    on_parent.invalidate(&[TableInvalidation::of(1); 3])?;
    attachment.replace(&on_parent)?;
    attachment.replace(&parent)?;
    attachment.replace(vdevice.through(&table, ()))?;
    Ok(Setup {
        attachment,
        queues: [first, second],
        table,
        on_parent,
        vdevice,
        events,
        page,
        viommu,
        parent,
        requests,
    })
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn setting_up_a_guest() {
    nothing_is_left(|nth, iommufd, device, living| {
        let (ioas, mapping) = memory(iommufd, living)?;
        let result = nth.armed(|| set_up(&ioas, device));
        if let Ok(setup) = &result {
            assert_eq!(setup.page.read::<u32>(0)?, 0);
        }
        let result = result.map(drop);
        mapping.unmap()?;
        ioas.try_destroy()?;
        result
    });
}

/// Does it again, if it was refused, with what came back.
fn insist<T>(value: T, refusals: &mut usize, mut attempt: impl FnMut(T) -> Result<(), Refused<T>>) {
    if let Err(refused) = attempt(value) {
        *refusals += 1;
        assert!(!matches!(refused.error(), Error::InUse { .. }), "{refused}");
        attempt(refused.into_value()).unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn taking_down_a_guest() {
    nothing_is_left(|nth, iommufd, device, living| {
        let (ioas, mapping) = memory(iommufd, living)?;
        let setup = set_up(&ioas, device)?;
        let mut refusals = 0;
        nth.armed(|| {
            let refusals = &mut refusals;
            let [first, second] = setup.queues;
            insist(setup.attachment, refusals, Attachment::detach);
            insist(second, refusals, HwQueue::try_destroy);
            insist(first, refusals, HwQueue::try_destroy);
            insist(setup.table, refusals, NestedHwPt::try_destroy);
            insist(setup.on_parent, refusals, NestedHwPt::try_destroy);
            insist(setup.vdevice, refusals, VDevice::try_destroy);
            let closed = setup.events.try_close().unwrap();
            insist(closed, refusals, |closed| closed.try_destroy());
            drop(setup.page);
            insist(setup.viommu, refusals, Viommu::try_destroy);
            insist(setup.parent, refusals, NestParent::try_destroy);
            let closed = setup.requests.try_close().unwrap();
            insist(closed, refusals, |closed| closed.try_destroy());
            insist(mapping, refusals, Mapping::unmap);
        });
        ioas.try_destroy()?;
        match refusals {
            0 => Ok(()),
            // For the sweep to have seen a failure.
            _ => Err(Error::NotAttached),
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn invalidating() {
    nothing_is_left(|nth, iommufd, device, living| {
        let (ioas, _mapping) = memory(iommufd, living)?;
        let setup = set_up(&ioas, device)?;
        let result = nth.armed(|| {
            setup
                .viommu
                .invalidate(&[DeviceInvalidation::of(1, 0); 5])?;
            setup.on_parent.invalidate(&[TableInvalidation::of(0); 5])
        });
        // Whatever failed, it was before the commands were looked at.
        if let Err(error) = &result {
            let refused = matches!(
                error,
                Error::InvalidationRefused {
                    done: 0,
                    refused: 0,
                    ..
                }
            );
            assert!(refused, "{error}");
        }
        result
    });
}
