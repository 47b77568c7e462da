//! Fails with E0308: a register is written with a word of another width than its own.

use vfio::{BarMapping, Register, Registers, Result};

const CONTROL: Register<u32> = Register::at(8);

fn case(bar: &BarMapping, value: u64) -> Result<()> {
    #[cfg(feature = "misuse")]
    return bar.set(CONTROL, value);
    #[cfg(not(feature = "misuse"))]
    bar.set(CONTROL, (value & 0xffff_ffff) as u32)
}

fn main() {
    let _checked = case;
}
