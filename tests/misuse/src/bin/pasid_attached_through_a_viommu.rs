//! Fails with E0271: behind a virtual IOMMU the PASIDs are in the guest's tables.

#![expect(
    dead_code,
    reason = "the formats of real hardware are brought in by others"
)]

use iommufd::format::ViommuKind;
use iommufd::{Attachment, Device, NestedHwPt, Pasid, Result, VDevice};

fn case<V: ViommuKind<Stale = ()>>(
    device: &Device,
    pasid: Pasid,
    vdevice: &VDevice<V>,
    nested: &NestedHwPt<V::Format>,
) -> Result<Attachment> {
    assert!(pasid.get() > 0);
    #[cfg(feature = "misuse")]
    device.attach_pasid(pasid, nested)?.detach()?;
    device.attach(vdevice.through(nested, ()))
}

fn main() {}
