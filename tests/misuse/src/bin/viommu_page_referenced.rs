//! Fails with E0133: a reference to registers, which the hardware changes.

use iommufd::{Result, ViommuPage};

fn case(page: &ViommuPage) -> Result<u32> {
    #[cfg(feature = "misuse")]
    let _registers = page.bytes().as_ref();
    page.read(0)
}

fn main() {
    let _checked = case;
}
