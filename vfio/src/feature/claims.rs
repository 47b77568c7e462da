//! Which guards of features a device has, and what it is in the middle of. Bits, not locks: none is
//! held across an ioctl, and a child of a fork can ask.

use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{FeatureError, Guarded};

/// Which guards there are.
#[derive(Debug, Default)]
pub(crate) struct Claims(AtomicU32);

impl Claims {
    fn bit(guarded: Guarded) -> u32 {
        match guarded {
            Guarded::Migration => 1 << 0,
            Guarded::LowPower => 1 << 1,
            Guarded::DmaLogging => 1 << 2,
        }
    }

    pub(crate) fn take(&self, guarded: Guarded) -> Result<(), FeatureError> {
        let bit = Self::bit(guarded);
        match self.0.fetch_or(bit, Ordering::AcqRel) & bit {
            0 => Ok(()),
            _ => Err(FeatureError::Taken(guarded)),
        }
    }

    pub(crate) fn release(&self, guarded: Guarded) {
        self.0.fetch_and(!Self::bit(guarded), Ordering::AcqRel);
    }
}

/// Keeps resets and changes of the migration state apart: after a reset the state is Running, and
/// the type of a `Migration` would not know.
#[derive(Debug, Default)]
pub(crate) struct Resets(AtomicU32);

/// The migration state is another than Running, or changing.
const AWAY: u32 = 1;
/// One reset that is under way.
const RESET: u32 = 2;

impl Resets {
    /// The migration state leaves Running, or has done so.
    pub(crate) fn away(&self) -> Result<(), FeatureError> {
        self.change(|word| match word {
            word if word >= RESET => Err(FeatureError::BeingReset),
            word => Ok(word | AWAY),
        })
    }

    /// It is Running again, or nobody has it in a type any more.
    pub(crate) fn back(&self) {
        self.0.fetch_and(!AWAY, Ordering::AcqRel);
    }

    /// A reset begins, and ends when what is returned is dropped.
    pub(crate) fn begin(&self) -> Result<Resetting<'_>, FeatureError> {
        self.change(|word| match word & AWAY {
            0 => word.checked_add(RESET).ok_or(FeatureError::BeingReset),
            _ => Err(FeatureError::Migrating),
        })?;
        Ok(Resetting { resets: self })
    }

    fn change(
        &self,
        mut next: impl FnMut(u32) -> Result<u32, FeatureError>,
    ) -> Result<(), FeatureError> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let wanted = next(word)?;
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.0.compare_exchange_weak(word, wanted, success, failure) {
                Ok(_) => return Ok(()),
                Err(found) => word = found,
            }
        }
    }
}

/// A reset that is under way.
#[derive(Debug)]
#[must_use = "the reset is over when it is dropped"]
pub(crate) struct Resetting<'r> {
    resets: &'r Resets,
}

impl Drop for Resetting<'_> {
    fn drop(&mut self) {
        self.resets.0.fetch_sub(RESET, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_is_taken_once() {
        let claims = Claims::default();
        claims.take(Guarded::Migration).unwrap();
        claims.take(Guarded::LowPower).unwrap();
        let refused = claims.take(Guarded::Migration);
        assert_eq!(refused, Err(FeatureError::Taken(Guarded::Migration)));
        claims.release(Guarded::Migration);
        claims.take(Guarded::Migration).unwrap();
        assert!(claims.take(Guarded::LowPower).is_err());
    }

    #[test]
    fn resets_and_migration_exclude_one_another() {
        let resets = Resets::default();
        let (first, second) = (resets.begin().unwrap(), resets.begin().unwrap());
        assert_eq!(resets.away(), Err(FeatureError::BeingReset));
        drop(first);
        assert_eq!(resets.away(), Err(FeatureError::BeingReset));
        drop(second);
        resets.away().unwrap();
        resets.away().unwrap();
        assert_eq!(resets.begin().unwrap_err(), FeatureError::Migrating);
        resets.back();
        drop(resets.begin().unwrap());
    }
}
