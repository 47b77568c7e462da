//! Fails with E0608: a register is read as if it were memory.

use vfio::{BarMapping, Result};

fn case(bar: &BarMapping) -> Result<u32> {
    #[cfg(feature = "misuse")]
    return Ok(bar[0x10]);
    #[cfg(not(feature = "misuse"))]
    bar.read(0x10)
}

fn main() {
    let _checked = case;
}
