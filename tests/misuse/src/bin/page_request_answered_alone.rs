//! Fails with E0599: one page request of a group is answered; only all of them together can be.

use iommufd::{PageRequestGroup, PageResponse, Result};

fn case(group: PageRequestGroup) -> Result<()> {
    for request in group.requests() {
        let _address = request.address();
        #[cfg(feature = "misuse")]
        request.respond(PageResponse::Success)?;
    }
    group.respond(PageResponse::Success)?;
    Ok(())
}

fn main() {
    let _checked = case;
}
