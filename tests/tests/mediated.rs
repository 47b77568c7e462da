//! Mediated devices, behind which there is no IOMMU: the kernel's sample `mtty`.

use iommufd::{Access, HwPt, Ioas, Iommufd, Leaks, NestParent};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::mtty::Mtty;
use tests::refused;

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_mediated_device_is_attached_to_an_address_space() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let device = mtty.cdev().bind(&iommufd).unwrap();
    let (ioas, other) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let mut attachment = device.attach(&ioas).unwrap();
    // It pins nothing of its own accord, and reserves no addresses.
    let mapping = ioas.map(Living::new().memory(PAGE), Access::ReadWrite);
    mapping.unwrap().unmap().unwrap();
    attachment.replace(&other).unwrap();
    ioas.try_destroy().unwrap();
    attachment.detach().unwrap();
    device.try_close().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn what_takes_an_iommu_is_refused_to_a_mediated_device() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let device = mtty.cdev().bind(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let iommu = device.iommu();
    // Its id is one of another kind of objects: the kernel finds no device.
    refused(iommu.hw_info(), Errno::NOENT);
    refused(HwPt::new(&ioas, iommu), Errno::NOENT);
    refused(NestParent::new(&ioas, iommu), Errno::NOENT);

    let real = MockDevice::new(&iommufd).unwrap();
    let table = HwPt::new(&ioas, &real).unwrap();
    refused(device.attach(&table), Errno::NOENT);
    // Nothing is lost by it.
    table.try_destroy().unwrap();
    device.attach(&ioas).unwrap().detach().unwrap();
    device.try_close().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}
