//! The devices behind the guest's unit.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use vtd_types::{FaultRecord, PageRequestGroup, Pasid, SourceId};

use super::configuration::Configuration;
use super::context::DeviceContext;
use super::requests::Waiting;
use super::tables::Search;
use super::{GuestMemory, Host, Place, Relay};
use crate::error::Refused;
use crate::relay::{Port, PortNumber};

/// Why a device cannot be plugged, numbered or unplugged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError<E> {
    /// The port is one of another relay.
    #[error("the port is one of another relay")]
    ForeignPort,
    /// Another device has the number.
    #[error("another device has number {0}")]
    SourceTaken(SourceId),
    /// The host refuses to have the device behind the unit.
    #[error("the device cannot come behind the unit")]
    Enter(#[source] E),
    /// The host refuses to let the device go. It is blocked, has no number, and is behind the relay.
    #[error("the device cannot leave the unit")]
    Leave(#[source] E),
    /// The device cannot be taken off the guest's tables. It may be where it was, and no wait of the
    /// guest's completes before it can.
    #[error("the device cannot be taken off the guest's tables")]
    NotBlocked,
}

/// One of a device's address spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpaceName {
    pub(super) port: PortNumber,
    /// Of requests with this PASID, which is not 0; `None`: of those without one.
    pub(super) pasid: Option<Pasid>,
}

impl SpaceName {
    pub(super) fn untagged(port: PortNumber) -> Self {
        Self { port, pasid: None }
    }

    pub(super) fn tagged(port: PortNumber, pasid: Pasid) -> Self {
        Self {
            port,
            pasid: Some(pasid),
        }
    }
}

/// What is known of an address space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) configuration: Configuration,
    /// Where it is. `None`: perhaps not where it must be, as the host did not even block it.
    pub(super) place: Option<Place>,
}

impl Space {
    pub(super) fn blocked(configuration: Configuration) -> Self {
        Self {
            configuration,
            place: Some(Place::Blocked),
        }
    }
}

/// A device that is plugged.
///
/// # Invariants
/// All address spaces with a PASID that is not in `tagged` are blocked.
pub(super) struct Plugged<H: Host> {
    pub(super) device: H::Device,
    pub(super) source: Option<SourceId>,
    pub(super) context: DeviceContext,
    pub(super) untagged: Space,
    pub(super) tagged: BTreeMap<Pasid, Space>,
    /// What is still to be looked at of its tables.
    pub(super) search: Option<Search>,
    /// What the guest is yet to be told.
    pub(super) fault: Option<FaultRecord>,
    /// What waits for the guest's answer.
    pub(super) requests: BTreeMap<PageRequestGroup, Waiting<H::Requests>>,
}

impl<H: Host> fmt::Debug for Plugged<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugged")
            .field("source", &self.source)
            .field("context", &self.context)
            .field("untagged", &self.untagged)
            .field("tagged", &self.tagged)
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

impl<H: Host> Relay<H> {
    /// Puts a device behind the guest's unit, as `source`, or with no number yet.
    ///
    /// A guest that numbers the buses of PCI Express itself gives a device its number late: until
    /// then the device bypasses while nothing is translated, and is blocked while something is.
    ///
    /// A host that refuses to put the device where it belongs makes no error: the device is
    /// blocked, and there is a [`Report`](super::Report).
    ///
    /// # Errors
    /// The device, with [`PortError::SourceTaken`] or [`PortError::Enter`]. The
    /// [`Kernel`](super::Kernel) refuses with the latter, among others, a device that is not alone
    /// in its IOMMU group ([`Error::NotAlone`](crate::Error::NotAlone)), and one that is attached
    /// already ([`Error::AlreadyAttached`](crate::Error::AlreadyAttached)).
    pub fn plug(
        &mut self,
        mut device: H::Device,
        source: Option<SourceId>,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<Port, Refused<H::Device, PortError<H::Error>>> {
        if let Some(source) = source
            && self.sources.contains_key(&source)
        {
            return Err(Refused::new(device, PortError::SourceTaken(source)));
        }
        if let Err(error) = self.host.enter(&mut device) {
            return Err(Refused::new(device, PortError::Enter(error)));
        }
        let number = self.next_port.take();
        if let Some(source) = source {
            self.sources.insert(source, number);
        }
        let plugged = Plugged {
            device,
            source,
            context: DeviceContext::None,
            untagged: Space::blocked(Configuration::Unread),
            tagged: BTreeMap::new(),
            search: None,
            fault: None,
            requests: BTreeMap::new(),
        };
        self.devices.insert(number, plugged);
        self.look_up(number, memory);
        self.finish_searches(memory);
        Ok(Port::new(self.id, number))
    }

    /// The guest knows the device as `source` now, or by no number: it has numbered a bus anew.
    ///
    /// A device that the guest's tables decided about is blocked meanwhile. Its page requests are
    /// answered INVALID.
    ///
    /// # Errors
    /// With [`PortError::ForeignPort`] and [`PortError::SourceTaken`] nothing has happened. With
    /// [`PortError::NotBlocked`] the device has its old number.
    pub fn assign(
        &mut self,
        port: &Port,
        source: Option<SourceId>,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<(), PortError<H::Error>> {
        let number = self.check(port)?;
        if let Some(source) = source {
            match self.sources.get(&source) {
                Some(owner) if *owner == number => return Ok(()),
                Some(_) => return Err(PortError::SourceTaken(source)),
                None => {}
            }
        }
        self.unname(number)?;
        if let (Some(source), Some(plugged)) = (source, self.devices.get_mut(&number)) {
            plugged.source = Some(source);
            self.sources.insert(source, number);
        }
        self.look_up(number, memory);
        self.finish_searches(memory);
        Ok(())
    }

    /// Takes a device out, with no number, and gives it back: detached, if the host is a
    /// [`Kernel`](super::Kernel). Its page requests are answered INVALID.
    ///
    /// # Errors
    /// The port, with [`PortError::ForeignPort`], [`PortError::NotBlocked`] or [`PortError::Leave`].
    pub fn unplug(&mut self, port: Port) -> Result<H::Device, Refused<Port, PortError<H::Error>>> {
        match self.take_out(&port) {
            Ok(device) => Ok(device),
            Err(error) => Err(Refused::new(port, error)),
        }
    }

    fn take_out(&mut self, port: &Port) -> Result<H::Device, PortError<H::Error>> {
        let number = self.check(port)?;
        self.unname(number)?;
        self.block(SpaceName::untagged(number));
        match self.devices.entry(number) {
            Entry::Occupied(mut entry) if entry.get().is_blocked() => {
                let device = &mut entry.get_mut().device;
                self.host.leave(device).map_err(PortError::Leave)?;
                Ok(entry.remove().device)
            }
            _ => Err(PortError::NotBlocked),
        }
    }

    /// The number that the guest has for a device; `None` if it has none, or if the port is one of
    /// another relay.
    #[must_use]
    pub fn source(&self, port: &Port) -> Option<SourceId> {
        let number = self.check(port).ok()?;
        self.devices.get(&number)?.source
    }

    /// Where requests of a device with `pasid`, or with none, go; `None` if the host has refused to
    /// block them, or if the port is one of another relay. Those with PASID 0 go where those with
    /// none go.
    #[must_use]
    pub fn place(&self, port: &Port, pasid: Option<Pasid>) -> Option<Place> {
        let number = self.check(port).ok()?;
        let plugged = self.devices.get(&number)?;
        match plugged.space(space_of(pasid)) {
            Some(space) => space.place,
            None => Some(Place::Blocked),
        }
    }

    fn check(&self, port: &Port) -> Result<PortNumber, PortError<H::Error>> {
        port.of(self.id).ok_or(PortError::ForeignPort)
    }

    /// Takes the device's number from it. If nothing is translated it goes on to bypass.
    fn unname(&mut self, number: PortNumber) -> Result<(), PortError<H::Error>> {
        if self.registers.translates() {
            self.block(SpaceName::untagged(number));
        }
        for pasid in self.pasids(number) {
            self.block(SpaceName::tagged(number, pasid));
        }
        let Some(plugged) = self.devices.get_mut(&number) else {
            return Ok(());
        };
        if plugged.is_stuck() {
            return Err(PortError::NotBlocked);
        }
        plugged.requests.clear();
        plugged.fault = None;
        if let Some(source) = plugged.source.take() {
            self.sources.remove(&source);
        }
        self.forget_device(number);
        Ok(())
    }
}

impl<H: Host> Plugged<H> {
    /// Whether an address space of its is perhaps not where it must be.
    pub(super) fn is_stuck(&self) -> bool {
        let mut spaces = self.tagged.values().chain([&self.untagged]);
        spaces.any(|space| space.place.is_none())
    }

    /// Whether nothing of it is anywhere but blocked.
    fn is_blocked(&self) -> bool {
        let mut spaces = self.tagged.values().chain([&self.untagged]);
        spaces.all(|space| space.place == Some(Place::Blocked))
    }
}

/// The address space that requests with `pasid` are of. Those with PASID 0 are of the one for
/// requests without: that is what the host's own tables have for them.
pub(super) fn space_of(pasid: Option<Pasid>) -> Option<Pasid> {
    pasid.filter(|pasid| *pasid != Pasid::ZERO)
}
