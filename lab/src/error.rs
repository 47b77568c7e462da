//! What the lab says when something fails: what failed, why, and what to do next.

use std::fmt;
use std::io;

/// The exit status for a failure of the lab itself, apart from whatever a guest program may answer (as docker does).
const LAB_FAILED: u8 = 125;

/// A failure of the lab itself; a guest program that fails is no error, its status is handed on.
#[derive(Debug)]
pub(crate) struct Error {
    what: String,
    why: Vec<String>,
    next: Option<String>,
    status: u8,
}

/// What everything in the lab returns that can fail.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `what` failed, as a short sentence without its full stop.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: Vec::new(),
            next: None,
            status: LAB_FAILED,
        }
    }

    /// Adds a reason; further reasons follow on their own lines.
    pub(crate) fn because(mut self, why: impl fmt::Display) -> Self {
        self.why.push(why.to_string());
        self
    }

    /// Says what the user can do about it.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Sets the exit status that `cargo lab` ends with.
    pub(crate) fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The exit status that `cargo lab` ends with.
    pub(crate) fn exit_status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for why in &self.why {
            indented(f, "why:  ", why)?;
        }
        match &self.next {
            Some(next) => indented(f, "next: ", next),
            None => Ok(()),
        }
    }
}

/// Writes `text` on lines of its own, the first behind `label`, the others aligned with it.
fn indented(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    for (number, line) in text.lines().enumerate() {
        let label = if number == 0 { label } else { "      " };
        write!(f, "\n  {label}{line}")?;
    }
    Ok(())
}

impl std::error::Error for Error {}

/// Turns an I/O error into one that says what was being done.
pub(crate) trait Doing<T> {
    /// `what` was being done, as in "cannot write /tmp/x".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(what()).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_and_next() {
        let error = Error::new("cannot boot")
            .because("two\nlines")
            .next("try again");
        assert_eq!(
            error.to_string(),
            "cannot boot\n  why:  two\n        lines\n  next: try again"
        );
        assert_eq!(error.exit_status(), LAB_FAILED);
    }
}
