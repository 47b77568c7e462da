//! Fails with E0599: page requests are answered by a number, which others may have by now.

use iommufd::{FaultQueue, PageResponse, Result};

fn case(queue: &FaultQueue) -> Result<()> {
    for group in queue.read()? {
        #[cfg(feature = "misuse")]
        queue.respond(1, PageResponse::Success)?;
        group.respond(PageResponse::Success)?;
    }
    Ok(())
}

fn main() {
    let _checked = case;
}
