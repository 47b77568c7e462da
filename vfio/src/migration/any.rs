//! A migration in whichever state the device is.

use std::fmt;

use super::state::{
    Failed, Kept, MigrationState, PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, State, Stop,
    StopCopy, Unsettled,
};
use super::{Migration, MigrationFlags, Ticket};
use crate::error::Error;

macro_rules! any {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// A [`Migration`] in whichever state the device is: to be matched, or stored by who finds it out
        /// at run time.
        ///
        /// To go on in a state that it has to be in, `try_into` it: the error is the migration as it
        /// is.
        #[derive(Debug)]
        #[non_exhaustive]
        #[must_use = "the device stays in its migration state when this is dropped"]
        pub enum AnyMigration {
            $($(#[$doc])+ $name(Migration<$name>),)+
        }

        impl AnyMigration {
            /// Which optional states the device has.
            #[must_use]
            pub fn flags(&self) -> MigrationFlags {
                match self {
                    $(Self::$name(migration) => migration.flags(),)+
                }
            }

            /// The state; `None` if it is [`Unsettled`].
            #[must_use]
            pub fn state(&self) -> Option<MigrationState> {
                match self {
                    $(Self::$name(_) => <$name as super::state::sealed::Sealed>::STATE,)+
                }
            }

            /// Resets the device: see [`Migration::reset`].
            ///
            /// # Errors
            /// As there.
            pub fn reset(self) -> Result<Migration<Running>, TransitionFailed> {
                match self {
                    $(Self::$name(migration) => migration.reset(),)+
                }
            }
        }

        $(
            impl From<Migration<$name>> for AnyMigration {
                fn from(migration: Migration<$name>) -> Self {
                    Self::$name(migration)
                }
            }

            impl TryFrom<AnyMigration> for Migration<$name> {
                type Error = AnyMigration;

                fn try_from(any: AnyMigration) -> Result<Self, AnyMigration> {
                    match any {
                        AnyMigration::$name(migration) => Ok(migration),
                        other => Err(other),
                    }
                }
            }
        )+
    };
}

any! {
    /// It runs.
    Running,
    /// It runs without peer-to-peer DMA.
    RunningP2p,
    /// It stands still.
    Stop,
    /// It stands still, and is read.
    StopCopy,
    /// It stands still, and is written.
    Resuming,
    /// It runs, and is read.
    PreCopy,
    /// It runs without peer-to-peer DMA, and is read.
    PreCopyP2p,
    /// It has failed.
    Failed,
    /// It cannot be told by a type.
    Unsettled,
}

impl AnyMigration {
    /// What `ticket` is of, in the state `reported`; `kept` is the stream that there was.
    pub(super) fn settled(ticket: Ticket, reported: Option<u32>, kept: Kept) -> Self {
        match reported.map(MigrationState::of) {
            Some(Some(MigrationState::Running)) => {
                Self::state_of::<Running>(ticket, reported, kept)
            }
            Some(Some(MigrationState::RunningP2p)) => {
                Self::state_of::<RunningP2p>(ticket, reported, kept)
            }
            Some(Some(MigrationState::Stop)) => Self::state_of::<Stop>(ticket, reported, kept),
            Some(Some(MigrationState::StopCopy)) => {
                Self::state_of::<StopCopy>(ticket, reported, kept)
            }
            Some(Some(MigrationState::Resuming)) => {
                Self::state_of::<Resuming>(ticket, reported, kept)
            }
            Some(Some(MigrationState::PreCopy)) => {
                Self::state_of::<PreCopy>(ticket, reported, kept)
            }
            Some(Some(MigrationState::PreCopyP2p)) => {
                Self::state_of::<PreCopyP2p>(ticket, reported, kept)
            }
            Some(Some(MigrationState::Failed)) => Self::state_of::<Failed>(ticket, reported, kept),
            // Nobody has said that the stream is at its end.
            None => Self::unsettled(ticket, reported, kept),
            Some(None) => Self::unsettled(ticket, reported, Kept::NOTHING),
        }
    }

    fn state_of<S: State>(ticket: Ticket, reported: Option<u32>, kept: Kept) -> Self
    where
        Migration<S>: Into<Self>,
    {
        match S::with(kept.of(S::SESSION)) {
            Some(state) => ticket.is(state).into(),
            None => Self::unsettled(ticket, reported, Kept::NOTHING),
        }
    }

    fn unsettled(ticket: Ticket, reported: Option<u32>, kept: Kept) -> Self {
        Self::Unsettled(ticket.is(Unsettled { reported, kept }))
    }
}

/// It is in another state than was asked for.
impl fmt::Display for AnyMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            Some(state) => write!(f, "the device is in the migration state {state}"),
            None => f.write_str("the device is in a migration state that cannot be told"),
        }
    }
}

/// So that `?` takes what `try_into` refuses with. The migration is dropped with it.
impl std::error::Error for AnyMigration {}

/// A device has not entered the state that it was to enter. Here it is, in the state in which it is.
pub struct TransitionFailed {
    error: Box<Error>,
    migration: Box<AnyMigration>,
}

impl TransitionFailed {
    pub(super) fn new(error: Error, migration: impl Into<AnyMigration>) -> Self {
        Self {
            error: Box::new(error),
            migration: Box::new(migration.into()),
        }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// In which state the device is; `None` if it is [`Unsettled`].
    #[must_use]
    pub fn state(&self) -> Option<MigrationState> {
        self.migration.state()
    }

    /// The migration, in the state in which the device is.
    pub fn into_migration(self) -> AnyMigration {
        *self.migration
    }

    /// The migration, and why.
    pub fn into_parts(self) -> (AnyMigration, Error) {
        (*self.migration, *self.error)
    }
}

impl fmt::Debug for TransitionFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitionFailed")
            .field("error", &self.error)
            .field("migration", &self.migration)
            .finish()
    }
}

impl fmt::Display for TransitionFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.error, self.migration)
    }
}

impl std::error::Error for TransitionFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// `?` in a function that returns [`Error`] drops the migration, as any early return would.
impl From<TransitionFailed> for Error {
    fn from(failed: TransitionFailed) -> Self {
        *failed.error
    }
}
