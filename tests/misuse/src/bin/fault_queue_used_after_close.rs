//! Fails with E0382: a fault queue is read when its file is closed.

use iommufd::{FaultQueue, Result};

fn case(queue: FaultQueue) -> Result<()> {
    drop(queue.read()?);
    let closed = queue.try_close()?;
    #[cfg(feature = "misuse")]
    drop(queue.read()?);
    closed.try_destroy()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
