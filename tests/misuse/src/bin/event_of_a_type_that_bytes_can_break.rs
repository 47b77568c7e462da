//! Fails with E0277: what the kernel writes is taken for a value that not all bytes are.

#[derive(Debug, Clone, Copy)]
struct Happened<T>(T);

#[cfg(feature = "misuse")]
impl iommufd::format::Event for Happened<bool> {
    const QUEUE_TYPE: u32 = 1;
}

fn case(happened: Happened<bool>) -> bool {
    happened.0
}

fn main() {
    let _checked = case;
}
