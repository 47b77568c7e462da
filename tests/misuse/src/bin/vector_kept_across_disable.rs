//! Fails with E0505: the eventfd of an interrupt is waited for after the interrupt was disabled.

use std::time::Duration;

use vfio::{Interrupts, Result};

fn case(interrupts: Interrupts) -> Result<()> {
    let vector = interrupts.vector(0)?;
    #[cfg(feature = "misuse")]
    interrupts.disable()?;
    vector.wait(Duration::ZERO)?;
    #[cfg(not(feature = "misuse"))]
    interrupts.disable()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
