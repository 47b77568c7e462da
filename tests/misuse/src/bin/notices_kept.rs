//! Fails with E0521: a driver keeps what the observer shall hear, for another call to tell.

use iommufd::IoctlEvent;
use iommufd::driver::Notices;

fn case(
    kept: &mut Vec<&'static mut Notices<'static>>,
    notices: &mut Notices<'_>,
    event: IoctlEvent,
) {
    kept.clear();
    #[cfg(feature = "misuse")]
    kept.push(notices);
    #[cfg(not(feature = "misuse"))]
    notices.note(event);
}

fn main() {
    let _checked = case;
}
