//! Fails with `unused_must_use`: nobody looks whether a register was written. (P13)

#![deny(unused_must_use)]

use vfio::{ConfigSpace, Result};

fn case(config: &ConfigSpace, value: u16) -> Result<()> {
    #[cfg(feature = "misuse")]
    config.write(0x04, value);
    config.write(0x04, value)
}

fn main() {
    let _checked = case;
}
