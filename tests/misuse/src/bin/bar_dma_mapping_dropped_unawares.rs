//! Fails with `unused_must_use`: the mapping of a BAR is not kept, so other devices do not reach it.

#![deny(unused_must_use)]

use iommufd::{Access, Ioas};
use vfio::{BarDmaBuf, BarDmaMapping, Result};

fn case(buffer: &BarDmaBuf, ioas: &Ioas) -> Result<BarDmaMapping> {
    #[cfg(feature = "misuse")]
    buffer.map(ioas, Access::ReadWrite)?;
    buffer.map(ioas, Access::ReadWrite)
}

fn main() {
    let _checked = case;
}
