//! What the SDK says of the mock's hardware.

use iommufd::{
    AmdInfo, Capabilities, Error, HwInfo, HwInfoType, Iommufd, Smmuv3Info, Tegra241CmdqvInfo,
    VendorInfo, VtdInfo,
};
use rustix::io::Errno;
use tests::faults::nothing_is_left;
use tests::hw_info::not_offered;
use tests::mock::{MockDevice, MockOptions, abi, hw_info_type};
use tests::observe::Recorder;

const ASKED: &str = "IOMMU_GET_HW_INFO";

/// Asserts that it is what the mock says of itself.
fn is_the_mocks(info: &HwInfo) {
    assert_eq!(info.kind, Some(hw_info_type()));
    assert_eq!(info.vendor, VendorInfo::Other(hw_info_type()));
    let mut expected = [0; 8];
    expected[4..].copy_from_slice(&abi::HW_INFO_TEST_REG.to_le_bytes());
    assert_eq!(info.data[..], expected);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn hardware_of_an_unknown_type_is_described_by_its_bytes() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    recorder.clear();
    let info = device.hw_info().unwrap();
    assert_eq!(recorder.calls(), [ASKED]);
    is_the_mocks(&info);
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

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_type_that_only_its_number_names_is_asked_for() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let unasked = device.hw_info().unwrap();
    recorder.clear();
    let info = device.hw_info_of(hw_info_type()).unwrap();
    assert_eq!(recorder.calls(), [ASKED]);
    is_the_mocks(&info);
    assert_eq!(info, unasked);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_type_that_the_hardware_has_not_got_is_not_offered() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    recorder.clear();
    not_offered(device.vendor_info::<VtdInfo>(), HwInfoType::VTD);
    // It is not the kernel that is too old: it has an answer for whoever asks for no type.
    let answers = [(ASKED, Err(Errno::OPNOTSUPP)), (ASKED, Ok(()))];
    assert_eq!(recorder.answers(), answers);
    not_offered(device.vendor_info::<Smmuv3Info>(), HwInfoType::SMMUV3);
    let cmdqv = device.vendor_info::<Tegra241CmdqvInfo>();
    not_offered(cmdqv, HwInfoType::TEGRA241_CMDQV);
    not_offered(device.vendor_info::<AmdInfo>(), HwInfoType::AMD);
    let unheard_of = HwInfoType::new(u32::MAX).unwrap();
    not_offered(device.hw_info_of(unheard_of), unheard_of);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_question_that_fails_is_no_answer() {
    nothing_is_left(|nth, _, device, _| {
        let info = nth.armed(|| device.hw_info_of(hw_info_type()))?;
        is_the_mocks(&info);
        Ok(())
    });
    // What fails at the second of the two questions is not taken for an answer either.
    nothing_is_left(
        |nth, _, device, _| match nth.armed(|| device.vendor_info::<VtdInfo>()) {
            Err(Error::HwInfoNotOffered { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(vtd) => panic!("{vtd}"),
        },
    );
}
