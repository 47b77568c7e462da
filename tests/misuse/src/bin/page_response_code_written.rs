//! Fails with E0308: an answer that is a number, of which the kernel knows two.

use iommufd::{PageRequestGroup, PageResponse, Result};

fn case(group: PageRequestGroup) -> Result<()> {
    #[cfg(feature = "misuse")]
    return Ok(group.respond(2)?);
    #[cfg(not(feature = "misuse"))]
    Ok(group.respond(PageResponse::Invalid)?)
}

fn main() {
    let _checked = case;
}
