//! Fails with E0277: a PASID is attached to a table in whose format the guest's own tables have the PASIDs.

use iommufd::format::{NestsOnParent, NestsOnViommu};
use iommufd::{Device, NestedHwPt, Pasid, PasidAttachment, Result};

fn _case<F: NestsOnViommu, G: NestsOnParent>(
    device: &Device,
    pasid: Pasid,
    theirs: &NestedHwPt<F>,
    ours: &NestedHwPt<G>,
) -> Result<PasidAttachment> {
    let _kept = theirs.clone();
    #[cfg(feature = "misuse")]
    return device.attach_pasid(pasid, theirs);
    #[cfg(not(feature = "misuse"))]
    device.attach_pasid(pasid, ours)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
