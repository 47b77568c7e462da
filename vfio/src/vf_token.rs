//! The secret that a PCI physical function and its virtual functions' users share.

use std::fmt;
use std::str::FromStr;

use crate::device::OpenDevice;
use crate::error::Result;
use crate::ioctl::feature::TokenBytes;

/// A VF token: a UUID that whoever opens a virtual function has to know, where a program drives the
/// physical one.
///
/// It is a secret: `Debug` does not show it, `Display` does.
///
/// ```
/// let token: vfio::VfToken = "14d63f20-8445-11ea-8900-1f9ce7d5650d".parse()?;
/// assert_eq!(token.bytes()[0], 0x14);
/// # Ok::<(), vfio::InvalidVfToken>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VfToken([u8; 16]);

impl VfToken {
    /// The token with these bytes, in the order in which a UUID is written.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, in the order in which a UUID is written.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

/// Where in the bytes the hyphens of a UUID come.
const HYPHENS: [usize; 4] = [4, 6, 8, 10];

impl fmt::Display for VfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if HYPHENS.contains(&place) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfToken").finish_non_exhaustive()
    }
}

/// A text is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, parted by hyphens")]
#[non_exhaustive]
pub struct InvalidVfToken;

impl FromStr for VfToken {
    type Err = InvalidVfToken;

    fn from_str(text: &str) -> Result<Self, InvalidVfToken> {
        let mut rest = text.as_bytes();
        let mut bytes = [0; 16];
        for (place, byte) in bytes.iter_mut().enumerate() {
            if HYPHENS.contains(&place) {
                rest = rest.strip_prefix(b"-").ok_or(InvalidVfToken)?;
            }
            let ([high, low], after) = rest.split_first_chunk().ok_or(InvalidVfToken)?;
            *byte = digit(*high)? << 4 | digit(*low)?;
            rest = after;
        }
        match rest {
            [] => Ok(Self(bytes)),
            _ => Err(InvalidVfToken),
        }
    }
}

fn digit(byte: u8) -> Result<u8, InvalidVfToken> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(InvalidVfToken),
    }
}

impl OpenDevice {
    /// Sets the token that users of this PCI physical function's virtual functions have to give.
    ///
    /// The kernel makes a random one when its driver takes the physical function, so before this
    /// nobody opens a virtual function. Who has one open already is not asked again. The token stays
    /// when the device is closed, and cannot be read.
    ///
    /// Since Linux 5.7.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`](crate::FeatureError::NotThere): it is no physical function with
    /// SR-IOV. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_PCI_VF_TOKEN")]
    pub fn set_vf_token(&self, token: &VfToken) -> Result<()> {
        self.bound().set_feature(&TokenBytes(token.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00112233-4455-6677-8899-aabbccddeeff";

    #[test]
    fn a_token_is_read_and_written_as_a_uuid() {
        let token: VfToken = TEXT.parse().unwrap();
        assert_eq!(token.bytes()[..3], [0, 0x11, 0x22]);
        assert_eq!(token.bytes()[15], 0xff);
        assert_eq!(token.to_string(), TEXT);
        assert_eq!(TEXT.to_uppercase().parse(), Ok(token));
        assert_eq!(format!("{token:?}"), "VfToken { .. }");
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        for text in [
            "",
            "00112233",
            "00112233445566778899aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddeef",
            "00112233-4455-6677-8899-aabbccddeeff0",
            "00112233-4455-6677-8899-aabbccddeeg0",
            "0011223-34455-6677-8899-aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddeé",
        ] {
            assert_eq!(text.parse::<VfToken>(), Err(InvalidVfToken), "{text}");
        }
    }
}
