//! VF tokens: what the user of a physical function and those of its virtual functions agree on.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use iommufd::Iommufd;
use rustix::io::Errno;
use tests::edu::{assert_free, cdev, igb, lone};
use tests::mtty::Mtty;
use tests::observe::Recorder;
use tests::sriov::VirtualFunction;
use vfio::{Cdev, Device, Error, PciAddress, VfToken};

/// One token, and another.
fn tokens() -> [VfToken; 2] {
    [
        "14d63f20-8445-11ea-8900-1f9ce7d5650d",
        "14d63f20-8445-11ea-8900-1f9ce7d5650e",
    ]
    .map(|text| text.parse().unwrap())
}

fn bind(address: PciAddress, iommufd: &Iommufd, token: VfToken) -> Device {
    cdev(address).bind_with_token(iommufd, token).unwrap()
}

#[track_caller]
fn needs_one(cdev: Cdev, iommufd: &Iommufd) -> Cdev {
    let refused = cdev.bind(iommufd).unwrap_err();
    let error = refused.error();
    assert!(matches!(error, Error::VfTokenNeeded { .. }), "{error}");
    assert_eq!(error.errno(), Some(Errno::ACCESS), "{error}");
    refused.into_cdev().unwrap()
}

#[track_caller]
fn is_wrong(cdev: Cdev, iommufd: &Iommufd, token: VfToken) -> Cdev {
    let refused = cdev.bind_with_token(iommufd, token).unwrap_err();
    let error = refused.error();
    assert!(matches!(error, Error::VfTokenWrong { .. }), "{error}");
    assert_eq!(error.errno(), Some(Errno::ACCESS), "{error}");
    refused.into_cdev().unwrap()
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_virtual_function_takes_the_token_of_its_physical_one_and_no_other() {
    let [token, other] = tokens();
    let virtual_one = VirtualFunction::new();
    let iommufd = Iommufd::open().unwrap();
    let physical = bind(igb(), &iommufd, token);
    let cdev = cdev(virtual_one.address());
    let cdev = needs_one(cdev, &iommufd);
    let cdev = is_wrong(cdev, &iommufd, other);
    // Given back each time, it is bound at last.
    let device = cdev.bind_with_token(&iommufd, token).unwrap();
    assert!(device.info().unwrap().regions > 0);
    device.try_close().unwrap();
    physical.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_token_outlives_the_device_that_set_it() {
    let [token, other] = tokens();
    let virtual_one = VirtualFunction::new();
    let iommufd = Iommufd::open().unwrap();
    bind(igb(), &iommufd, token).try_close().unwrap();
    let cdev = needs_one(cdev(virtual_one.address()), &iommufd);
    let cdev = is_wrong(cdev, &iommufd, other);
    let device = cdev.bind_with_token(&iommufd, token).unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_token_is_set_anew_while_no_virtual_function_is_in_use() {
    let [token, other] = tokens();
    let virtual_one = VirtualFunction::new();
    let iommufd = Iommufd::open().unwrap();
    bind(igb(), &iommufd, token).try_close().unwrap();
    let physical = bind(igb(), &iommufd, other);
    let cdev = is_wrong(cdev(virtual_one.address()), &iommufd, token);
    let device = cdev.bind_with_token(&iommufd, other).unwrap();
    physical.try_close().unwrap();
    // Now the virtual function's user is asked, by way of the token that both know.
    let cdev = needs_one(tests::edu::cdev(igb()), &iommufd);
    let cdev = is_wrong(cdev, &iommufd, token);
    let physical = cdev.bind_with_token(&iommufd, other).unwrap();
    drop((device, physical));
    // Without a token the one that there is stays.
    assert_free(igb());
    is_wrong(tests::edu::cdev(virtual_one.address()), &iommufd, token);
    bind(virtual_one.address(), &iommufd, other)
        .try_close()
        .unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn who_is_asked_for_no_token_is_refused_with_one() {
    let [token, _] = tokens();
    let (iommufd, recorder) = Recorder::context();
    let refused = cdev(lone()).bind_with_token(&iommufd, token).unwrap_err();
    let error = refused.error();
    assert_eq!(error.errno(), Some(Errno::INVAL), "{error}");
    assert!(
        error.to_string().contains("where none is asked for"),
        "{error}"
    );
    // The second is how it is found out that this kernel knows tokens.
    assert_eq!(
        recorder.answers(),
        [
            ("VFIO_DEVICE_BIND_IOMMUFD", Err(Errno::INVAL)),
            ("VFIO_DEVICE_BIND_IOMMUFD", Err(Errno::FAULT)),
        ]
    );
    let device = refused.into_cdev().unwrap().bind(&iommufd).unwrap();
    device.try_close().unwrap();

    let mtty = Mtty::new();
    let refused = mtty.cdev().bind_with_token(&iommufd, token).unwrap_err();
    assert!(matches!(refused.error(), Error::Mediated), "{refused}");
}
