//! Fails with E0599: what cannot be masked through VFIO is masked.

use vfio::{Interrupts, Intx, Result};

fn case(line: &Intx, messages: &Interrupts) -> Result<()> {
    line.mask()?;
    #[cfg(feature = "misuse")]
    messages.mask()?;
    messages.trigger(0)
}

fn main() {
    let _checked = case;
}
