//! Fails with E0200: a kind of virtual IOMMU that does not answer for what the kernel writes into its data.

#![expect(unsafe_code, reason = "answers for the kind")]

use iommufd::format::{NestsOnViommu, ViommuKind};
use iommufd::{Device, Result};

#[derive(Debug)]
struct Kind<F>(F);

macro_rules! contents {
    () => {
        type Format = F;
        const TYPE: u32 = 2;
        type Data = [u64; 2];
        type VirtualId = u32;
        type Stale = ();
        type Demands = ();

        fn stale((): &(), (): &()) -> Vec<F::Invalidation> {
            Vec::new()
        }

        fn demands(_: &Device) -> Result<()> {
            Ok(())
        }
    };
}

#[cfg(feature = "misuse")]
impl<F: NestsOnViommu> ViommuKind for Kind<F> {
    contents!();
}

// SAFETY: the kernel answers to the type 2 with two words.
#[cfg(not(feature = "misuse"))]
unsafe impl<F: NestsOnViommu> ViommuKind for Kind<F> {
    contents!();
}

fn case() -> Kind<()> {
    Kind(())
}

fn main() {
    let _checked = case;
}
