//! Fails with E0061: a device comes to a guest's tables, and nobody says what becomes of the ASIDs of before.

use iommufd::smmuv3::{Smmuv3, StaleAsids};
use iommufd::{Attachment, NestedHwPt, Result, VDevice};

fn case(vdevice: &VDevice<Smmuv3>, nested: &NestedHwPt<Smmuv3>) -> Result<Attachment> {
    #[cfg(feature = "misuse")]
    return vdevice.attach(nested);
    #[cfg(not(feature = "misuse"))]
    vdevice.attach(nested, StaleAsids::GuestInvalidates)
}

fn main() {
    let _checked = case;
}
