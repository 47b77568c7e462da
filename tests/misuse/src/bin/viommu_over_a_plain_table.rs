//! Fails with E0308: a virtual IOMMU is made of a table that was not allocated to be a parent.

use iommufd::format::ViommuKind;
use iommufd::{Device, HwPt, Ioas, NestParent, Result, Viommu};

fn _case<V: ViommuKind<Data = ()>>(ioas: &Ioas, device: &Device) -> Result<Viommu<V>> {
    let plain = HwPt::new(ioas, device)?;
    let parent = NestParent::new(plain.ioas(), device)?;
    #[cfg(feature = "misuse")]
    return Viommu::new(&plain, device);
    #[cfg(not(feature = "misuse"))]
    Viommu::new(&parent, device)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
