//! The vendor's part of the hardware information, as what it is.

use std::fmt;

use zerocopy::FromBytes;

use super::{AmdInfo, HwInfoType, Smmuv3Info, Tegra241CmdqvInfo, VtdInfo};

pub(super) mod sealed {
    use zerocopy::FromBytes;

    use crate::hw_info::HwInfoType;

    #[expect(
        unnameable_types,
        reason = "so that nobody else implements `VendorDescription`"
    )]
    pub trait Sealed: Sized {
        /// The kernel's structure.
        type Raw: FromBytes;
        const KIND: HwInfoType;

        fn new(raw: Self::Raw) -> Self;
    }
}

/// A description that can be asked for by its type, with
/// [`Device::vendor_info`](crate::Device::vendor_info): [`VtdInfo`], [`Smmuv3Info`],
/// [`Tegra241CmdqvInfo`] or [`AmdInfo`].
pub trait VendorDescription: sealed::Sealed {}

impl VendorDescription for VtdInfo {}
impl VendorDescription for Smmuv3Info {}
impl VendorDescription for Tegra241CmdqvInfo {}
impl VendorDescription for AmdInfo {}

/// The vendor's part of the hardware information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VendorInfo {
    /// The driver of the IOMMU tells nothing.
    None,
    /// Intel VT-d.
    Vtd(VtdInfo),
    /// Arm SMMUv3. Since Linux 6.13.
    Smmuv3(Smmuv3Info),
    /// The command queues for guests of NVIDIA's SMMUv3, told only if asked for by type. Since
    /// Linux 6.17.
    Tegra241Cmdqv(Tegra241CmdqvInfo),
    /// AMD IOMMU. Since Linux 7.0.
    Amd(AmdInfo),
    /// Something that this version of the crate has no type for, or a description shorter than its
    /// type has it: the bytes are in [`HwInfo::data`](crate::HwInfo::data).
    Other(HwInfoType),
}

impl VendorInfo {
    pub(super) fn parse(kind: Option<HwInfoType>, data: &[u8]) -> Self {
        let Some(kind) = kind else {
            return Self::None;
        };
        let known = match kind {
            HwInfoType::VTD => decode(data).map(Self::Vtd),
            HwInfoType::SMMUV3 => decode(data).map(Self::Smmuv3),
            HwInfoType::TEGRA241_CMDQV => decode(data).map(Self::Tegra241Cmdqv),
            HwInfoType::AMD => decode(data).map(Self::Amd),
            _ => None,
        };
        known.unwrap_or(Self::Other(kind))
    }
}

/// The description that `data` begins with; `None` if it is shorter than that.
pub(super) fn decode<T: VendorDescription>(data: &[u8]) -> Option<T> {
    let (raw, _newer) = T::Raw::read_from_prefix(data).ok()?;
    Some(T::new(raw))
}

impl fmt::Display for VendorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("an IOMMU that does not describe itself"),
            Self::Vtd(vtd) => vtd.fmt(f),
            Self::Smmuv3(smmu) => smmu.fmt(f),
            Self::Tegra241Cmdqv(cmdqv) => cmdqv.fmt(f),
            Self::Amd(amd) => amd.fmt(f),
            Self::Other(kind) => write!(f, "an IOMMU of {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of each type, as its structure has them, and what becomes of them.
    fn each() -> [(HwInfoType, Vec<u8>, VendorInfo); 4] {
        let bytes = |range: std::ops::Range<u8>| range.collect::<Vec<u8>>();
        let vtd = bytes(0..24);
        let smmuv3 = bytes(0..40);
        let cmdqv = bytes(0..8);
        let amd = bytes(0..16);
        [
            (
                HwInfoType::VTD,
                vtd.clone(),
                VendorInfo::Vtd(decode(&vtd).unwrap()),
            ),
            (
                HwInfoType::SMMUV3,
                smmuv3.clone(),
                VendorInfo::Smmuv3(decode(&smmuv3).unwrap()),
            ),
            (
                HwInfoType::TEGRA241_CMDQV,
                cmdqv.clone(),
                VendorInfo::Tegra241Cmdqv(decode(&cmdqv).unwrap()),
            ),
            (
                HwInfoType::AMD,
                amd.clone(),
                VendorInfo::Amd(decode(&amd).unwrap()),
            ),
        ]
    }

    #[test]
    fn each_type_is_recognised() {
        for (kind, data, info) in each() {
            assert_eq!(VendorInfo::parse(Some(kind), &data), info);
        }
        assert_eq!(VendorInfo::parse(None, &[1]), VendorInfo::None);
    }

    #[test]
    fn a_longer_structure_of_a_newer_kernel_is_understood() {
        for (kind, mut data, info) in each() {
            data.extend([0xff; 64]);
            assert_eq!(VendorInfo::parse(Some(kind), &data), info);
        }
    }

    #[test]
    fn a_short_answer_is_not_guessed_at() {
        for (kind, data, _) in each() {
            for len in 0..data.len() {
                let parsed = VendorInfo::parse(Some(kind), &data[..len]);
                assert_eq!(parsed, VendorInfo::Other(kind));
            }
        }
    }

    #[test]
    fn any_bytes_of_any_type_are_taken() {
        for number in 0..=u32::from(u8::MAX) {
            for len in 0..64 {
                let parsed = VendorInfo::parse(HwInfoType::new(number), &vec![0xff; len]);
                assert!(!parsed.to_string().is_empty());
            }
        }
    }
}
