//! Fails with E0599: a second guard of one mapping.

use std::sync::Arc;

use iommufd::Mapping;

fn case(mapping: Mapping) -> (Arc<Mapping>, Arc<Mapping>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(mapping.clone());
    let mapping = Arc::new(mapping);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&mapping);
    (mapping, second)
}

fn main() {
    let _checked = case;
}
