//! Fails with E0308: the kernel is given an entry as the guest wrote it, with fields that it would pass over.

use iommufd::vtd::{NestedPasidEntry, Vtd};
use iommufd::{Device, NestParent, NestedHwPt};
use vtd_types::{Features, PasidEntry};

fn case(
    parent: &NestParent,
    device: &Device,
    entry: &PasidEntry,
    features: &Features,
) -> Result<NestedHwPt<Vtd>, Box<dyn std::error::Error>> {
    #[cfg(feature = "misuse")]
    return Ok(NestedHwPt::<Vtd>::new(parent, device, entry)?);
    let entry = NestedPasidEntry::from_entry(entry, features)?;
    #[cfg(not(feature = "misuse"))]
    Ok(NestedHwPt::new(parent, device, &entry)?)
}

fn main() {
    let _checked = case;
}
