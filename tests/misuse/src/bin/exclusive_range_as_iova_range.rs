//! Fails with E0308: an exclusive end where the last address belongs to the range. (P28)

use iommufd::{Ioas, Iova, IovaRange, Result};

fn case(ioas: &Ioas, start: u64, end: u64) -> Result<u64> {
    #[cfg(feature = "misuse")]
    return ioas.unmap_range(start..end);
    let range = IovaRange::with_len(Iova::new(start), end - start);
    ioas.unmap_range(range.unwrap_or(IovaRange::ALL))
}

fn main() {
    let _checked = case;
}
