//! PASIDs: attached, moved and detached, and what must go with what.

use iommufd::{Error, HwPt, Ioas, Iommufd, Leaks, Pasid};
use tests::ids;
use tests::mock::{MockDevice, MockOptions, abi};
use tests::observe::Recorder;

fn device(iommufd: &Iommufd) -> iommufd::Result<MockDevice> {
    let options = MockOptions {
        flags: abi::DEVICE_PASID,
        ..MockOptions::default()
    };
    MockDevice::with(iommufd, options)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_is_attached_moved_and_detached() {
    let iommufd = Iommufd::open().unwrap();
    let device = device(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let table = || {
        let builder = HwPt::builder(&ioas, &device).pasid(true);
        builder.allocate().unwrap()
    };
    let (own, first, second) = (table(), table(), table());
    let pasid = Pasid::new(100).unwrap();
    // The mock driver counts the address space that it parks its devices in as one not for PASIDs.
    let attachment = device.attach(&own).unwrap();
    let of_pasid = device.attach_pasid(pasid, &first).unwrap();
    device.check_pasid(pasid, ids::of(&first)).unwrap();
    assert!(matches!(
        device.attach_pasid(pasid, &second),
        Err(Error::AlreadyAttached)
    ));
    let of_pasid = of_pasid.replace(&second).unwrap();
    device.check_pasid(pasid, ids::of(&second)).unwrap();
    first.try_destroy().unwrap();
    let second = second.try_destroy().unwrap_err().into_value();
    of_pasid.detach().unwrap();
    device.check_pasid(pasid, 0).unwrap();
    second.try_destroy().unwrap();
    attachment.detach().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn tables_that_are_not_for_pasids_are_refused_before_the_kernel_is_asked() {
    let (iommufd, recorder) = Recorder::context();
    let device = device(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let plain = HwPt::new(&ioas, &device).unwrap();
    let fit = HwPt::builder(&ioas, &device)
        .pasid(true)
        .allocate()
        .unwrap();
    let pasid = Pasid::new(7).unwrap();
    let attachment = device.attach(&plain).unwrap();
    recorder.clear();
    let refused = device.attach_pasid(pasid, &plain).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    let refused = device.attach_pasid(pasid, &fit).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    assert_eq!(recorder.count(), 0);
    let attachment = attachment.replace(&fit).unwrap();
    let of_pasid = device.attach_pasid(pasid, &fit).unwrap();
    recorder.clear();
    let refused = attachment.replace(&plain).unwrap_err();
    assert!(matches!(refused.error(), Error::NotForPasids { .. }));
    let attachment = refused.into_value();
    let refused = attachment.replace(&ioas).unwrap_err();
    assert!(matches!(refused.error(), Error::NotForPasids { .. }));
    let attachment = refused.into_value();
    assert_eq!(recorder.count(), 0);
    of_pasid.detach().unwrap();
    attachment.replace(&plain).unwrap().detach().unwrap();
}
