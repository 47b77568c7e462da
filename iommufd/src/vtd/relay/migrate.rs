//! A relay comes to rest, and goes on elsewhere.

use std::collections::BTreeMap;

use super::configuration::Configuration;
use super::context::DeviceContext;
use super::devices::{Plugged, SpaceName};
use super::registers::Registers;
use super::state::Saved;
use super::{Flushed, GuestMemory, Host, NotFlushed, Relay, State};
use crate::relay::PortNumber;

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
    /// The guest was offered another unit.
    #[error("the state is of a unit that has other capabilities")]
    OtherFeatures,
}

impl<H: Host> Relay<H> {
    /// Brings the relay to rest: what was taken is carried out to its end, and the page requests that
    /// wait for the guest are handed out. The guest's processors and the devices are stopped by then,
    /// so nothing comes after.
    ///
    /// Page requests do not migrate. The guest will answer those that it was told of on the other
    /// machine, and is ignored, as a unit ignores a group that it does not know.
    ///
    /// # Errors
    /// [`NotFlushed`], and the relay goes on.
    pub fn quiesce(
        &mut self,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<Quiesced<'_, H>, NotFlushed> {
        self.finish_searches(memory);
        let flushed = self.flush()?;
        let mut requests = Vec::new();
        for plugged in self.devices.values_mut() {
            let waiting = std::mem::take(&mut plugged.requests).into_values();
            requests.extend(waiting.map(|waiting| waiting.into_requests()));
        }
        Ok(Quiesced {
            relay: self,
            flushed,
            requests,
        })
    }

    /// Goes on where another relay has come to rest. This one is new, or was
    /// [`reset`](Self::reset): since then the guest has written no register and no descriptor.
    /// Devices may have been plugged, and others may be plugged after.
    ///
    /// A device whose entries were read is put where it was by what was saved, not by what the
    /// guest's tables say now. What the host refuses is left blocked, with a
    /// [`Report`](super::Report).
    ///
    /// # Errors
    /// [`ImportError`]: nothing has changed.
    pub fn import(
        &mut self,
        state: &State,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<(), ImportError> {
        let is_new = self.registers == Registers::default();
        if self.used || !is_new || !self.remembered.is_empty() {
            return Err(ImportError::NotFresh);
        }
        if state.offered != self.features {
            return Err(ImportError::OtherFeatures);
        }
        self.registers = state.registers;
        self.remembered = state.devices.clone();
        self.configure_all(memory);
        Ok(())
    }

    /// What was saved of a device is what is known of it.
    pub(super) fn restore(&mut self, number: PortNumber, saved: Saved) {
        if let Some(plugged) = self.devices.get_mut(&number) {
            plugged.context = saved.context;
            plugged.search = None;
        }
        self.configure(SpaceName::untagged(number), saved.untagged);
        for (pasid, configuration) in saved.tagged {
            self.configure(SpaceName::tagged(number, pasid), configuration);
        }
        if let Some(plugged) = self.devices.get_mut(&number) {
            // The guest may have been told already.
            plugged.fault = saved.fault;
        }
    }

    fn state(&self) -> State {
        let remembered = self.remembered.iter();
        let remembered = remembered.map(|(source, saved)| (*source, saved.clone()));
        let plugged = self
            .devices
            .values()
            .filter_map(|plugged| Some((plugged.source?, plugged.saved()?)));
        State {
            offered: self.features,
            registers: self.registers,
            devices: remembered.chain(plugged).collect(),
        }
    }
}

impl<H: Host> Plugged<H> {
    /// What is to be saved of it, if anything was read.
    fn saved(&self) -> Option<Saved> {
        if self.untagged.configuration == Configuration::Unread
            && self.context == DeviceContext::None
        {
            return None;
        }
        let valid = self.tagged.iter().filter_map(|(pasid, space)| {
            let configuration = space.configuration;
            matches!(configuration, Configuration::Entry { .. }).then_some((*pasid, configuration))
        });
        Some(Saved {
            context: self.context,
            untagged: self.untagged.configuration,
            tagged: BTreeMap::from_iter(valid),
            fault: self.fault,
        })
    }
}

impl<H: Host> Quiesced<'_, H> {
    /// Completes every wait that was taken before.
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
