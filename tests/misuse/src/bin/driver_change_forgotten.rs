//! Fails with `unused_must_use`: nobody hears what became of the change.

#![deny(unused_must_use)]

use vfio::{Pending, Result, Takeover};

fn case(takeover: &Takeover) -> Result<Pending<()>> {
    #[cfg(feature = "misuse")]
    takeover.give_back()?;
    takeover.give_back()
}

fn main() {
    let _checked = case;
}
