//! Fails with E0423: a physical address that no kernel has told.

use iommufd::{PhysicalAddress, PhysicalRange};

fn case(run: PhysicalRange) -> PhysicalAddress {
    #[cfg(feature = "misuse")]
    return PhysicalAddress(0x1000);
    run.start()
}

fn main() {
    let _checked = case;
}
