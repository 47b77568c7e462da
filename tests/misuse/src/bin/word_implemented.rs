//! Fails with E0277: a type of one's own is declared to be a machine word.

use iommufd::volatile::Word;
use iommufd::{Result, SharedBuffer};

#[derive(Debug, Clone, Copy, Default)]
struct Doorbell(u32);

#[cfg(feature = "misuse")]
impl Word for Doorbell {}

fn ring<W: Word>(shared: &SharedBuffer, word: W) -> Result<()> {
    shared.store_release(0, word)
}

fn case(shared: &SharedBuffer, doorbell: Doorbell) -> Result<()> {
    ring(shared, doorbell.0)
}

fn main() {
    let _checked = case;
}
