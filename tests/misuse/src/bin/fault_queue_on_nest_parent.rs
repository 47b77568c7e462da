//! Fails with E0599: the table of a guest's physical addresses is given a fault queue.

use iommufd::{Device, FaultQueue, HwPt, Ioas, NestParent, Result};

fn case(ioas: &Ioas, device: &Device, queue: &FaultQueue) -> Result<(NestParent, HwPt)> {
    let parent = NestParent::builder(ioas, device);
    #[cfg(feature = "misuse")]
    let parent = parent.fault_queue(queue);
    let hwpt = HwPt::builder(ioas, device).fault_queue(queue);
    Ok((parent.allocate()?, hwpt.allocate()?))
}

fn main() {
    let _checked = case;
}
