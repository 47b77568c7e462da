//! Encodings that mean nothing.

/// A field holds an encoding that the specification reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{field} holds the reserved value {value:#x}")]
pub struct Reserved {
    field: &'static str,
    value: u64,
}

impl Reserved {
    /// The field, with its structure, named as the specification names it: `STE.S1DSS`,
    /// `PASIDTE.PGTT`.
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

/// This field holds this value, which is reserved: for what a table of encodings cannot say, such as
/// a value that only some hardware has.
///
/// A crate that re-exports [`Reserved`] need not let its users make one: so this is no function of
/// the type's.
///
/// ```
/// let error = hardware_records::reserved("CAP_REG.ND", 7);
/// assert_eq!((error.field(), error.value()), ("CAP_REG.ND", 7));
/// ```
#[must_use]
#[inline]
pub const fn reserved(field: &'static str, value: u64) -> Reserved {
    Reserved { field, value }
}
