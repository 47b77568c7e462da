//! Fails with E0382: it is asked what the kernel tells, after it was told to tell nothing.

use vfio::{Result, Signal};

fn case(signal: Signal) -> Result<Option<u64>> {
    let told = signal.take()?;
    signal.disable()?;
    #[cfg(feature = "misuse")]
    let told = signal.take()?;
    Ok(told)
}

fn main() {
    let _checked = case;
}
