//! A relay comes to rest, and goes on elsewhere.

use super::configuration::Configuration;
use super::state::Saved;
use super::{BadState, Flushed, GuestMemory, Host, NotFlushed, Relay, State};

/// A relay at rest: all that was taken is done, and no page request waits for the guest.
///
/// The relay goes on when this is dropped, as after a migration that failed.
#[must_use = "the relay is at rest as long as this is there"]
#[derive(Debug)]
pub struct Quiesced<'r, H: Host> {
    relay: &'r Relay<H>,
    flushed: Flushed,
    requests: Vec<H::Requests>,
}

/// Why a state cannot be imported. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The guest has used the relay already.
    #[error("a state can only be imported into a relay that is new, or was reset")]
    NotFresh,
    /// The guest was offered another SMMU.
    #[error("the state is of an SMMU that has other identification registers")]
    OtherFeatures,
    /// What is saved is not possible with these features.
    #[error(transparent)]
    Impossible(#[from] BadState),
}

impl<H: Host> Relay<H> {
    /// Brings the relay to rest: what was taken is carried out, and the page requests that wait for
    /// the guest are handed out. The guest's processors and the devices are stopped by then, so
    /// nothing comes after.
    ///
    /// Page requests do not migrate. The guest will answer those that it was told of on the other
    /// machine, and is ignored, as an SMMU ignores a tag that it does not know.
    ///
    /// # Errors
    /// [`NotFlushed`], and the relay goes on.
    pub fn quiesce(&mut self) -> Result<Quiesced<'_, H>, NotFlushed> {
        let flushed = self.flush()?;
        let mut requests = Vec::new();
        for plugged in self.devices.values_mut() {
            requests.extend(std::mem::take(&mut plugged.requests).into_values());
        }
        Ok(Quiesced {
            relay: self,
            flushed,
            requests,
        })
    }

    /// Goes on where another relay has come to rest. This one is new, or was
    /// [`reset`](Self::reset): since then the guest has written no register and no command. Devices
    /// may have been plugged, and others may be plugged after.
    ///
    /// A device whose stream was configured is put where it was by what was saved, not by what the
    /// guest's table says now. What the host refuses leaves the stream blocked, with a
    /// [`Report`](super::Report).
    ///
    /// # Errors
    /// [`ImportError`]: nothing has changed.
    pub fn import(
        &mut self,
        state: &State,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<(), ImportError> {
        if self.is_used() {
            return Err(ImportError::NotFresh);
        }
        if state.offered != *self.features.registers() {
            return Err(ImportError::OtherFeatures);
        }
        if let Some(stream) = state.impossible(&self.features) {
            return Err(BadState::Stream(stream).into());
        }
        self.registers = state.registers;
        self.remembered = state.streams.clone();
        self.configure_all(memory);
        Ok(())
    }

    /// Whether the guest has done anything yet that this relay knows of.
    fn is_used(&self) -> bool {
        let at_reset = super::registers::Registers {
            gbpa: self.registers.gbpa,
            ..Default::default()
        };
        self.used || self.registers != at_reset || !self.remembered.is_empty()
    }

    fn state(&self) -> State {
        let remembered = self.remembered.iter();
        let remembered = remembered.map(|(stream, saved)| (*stream, *saved));
        let plugged = self.devices.values().filter_map(|plugged| {
            let saved = Saved {
                configuration: plugged.configuration,
                event: plugged.event,
            };
            (plugged.configuration != Configuration::Unread).then_some((plugged.stream?, saved))
        });
        State {
            offered: *self.features.registers(),
            registers: self.registers,
            streams: remembered.chain(plugged).collect(),
        }
    }
}

impl<H: Host> Quiesced<'_, H> {
    /// Completes every `CMD_SYNC` that was taken before.
    pub fn flushed(&self) -> &Flushed {
        &self.flushed
    }

    /// The page requests that have waited for the guest, to be answered by the VMM. Those that are
    /// not taken, or dropped, are answered INVALID.
    pub fn take_requests(&mut self) -> Vec<H::Requests> {
        std::mem::take(&mut self.requests)
    }

    /// What the relay knows of the guest.
    #[must_use]
    pub fn export(&self) -> State {
        self.relay.state()
    }
}
