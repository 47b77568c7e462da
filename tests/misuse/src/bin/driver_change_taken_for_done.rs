//! Fails with `unused_must_use`: the time may have passed with the function still where it was.

#![deny(unused_must_use)]

use std::time::Duration;

use vfio::{Pending, Result, Waited};

fn case(one: Pending<()>, two: Pending<()>) -> Result<Waited<()>> {
    #[cfg(feature = "misuse")]
    one.wait(Duration::from_secs(1))?;
    #[cfg(not(feature = "misuse"))]
    drop(one);
    two.wait(Duration::from_secs(1))
}

fn main() {
    let _checked = case;
}
