//! How to get back what an operation had consumed.

use std::fmt;

use super::Error;

/// A refused operation that had consumed its value: here it is back, as it was.
///
/// Who passes it on as an error passes the value on with it: boxed, a mapping stays mapped until
/// somebody drops the error. To let go of the value at once, take the reason alone; `?` does so in a
/// function that returns [`Error`].
///
/// ```no_run
/// # fn example(mapping: iommufd::Mapping) -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::Refused;
///
/// // The error alone: the drop tries once more to unmap, and counts what it cannot.
/// mapping.unmap().map_err(Refused::into_error)?;
/// # Ok(())
/// # }
/// ```
///
/// ```no_run
/// # fn example(mapping: iommufd::Mapping) {
/// // Or the value, to try again later.
/// let mapping = match mapping.unmap() {
///     Ok(()) => None,
///     Err(refused) => {
///         eprintln!("{}", refused.error());
///         Some(refused.into_value())
///     }
/// };
/// # }
/// ```
///
/// `E` is the error of the crate whose operation it was.
pub struct Refused<T, E = Error> {
    value: T,
    error: E,
}

impl<T, E> Refused<T, E> {
    /// An operation on `value` that failed with `error`.
    #[must_use]
    pub fn new(value: T, error: impl Into<E>) -> Self {
        Self {
            value,
            error: error.into(),
        }
    }

    /// Why it was refused.
    #[must_use]
    pub fn error(&self) -> &E {
        &self.error
    }

    /// The value, to go on with or to try again.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// The reason alone.
    #[must_use]
    pub fn into_error(self) -> E {
        self.error
    }

    /// The same refusal around another value, for a handle that wraps this one.
    #[must_use]
    pub fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Refused<U, E> {
        Refused {
            value: wrap(self.value),
            error: self.error,
        }
    }

    /// The value and the reason.
    #[must_use]
    pub fn into_parts(self) -> (T, E) {
        (self.value, self.error)
    }
}

impl<T, E: fmt::Debug> fmt::Debug for Refused<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T, E: fmt::Display> fmt::Display for Refused<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T, E: std::error::Error> std::error::Error for Refused<T, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// `?` in a function that returns [`Error`] drops the value, as any early return would.
impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.error
    }
}
