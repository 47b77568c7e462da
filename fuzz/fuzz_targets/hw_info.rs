//! What a kernel answers about the hardware.
#![no_main]

use iommufd::VendorInfo;
use iommufd::fuzzing::hw_info;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(Some(info)) = hw_info(input) else {
        return;
    };
    assert!(!info.to_string().is_empty());
    match info.vendor {
        VendorInfo::Smmuv3(smmu) => {
            let _ = (smmu.vouched(), smmu.invalidation_limits());
        }
        VendorInfo::Vtd(vtd) => {
            let _ = (vtd.cap(), vtd.ecap());
        }
        _ => {}
    }
});
