//! Fails with E0308: a virtual IOMMU is made of an address space, for which there is no table yet.

use iommufd::format::ViommuKind;
use iommufd::{Device, Ioas, NestParent, Result, Viommu};

fn _case<V: ViommuKind<Data = ()>>(ioas: &Ioas, device: &Device) -> Result<Viommu<V>> {
    let parent = NestParent::new(ioas, device)?;
    #[cfg(feature = "misuse")]
    return Viommu::new(ioas, device);
    #[cfg(not(feature = "misuse"))]
    Viommu::new(&parent, device)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
