//! Devices on an address space, and what is said of them.

use iommufd::HwPt;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::mock::{self, MockDevice, MockOptions, abi, hw_info_type};
use tests::raw::hw_info::{HwInfo, hw_info};
use tests::{ids, raw};

use super::Fixture;

pub(super) fn hwpt_attach(fixture: Fixture) {
    let iommufd = &fixture.iommufd;
    // A table takes its format from a device, which need not be attached to anything.
    let device = MockDevice::new(iommufd).unwrap();
    let before = raw::objects(iommufd);
    let table = HwPt::new(&fixture.ioas, &device).unwrap();
    let id = ids::of(&table);
    let attachment = device.attach(&table).unwrap();
    assert_eq!(device.page_table(), id);
    // The one through which it went before was made by itself, and goes by itself.
    assert_eq!(raw::objects(iommufd), before, "one has come, one has gone");

    // Another device, of somebody else's, goes through the same table.
    let other = mock::occupy(iommufd, id).unwrap();
    assert_eq!(raw::destroy(iommufd, id), Err(Errno::BUSY));
    attachment.detach().unwrap();
    assert_eq!(
        raw::destroy(iommufd, id),
        Err(Errno::BUSY),
        "the other is left"
    );
    raw::destroy(iommufd, other).unwrap();
    table.try_destroy().unwrap();
    // A table that there is not, and something that is no table.
    for nothing in [0, 9999] {
        assert_eq!(mock::occupy(iommufd, nothing), Err(Errno::NOENT));
    }
    assert_eq!(mock::occupy(iommufd, device.id()), Err(Errno::INVAL));
    drop(device);

    // Each device of the fixture has its table already, and stays attached to it.
    for one in fixture.domains.iter() {
        let table = one.device.page_table();
        let other = mock::occupy(iommufd, table).unwrap();
        raw::destroy(iommufd, other).unwrap();
        assert_eq!(one.device.page_table(), table);
        assert_eq!(raw::destroy(iommufd, table), Err(Errno::BUSY));
    }
}

pub(super) fn get_hw_info(fixture: Fixture) {
    const SELFTEST: u32 = abi::HW_INFO_TYPE_SELFTEST;
    const BY_TYPE: u32 = sys::IOMMU_HW_INFO_FLAG_INPUT_TYPE;
    let fd = &fixture.iommufd;
    let capabilities = sys::IOMMU_HW_CAP_DIRTY_TRACKING | sys::IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
    let expected = HwInfo {
        kind: SELFTEST,
        len: 8,
        pasid_bits: 0,
        capabilities: u64::from(capabilities),
    };
    let mut data = [0; 8];
    data[4..].copy_from_slice(&abi::HW_INFO_TEST_REG.to_le_bytes());
    for one in fixture.domains.iter() {
        let dev = one.device.id();
        // A buffer of any length is filled as far as it goes, and with zeroes where the kernel has nothing.
        for len in [0, 3, 4, 8, 9, 64, 4096] {
            let mut buffer = vec![0xff; 5000];
            let answer = hw_info(fd, dev, 0, 0, &mut buffer[..len]);
            assert_eq!(answer, Ok(expected), "{len}");
            let filled = len.min(8);
            assert_eq!(buffer[..filled], data[..filled], "{len}");
            assert!(buffer[filled..len].iter().all(|&byte| byte == 0), "{len}");
            assert!(buffer[len..].iter().all(|&byte| byte == 0xff), "{len}");
        }
        // By type: its own, and whatever it has.
        for kind in [SELFTEST, sys::IOMMU_HW_INFO_TYPE_DEFAULT] {
            let mut buffer = [0; 8];
            let answer = hw_info(fd, dev, BY_TYPE, kind, &mut buffer);
            assert_eq!(answer, Ok(expected), "{kind}");
            assert_eq!(buffer, data);
        }
        let by_type = |kind| hw_info(fd, dev, BY_TYPE, kind, &mut [0; 8]);
        for kind in [sys::IOMMU_HW_INFO_TYPE_INTEL_VTD, u32::MAX] {
            assert_eq!(by_type(kind), Err(Errno::OPNOTSUPP), "{kind}");
        }
        // Without the flag the type is not looked at.
        assert_eq!(hw_info(fd, dev, 0, u32::MAX, &mut []), Ok(expected));
        let unknown = hw_info(fd, dev, 1 << 31, 0, &mut []);
        assert_eq!(unknown, Err(Errno::OPNOTSUPP));

        let info = one.device.hw_info().unwrap();
        assert_eq!(info.capabilities.bits(), expected.capabilities);
        assert_eq!(info.pasid_bits, 0);
        assert_eq!(info.kind, Some(hw_info_type()));
        assert_eq!(info.data, data);
    }
    // No device, and no bound one.
    for id in [0, fixture.id()] {
        assert_eq!(hw_info(fd, id, 0, 0, &mut []), Err(Errno::NOENT));
    }
    let options = MockOptions {
        flags: abi::DEVICE_PASID | abi::DEVICE_NO_DIRTY,
        ..MockOptions::default()
    };
    let device = MockDevice::with(fd, options).unwrap();
    let info = hw_info(fd, device.id(), 0, 0, &mut []).unwrap();
    assert_eq!(info.pasid_bits, 20);
    let no_ats = u64::from(sys::IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
    assert_eq!(info.capabilities, no_ats);
    assert_eq!(device.hw_info().unwrap().pasid_bits, 20);
}
