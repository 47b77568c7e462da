//! Devices of the emulated machines, which have no PASIDs.

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, DmaBuffer, Error, HwPt, Ioas, Iommufd, PasidAttachment};
use rustix::io::Errno;
use tests::edu::{cdev, igb, lone, pair, reaches};
use tests::observe::Recorder;
use tests::pasids::pasid;
use tests::{ids, raw};
use vfio::{Device, PciAddress};

fn refused_as_there_are_none(result: iommufd::Result<PasidAttachment>) {
    let error = result.unwrap_err();
    assert!(
        matches!(error, Error::NoSuchPasid { bits: 0, .. }),
        "{error}"
    );
}

fn table(ioas: &Ioas, device: &Device) -> HwPt {
    let builder = HwPt::builder(ioas, device.iommu()).pasid(true);
    builder.allocate().unwrap()
}

fn has_none(address: PciAddress) {
    let (iommufd, recorder) = Recorder::context();
    let device = tests::edu::bind(address, &iommufd);
    assert_eq!(device.iommu().hw_info().unwrap().pasid_bits, 0);
    let ioas = Ioas::new(&iommufd).unwrap();
    let table = table(&ioas, &device);
    let attachment = device.attach(&table).unwrap();
    recorder.clear();
    refused_as_there_are_none(device.attach_pasid(pasid(1), &table));
    refused_as_there_are_none(device.iommu().attach_pasid(pasid(2), &table));
    let refused = device.iommu().pasids().allocate().unwrap_err();
    assert!(
        matches!(refused, Error::NoPasidLeft { bits: 0, .. }),
        "{refused}"
    );
    assert_eq!(recorder.calls(), ["IOMMU_GET_HW_INFO"]);
    attachment.detach().unwrap();
    table.try_destroy().unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_without_the_capability_has_none() {
    has_none(lone());
    has_none(pair()[0]);
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_network_card_has_none_here() {
    has_none(igb());
}

/// The SDK does not take the kernel's yes for an attachment. Whoever asks it all the same gets the table held by the
/// device until that is closed, and nothing else.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_kernel_says_yes_for_a_device_that_has_none_and_does_nothing() {
    let iommufd = Iommufd::open().unwrap();
    let cdev = cdev(lone());
    let file = raw::witness(&cdev);
    let device = cdev.bind(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let (own, other) = (table(&ioas, &device), Ioas::new(&iommufd).unwrap());
    let other = table(&other, &device);
    let plain = HwPt::new(&ioas, device.iommu()).unwrap();
    let attachment = device.attach(&own).unwrap();
    let attach = |pasid, table: &HwPt| raw::vfio_attach_pasid(&file, pasid, ids::of(table));
    assert_eq!(attach(5, &other), Ok(()));
    assert_eq!(attach(5, &own), Ok(()), "it moves");
    assert_eq!(attach(5, &plain), Err(Errno::INVAL));
    assert_eq!(attach(6, &plain), Err(Errno::INVAL));
    assert_eq!(attach(0xf_ffff, &other), Ok(()));
    assert_eq!(
        raw::vfio_attach_pasid(&file, 7, ids::of(&ioas)),
        Err(Errno::INVAL)
    );
    assert_eq!(raw::vfio_attach_pasid(&file, 7, 0), Err(Errno::NOENT));

    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    let edu = Edu::new(&device).unwrap();
    assert!(reaches(&edu, mapping.iova(), &memory), "as without them");
    drop(edu);
    assert_eq!(raw::vfio_detach_pasid(&file, 5), Ok(()));
    assert_eq!(raw::vfio_detach_pasid(&file, 5), Ok(()), "not attached");
    let refused = other.try_destroy().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::BUSY));
    attachment.detach().unwrap();
    drop(file);
    device.try_close().unwrap();
    refused.into_value().try_destroy().unwrap();
}
