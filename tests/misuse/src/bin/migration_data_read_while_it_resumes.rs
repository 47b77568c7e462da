//! Fails with E0277: data are read of a device that takes data.

use std::io::{Read, Write};

use vfio::migration::{Migration, Resuming, StopCopy};

fn take(mut from: impl Read, mut to: impl Write) -> std::io::Result<u64> {
    std::io::copy(&mut from, &mut to)
}

fn case(saving: Migration<StopCopy>, loading: Migration<Resuming>) -> std::io::Result<u64> {
    #[cfg(feature = "misuse")]
    return take(loading, std::io::sink());
    #[cfg(not(feature = "misuse"))]
    take(saving, loading)
}

fn main() {
    let _checked = case;
}
