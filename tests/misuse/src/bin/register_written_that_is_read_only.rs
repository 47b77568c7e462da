//! Fails with E0277: a register that can only be read is written.

use vfio::{BarMapping, ReadOnly, Register, Registers, Result};

const STATUS: Register<u32, ReadOnly> = Register::at(8);

fn case(bar: &BarMapping) -> Result<u32> {
    #[cfg(feature = "misuse")]
    bar.set(STATUS, 0)?;
    bar.get(STATUS)
}

fn main() {
    let _checked = case;
}
