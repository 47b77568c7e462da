//! Fails with E0382: an interrupt is awaited that was disabled.

use std::time::Duration;

use vfio::{Interrupts, Result};

fn case(interrupts: Interrupts) -> Result<Option<u64>> {
    let seen = interrupts.vector(0)?.wait(Duration::ZERO)?;
    interrupts.disable()?;
    #[cfg(feature = "misuse")]
    let seen = interrupts.vector(0)?.wait(Duration::ZERO)?;
    Ok(seen)
}

fn main() {
    let _checked = case;
}
