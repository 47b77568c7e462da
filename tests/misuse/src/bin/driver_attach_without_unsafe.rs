//! Fails with E0133: a device is moved behind the back of the attachment.

#![expect(unsafe_code, reason = "answers for the attach")]

use iommufd::KernelError;
use iommufd::driver::{DeviceDriver, Notices, PageTableId};

fn case(
    driver: &dyn DeviceDriver,
    target: PageTableId,
    notices: &mut Notices<'_>,
) -> Result<(), KernelError> {
    #[cfg(feature = "misuse")]
    return driver.attach(target, notices);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        driver.attach(target, notices)
    }
}

fn main() {
    let _checked = case;
}
