//! Fails with E0200: a driver that does not answer for the device's staying bound.

#![expect(unsafe_code, reason = "answers for the driver")]

use iommufd::KernelError;
use iommufd::driver::{DeviceDriver, Kept, Notices, PageTableId};

#[derive(Debug)]
struct Driver;

macro_rules! methods {
    () => {
        unsafe fn attach(&self, _: PageTableId, _: &mut Notices<'_>) -> Result<(), KernelError> {
            Ok(())
        }

        unsafe fn detach(&self, _: &mut Notices<'_>) -> Result<(), KernelError> {
            Ok(())
        }

        fn keep(&self, kept: Kept) {
            drop(kept);
        }
    };
}

#[cfg(feature = "misuse")]
impl DeviceDriver for Driver {
    methods!();
}

// SAFETY: no `Device` is made of it.
#[cfg(not(feature = "misuse"))]
unsafe impl DeviceDriver for Driver {
    methods!();
}

fn case() -> usize {
    Driver.holders()
}

fn main() {
    let _checked = case;
}
