//! Where what the calls have made is kept.

use std::slice;

use iommufd::{Error, Refused};

use super::call::Which;

/// What there is of one kind.
pub(super) struct Pool<T>(Vec<T>);

impl<T> Pool<T> {
    /// So many of each kind are enough to get in each other's way.
    const MOST: usize = 6;

    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one of the kind to begin with.
    pub(super) fn of(first: T) -> Self {
        Self(vec![first])
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(super) fn get(&self, which: Which) -> Option<&T> {
        self.0.get(usize::from(which).checked_rem(self.0.len())?)
    }

    pub(super) fn get_mut(&mut self, which: Which) -> Option<&mut T> {
        let at = usize::from(which).checked_rem(self.0.len())?;
        self.0.get_mut(at)
    }

    pub(super) fn take(&mut self, which: Which) -> Option<T> {
        let at = usize::from(which).checked_rem(self.0.len())?;
        Some(self.0.swap_remove(at))
    }

    /// Keeps what was made. Where there is no more room it is dropped.
    pub(super) fn put(&mut self, made: T) {
        if self.0.len() < Self::MOST {
            self.0.push(made);
        }
    }

    /// Keeps what was made, if it was.
    pub(super) fn keep(&mut self, made: iommufd::Result<T>) {
        if let Some(made) = noted(made) {
            self.put(made);
        }
    }

    /// Keeps what could not be let go of.
    pub(super) fn back<E>(&mut self, done: Result<(), Refused<T, E>>)
    where
        E: Into<Error>,
    {
        if let Err(refused) = done {
            let (value, error) = refused.into_parts();
            explained(&error.into());
            self.0.push(value);
        }
    }
}

/// What was answered. A refusal says why.
pub(super) fn noted<T>(answer: iommufd::Result<T>) -> Option<T> {
    answer.inspect_err(explained).ok()
}

pub(super) fn explained(error: &Error) {
    let text = error.to_string();
    assert!(!text.contains("not a documented"), "{text}");
}
