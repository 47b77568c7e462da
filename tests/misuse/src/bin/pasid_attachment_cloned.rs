//! Fails with E0599: a second guard of one attachment.

use std::sync::Arc;

use iommufd::PasidAttachment;

fn case(attachment: PasidAttachment) -> (Arc<PasidAttachment>, Arc<PasidAttachment>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(attachment.clone());
    let attachment = Arc::new(attachment);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&attachment);
    (attachment, second)
}

fn main() {
    let _checked = case;
}
