//! What a VMM's own SMMUv3 is, as its guest sees it.

use iommufd::Smmuv3Info;
use smmuv3_types::{
    AddressSize, BadFeatures, CannotOffer, Features, IdRegisters, StallModel, TableEndianness,
};

/// Why a guest can be offered nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The hardware has nothing of it.
    #[error(transparent)]
    Hardware(#[from] CannotOffer),
    /// There is no such SMMU.
    #[error(transparent)]
    Features(#[from] BadFeatures),
}

/// What the guest can be told that its SMMU has: what the hardware has, of what this VMM wants.
///
/// # Errors
/// [`Error`].
pub fn offered(hardware: &Smmuv3Info) -> Result<Features, Error> {
    let hardware = hardware.vouched();
    // Nobody here listens to what stalls. Where all faults stall the guest has to know.
    let stall_model = match hardware.stall_model().map_err(CannotOffer::from)? {
        StallModel::Both | StallModel::TerminateOnly => StallModel::TerminateOnly,
        StallModel::StallOnly => StallModel::StallOnly,
    };
    let mut wanted = IdRegisters::default();
    wanted.idr0 = wanted
        .idr0
        .with_ttf_aarch64(true)
        .with_cohacc(true)
        .with_asid16(true)
        .with_stall_model(stall_model)
        .with_ttendian(TableEndianness::Little);
    wanted.idr1 = wanted.idr1.with_sidsize(16);
    wanted.idr3 = wanted.idr3.with_ril(true);
    wanted.idr5 = wanted.idr5.with_gran4k(true).with_oas(AddressSize::Bits44);
    Ok(Features::new(hardware.offer(&wanted)?)?)
}
