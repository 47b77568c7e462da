//! Fails with E0451: a range that ends before it starts.

use iommufd::{Iova, IovaRange};

fn case(start: Iova, last: Iova) -> Option<IovaRange> {
    #[cfg(feature = "misuse")]
    return Some(IovaRange { start, last });
    #[cfg(not(feature = "misuse"))]
    IovaRange::new(start, last)
}

fn main() {
    let _checked = case;
}
