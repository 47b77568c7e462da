//! What is refused about a feature, before the kernel is asked or by its plain answer.

use iommufd::IovaRange;

use super::Feature;
use crate::migration::{MigrationFlags, MigrationState};

/// Why a feature of a device cannot be used so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The device, or the kernel, does not have it.
    #[error("the device has no {feature}, or the kernel does not know of it")]
    #[non_exhaustive]
    NotThere {
        /// The feature.
        feature: Feature,
    },

    /// There is a guard of it already: one at a time.
    #[error("there is a {0} of the device already")]
    Taken(Guarded),

    /// The device has no such migration state.
    #[error("the device has no migration state {state}: it can {}", abilities(*.flags))]
    #[non_exhaustive]
    NoSuchState {
        /// The state.
        state: MigrationState,
        /// What its migration can do.
        flags: MigrationFlags,
    },

    /// The device's migration has left the state Running: it is reset by way of
    /// [`Migration::reset`](crate::migration::Migration::reset), and its [`Migration`] knows of it.
    ///
    /// [`Migration`]: crate::migration::Migration
    #[error("the device is being migrated; reset it by Migration::reset")]
    Migrating,

    /// The device was being given the state of another, and the stream of that is lost: it has to be
    /// reset, by [`Migration::reset`](crate::migration::Migration::reset).
    #[error("the stream of data that the device was given is lost; reset it by Migration::reset")]
    DataAbandoned,

    /// The device is being reset: that would change its migration state at the same time.
    #[error("the device is being reset; try again when that is over")]
    BeingReset,

    /// No ranges to record the writes of.
    #[error("DMA logging needs at least one range")]
    NoRanges,

    /// More ranges to record the writes of than the kernel takes for certain.
    #[error("{ranges} ranges for DMA logging, of which the kernel takes {most}")]
    #[non_exhaustive]
    TooManyRanges {
        /// How many there are.
        ranges: usize,
        /// How many there can be.
        most: usize,
    },

    /// Two ranges to record the writes of overlap.
    #[error("the ranges {0} and {1} for DMA logging overlap")]
    RangesOverlap(IovaRange, IovaRange),

    /// The size of a page to record by is no size that the kernel can report.
    #[error("DMA logging by pages of {bytes} bytes: the kernel's smallest are of 4096")]
    #[non_exhaustive]
    PageTooSmall {
        /// The size.
        bytes: u64,
    },

    /// A range to record the writes of does not consist of pages, or has the last address there is.
    #[error(
        "the range {range} for DMA logging does not consist of pages of {page} bytes before the last there is"
    )]
    #[non_exhaustive]
    RangeNotOfPages {
        /// The range.
        range: IovaRange,
        /// The size of a page.
        page: u64,
    },

    /// A bitmap has a part of a page that is recorded: reading would take the rest's dirty bit, too.
    #[error("a bitmap of {bitmap} ends within a page of {page} bytes that the device records")]
    #[non_exhaustive]
    BitmapNotOfPages {
        /// What the bitmap covers.
        bitmap: IovaRange,
        /// The size of a page.
        page: u64,
    },
}

/// What there is one guard of at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarded {
    /// [`Migration`](crate::migration::Migration).
    Migration,
    /// [`LowPower`](crate::LowPower).
    LowPower,
    /// [`DmaLogging`](crate::DmaLogging).
    DmaLogging,
}

impl std::fmt::Display for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Migration => "Migration",
            Self::LowPower => "LowPower",
            Self::DmaLogging => "DmaLogging",
        })
    }
}

fn abilities(flags: MigrationFlags) -> String {
    let mut names = Vec::new();
    for (flag, name) in [
        (MigrationFlags::STOP_COPY, "be copied when it is stopped"),
        (MigrationFlags::P2P, "keep from peer-to-peer DMA"),
        (MigrationFlags::PRE_COPY, "be copied before that"),
    ] {
        if flags.contains(flag) {
            names.push(name);
        }
    }
    match names.is_empty() {
        true => "nothing of the kind".to_owned(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let error = FeatureError::NoSuchState {
            state: MigrationState::PreCopy,
            flags: MigrationFlags::STOP_COPY | MigrationFlags::P2P,
        };
        assert_eq!(
            error.to_string(),
            "the device has no migration state PRE_COPY: it can be copied when it is stopped, \
             keep from peer-to-peer DMA"
        );
    }
}
