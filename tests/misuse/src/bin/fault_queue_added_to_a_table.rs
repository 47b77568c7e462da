//! Fails with E0061: a page table gets a fault queue when it is there already.

use iommufd::{Device, FaultQueue, HwPt, Ioas, Result};

fn case(ioas: &Ioas, device: &Device, queue: &FaultQueue) -> Result<HwPt> {
    let builder = HwPt::builder(ioas, device).fault_queue(queue);
    let hwpt = builder.allocate()?;
    #[cfg(feature = "misuse")]
    hwpt.fault_queue(queue);
    Ok(hwpt)
}

fn main() {
    let _checked = case;
}
