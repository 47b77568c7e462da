//! Fails with E0277 and E0603: the seal of the machine words is named from outside, for what is no plain bytes.

use iommufd::{Result, SharedBuffer};

struct Doorbell(u32);

#[cfg(feature = "misuse")]
impl iommufd::volatile::sealed::Sealed for Doorbell {}

fn case(shared: &SharedBuffer, doorbell: &Doorbell) -> Result<()> {
    shared.store_release(0, doorbell.0)
}

fn main() {
    let _checked = case;
}
