//! Fails with E0133: a made-up ioctl is declared to take a type of argument.

#![expect(unsafe_code, reason = "answers for number and type")]

use iommufd_sys::ioctl::{Description, Ioctl};

fn case(description: Description) -> Ioctl<u32> {
    #[cfg(feature = "misuse")]
    return Ioctl::custom(description);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        Ioctl::custom(description)
    }
}

fn main() {
    let _checked = case;
}
