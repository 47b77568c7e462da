//! Fails with E0277: a vector signals whatever file has that number.

use std::os::fd::{AsRawFd, OwnedFd};

use vfio::{Interrupts, Result};

fn case(mut interrupts: Interrupts, guests: &OwnedFd) -> Result<Interrupts> {
    let _number = guests.as_raw_fd();
    #[cfg(feature = "misuse")]
    interrupts.connect(0, _number)?;
    interrupts.connect(0, guests)?;
    Ok(interrupts)
}

fn main() {
    let _checked = case;
}
