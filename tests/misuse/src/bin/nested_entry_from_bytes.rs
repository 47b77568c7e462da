//! Fails with E0277: a guest's bytes are taken for an entry that the kernel takes.

use iommufd::smmuv3::NestedSte;
use smmuv3_types::{RefusedSte, Ste};

fn case(bytes: &[u8; 64]) -> Result<NestedSte, RefusedSte> {
    #[cfg(feature = "misuse")]
    let _entry = <NestedSte as zerocopy::FromBytes>::read_from_prefix(bytes);
    let [first, second, ..] = Ste::from_bytes(bytes).words();
    NestedSte::from_words([first, second])
}

fn main() {
    let _checked = case;
}
