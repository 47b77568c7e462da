//! Fails with E0423: an entry of plain words, which can have what the kernel refuses.

use iommufd::amd::{BadGuestDte, GuestDte};

fn case(words: [u64; 4]) -> Result<GuestDte, BadGuestDte> {
    #[cfg(feature = "misuse")]
    return Ok(GuestDte(words.map(Into::into)));
    #[cfg(not(feature = "misuse"))]
    GuestDte::from_entry(words)
}

fn main() {
    let _checked = case;
}
