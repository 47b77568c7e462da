//! Fails with E0369: permissions are one of three, not flags of which none may be set.

use iommufd::Access;

fn case(writable: bool) -> Access {
    match writable {
        #[cfg(feature = "misuse")]
        true => Access::Read | Access::Write,
        #[cfg(not(feature = "misuse"))]
        true => Access::ReadWrite,
        false => Access::Read,
    }
}

fn main() {
    let _checked = case;
}
