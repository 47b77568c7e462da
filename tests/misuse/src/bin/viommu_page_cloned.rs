//! Fails with E0599: a second value for one mapping of a page.

use std::sync::Arc;

use iommufd::ViommuPage;

fn case(page: ViommuPage) -> [Arc<ViommuPage>; 2] {
    #[cfg(feature = "misuse")]
    let second = Arc::new(page.clone());
    let page = Arc::new(page);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&page);
    [page, second]
}

fn main() {
    let _checked = case;
}
