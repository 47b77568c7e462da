//! The guest's tables are looked at anew.
//!
//! A unit that was told to forget all PASID table entries of a device finds each of them again when
//! it is asked for. The relay is never asked: it looks for them. A table can have 2^20 entries, so
//! this is done in pieces.

use vtd_types::{DomainId, Pasid};

use super::configuration::{Configuration, Table};
use super::context::DeviceContext;
use super::devices::SpaceName;
use super::{GuestMemory, Host, Relay};
use crate::relay::PortNumber;

/// How far a search through a device's PASID table has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// The first PASID of the next piece.
    next: u32,
    /// The entries that are to be looked at: of this domain, and those that are new. `None`: all.
    domain: Option<DomainId>,
}

/// How many PASIDs a piece has: those of a directory entry.
const PIECE: u32 = 64;

impl<H: Host> Relay<H> {
    /// Looks up what the guest's tables say of a device: it was never looked at, or its context
    /// entry is to be looked at anew. Begins the search for its PASIDs.
    pub(super) fn look_up(&mut self, number: PortNumber, memory: &(impl GuestMemory + ?Sized)) {
        let registers = self.registers;
        let source = self.devices.get(&number).and_then(|plugged| plugged.source);
        let Some(source) = source.filter(|_| registers.translates()) else {
            self.forget_device(number);
            return;
        };
        if let Some(saved) = self.remembered.remove(&source) {
            self.restore(number, saved);
            return;
        }
        let read = DeviceContext::read(source, registers.root, &self.features, memory);
        let (context, bad) = match read {
            Ok(context) => (context, None),
            Err(fault) => (DeviceContext::None, fault),
        };
        if let Some(plugged) = self.devices.get_mut(&number) {
            plugged.context = context;
        }
        match context {
            DeviceContext::None => {
                self.configure(SpaceName::untagged(number), Configuration::Bad(bad));
                self.search(number, None);
            }
            DeviceContext::Legacy(_, context) => {
                let configuration = Configuration::legacy(&context);
                self.configure(SpaceName::untagged(number), configuration);
                self.search(number, None);
            }
            DeviceContext::Scalable(..) => self.look_up_entries(number, None, memory),
        }
    }

    /// The PASID table entries of a device are to be looked at anew: of this domain, or all.
    pub(super) fn look_up_entries(
        &mut self,
        number: PortNumber,
        domain: Option<DomainId>,
        memory: &(impl GuestMemory + ?Sized),
    ) {
        self.look_up_entry(SpaceName::untagged(number), domain, memory);
        self.search(number, domain);
    }

    /// A PASID table entry is to be looked at anew. What is known to be of another domain is not.
    pub(super) fn look_up_entry(
        &mut self,
        name: SpaceName,
        domain: Option<DomainId>,
        memory: &(impl GuestMemory + ?Sized),
    ) {
        let Some(plugged) = self.devices.get(&name.port) else {
            return;
        };
        let known = plugged.space(name.pasid);
        if is_of_another(domain, known.and_then(|space| space.configuration.domain())) {
            return;
        }
        let (Some(source), Some(directory)) = (plugged.source, plugged.context.directory()) else {
            return;
        };
        let is_there = |pasid: Pasid| pasid.get() < self.reach(name.port);
        let configuration = match name.pasid {
            Some(pasid) if !is_there(pasid) => Configuration::Bad(None),
            pasid => Configuration::read(source, pasid, directory, &self.features, memory),
        };
        self.spent = self.spent.saturating_add(1);
        self.configure(name, configuration);
    }

    /// Begins a search for the PASIDs of a device. Those that it cannot have any more are blocked.
    fn search(&mut self, number: PortNumber, domain: Option<DomainId>) {
        let reach = self.reach(number);
        for pasid in self.pasids(number) {
            if pasid.get() >= reach {
                self.configure(SpaceName::tagged(number, pasid), Configuration::Bad(None));
            }
        }
        if let Some(plugged) = self.devices.get_mut(&number) {
            plugged.search = (reach != 0).then_some(Search { next: 0, domain });
        }
    }

    /// How many PASIDs a device can have: as the guest's context entry, what the guest is offered,
    /// and the host allow.
    fn reach(&self, number: PortNumber) -> u32 {
        let Some(plugged) = self.devices.get(&number) else {
            return 0;
        };
        let offered = self.features.ecap().pasid_bits();
        let bits = match plugged.context.directory() {
            Some(directory) if directory.pasids => directory
                .pasid_bits
                .min(offered)
                .min(self.host.pasid_bits(&plugged.device)),
            _ => 0,
        };
        match bits {
            0 => 0,
            bits => 1 << u32::from(bits).min(Pasid::MAX.get().count_ones()),
        }
    }

    /// Whether a search is under way.
    pub(super) fn is_searching(&self) -> bool {
        self.devices
            .values()
            .any(|plugged| plugged.search.is_some())
    }

    /// Goes through all searches to their end.
    pub(super) fn finish_searches(&mut self, memory: &(impl GuestMemory + ?Sized)) {
        while self.is_searching() {
            self.go_on_searching(memory);
        }
    }

    /// Looks at one piece of a table: at most two reads.
    pub(super) fn go_on_searching(&mut self, memory: &(impl GuestMemory + ?Sized)) {
        self.spent = self.spent.saturating_add(1);
        let searched = self
            .devices
            .iter()
            .find_map(|(number, plugged)| Some((*number, plugged.search?)));
        let Some((number, search)) = searched else {
            return;
        };
        let reach = self.reach(number);
        let next = search.next.saturating_add(PIECE);
        if let Some(plugged) = self.devices.get_mut(&number) {
            plugged.search = (next < reach).then_some(Search { next, ..search });
        }
        self.look_through(number, search, reach, memory);
    }

    fn look_through(
        &mut self,
        number: PortNumber,
        search: Search,
        reach: u32,
        memory: &(impl GuestMemory + ?Sized),
    ) {
        let Some(plugged) = self.devices.get(&number) else {
            return;
        };
        let (Some(source), Some(directory), Some(first)) = (
            plugged.source,
            plugged.context.directory(),
            Pasid::new(search.next),
        ) else {
            return;
        };
        let table = Table::read(first, directory, memory);
        let end = search.next.saturating_add(PIECE).min(reach);
        let known = |pasid: &Pasid| plugged.tagged.contains_key(pasid);
        // PASID 0 has no address space of its own.
        let found: Vec<_> = (search.next.max(1)..end)
            .filter_map(Pasid::new)
            // Of the others there is nothing to say: nobody is known to use them.
            .filter(|pasid| known(pasid) || table.has(*pasid))
            .map(|pasid| (pasid, table.configuration(pasid, source, &self.features)))
            .collect();
        for (pasid, configuration) in found {
            let name = SpaceName::tagged(number, pasid);
            let known = self
                .space(name)
                .and_then(|space| space.configuration.domain());
            if !is_of_another(search.domain, known) {
                self.configure(name, configuration);
            }
        }
    }

    /// The same for all devices, to the end.
    pub(super) fn configure_all(&mut self, memory: &(impl GuestMemory + ?Sized)) {
        for number in self.numbers() {
            self.look_up(number, memory);
        }
        self.finish_searches(memory);
    }

    /// Nothing is known of a device's tables any more: it goes where it belongs without.
    pub(super) fn forget_device(&mut self, number: PortNumber) {
        if let Some(plugged) = self.devices.get_mut(&number) {
            plugged.context = DeviceContext::None;
            plugged.search = None;
            plugged.fault = None;
        }
        for pasid in self.pasids(number) {
            self.configure(SpaceName::tagged(number, pasid), Configuration::Unread);
        }
        self.configure(SpaceName::untagged(number), Configuration::Unread);
    }
}

/// Whether what is known of an entry is of another domain than the one that is asked for. An entry
/// of which nothing is known is of none.
fn is_of_another(asked: Option<DomainId>, known: Option<DomainId>) -> bool {
    asked.is_some_and(|asked| known.is_some_and(|known| known != asked))
}
