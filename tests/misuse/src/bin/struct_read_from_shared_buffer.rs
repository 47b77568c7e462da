//! Fails with E0277: a struct is read at once, which no hardware does in one piece.

use iommufd::{Result, SharedBuffer};

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Completion {
    status: u32,
    length: u32,
}

fn case(shared: &SharedBuffer, awaited: Completion) -> Result<bool> {
    #[cfg(feature = "misuse")]
    return Ok(shared.read::<Completion>(0)? == awaited);
    let status = shared.load_acquire(0)?;
    let length = shared.read(4)?;
    Ok(Completion { status, length } == awaited)
}

fn main() {
    let _checked = case;
}
