//! Fails with E0382: the data of a device are read after it was set going again.

use std::io::Read;

use vfio::migration::{Migration, Running, StopCopy};

fn case(mut saving: Migration<StopCopy>) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut data = Vec::new();
    saving.read_to_end(&mut data)?;
    let running = saving.enter::<Running>()?;
    #[cfg(feature = "misuse")]
    saving.read_to_end(&mut data)?;
    drop(running);
    Ok(data)
}

fn main() {
    let _checked = case;
}
