//! A series of Linux, such as 6.12: what it has, the lab knows by it.

use std::fmt;
use std::str::FromStr;

/// A series of Linux. Written like a number, ordered like two: 6.12 is newer than 6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    major: u16,
    minor: u16,
}

impl Series {
    /// The series `major.minor`.
    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The series that a release or a package's version belongs to: of `6.12.117-1~deb12u1` it is 6.12.
    pub(crate) fn of(version: &str) -> Option<Self> {
        let mut numbers = version.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self::new(next()?, next()?))
    }
}

impl FromStr for Series {
    type Err = ();

    /// Two numbers and nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| ()),
            false => Err(()),
        };
        Ok(Self::new(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_two_numbers() {
        assert_eq!("6.12".parse(), Ok(Series::new(6, 12)));
        for text in ["6", "6.", "6.12.1", "v6.12", "6.+12", "", "linux.tar.xz"] {
            assert_eq!(text.parse::<Series>(), Err(()), "{text}");
        }
        assert!(Series::new(6, 7) < Series::new(6, 12));
    }

    #[test]
    fn is_of_every_version_in_it() {
        for version in ["6.12.117-1~deb12u1", "6.12-1", "6.12", "6.12.117-1-deb12u1"] {
            assert_eq!(Series::of(version), Some(Series::new(6, 12)), "{version}");
        }
        assert_eq!(Series::of("next"), None);
    }
}
