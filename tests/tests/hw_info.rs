//! What the SDK says of the mock's hardware.

use iommufd::{Capabilities, Iommufd, VendorInfo};
use tests::mock::{MockDevice, MockOptions, abi};
use tests::observe::Recorder;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn hardware_of_an_unknown_type_is_described_by_its_bytes() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    recorder.clear();
    let info = device.hw_info().unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_GET_HW_INFO"]);
    let VendorInfo::Other { kind, data } = &info.vendor else {
        panic!("{info}");
    };
    assert_eq!(*kind, abi::HW_INFO_TYPE_SELFTEST);
    let mut expected = [0; 8];
    expected[4..].copy_from_slice(&abi::HW_INFO_TEST_REG.to_le_bytes());
    assert_eq!(data[..], expected);
    assert!(info.capabilities.contains(Capabilities::DIRTY_TRACKING));
    assert!(info.capabilities.contains(Capabilities::ATS_NOT_SUPPORTED));
    assert_eq!(info.pasid_bits, 0);
}

/// Peers fail hard when an optional capability is absent.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p29_a_device_without_optional_capabilities_is_a_device() {
    let iommufd = Iommufd::open().unwrap();
    let options = MockOptions {
        flags: abi::DEVICE_NO_DIRTY,
        ..MockOptions::default()
    };
    let device = MockDevice::with(&iommufd, options).unwrap();
    let info = device.hw_info().unwrap();
    assert!(!info.capabilities.contains(Capabilities::DIRTY_TRACKING));
    let ioas = iommufd::Ioas::new(&iommufd).unwrap();
    device.attach(&ioas).unwrap().detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_with_pasids_says_how_many() {
    let iommufd = Iommufd::open().unwrap();
    let options = MockOptions {
        flags: abi::DEVICE_PASID,
        ..MockOptions::default()
    };
    let device = MockDevice::with(&iommufd, options).unwrap();
    assert_eq!(device.hw_info().unwrap().pasid_bits, 20);
}
