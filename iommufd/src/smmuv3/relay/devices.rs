//! The devices behind the guest's SMMU.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use smmuv3_types::{EventRecord, StreamId};

use super::configuration::Configuration;
use super::{GuestMemory, Host, Place, Relay, RequestName};
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
    #[error("another device has stream {0}")]
    StreamTaken(StreamId),
    /// The host refuses to have the device behind the SMMU.
    #[error("the device cannot come behind the SMMU")]
    Enter(#[source] E),
    /// The host refuses to let the device go. It is blocked, has no number, and is behind the relay.
    #[error("the device cannot leave the SMMU")]
    Leave(#[source] E),
    /// The host refuses to take a number from the device, or to give it one.
    #[error("the device's number cannot be changed")]
    Name(#[source] E),
    /// The device cannot be taken off the guest's tables. It is where it was, and no `CMD_SYNC`
    /// completes before it can.
    #[error("the device cannot be taken off the guest's tables")]
    NotBlocked,
}

/// A device that is plugged.
pub(super) struct Plugged<H: Host> {
    pub(super) device: H::Device,
    pub(super) stream: Option<StreamId>,
    pub(super) configuration: Configuration,
    /// Where it is. `None`: not where it must be, as the host did not even block it.
    pub(super) place: Option<Place>,
    /// What the guest is yet to be told.
    pub(super) event: Option<EventRecord>,
    /// What waits for the guest's answer.
    pub(super) requests: BTreeMap<RequestName, H::Requests>,
}

impl<H: Host> Plugged<H> {
    /// The stream has this configuration now. The guest is told of a bad one when it is new, and
    /// if events are on.
    pub(super) fn configure(&mut self, configuration: Configuration, events: bool) {
        if self.configuration != configuration {
            self.configuration = configuration;
            self.event = configuration.event().filter(|_| events);
        }
    }
}

impl<H: Host> fmt::Debug for Plugged<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugged")
            .field("stream", &self.stream)
            .field("configuration", &self.configuration)
            .field("place", &self.place)
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

impl<H: Host> Relay<H> {
    /// Puts a device behind the guest's SMMU, as `stream`, or with no number yet.
    ///
    /// A guest that numbers the buses of PCI Express itself gives a device its number late: until
    /// then the device follows `SMMU_GBPA` while the SMMU is off, and is blocked while it is on.
    ///
    /// A host that refuses to put the device where it belongs makes no error: the device is
    /// blocked, and there is a [`Report`](super::Report).
    ///
    /// # Errors
    /// The device, with [`PortError::StreamTaken`], [`PortError::Enter`] or [`PortError::Name`]. The
    /// [`Kernel`](super::Kernel) refuses with [`PortError::Enter`], among others, a device that is
    /// not alone in its IOMMU group ([`Error::NotAlone`](crate::Error::NotAlone)), and one that is
    /// attached already ([`Error::AlreadyAttached`](crate::Error::AlreadyAttached)).
    pub fn plug(
        &mut self,
        mut device: H::Device,
        stream: Option<StreamId>,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<Port, Refused<H::Device, PortError<H::Error>>> {
        if let Some(stream) = stream
            && self.streams.contains_key(&stream)
        {
            return Err(Refused::new(device, PortError::StreamTaken(stream)));
        }
        if let Err(error) = self.host.enter(&mut device) {
            return Err(Refused::new(device, PortError::Enter(error)));
        }
        if let Some(stream) = stream
            && let Err(error) = self.host.name(&mut device, Some(stream))
        {
            // If it cannot, it is still blocked.
            let _left = self.host.leave(&mut device);
            return Err(Refused::new(device, PortError::Name(error)));
        }
        let number = self.next_port.take();
        if let Some(stream) = stream {
            self.streams.insert(stream, number);
        }
        let plugged = Plugged {
            device,
            stream,
            configuration: Configuration::Unread,
            place: Some(Place::Blocked),
            event: None,
            requests: BTreeMap::new(),
        };
        self.devices.insert(number, plugged);
        self.configure(number, memory);
        self.settle(number);
        Ok(Port::new(self.id, number))
    }

    /// The guest knows the device as `stream` now, or by no number: it has numbered a bus anew.
    ///
    /// A device that the guest's tables translated for is blocked meanwhile. Its page requests are
    /// answered INVALID.
    ///
    /// # Errors
    /// With [`PortError::ForeignPort`] and [`PortError::StreamTaken`] nothing has happened. With
    /// [`PortError::NotBlocked`] the device has its old number. With [`PortError::Name`] it has its
    /// old number or none ([`stream`](Self::stream) says which), and is not translated; while the
    /// SMMU is on and the number is gone, it is blocked.
    pub fn assign(
        &mut self,
        port: &Port,
        stream: Option<StreamId>,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<(), PortError<H::Error>> {
        let number = self.check(port)?;
        if let Some(stream) = stream {
            match self.streams.get(&stream) {
                Some(owner) if *owner == number => return Ok(()),
                Some(_) => return Err(PortError::StreamTaken(stream)),
                None => {}
            }
        }
        self.unname(number)?;
        let named = match (stream, self.devices.get_mut(&number)) {
            (Some(stream), Some(plugged)) => {
                let named = self.host.name(&mut plugged.device, Some(stream));
                if named.is_ok() {
                    plugged.stream = Some(stream);
                    self.streams.insert(stream, number);
                }
                named.map_err(PortError::Name)
            }
            _ => Ok(()),
        };
        self.configure(number, memory);
        self.settle(number);
        named
    }

    /// Takes a device out, with no number, and gives it back: detached, if the host is a
    /// [`Kernel`](super::Kernel). Its page requests are answered INVALID.
    ///
    /// # Errors
    /// The port, with [`PortError::ForeignPort`], [`PortError::NotBlocked`], [`PortError::Name`] or
    /// [`PortError::Leave`].
    pub fn unplug(&mut self, port: Port) -> Result<H::Device, Refused<Port, PortError<H::Error>>> {
        match self.take_out(&port) {
            Ok(device) => Ok(device),
            Err(error) => Err(Refused::new(port, error)),
        }
    }

    fn take_out(&mut self, port: &Port) -> Result<H::Device, PortError<H::Error>> {
        let number = self.check(port)?;
        self.unname(number)?;
        self.block(number);
        match self.devices.entry(number) {
            Entry::Occupied(mut entry) if entry.get().place == Some(Place::Blocked) => {
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
    pub fn stream(&self, port: &Port) -> Option<StreamId> {
        let number = self.check(port).ok()?;
        self.devices.get(&number)?.stream
    }

    /// Where a device is; `None` if the host has refused to block it, or if the port is one of
    /// another relay.
    #[must_use]
    pub fn place(&self, port: &Port) -> Option<Place> {
        let number = self.check(port).ok()?;
        self.devices.get(&number)?.place
    }

    fn check(&self, port: &Port) -> Result<PortNumber, PortError<H::Error>> {
        port.of(self.id).ok_or(PortError::ForeignPort)
    }

    /// Takes the device's number from it, after everything that was said of it by that number is
    /// done.
    fn unname(&mut self, number: PortNumber) -> Result<(), PortError<H::Error>> {
        let Some(stream) = self.devices.get(&number).and_then(|device| device.stream) else {
            return Ok(());
        };
        self.flush_batch();
        let bypasses = |place| place == Some(Place::Bypass);
        if !self
            .devices
            .get(&number)
            .is_some_and(|device| bypasses(device.place))
        {
            self.block(number);
        }
        let Some(plugged) = self.devices.get_mut(&number) else {
            return Ok(());
        };
        if plugged.place.is_none() {
            return Err(PortError::NotBlocked);
        }
        plugged.requests.clear();
        self.host
            .name(&mut plugged.device, None)
            .map_err(PortError::Name)?;
        plugged.stream = None;
        plugged.configure(Configuration::Unread, false);
        plugged.event = None;
        self.streams.remove(&stream);
        Ok(())
    }
}
