//! Fails with E0716: a part of a file that is closed at the end of the line.

use std::fs::File;

use iommufd::{Access, FileRange, Ioas, Mapping};

fn case(ioas: &Ioas, file: &File) -> std::io::Result<Option<Mapping>> {
    #[cfg(feature = "misuse")]
    let range = FileRange::new(&file.try_clone()?, 0..4096);
    #[cfg(not(feature = "misuse"))]
    let range = FileRange::new(file, 0..4096);
    Ok(ioas.map_file(range, Access::Read).ok())
}

fn main() {
    let _checked = case;
}
