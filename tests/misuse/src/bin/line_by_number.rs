//! Fails with E0308: a line is enabled by a number, which may be that of a kind, or of a vector.

use vfio::{IrqIndex, IrqLine, OpenDevice, Result};

fn case(device: &OpenDevice) -> Result<IrqLine> {
    #[cfg(feature = "misuse")]
    return device.line(0);
    #[cfg(not(feature = "misuse"))]
    return device.line(IrqIndex::new(0));
}

fn main() {
    let _checked = case;
}
