//! Fails with E0308: a guest's command is passed on without being looked at.

use iommufd::Viommu;
use iommufd::smmuv3::{Invalidation, Smmuv3};
use smmuv3_types::Command;

fn case(smmu: &Viommu<Smmuv3>, command: Command) -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "misuse")]
    smmu.invalidate(&[command])?;
    let command = Invalidation::from_command(&command, smmu.demands().limits())?;
    Ok(smmu.invalidate(&[command])?)
}

fn main() {
    let _checked = case;
}
