//! What a kernel lacks, asked for on any kernel: it is there, or an error says since which Linux there is it; no other.
//!
//! The table here says what each kernel is expected to have. On a kernel that has all of it everything has to work, so
//! what is passed over elsewhere for want of a newer kernel cannot be passed over on the newest.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use iommufd::{
    Access, DmaBuffer, Error, FaultQueue, FileRange, HwPt, HwQueue, Ioas, Iommufd, Leaks,
    NestParent, NestedHwPt, Result, VDevice, VEventQueue, Viommu,
};
use iommufd_sys::ioctl::Linux;
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::kernel::{linux, running};
use tests::mock::nesting::{
    CONFIG, Loopback, MockEvent, MockViommu, MockViommuWithPage, OnParent, OnViommu,
    TableInvalidation, VirtualNumber,
};
use tests::mock::{MockDevice, hw_info_type};
use tests::{bare, file};

/// A device and an address space.
struct Rig {
    device: MockDevice,
    ioas: Ioas,
    iommufd: Iommufd,
}

impl Rig {
    fn new() -> Self {
        let iommufd = Iommufd::open().unwrap();
        Self {
            device: MockDevice::new(&iommufd).unwrap(),
            ioas: Ioas::new(&iommufd).unwrap(),
            iommufd,
        }
    }

    fn parent(&self) -> Result<NestParent> {
        NestParent::new(&self.ioas, &self.device)
    }

    fn viommu(&self) -> Result<Viommu<MockViommu>> {
        Viommu::new(&self.parent()?, &self.device)
    }
}

/// What to ask for, since when there is it, and how.
type Asked = (&'static str, Linux, fn(&Rig) -> Result<()>);

const ASKED: &[Asked] = &[
    ("address spaces and mappings", linux(6, 2), |rig| {
        let memory = DmaBuffer::new(PAGE)?.share();
        rig.ioas.allow_iovas(&[pages(0, 16)])?;
        assert!(rig.ioas.iova_ranges()?.contains(pages(0, 1)));
        let mapping = rig.ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        let other = Ioas::new(&rig.iommufd)?;
        other.copy(&mapping, Access::Read)?.unmap()?;
        Ok(mapping.unmap()?)
    }),
    // Where the kernel maps no files, it is mapped by its address.
    ("a buffer that is in a file", linux(6, 2), |rig| {
        let memory = DmaBuffer::memfd(PAGE)?.share();
        let mapping = rig.ioas.map(&memory, Access::ReadWrite)?;
        Ok(mapping.unmap()?)
    }),
    ("the container's address space", linux(6, 2), |rig| {
        rig.iommufd.set_compat_ioas(&rig.ioas)?;
        rig.iommufd.clear_compat_ioas()
    }),
    ("page tables", linux(6, 6), |rig| {
        let hwpt = HwPt::new(&rig.ioas, &rig.device)?;
        Ok(rig.device.attach(&hwpt)?.detach()?)
    }),
    ("hardware information", linux(6, 6), |rig| {
        assert_eq!(rig.device.hw_info()?.kind, Some(hw_info_type()));
        Ok(())
    }),
    ("dirty tracking", linux(6, 7), |rig| {
        let builder = HwPt::builder(&rig.ioas, &rig.device).dirty_tracking(true);
        Ok(builder.allocate()?.track_dirty()?.stop()?)
    }),
    ("tables nested on a parent", linux(6, 7), |rig| {
        NestedHwPt::<OnParent>::new(&rig.parent()?, &rig.device, &CONFIG)?;
        Ok(())
    }),
    ("invalidation", linux(6, 8), |rig| {
        let nested = NestedHwPt::<OnParent>::new(&rig.parent()?, &rig.device, &CONFIG)?;
        nested.invalidate(&[TableInvalidation::of(0)])
    }),
    ("fault queues", linux(6, 11), |rig| {
        let queue = FaultQueue::new(&rig.iommufd)?;
        let parent = rig.parent()?;
        let builder = NestedHwPt::<OnParent>::builder(&parent, &rig.device, &CONFIG);
        drop(builder.fault_queue(&queue).allocate()?);
        Ok(())
    }),
    // To the kernel these options are as others that the hardware has not.
    ("page requests under other tables", linux(6, 13), |rig| {
        let queue = FaultQueue::new(&rig.iommufd)?;
        let builder = HwPt::builder(&rig.ioas, &rig.device);
        builder.fault_queue(&queue).allocate().map(drop)
    }),
    ("tables for PASIDs", linux(6, 15), |rig| {
        let builder = HwPt::builder(&rig.ioas, &rig.device);
        builder.pasid(true).allocate().map(drop)
    }),
    ("parents for PASIDs", linux(6, 15), |rig| {
        let builder = NestParent::builder(&rig.ioas, &rig.device);
        builder.pasid(true).allocate().map(drop)
    }),
    ("nested tables for PASIDs", linux(6, 15), |rig| {
        let parent = rig.parent()?;
        let builder = NestedHwPt::<OnParent>::builder(&parent, &rig.device, &CONFIG);
        builder.pasid(true).allocate().map(drop)
    }),
    ("mapping by file", linux(6, 13), |rig| {
        let file = file::memfd(PAGE);
        let range = FileRange::new(&file, 0..PAGE as u64);
        Ok(rig.ioas.map_file(range, Access::Read)?.unmap()?)
    }),
    ("virtual IOMMUs", linux(6, 13), |rig| {
        let viommu = rig.viommu()?;
        NestedHwPt::<OnViommu>::new(&viommu, &rig.device, &CONFIG)?;
        Ok(viommu.try_destroy()?)
    }),
    ("virtual devices", linux(6, 13), |rig| {
        let vdevice = VDevice::new(&rig.viommu()?, &rig.device, VirtualNumber(1))?;
        Ok(vdevice.try_destroy()?)
    }),
    ("a change of process", linux(6, 14), |rig| {
        rig.iommufd.change_process()
    }),
    ("queues of events", linux(6, 15), |rig| {
        drop(VEventQueue::<MockEvent>::new(&rig.viommu()?, 8)?);
        Ok(())
    }),
    ("hardware queues", linux(6, 17), |rig| {
        let memory = DmaBuffer::new(PAGE)?.share();
        let mapping = rig.ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        HwQueue::first(&rig.viommu()?, pages(0, 1))?.try_destroy()?;
        Ok(mapping.unmap()?)
    }),
    (
        "virtual IOMMUs with data, and a page",
        linux(6, 17),
        |rig| {
            let data = Loopback::default();
            let viommu =
                Viommu::<MockViommuWithPage>::with_data(&rig.parent()?, &rig.device, data)?;
            drop(viommu.map_page()?);
            Ok(())
        },
    ),
    ("hardware information by type", linux(6, 17), |rig| {
        assert_eq!(
            rig.device.hw_info_of(hw_info_type())?,
            rig.device.hw_info()?
        );
        Ok(())
    }),
    ("physical addresses", linux(7, 3), |rig| {
        match bare::physical(&rig.ioas, pages(0, 1)) {
            // Nothing is mapped there, says a kernel that has them.
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
            answer => answer.map(drop),
        }
    }),
];

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_asked_for_is_there_or_is_said_to_be_of_a_later_linux() {
    let running = running();
    for &(what, since, ask) in ASKED {
        let rig = Rig::new();
        match ask(&rig) {
            Ok(()) => assert!(
                running >= since,
                "{what}: Linux {running} has it, and the table says since {since}"
            ),
            Err(error) => {
                let text = error.to_string();
                let Error::Unsupported {
                    feature,
                    since: said,
                    ..
                } = error
                else {
                    panic!("{what}: {text}");
                };
                assert!(running < since, "{what}: Linux {running} is to have it");
                // It may be what it is made of that is missing.
                assert!(said > running && said <= since, "{what}: {text}");
                let expected = format!("this kernel has no {feature} (Linux has it since {said})");
                assert_eq!(text, expected, "{what}");
            }
        }
        assert_eq!(rig.iommufd.leaks(), Leaks::default(), "{what}");
    }
}
