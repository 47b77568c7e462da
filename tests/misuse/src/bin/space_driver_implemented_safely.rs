//! Fails with E0200: what maps memory, and does not answer for what it says of unmaps.

#![expect(unsafe_code, reason = "answers for the driver")]

use iommufd::driver::{Notices, SpaceDriver, Watch};
use iommufd::{Access, Granule, IovaRange, KernelError};

#[derive(Debug)]
struct Driver(Watch);

macro_rules! methods {
    () => {
        fn watch(&self) -> &Watch {
            &self.0
        }

        unsafe fn map(
            &self,
            _: IovaRange,
            _: u64,
            _: Access,
            _: &mut Notices<'_>,
        ) -> Result<(), KernelError> {
            Ok(())
        }

        fn unmap(&self, _: IovaRange, _: &mut Notices<'_>) -> Result<u64, KernelError> {
            Ok(0)
        }

        fn read_dirty(
            &self,
            _: IovaRange,
            _: Granule,
            _: &mut [u64],
            _: &mut Notices<'_>,
        ) -> Result<(), KernelError> {
            Ok(())
        }

        fn unmap_reading_dirty(
            &self,
            _: IovaRange,
            _: Granule,
            _: &mut [u64],
            _: &mut Notices<'_>,
        ) -> Result<u64, KernelError> {
            Ok(0)
        }
    };
}

#[cfg(feature = "misuse")]
impl SpaceDriver for Driver {
    methods!();
}

// SAFETY: no `Space` is made of it.
#[cfg(not(feature = "misuse"))]
unsafe impl SpaceDriver for Driver {
    methods!();
}

fn case() -> Driver {
    Driver(Watch::new(None))
}

fn main() {
    let _checked = case;
}
