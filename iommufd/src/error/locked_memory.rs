//! The limit of locked memory, and how much is to be pinned.

use std::fmt;

/// `RLIMIT_MEMLOCK` of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemlockLimit {
    /// No limit.
    Unlimited,
    /// A limit in bytes.
    Bytes(u64),
}

impl fmt::Display for MemlockLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

/// How many bytes were to be pinned, if that is known.
pub(super) struct Needed(pub(super) u64);

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("what is mapped"),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// Whose pinned memory counts against `RLIMIT_MEMLOCK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accounting {
    /// All contexts of the user together: what `/dev/iommu` does unless told otherwise.
    PerUser,
    /// This process alone: what the type1 container does.
    PerProcess,
    /// The kernel did not say.
    Unknown,
}

impl fmt::Display for Accounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerUser => "over all iommufd contexts of this user",
            Self::PerProcess => "for this process alone",
            Self::Unknown => "in a way the kernel did not tell",
        })
    }
}
