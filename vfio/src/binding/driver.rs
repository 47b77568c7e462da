//! The names of drivers.

use std::fmt;
use std::str::FromStr;

/// The kernel's limit for what is written to `driver_override`, without the end of the line.
const LONGEST: usize = 4094;

/// The name of a kernel driver, as in `/sys/bus/pci/drivers`.
///
/// ```
/// use vfio::DriverName;
///
/// let variant: DriverName = "mlx5_vfio_pci".parse()?;
/// assert_ne!(variant, DriverName::vfio_pci());
/// # Ok::<(), vfio::InvalidDriverName>(())
/// ```
///
/// # Invariants
/// It names one entry of a folder: it is not empty, has no `/`, no white space and no control
/// characters, and is neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverName(String);

impl DriverName {
    /// `vfio-pci`, which takes any PCI function. Some devices have a VFIO driver of their own, which
    /// knows how to migrate them.
    #[must_use]
    pub fn vfio_pci() -> Self {
        Self("vfio-pci".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DriverName({self})")
    }
}

/// Text that is not the name of a driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a driver: one looks like vfio-pci (ls /sys/bus/pci/drivers)")]
pub struct InvalidDriverName {
    text: String,
}

impl FromStr for DriverName {
    type Err = InvalidDriverName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let right = !matches!(text, "" | "." | "..")
            && text.len() <= LONGEST
            && !text
                .chars()
                .any(|letter| letter == '/' || letter.is_whitespace() || letter.is_control());
        if right {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDriverName {
                text: text.to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_entry_of_a_folder() {
        for name in ["vfio-pci", "mlx5_vfio_pci", "e1000e", "x.y"] {
            assert_eq!(name.parse::<DriverName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(LONGEST + 1);
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "../e1000e",
            "vfio-pci\n",
            " vfio-pci",
            "a\0b",
            &long,
        ] {
            let error = text.parse::<DriverName>().unwrap_err();
            assert!(error.to_string().contains("not the name of a driver"));
        }
    }
}
