//! The names by which the devices of a group are asked for.

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::vf_token::VfToken;

/// A name that goes to the kernel as it is.
///
/// It is a device's name on its bus, and no more: behind a space the kernel looks for a VF token.
pub(super) fn plain(name: &str) -> Result<CString> {
    let sound = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    match CString::new(name) {
        Ok(name) if sound => Ok(name),
        _ => Err(Error::NoDeviceName {
            name: name.to_owned(),
        }),
    }
}

/// A name with a VF token behind it, as the text of a UUID.
pub(super) fn with_token(name: &str, token: VfToken) -> Result<CString> {
    plain(name)?;
    CString::new(format!("{name} vf_token={token}")).map_err(|_| Error::NoDeviceName {
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_as_a_uuid_behind_the_name() {
        let token = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        let name = with_token("0000:02:10.0", VfToken::new(token)).unwrap();
        assert_eq!(
            name.to_str().unwrap(),
            "0000:02:10.0 vf_token=00112233-4455-6677-8899-aabbccddeeff"
        );
    }

    #[test]
    fn a_name_is_nothing_but_a_name() {
        assert!(plain("0000:00:04.0").is_ok());
        for name in ["", "a b", "0000:00:04.0 vf_token=", "a\0", "a\n", "é"] {
            assert!(plain(name).is_err(), "{name:?}");
            assert!(with_token(name, VfToken::new([0; 16])).is_err(), "{name:?}");
        }
    }
}
