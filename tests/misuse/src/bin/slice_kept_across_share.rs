//! Fails with E0505: a slice of a buffer is alive when a device may write to it.

use iommufd::{DmaBuffer, Result};

fn case(mut buffer: DmaBuffer) -> Result<u64> {
    let bytes: &mut [u8] = &mut buffer;
    #[cfg(feature = "misuse")]
    {
        let shared = buffer.share();
        bytes.fill(1);
        return shared.read(0);
    }
    bytes.fill(1);
    buffer.share().read(0)
}

fn main() {
    let _checked = case;
}
