//! Fails with E0599: how memory counts is changed when there can be objects already.

use iommufd::{Accounting, Iommufd, Result};

fn case(iommufd: &Iommufd) -> Result<Accounting> {
    #[cfg(feature = "misuse")]
    iommufd.account_per_process();
    iommufd.accounting()
}

fn main() {
    let _checked = case;
}
