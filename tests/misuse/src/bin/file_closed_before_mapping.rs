//! Fails with E0505: the file is closed, and its number free for another, before it is mapped.

use std::fs::File;

use iommufd::{Access, FileRange, Ioas, Mapping, Result};

fn case(ioas: &Ioas, file: File) -> Result<Mapping> {
    let range = FileRange::new(&file, 0..4096);
    #[cfg(feature = "misuse")]
    drop(file);
    ioas.map_file(range, Access::Read)
}

fn main() {
    let _checked = case;
}
