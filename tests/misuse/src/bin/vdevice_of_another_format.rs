//! Fails with E0308: a device is attached to the guest's tables of one format by its number in another.

use iommufd::format::ViommuKind;
use iommufd::{NestedHwPt, Target, VDevice};

fn _case<V: ViommuKind<Stale = ()>, W: ViommuKind<Stale = ()>>(
    vdevice: &VDevice<V>,
    other: &VDevice<W>,
    nested: &NestedHwPt<V::Format>,
) -> Target {
    let _kept = other.clone();
    #[cfg(feature = "misuse")]
    return other.through(nested, ());
    #[cfg(not(feature = "misuse"))]
    vdevice.through(nested, ())
}

fn main() {
    // Checked for every format: there is nothing to run.
}
