//! Devices go where the guest's registers and tables say.

use std::ops::RangeInclusive;

use smmuv3_types::{Invalidation, NestedConfig, NestedSte, StreamId};

use super::configuration::Configuration;
use super::{GuestMemory, Host, Place, Relay, Report};
use crate::relay::PortNumber;

impl<H: Host> Relay<H> {
    /// Looks up what the guest's table says of the device's stream: it was never looked at, or it
    /// is to be looked at anew.
    pub(super) fn configure(&mut self, number: PortNumber, memory: &(impl GuestMemory + ?Sized)) {
        let registers = self.registers;
        let Some(stream) = self.devices.get(&number).map(|plugged| plugged.stream) else {
            return;
        };
        let enabled = stream.filter(|_| registers.cr0.smmuen());
        let saved = enabled.and_then(|stream| self.remembered.remove(&stream));
        let configuration = match (enabled, saved) {
            (_, Some(saved)) => saved.configuration,
            (None, None) => Configuration::Unread,
            (Some(stream), None) => Configuration::read(
                stream,
                &self.table(),
                &self.features,
                registers.cr2.recinvsid(),
                memory,
            ),
        };
        let Some(plugged) = self.devices.get_mut(&number) else {
            return;
        };
        plugged.configure(configuration, registers.cr0.eventqen());
        if let Some(saved) = saved {
            // The guest may have been told already.
            plugged.event = saved.event;
        }
    }

    /// The same for all devices, which then go where they belong.
    pub(super) fn configure_all(&mut self, memory: &(impl GuestMemory + ?Sized)) {
        for number in self.numbers() {
            self.configure(number, memory);
            self.settle(number);
        }
    }

    /// The guest says that it has changed the entries of these streams.
    ///
    /// Only streams with a device are looked at. What came before is done before: a device that
    /// leaves a table does so after the invalidations that the guest has put first.
    pub(super) fn reconfigure(
        &mut self,
        streams: RangeInclusive<StreamId>,
        memory: &(impl GuestMemory + ?Sized),
    ) {
        self.remembered
            .retain(|stream, _| !streams.contains(stream));
        if !self.registers.cr0.smmuen() {
            // Nothing is cached: all is read when the SMMU is turned on.
            return;
        }
        let devices: Vec<_> = self
            .streams
            .range(streams)
            .map(|(stream, number)| (*stream, *number))
            .collect();
        for (stream, number) in devices {
            self.configure(number, memory);
            self.settle(number);
            // The guest may count on its context descriptors' being forgotten, too (4.3.1). Where
            // the entry is what it was, nothing of that has happened.
            if self.translated(stream).is_some() {
                self.push(Invalidation::cfgi_cd_all(stream));
            }
        }
    }

    /// The entry by which a stream is translated, if it is.
    pub(super) fn translated(&self, stream: StreamId) -> Option<NestedSte> {
        let number = self.streams.get(&stream)?;
        match self.devices.get(number)?.place? {
            Place::Translated(ste) => Some(ste),
            Place::Blocked | Place::Bypass => None,
        }
    }

    /// Whether the device of a stream may have translations cached.
    pub(super) fn has_ats(&self, stream: StreamId) -> bool {
        let may = |ste: NestedSte| match ste.config() {
            NestedConfig::Translate(stage1) => stage1.has_full_ats(),
            NestedConfig::Invalid | NestedConfig::Abort | NestedConfig::Bypass => false,
        };
        let number = self.streams.get(&stream);
        let plugged = number.and_then(|number| self.devices.get(number));
        plugged.is_some_and(|plugged| self.host.has_ats(&plugged.device))
            && self.translated(stream).is_some_and(may)
    }

    /// All devices go where they belong.
    pub(super) fn settle_all(&mut self) {
        for number in self.numbers() {
            self.settle(number);
        }
    }

    /// The device goes where it belongs.
    pub(super) fn settle(&mut self, number: PortNumber) {
        let Some(plugged) = self.devices.get(&number) else {
            return;
        };
        let wanted = self.registers.place(&plugged.configuration);
        if plugged.place == Some(wanted) {
            return;
        }
        self.flush_batch();
        match wanted {
            Place::Blocked => self.block(number),
            Place::Bypass => self.put(number, wanted),
            Place::Translated(_) if self.translations_are_good() => self.put(number, wanted),
            Place::Translated(_) => self.block(number),
        }
    }

    /// Puts the device there, or else blocks it.
    fn put(&mut self, number: PortNumber, place: Place) {
        let Some(plugged) = self.devices.get_mut(&number) else {
            return;
        };
        // They wait for the tables that it leaves. What the guest says of their tags from now on
        // must not be said to those that come.
        plugged.requests.clear();
        match self.host.put(&mut plugged.device, &place) {
            Ok(()) => plugged.place = Some(place),
            Err(error) => {
                // It is on tables that the guest takes for left.
                plugged.place = None;
                let stream = plugged.stream;
                self.reports.add(Report::PlaceRefused {
                    stream,
                    place,
                    error,
                });
                self.block(number);
            }
        }
    }

    /// The device is blocked, if at all possible.
    pub(super) fn block(&mut self, number: PortNumber) {
        let Some(plugged) = self.devices.get_mut(&number) else {
            return;
        };
        if plugged.place == Some(Place::Blocked) {
            return;
        }
        plugged.requests.clear();
        match self.host.put(&mut plugged.device, &Place::Blocked) {
            Ok(()) => plugged.place = Some(Place::Blocked),
            Err(error) => {
                plugged.place = None;
                self.overdue = true;
                let stream = plugged.stream;
                self.reports.add(Report::NotBlocked { stream, error });
            }
        }
    }

    pub(super) fn numbers(&self) -> Vec<PortNumber> {
        self.devices.keys().copied().collect()
    }
}
