//! Fails with E0382: page requests are answered again; by then the answer can be for others.

use iommufd::{PageRequestGroup, PageResponse, Result};

fn case(group: PageRequestGroup) -> Result<()> {
    group.respond(PageResponse::Success)?;
    #[cfg(feature = "misuse")]
    group.respond(PageResponse::Invalid)?;
    Ok(())
}

fn main() {
    let _checked = case;
}
