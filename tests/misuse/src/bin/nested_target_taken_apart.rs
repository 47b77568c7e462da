//! Fails with E0616: what a target holds is taken out of it.

use iommufd::format::ViommuKind;
use iommufd::{NestedHwPt, Target, VDevice};

fn _case<V: ViommuKind<Stale = ()>>(
    vdevice: &VDevice<V>,
    nested: &NestedHwPt<V::Format>,
) -> Target {
    let target = vdevice.through(nested, ());
    if let Target::Nested(nested) = &target {
        #[cfg(feature = "misuse")]
        drop(nested.vdevice);
        let _debug: &dyn std::fmt::Debug = nested;
    }
    target
}

fn main() {
    // Checked for every format: there is nothing to run.
}
