//! Fails with E0624: a driver tells the observer while a lock is held, not after it.

use iommufd::driver::Notices;
use iommufd::{IoctlEvent, Iommufd};

fn case(iommufd: &Iommufd, notices: &mut Notices<'_>, event: IoctlEvent) -> bool {
    #[cfg(feature = "misuse")]
    iommufd.context().notices().note(event);
    #[cfg(not(feature = "misuse"))]
    notices.note(event);
    iommufd.is_observed()
}

fn main() {
    let _checked = case;
}
