//! The states, as numbers of the kernel's and as types.

use std::fmt;
use std::os::fd::OwnedFd;

use iommufd_sys::vfio as sys;

use super::MigrationFlags;
use crate::feature::FeatureError;

/// A migration state, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MigrationState {
    /// [`Failed`].
    #[doc(alias = "VFIO_DEVICE_STATE_ERROR")]
    Failed,
    /// [`Stop`].
    #[doc(alias = "VFIO_DEVICE_STATE_STOP")]
    Stop,
    /// [`Running`].
    #[doc(alias = "VFIO_DEVICE_STATE_RUNNING")]
    Running,
    /// [`StopCopy`].
    #[doc(alias = "VFIO_DEVICE_STATE_STOP_COPY")]
    StopCopy,
    /// [`Resuming`].
    #[doc(alias = "VFIO_DEVICE_STATE_RESUMING")]
    Resuming,
    /// [`RunningP2p`].
    #[doc(alias = "VFIO_DEVICE_STATE_RUNNING_P2P")]
    RunningP2p,
    /// [`PreCopy`].
    #[doc(alias = "VFIO_DEVICE_STATE_PRE_COPY")]
    PreCopy,
    /// [`PreCopyP2p`].
    #[doc(alias = "VFIO_DEVICE_STATE_PRE_COPY_P2P")]
    PreCopyP2p,
}

impl MigrationState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::Stop,
        Self::Running,
        Self::StopCopy,
        Self::Resuming,
        Self::RunningP2p,
        Self::PreCopy,
        Self::PreCopyP2p,
    ];

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Failed => sys::VFIO_DEVICE_STATE_ERROR,
            Self::Stop => sys::VFIO_DEVICE_STATE_STOP,
            Self::Running => sys::VFIO_DEVICE_STATE_RUNNING,
            Self::StopCopy => sys::VFIO_DEVICE_STATE_STOP_COPY,
            Self::Resuming => sys::VFIO_DEVICE_STATE_RESUMING,
            Self::RunningP2p => sys::VFIO_DEVICE_STATE_RUNNING_P2P,
            Self::PreCopy => sys::VFIO_DEVICE_STATE_PRE_COPY,
            Self::PreCopyP2p => sys::VFIO_DEVICE_STATE_PRE_COPY_P2P,
        }
    }

    /// The state with this number; `None` for one of a newer kernel.
    pub(super) fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// What the device's migration has to be able to.
    pub(super) fn needs(self) -> MigrationFlags {
        match self {
            Self::Failed | Self::Running => MigrationFlags::empty(),
            Self::Stop | Self::StopCopy | Self::Resuming => MigrationFlags::STOP_COPY,
            Self::RunningP2p => MigrationFlags::STOP_COPY | MigrationFlags::P2P,
            Self::PreCopy => MigrationFlags::STOP_COPY | MigrationFlags::PRE_COPY,
            Self::PreCopyP2p => {
                MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY
            }
        }
    }
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "ERROR",
            Self::Stop => "STOP",
            Self::Running => "RUNNING",
            Self::StopCopy => "STOP_COPY",
            Self::Resuming => "RESUMING",
            Self::RunningP2p => "RUNNING_P2P",
            Self::PreCopy => "PRE_COPY",
            Self::PreCopyP2p => "PRE_COPY_P2P",
        })
    }
}

/// Which data stream a state has a part in.
#[expect(
    unnameable_types,
    reason = "for this crate alone, which has sealed the states"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// None.
    None,
    /// The device gives its data.
    Saving,
    /// The device takes data.
    Loading,
}

/// The stream of a state that is left, if it had one.
#[expect(
    unnameable_types,
    reason = "for this crate alone, which has sealed the states"
)]
#[derive(Debug)]
pub struct Kept(Option<(Session, OwnedFd)>);

impl Kept {
    /// No stream.
    pub(super) const NOTHING: Self = Self(None);

    pub(super) fn new(session: Session, file: OwnedFd) -> Self {
        Self(Some((session, file)))
    }

    /// The stream, if it is that of `session`; else it is closed.
    pub(super) fn of(self, session: Session) -> Option<OwnedFd> {
        self.0
            .and_then(|(kept, file)| (kept == session).then_some(file))
    }
}

/// What only this crate can be asked of a state.
pub(super) mod sealed {
    use super::{FeatureError, Kept, MigrationState, Session};
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// A state.
    #[expect(
        unnameable_types,
        reason = "for this crate alone, which has sealed the states"
    )]
    pub trait Sealed: Sized {
        /// What it is to the kernel, if that is known.
        const STATE: Option<MigrationState>;
        /// Which stream it has a part in.
        const SESSION: Session;

        /// The state, with its stream if it takes one; `None` if it has none.
        fn with(stream: Option<OwnedFd>) -> Option<Self>;

        /// The stream.
        fn into_stream(self) -> Kept;

        /// Why it can be left by a reset only, if it can.
        fn refusal(&self) -> Option<FeatureError> {
            None
        }
    }

    /// A state with a stream.
    #[expect(
        unnameable_types,
        reason = "for this crate alone, which has sealed the states"
    )]
    pub trait HasStream {
        /// The file of the data.
        fn file(&self) -> BorrowedFd<'_>;
    }
}

/// A migration state, as a type: [`Running`], [`RunningP2p`], [`Stop`], [`StopCopy`], [`Resuming`],
/// [`PreCopy`], [`PreCopyP2p`], [`Failed`] and [`Unsettled`].
pub trait State: sealed::Sealed + fmt::Debug + Send + Sync + 'static {}

/// A state in which data are read or written: [`StopCopy`], [`PreCopy`], [`PreCopyP2p`] and
/// [`Resuming`].
pub trait Streaming: State + sealed::HasStream {}

macro_rules! states {
    ($($(#[$doc:meta])+ $name:ident = $session:ident $({ $stream:ident })?;)+) => {
        $(
            $(#[$doc])+
            #[derive(Debug)]
            pub struct $name {
                $($stream: OwnedFd,)?
            }

            impl State for $name {}

            impl sealed::Sealed for $name {
                const STATE: Option<MigrationState> = Some(MigrationState::$name);
                const SESSION: Session = Session::$session;

                states!(@methods $name $session $($stream)?);
            }

            $(
                impl Streaming for $name {}

                impl sealed::HasStream for $name {
                    fn file(&self) -> std::os::fd::BorrowedFd<'_> {
                        std::os::fd::AsFd::as_fd(&self.$stream)
                    }
                }
            )?
        )+
    };
    (@methods $name:ident $session:ident $stream:ident) => {
        fn with(stream: Option<OwnedFd>) -> Option<Self> {
            Some(Self { $stream: stream? })
        }

        fn into_stream(self) -> Kept {
            Kept::new(Session::$session, self.$stream)
        }
    };
    (@methods $name:ident $session:ident) => {
        fn with(_: Option<OwnedFd>) -> Option<Self> {
            Some(Self {})
        }

        fn into_stream(self) -> Kept {
            Kept::NOTHING
        }
    };
}

states! {
    /// The device runs as any other.
    #[doc(alias = "VFIO_DEVICE_STATE_RUNNING")]
    Running = None;
    /// The device runs, but does no peer-to-peer DMA, or no DMA at all: a step between [`Running`] and
    /// [`Stop`] that all devices of a guest take together. It must not be touched, as in `Stop`.
    #[doc(alias = "VFIO_DEVICE_STATE_RUNNING_P2P")]
    RunningP2p = None;
    /// The device stands still: it does no DMA, raises no interrupts, and does not change. It must
    /// not be touched but for its configuration space and the setup of its interrupts.
    #[doc(alias = "VFIO_DEVICE_STATE_STOP")]
    Stop = None;
    /// The device stands still, and its state is read to its end. Its registers must not be touched:
    /// what is read would make no sense.
    #[doc(alias = "VFIO_DEVICE_STATE_STOP_COPY")]
    StopCopy = Saving { stream };
    /// The device stands still, and takes the state of another. Leaving makes it use that; to give up,
    /// it has to be [reset](super::Migration::reset).
    #[doc(alias = "VFIO_DEVICE_STATE_RESUMING")]
    Resuming = Loading { stream };
    /// The device runs, and as much of its state is read as does not change.
    #[doc(alias = "VFIO_DEVICE_STATE_PRE_COPY")]
    PreCopy = Saving { stream };
    /// [`PreCopy`] and [`RunningP2p`] in one.
    #[doc(alias = "VFIO_DEVICE_STATE_PRE_COPY_P2P")]
    PreCopyP2p = Saving { stream };
    /// The device has failed, and could be brought back to no state: it has to be
    /// [reset](super::Migration::reset).
    #[doc(alias = "VFIO_DEVICE_STATE_ERROR")]
    Failed = None;
}

/// The device is in a state that cannot be told by a type: one whose data stream nobody has, one of a
/// newer kernel's, or one that the kernel did not say.
///
/// The stream is lost when a [`Migration`](super::Migration) is dropped in such a state, or when there
/// were too many open files to hand it out. [`Stop`] and [`Running`] can be tried, unless the device was
/// [`Resuming`] ([`FeatureError::DataAbandoned`]: leaving would make it use what it has got so far); a
/// [reset](super::Migration::reset) leads out always.
#[derive(Debug)]
pub struct Unsettled {
    pub(super) reported: Option<u32>,
    pub(super) kept: Kept,
}

impl State for Unsettled {}

impl sealed::Sealed for Unsettled {
    const STATE: Option<MigrationState> = None;
    const SESSION: Session = Session::None;

    fn with(_: Option<OwnedFd>) -> Option<Self> {
        Some(Self {
            reported: None,
            kept: Kept::NOTHING,
        })
    }

    fn into_stream(self) -> Kept {
        self.kept
    }

    fn refusal(&self) -> Option<FeatureError> {
        let resuming = self.reported == Some(MigrationState::Resuming.number());
        resuming.then_some(FeatureError::DataAbandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        let numbers = MigrationState::ALL.map(MigrationState::number);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
        for number in 0..8 {
            let state = MigrationState::of(number).unwrap();
            assert_eq!(state.number(), number);
        }
    }

    #[test]
    fn no_other_number_is_a_state() {
        // Every power of two and its neighbours, and what a bit pattern of flags could give.
        for bit in 0..32 {
            for number in [1_u32 << bit, (1 << bit) - 1, !(1 << bit), (1 << bit) | 7] {
                assert_eq!(
                    MigrationState::of(number).is_some(),
                    number < 8,
                    "{number:#x}"
                );
            }
        }
    }

    #[test]
    fn a_stream_goes_on_only_in_its_own_session() {
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for (kept, to, goes_on) in [
            (Session::Saving, Session::Saving, true),
            (Session::Saving, Session::Loading, false),
            (Session::Loading, Session::Saving, false),
            (Session::Saving, Session::None, false),
        ] {
            assert_eq!(Kept::new(kept, file()).of(to).is_some(), goes_on);
        }
        assert!(Kept::NOTHING.of(Session::Saving).is_none());
    }
}
