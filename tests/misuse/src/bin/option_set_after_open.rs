//! Fails with E0382: what must come before the first object is set when objects can be made.

use std::sync::Arc;

use iommufd::{Iommufd, IommufdBuilder, Observer, Result};

fn case(builder: IommufdBuilder, observer: Arc<dyn Observer>) -> Result<Iommufd> {
    #[cfg(not(feature = "misuse"))]
    let builder = builder.observer(observer);
    let iommufd = builder.open()?;
    #[cfg(feature = "misuse")]
    let _builder = builder.observer(observer);
    Ok(iommufd)
}

fn main() {
    let _checked = case;
}
