//! Fails with E0277: the file of a container, by which anybody could unmap what is mapped in it.

use std::os::fd::AsFd;

use vfio::Container;

fn lend(_: &impl AsFd) {}

fn case(container: &Container, file: &std::fs::File) {
    lend(file);
    #[cfg(feature = "misuse")]
    lend(container);
    let _ = container;
}

fn main() {
    let _checked = case;
}
