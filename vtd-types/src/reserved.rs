//! Encodings that mean nothing.

/// A field holds an encoding that the specification reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{field} holds the reserved value {value:#x}")]
pub struct Reserved {
    field: &'static str,
    value: u64,
}

impl Reserved {
    pub(crate) const fn new(field: &'static str, value: u64) -> Self {
        Self { field, value }
    }

    /// The field, named as the specification names it: `PASIDTE.PGTT`.
    #[must_use]
    pub const fn field(self) -> &'static str {
        self.field
    }

    /// What it holds.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }
}
