//! Fails with E0277: a file descriptor by its number, which can be another file's by now. (P8)

use std::fs::File;
use std::os::fd::AsRawFd;

use iommufd::FileRange;

fn case(file: &File) -> FileRange<'_> {
    assert!(file.as_raw_fd() >= 0);
    #[cfg(feature = "misuse")]
    return FileRange::new(&file.as_raw_fd(), 0..4096);
    #[cfg(not(feature = "misuse"))]
    FileRange::new(file, 0..4096)
}

fn main() {
    let _checked = case;
}
