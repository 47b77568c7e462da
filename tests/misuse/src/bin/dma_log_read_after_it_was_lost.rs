//! Fails with E0382: a record is read on, that could not be read and is lost.

use iommufd::DirtyBitmap;
use vfio::{DmaLogging, LogReadFailed};

fn case(log: DmaLogging, bitmap: &mut DirtyBitmap) -> Result<(), LogReadFailed> {
    let read = log.read_and_clear(bitmap);
    #[cfg(feature = "misuse")]
    drop(log.read_and_clear(bitmap)?);
    let log = read?;
    drop(log.read_and_clear(bitmap)?);
    Ok(())
}

fn main() {
    let _checked = case;
}
