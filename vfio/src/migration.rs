//! Migration: taking the state of a device out of it, and putting it into another.
//!
//! A device that can be migrated is in one of eight states. A [`Migration`] has the state in its
//! type: what a state cannot do, and what no way leads to, does not compile.
//!
//! | state | the device | its data |
//! |---|---|---|
//! | [`Running`] | runs | |
//! | [`RunningP2p`] | runs, and does no peer-to-peer DMA | |
//! | [`Stop`] | stands still | |
//! | [`StopCopy`] | stands still | are read, to their end |
//! | [`PreCopy`] | runs | are read, as far as there are any yet |
//! | [`PreCopyP2p`] | runs, and does no peer-to-peer DMA | as in `PreCopy` |
//! | [`Resuming`] | stands still | are written |
//! | [`Failed`] | has failed, and has to be reset | |
//!
//! From any of the first seven to any other of them there is a way, by
//! [`enter`](Migration::enter), but for that from `StopCopy` to `PreCopy` and `PreCopyP2p`. The
//! kernel goes through the states between by itself. `PreCopy` and the states without peer-to-peer
//! DMA are optional: [`Migration::flags`].
//!
//! ```no_run
//! # fn example(device: &vfio::Device, out: &mut Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::Read;
//! use vfio::migration::{Migration, Running, Stop, StopCopy};
//!
//! let running: Migration<Running> = device.migration()?.try_into()?;
//! let mut saving = running.enter::<StopCopy>()?;
//! saving.read_to_end(out)?;
//! let stopped = saving.enter::<Stop>()?;
//! # drop(stopped);
//! # Ok(())
//! # }
//! ```
//!
//! And on the other side:
//!
//! ```no_run
//! # fn example(device: &vfio::Device, data: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::Write;
//! use vfio::migration::{Migration, Resuming, Running};
//!
//! let running: Migration<Running> = device.migration()?.try_into()?;
//! let mut loading = running.enter::<Resuming>()?;
//! loading.write_all(data)?;
//! // The kernel takes the data for good, or refuses them, when the state is left.
//! let running = loading.enter::<Running>()?;
//! # drop(running);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::os::fd::OwnedFd;

use bitflags::bitflags;
use iommufd_sys::vfio as sys;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::Result;
use crate::feature::{Feature, FeatureError, Guarded, refusal};
use crate::holders::{Hold, Kind};
use crate::ioctl::feature as funnel;
use crate::query::malformed;

mod any;
mod arc;
mod data;
mod pre_copy;
mod state;

pub use any::{AnyMigration, TransitionFailed};
pub use arc::To;
pub use pre_copy::{PreCopied, PreCopyInfo};
pub use state::{
    Failed, MigrationState, PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, State, Stop,
    StopCopy, Streaming, Unsettled,
};

use state::Kept;
use state::sealed::Sealed as _;

bitflags! {
    /// Which states a device has besides [`Running`] and [`Failed`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct MigrationFlags: u64 {
        /// [`Stop`], [`StopCopy`] and [`Resuming`].
        const STOP_COPY = sys::VFIO_MIGRATION_STOP_COPY as u64;
        /// [`RunningP2p`]; with `PRE_COPY`, [`PreCopyP2p`].
        const P2P = sys::VFIO_MIGRATION_P2P as u64;
        /// [`PreCopy`]; with `P2P`, [`PreCopyP2p`].
        const PRE_COPY = sys::VFIO_MIGRATION_PRE_COPY as u64;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// The migration of a device that is in the state `S`.
///
/// There is one of a device at a time. It holds the device open. While the state is another than
/// [`Running`], [`OpenDevice::reset`] is refused ([`FeatureError::Migrating`]), as it would change the
/// state: reset by [`reset`](Self::reset) instead. A reset by other means (by writing to configuration
/// space, of the bus, by another process that has the same file) is not seen: the next `enter` begins
/// at `Running` then, and a stream ends with an error: that of the read, or that of the `enter` by which
/// it was to go on, after which the migration has another.
///
/// Dropping it leaves the device in the state in which it is, and closes the data stream, if there is
/// one; [`OpenDevice::migration`] finds it there. When the device is closed, its driver closes the stream as
/// well; most drivers make it `Running` again.
///
/// # System calls
/// `VFIO_DEVICE_FEATURE`; `VFIO_DEVICE_RESET` by [`reset`](Self::reset); `read`, `write`, `fcntl` and
/// `VFIO_MIG_GET_PRECOPY_INFO` on the data's file.
///
/// Since Linux 5.18.
///
/// # Invariants
/// `ticket` is the device's only one; unless `S` is [`Running`], it is away.
#[must_use = "the device stays in its migration state when this is dropped"]
pub struct Migration<S: State> {
    ticket: Ticket,
    state: S,
}

/// What there is of the migration in every state.
struct Ticket {
    hold: Hold,
    flags: MigrationFlags,
    /// The kernel was told that the flags of `vfio_precopy_info` are read.
    new_initial_data: bool,
}

impl Ticket {
    fn bound(&self) -> &Bound {
        self.hold.bound()
    }

    /// The state, as the kernel has it.
    fn ask(&self) -> Result<u32> {
        let mut arg = sys::vfio_device_feature_mig_state {
            device_state: 0,
            data_fd: -1,
        };
        self.bound().get_feature(&mut arg)?;
        Ok(arg.device_state)
    }

    /// Has the device enter `state`; with the file of the data, if a stream begins there.
    fn set(&self, state: MigrationState) -> Result<Option<OwnedFd>> {
        let bound = self.bound();
        funnel::set_migration_state(bound.fd()?, bound.audience(), state.number())
            .map_err(|errno| refusal(Feature::MigrationState, errno))
    }

    /// The migration in the state in which the device is, which has been another until now.
    /// `kept` is the stream that it had.
    fn found(self, kept: Kept) -> AnyMigration {
        let reported = self.ask().ok();
        AnyMigration::settled(self, reported, kept)
    }

    /// Enters the state `S`, which the device has.
    fn is<S: State>(self, state: S) -> Migration<S> {
        if S::STATE == Some(MigrationState::Running) {
            self.bound().resets.back();
        }
        Migration {
            ticket: self,
            state,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let bound = self.bound();
        bound.resets.back();
        bound.claims.release(Guarded::Migration);
    }
}

impl<S: State> Migration<S> {
    /// Which optional states the device has.
    #[must_use]
    pub fn flags(&self) -> MigrationFlags {
        self.ticket.flags
    }

    /// How many bytes of data there will be in [`StopCopy`], estimated by the device.
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`]: the kernel is older. `EIO` and others: the device does not answer;
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIG_DATA_SIZE")]
    pub fn data_size(&self) -> Result<u64> {
        let mut arg = sys::vfio_device_feature_mig_data_size {
            stop_copy_length: 0,
        };
        self.ticket.bound().get_feature(&mut arg)?;
        Ok(arg.stop_copy_length)
    }

    /// Has the device go to the state `T`: `migration.enter::<StopCopy>()`.
    ///
    /// The kernel has the device go through the states between. It takes as long as the device
    /// takes, which can be seconds. A data stream that `T` has no part in is closed.
    ///
    /// # Errors
    /// The migration in whatever state the device is now: as it was, with its stream, or somewhere on
    /// the way, or [`Failed`]. [`FeatureError::NoSuchState`], [`FeatureError::BeingReset`] and
    /// [`FeatureError::DataAbandoned`], before the kernel is asked. `EINVAL`: from [`Resuming`]: the data are incomplete, or of a device that
    /// is not alike. `EMFILE`: the device is in `T`, whose data nobody can get at: see [`Unsettled`].
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE")]
    pub fn enter<T: State>(self) -> Result<Migration<T>, TransitionFailed>
    where
        S: To<T>,
        Self: Into<AnyMigration>,
    {
        match self.allowed::<T>() {
            Ok(to) => self.go(to),
            Err(error) => Err(TransitionFailed::new(error, self)),
        }
    }

    /// The state `T`, if the device can be asked for it now.
    fn allowed<T: State>(&self) -> Result<MigrationState> {
        // Every state that a way leads to has a number.
        let to = T::STATE.ok_or(malformed("the state to enter", "none of the kernel's"))?;
        let flags = self.flags();
        if !flags.contains(to.needs()) {
            return Err(FeatureError::NoSuchState { state: to, flags }.into());
        }
        if let Some(error) = self.state.refusal() {
            return Err(error.into());
        }
        let bound = self.ticket.bound();
        bound.watch().check_process()?;
        bound.resets.away()?;
        Ok(to)
    }

    fn go<T: State>(self, to: MigrationState) -> Result<Migration<T>, TransitionFailed> {
        let Self { ticket, state } = self;
        let kept = state.into_stream();
        let begun = match ticket.set(to) {
            Ok(begun) => begun,
            Err(error) => return Err(TransitionFailed::new(error, ticket.found(kept))),
        };
        // Between states that share a stream it goes on, and none begins.
        let stream = match (kept.of(T::SESSION), begun) {
            // Together with what was read of the old one it would make no sense.
            (Some(_), Some(begun)) => {
                let error = malformed(
                    Feature::MigrationState.name(),
                    "another stream in the place of one that goes on: the device was reset meanwhile",
                );
                let kept = Kept::new(T::SESSION, begun);
                let found = AnyMigration::settled(ticket, Some(to.number()), kept);
                return Err(TransitionFailed::new(error, found));
            }
            (kept, begun) => kept.or(begun),
        };
        match T::with(stream) {
            Some(state) => Ok(ticket.is(state)),
            None => {
                let error = malformed(Feature::MigrationState.name(), "no file with the data");
                let found = AnyMigration::settled(ticket, Some(to.number()), Kept::NOTHING);
                Err(TransitionFailed::new(error, found))
            }
        }
    }

    /// Resets the device, as [`OpenDevice::reset`] does: it is [`Running`] then, whatever it was.
    ///
    /// A data stream is closed. It is the only way out of [`Failed`], and the one to give up
    /// [`Resuming`].
    ///
    /// # Errors
    /// As for [`OpenDevice::reset`], with the migration in whatever state the device is.
    #[doc(alias = "VFIO_DEVICE_RESET")]
    pub fn reset(self) -> Result<Migration<Running>, TransitionFailed> {
        let Self { ticket, state } = self;
        let kept = state.into_stream();
        let reset = ticket.hold.shared().reset();
        match (ticket.found(kept), reset) {
            (AnyMigration::Running(running), Ok(())) => Ok(running),
            (found, Err(error)) => Err(TransitionFailed::new(error, found)),
            (found, Ok(())) => {
                let error = malformed("the migration state", "not Running after a reset");
                Err(TransitionFailed::new(error, found))
            }
        }
    }
}

impl Migration<Unsettled> {
    /// The number of the state in which the device was said to be; `None` if the kernel did not even
    /// say that.
    #[must_use]
    pub fn reported(&self) -> Option<u32> {
        self.state.reported
    }

    /// Asks the kernel once more in which state the device is.
    pub fn ask(self) -> AnyMigration {
        let Self { ticket, state } = self;
        ticket.found(state.into_stream())
    }
}

impl<S: State> fmt::Debug for Migration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Migration");
        match S::STATE {
            Some(state) => debug.field("state", &state),
            None => debug.field("state", &"unsettled"),
        };
        debug.field("flags", &self.flags()).finish_non_exhaustive()
    }
}

/// Migration.
impl OpenDevice {
    /// Takes the migration of the device in hand, in whichever state it is: [`Running`], unless
    /// somebody has dropped a [`Migration`] in another state.
    ///
    /// Since Linux 5.18.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`]: the device, or its driver, cannot be migrated.
    /// [`FeatureError::Taken`]: there is a [`Migration`] of it. [`FeatureError::BeingReset`].
    /// `ENODEV`: the device is going away; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIGRATION")]
    pub fn migration(&self) -> Result<AnyMigration> {
        let hold = Hold::new(self.bound(), Kind::Feature);
        let mut arg = sys::vfio_device_feature_migration { flags: 0 };
        hold.bound().get_feature(&mut arg)?;
        hold.bound().claims.take(Guarded::Migration)?;
        let ticket = Ticket {
            hold,
            flags: MigrationFlags::from_bits_retain(arg.flags),
            new_initial_data: false,
        };
        ticket.bound().resets.away()?;
        let reported = ticket.ask()?;
        Ok(AnyMigration::settled(ticket, Some(reported), Kept::NOTHING))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
