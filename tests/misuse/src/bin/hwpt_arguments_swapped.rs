//! Fails with E0308: the device where the address space belongs, and the other way round.

use iommufd::{Device, HwPt, Ioas, Result};

fn case(ioas: &Ioas, device: &Device) -> Result<HwPt> {
    #[cfg(feature = "misuse")]
    return HwPt::new(device, ioas);
    #[cfg(not(feature = "misuse"))]
    HwPt::new(ioas, device)
}

fn main() {
    let _checked = case;
}
