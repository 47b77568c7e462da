//! Fixture `basic_fail_nth`: programs that are failed at every point at which the kernel can fail.
//!
//! The kernel's own look for nothing but its warnings. These go through the SDK, and nothing may be left behind either.

use std::time::Duration;

use iommufd::{
    Access, DirtyBitmap, DmaBuffer, Error, FaultQueue, Granule, HwPt, HwQueue, Ioas, Iommufd,
    IovaRange, NestParent, NestedHwPt, PageResponse, Pasid, Result, VDevice, VEventQueue, Viommu,
};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::faults::{Count, Stage, leaves_nothing};
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, Loopback, MockEvent, MockViommuWithPage, OnParent,
    TableInvalidation, VirtualNumber,
};
use tests::mock::{
    BatchLimit, MockAccess, MockDevice, hw_info_type, refusal, trigger_iopf, trigger_vevent,
};

/// Asserts that there were at least so many points: with fewer the program would have ended early.
fn at_least(iommufd: usize, everywhere: usize, count: Count) {
    assert!(
        count.iommufd >= iommufd && count.everywhere >= everywhere,
        "{count:?}"
    );
}

/// What the mock answered.
fn of_mock<T>(answer: Result<T, Errno>) -> Result<T> {
    answer.map_err(|errno| refusal(errno).into())
}

/// The kernel takes few pages at a time, so that it has to come back for more.
fn few_pages_at_a_time(iommufd: &Iommufd) -> Result<BatchLimit> {
    of_mock(BatchLimit::new(iommufd, 32))
}

/// What is done with address spaces that nobody uses.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn basic() {
    at_least(18, 35, leaves_nothing(address_spaces));
}

fn address_spaces(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let [first, second, _] = &stage.memories;
    let ioas = Ioas::new(iommufd)?;
    let other = Ioas::builder(iommufd).huge_pages(false).allocate()?;
    assert!(!other.huge_pages()?);
    assert_eq!(ioas.iova_ranges()?.iter().len(), 1);
    ioas.allow_iovas(&[pages(0, 64), pages(100, 64)])?;
    let anywhere = ioas.map(first, Access::ReadWrite)?;
    let fixed = ioas.map_at(page(80), second, Access::Read)?;
    ioas.allow_iovas(&[])?;
    let beside = ioas.copy(&anywhere, Access::ReadWrite)?;
    let part = anywhere.slice(PAGE as u64..3 * PAGE as u64)?;
    let copy = other.copy_at(page(0), part, Access::Read)?;
    let file = DmaBuffer::memfd(4 * PAGE)?.share();
    let _by_file = other.map(&file, Access::ReadWrite)?;

    iommufd.set_compat_ioas(&ioas)?;
    assert!(iommufd.has_compat_ioas()? && ioas.is_compat()?);
    iommufd.clear_compat_ioas()?;

    anywhere.unmap()?;
    other.unmap_range(copy.range())?;
    fixed.unmap()?;
    assert_eq!(ioas.unmap_all()?, Stage::LEN as u64);
    drop(beside);
    ioas.try_destroy()?;
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn map_domain() {
    at_least(60, 130, leaves_nothing(one_domain));
}

fn one_domain(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let [first, second, third] = &stage.memories;
    let _limit = few_pages_at_a_time(iommufd)?;
    let ioas = Ioas::new(iommufd)?;
    let device = MockDevice::new(iommufd)?;
    let attachment = device.attach(&ioas)?;
    let one = ioas.map_at(page(0), first, Access::ReadWrite)?;
    let two = ioas.map(second, Access::Read)?;
    let copy = ioas.copy(&one, Access::Read)?;
    two.unmap()?;
    // Without a device, and with one again, to which all is shown that is mapped.
    attachment.detach()?;
    let _three = ioas.map_at(page(100), third, Access::Read)?;
    let mut attachment = device.attach(&ioas)?;
    let table = HwPt::new(&ioas, &device)?;
    attachment.replace(&table)?;
    copy.unmap()?;
    drop(attachment);
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn map_file_domain() {
    at_least(40, 120, leaves_nothing(one_domain_and_files));
}

fn one_domain_and_files(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let _limit = few_pages_at_a_time(iommufd)?;
    let ioas = Ioas::new(iommufd)?;
    let device = MockDevice::new(iommufd)?;
    let attachment = device.attach(&ioas)?;
    let buffers = [
        DmaBuffer::memfd(Stage::LEN)?.share(),
        DmaBuffer::memfd(PAGE)?.share(),
    ];
    let one = ioas.map_at(page(0), &buffers[0], Access::ReadWrite)?;
    let two = ioas.map(&buffers[1], Access::Read)?;
    iommufd.change_process()?;
    two.unmap()?;
    attachment.detach()?;
    let attachment = device.attach(&ioas)?;
    one.unmap()?;
    attachment.detach()?;
    for buffer in buffers {
        DmaBuffer::reclaim(buffer)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn map_two_domains() {
    at_least(60, 180, leaves_nothing(two_domains));
}

fn two_domains(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let [first, second, third] = &stage.memories;
    let _limit = few_pages_at_a_time(iommufd)?;
    let ioas = Ioas::new(iommufd)?;
    let devices = [MockDevice::new(iommufd)?, MockDevice::new(iommufd)?];
    // Devices that are attached to the address space share a table: one of them gets its own.
    let mut of_first = devices[0].attach(&ioas)?;
    let _one = ioas.map_at(page(0), first, Access::ReadWrite)?;
    let of_second = devices[1].attach(HwPt::new(&ioas, &devices[1])?)?;
    let two = ioas.map(second, Access::Read)?;
    // All that is mapped is shown to a third table, and to a fourth.
    let table = HwPt::new(&ioas, &devices[0])?;
    of_first.replace(&table)?;
    let parent = NestParent::new(&ioas, &devices[1])?;
    two.unmap()?;
    of_first.detach()?;
    let three = ioas.map(third, Access::Read)?;
    drop((table, parent));
    of_second.detach()?;
    three.unmap()?;
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn access_rw() {
    at_least(24, 45, leaves_nothing(reading_and_writing));
}

fn reading_and_writing(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let [first, second, _] = &stage.memories;
    let _limit = few_pages_at_a_time(iommufd)?;
    let ioas = Ioas::new(iommufd)?;
    let one = ioas.map_at(page(0), first, Access::ReadWrite)?;
    let _two = ioas.map_at(page(8), second, Access::ReadWrite)?;
    let access = of_mock(MockAccess::new(&ioas))?;
    // Within a page, over the edge of one, over many, and from one mapping into the next.
    for (at, len) in [(8, 8), (PAGE - 3, 8), (100, 5 * PAGE), (Stage::LEN - 4, 8)] {
        let at = page(0).checked_add(at as u64).ok_or(Error::NotAttached)?;
        let mut seen = vec![0xff; len];
        of_mock(access.write(at, &vec![0x5a; len]))?;
        of_mock(access.read(at, &mut seen))?;
        of_mock(access.write_slowly(at, &vec![0x5a; len]))?;
        of_mock(access.read_slowly(at, &mut seen))?;
        assert!(seen.iter().all(|&byte| byte == 0x5a));
    }
    one.unmap()?;
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn access_pin() {
    at_least(20, 40, leaves_nothing(pinning));
}

fn pinning(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let _limit = few_pages_at_a_time(iommufd)?;
    let ioas = Ioas::new(iommufd)?;
    pin(stage, &ioas)
}

/// Pins parts of what is mapped, and has some of it taken away by an unmap.
fn pin(stage: &Stage, ioas: &Ioas) -> Result<()> {
    const LEN: u64 = PAGE as u64;
    let [first, second, _] = &stage.memories;
    let one = ioas.map_at(page(0), first, Access::ReadWrite)?;
    let two = ioas.map_at(page(8), second, Access::ReadWrite)?;
    let accesses = [
        of_mock(MockAccess::pinning(ioas))?,
        of_mock(MockAccess::pinning(ioas))?,
    ];
    let all = of_mock(accesses[0].pin(page(0), 16 * LEN))?;
    let part = of_mock(accesses[1].pin(page(2), 3 * LEN))?;
    of_mock(accesses[0].unpin(all))?;
    let again = of_mock(accesses[1].pin(page(4), 8 * LEN))?;
    of_mock(accesses[1].unpin(part))?;
    one.unmap()?;
    assert_eq!(accesses[1].unpin(again), Err(Errno::NOENT));
    two.unmap()?;
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn access_pin_domain() {
    at_least(60, 150, leaves_nothing(pinning_beside_a_domain));
}

fn pinning_beside_a_domain(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let _limit = few_pages_at_a_time(iommufd)?;
    let ioas = Ioas::new(iommufd)?;
    let device = MockDevice::new(iommufd)?;
    let attachment = device.attach(&ioas)?;
    pin(stage, &ioas)?;
    // The device goes while an access has pages pinned, and comes back.
    let access = of_mock(MockAccess::pinning(&ioas))?;
    let mapping = ioas.map_at(page(0), &stage.memories[2], Access::ReadWrite)?;
    let pin = of_mock(access.pin(page(1), 2 * PAGE as u64))?;
    attachment.detach()?;
    let attachment = device.attach(&ioas)?;
    of_mock(access.unpin(pin))?;
    mapping.unmap()?;
    attachment.detach()?;
    Ok(())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn device() {
    at_least(180, 350, leaves_nothing(everything_of_a_device));
}

fn everything_of_a_device(stage: &Stage) -> Result<()> {
    let iommufd = &stage.iommufd;
    let devices = [
        MockDevice::with_pasids(iommufd)?,
        MockDevice::with_pasids(iommufd)?,
    ];
    let ioas = Ioas::new(iommufd)?;
    let _mapping = ioas.map_at(page(0), &stage.memories[0], Access::ReadWrite)?;
    let [device, other] = &devices;
    device.hw_info()?;
    other.hw_info_of(hw_info_type())?;
    attaching(device, other, &ioas)?;
    pasids(device, &ioas)?;
    page_requests(device, &ioas)?;
    dirty_tracking(device, &ioas)?;
    guests(device, &ioas)
}

fn attaching(device: &MockDevice, other: &MockDevice, ioas: &Ioas) -> Result<()> {
    let there = Ioas::new(ioas.iommufd())?;
    let mut attachment = device.attach(ioas)?;
    let mut of_other = other.attach(ioas)?;
    let table = HwPt::new(ioas, device)?;
    attachment.replace(&table)?;
    of_other.replace(&table)?;
    let parent = NestParent::new(&there, device)?;
    let nested = NestedHwPt::<OnParent>::new(&parent, device, &CONFIG)?;
    attachment.replace(&parent)?;
    attachment.replace(&nested)?;
    nested.invalidate(&[TableInvalidation::of(0); 3])?;
    of_other.detach()?;
    table.try_destroy()?;
    attachment.replace(ioas)?;
    attachment.detach()?;
    Ok(())
}

fn pasids(device: &MockDevice, ioas: &Ioas) -> Result<()> {
    let pasid = Pasid::new(100).ok_or(Error::NotAttached)?;
    let own = HwPt::builder(ioas, device).pasid(true).allocate()?;
    let parent = NestParent::builder(ioas, device).pasid(true).allocate()?;
    let nested = NestedHwPt::<OnParent>::builder(&parent, device, &CONFIG);
    let nested = nested.pasid(true).allocate()?;
    let mut attachment = device.attach(&own)?;
    let mut of_pasid = device.attach_pasid(pasid, &own)?;
    of_pasid.replace(&parent)?;
    of_pasid.replace(&nested)?;
    attachment.replace(&nested)?;
    of_pasid.detach()?;
    let _of_pasid = device.attach_pasid(pasid, &parent)?;
    drop(attachment);
    Ok(())
}

fn page_requests(device: &MockDevice, ioas: &Ioas) -> Result<()> {
    let iommufd = ioas.iommufd();
    let queue = FaultQueue::new(iommufd)?;
    let table = HwPt::builder(ioas, device).fault_queue(&queue).allocate()?;
    let attachment = device.attach(&table)?;
    for group in 0..3 {
        of_mock(trigger_iopf(iommufd, device.id(), 0, group, 1, 0x1000))?;
    }
    // Where the kernel could not take a request, it has refused it to the device.
    if queue.wait(Some(Duration::ZERO))? {
        let mut groups = queue.read()?.into_iter();
        if let Some(group) = groups.next() {
            group.respond(PageResponse::Success)?;
        }
        // One is dropped, and perhaps one left for the detach.
        drop(groups.next());
        attachment.detach()?;
        drop(groups);
    }
    drop(table);
    queue.try_close()?.try_destroy()?;
    Ok(())
}

fn dirty_tracking(device: &MockDevice, ioas: &Ioas) -> Result<()> {
    let builder = HwPt::builder(ioas, device).dirty_tracking(true);
    let table = builder.allocate()?;
    let attachment = device.attach(&table)?;
    let range = pages(0, 8);
    let mut bitmap = DirtyBitmap::new(range, Granule::KIB_4)?;
    let tracking = table.track_dirty()?;
    tracking.read(&mut bitmap)?;
    tracking.read_and_clear(&mut bitmap)?;
    tracking.stop()?;
    let _tracking = table.track_dirty()?;
    drop(attachment);
    Ok(())
}

fn guests(device: &MockDevice, ioas: &Ioas) -> Result<()> {
    let iommufd = ioas.iommufd();
    let parent = NestParent::new(ioas, device)?;
    let viommu = Viommu::<MockViommuWithPage>::with_data(&parent, device, Loopback::default())?;
    let page_of_registers = viommu.map_page()?;
    let mut events = VEventQueue::<MockEvent>::new(&viommu, 2)?;
    let requests = FaultQueue::new(iommufd)?;
    let builder = NestedHwPt::builder(&viommu, device, &CONFIG).fault_queue(&requests);
    let table = builder.allocate()?;
    let vdevice = VDevice::new(&viommu, device, VirtualNumber(0x99))?;
    let mut attachment = device.attach(vdevice.through(&table, ()))?;
    viommu.invalidate(&[DeviceInvalidation::of_all(0x99); 3])?;
    for _ in 0..3 {
        of_mock(trigger_vevent(iommufd, device.id()))?;
    }
    events.read()?;
    let at = |n| IovaRange::with_len(page(n), PAGE as u64).ok_or(Error::NotAttached);
    let first = HwQueue::first(&viommu, at(0)?)?;
    let second = HwQueue::after(&first, at(1)?)?;
    attachment.replace(&parent)?;
    attachment.replace(vdevice.through(&table, ()))?;
    second.try_destroy()?;
    events.try_close()?.try_destroy()?;
    attachment.detach()?;
    vdevice.try_destroy()?;
    drop(page_of_registers);
    Ok(())
}
