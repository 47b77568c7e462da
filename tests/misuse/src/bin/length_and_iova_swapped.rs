//! Fails with E0308: the length where the address belongs, and the other way round. (P25)

use iommufd::{Iova, IovaRange};

fn case(iova: Iova, len: u64) -> Option<IovaRange> {
    #[cfg(feature = "misuse")]
    return IovaRange::with_len(len, iova);
    #[cfg(not(feature = "misuse"))]
    IovaRange::with_len(iova, len)
}

fn main() {
    let _checked = case;
}
