//! Fails with E0308: a position in a list of regions, which is not the region's index.

use vfio::{BarMapping, Device, RegionIndex, Result};

fn case(device: &Device) -> Result<BarMapping> {
    #[cfg(feature = "misuse")]
    return device.map_bar(0);
    #[cfg(not(feature = "misuse"))]
    device.map_bar(RegionIndex::BAR0)
}

fn main() {
    let _checked = case;
}
