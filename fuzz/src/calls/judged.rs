//! Memory that looks, when it is let go of, whether devices still reach it: what AddressSanitizer cannot see.

use std::fs::File;
use std::sync::{Arc, LazyLock};

use tests::memory::{Living, Memory};
use tests::mock::check_pins;

/// To ask what is pinned, which any file of iommufd can.
static ASKED: LazyLock<File> = LazyLock::new(|| {
    let open = File::options().read(true).write(true).open("/dev/iommu");
    open.unwrap()
});

/// Memory of so many bytes.
pub(super) fn memory(living: &Living, len: usize) -> Arc<Memory> {
    LazyLock::force(&ASKED);
    living.with_farewell(len, |bytes| {
        let pins = check_pins(&*ASKED, bytes, 0);
        assert_eq!(pins, Ok(()), "memory is let go of, and pinned");
    })
}
