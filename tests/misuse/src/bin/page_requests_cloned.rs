//! Fails with E0599: a second right to answer the same page requests.

use std::sync::Arc;

use iommufd::PageRequestGroup;

fn case(group: PageRequestGroup) -> (Arc<PageRequestGroup>, Arc<PageRequestGroup>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(group.clone());
    let group = Arc::new(group);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&group);
    (group, second)
}

fn main() {
    let _checked = case;
}
