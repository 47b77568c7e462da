//! Fails with `unused_must_use`: the options of a nesting parent are chosen, and it is not allocated.

#![deny(unused_must_use)]

use iommufd::{Device, Ioas, NestParent, Result};

fn case(ioas: &Ioas, device: &Device) -> Result<NestParent> {
    #[cfg(feature = "misuse")]
    NestParent::builder(ioas, device).dirty_tracking(true);
    NestParent::builder(ioas, device)
        .dirty_tracking(true)
        .allocate()
}

fn main() {
    let _checked = case;
}
