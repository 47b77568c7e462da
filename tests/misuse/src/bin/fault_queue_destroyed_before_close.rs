//! Fails with E0599: a fault queue is destroyed while its file is open.

use iommufd::{FaultQueue, Result};

fn case(queue: FaultQueue) -> Result<()> {
    #[cfg(feature = "misuse")]
    queue.try_destroy()?;
    #[cfg(not(feature = "misuse"))]
    queue.try_close()?.try_destroy()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
