//! Fails with E0277: a type that not every bit pattern is a value of.

use vfio::{BarMapping, Result};

fn case(bar: &BarMapping) -> Result<bool> {
    #[cfg(feature = "misuse")]
    return bar.read::<bool>(0x10);
    #[cfg(not(feature = "misuse"))]
    Ok(bar.read::<u8>(0x10)? & 1 != 0)
}

fn main() {
    let _checked = case;
}
