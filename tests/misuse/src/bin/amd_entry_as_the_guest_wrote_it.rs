//! Fails with E0423: an entry as the guest wrote it, which can have what the kernel refuses.

use iommufd::amd::{BadGuestDte, Dte, GuestDte};

fn case(entry: &Dte) -> Result<GuestDte, BadGuestDte> {
    #[cfg(feature = "misuse")]
    return Ok(GuestDte(entry.words().map(Into::into)));
    #[cfg(not(feature = "misuse"))]
    GuestDte::from_entry(entry)
}

fn main() {
    let _checked = case;
}
