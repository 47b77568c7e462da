//! Fails with E0382: an eventfd's writes end twice, and the second time they are another's.

use vfio::{IoEventFd, Result};

fn case(doorbell: IoEventFd) -> Result<()> {
    doorbell.remove()?;
    #[cfg(feature = "misuse")]
    doorbell.remove()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
