//! Fails with E0502: the eventfd of a vector is waited for that signals another.

use std::os::fd::OwnedFd;
use std::time::Duration;

use vfio::{Interrupts, Result};

fn case(mut interrupts: Interrupts, guests: &OwnedFd) -> Result<Interrupts> {
    let vector = interrupts.vector(0)?;
    #[cfg(feature = "misuse")]
    interrupts.connect(0, guests)?;
    vector.wait(Duration::ZERO)?;
    interrupts.connect(0, guests)?;
    Ok(interrupts)
}

fn main() {
    let _checked = case;
}
