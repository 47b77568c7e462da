//! Fails with E0505: words go while a bitmap has them.

use iommufd::{DirtyBitmap, DirtyTracking, Granule, IovaRange, Result};

fn case(tracking: &DirtyTracking, ram: IovaRange, mut words: Vec<u64>) -> Result<()> {
    let mut bitmap = DirtyBitmap::over(ram, Granule::KIB_4, &mut words)?;
    #[cfg(feature = "misuse")]
    drop(words);
    tracking.read_and_clear(&mut bitmap)
}

fn main() {
    let _checked = case;
}
