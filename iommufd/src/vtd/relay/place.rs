//! Address spaces go where the guest's registers and tables say.

use vtd_types::{Invalidation, Pasid};

use super::configuration::Configuration;
use super::devices::{Plugged, Space, SpaceName};
use super::{Host, Place, Relay, Report};
use crate::relay::PortNumber;

impl<H: Host> Relay<H> {
    /// The guest's tables say this of an address space now. It goes there.
    ///
    /// The guest is told of a bad entry when it is new.
    pub(super) fn configure(&mut self, name: SpaceName, configuration: Configuration) {
        let Some(plugged) = self.devices.get_mut(&name.port) else {
            return;
        };
        let was = plugged.space(name.pasid).map(|space| space.configuration);
        let told = was == Some(configuration);
        match configuration {
            Configuration::Bad(Some(fault)) if !told => plugged.fault = Some(fault),
            Configuration::Entry {
                place: Err(why), ..
            } if !told => {
                self.reports.add(Report::Inexpressible {
                    source: plugged.source,
                    pasid: name.pasid,
                    why,
                });
            }
            _ => {}
        }
        let place = match self.registers.translates() {
            true => configuration.place(),
            false => idle(name.pasid),
        };
        match (plugged.space_mut(name.pasid), name.pasid) {
            (Some(space), _) => space.configuration = configuration,
            // Nobody has to remember what is not there.
            (None, _) if place == Place::Blocked => return,
            (None, Some(pasid)) => {
                if plugged.tagged.len() >= self.most_pasids {
                    self.reports.add(Report::TooManyPasids {
                        source: plugged.source,
                        pasid,
                        most: self.most_pasids,
                    });
                    return;
                }
                plugged.tagged.insert(pasid, Space::blocked(configuration));
            }
            (None, None) => return,
        }
        let retagged = was.and_then(|was| was.domain()) != configuration.domain();
        self.settle(name, place, retagged);
    }

    /// The address space goes to `wanted`. `retagged`: its translations have another tag now.
    fn settle(&mut self, name: SpaceName, wanted: Place, retagged: bool) {
        let Some(space) = self.space(name) else {
            return;
        };
        if space.place == Some(wanted) {
            // What was cached by the old tag would not be found by the new one.
            if retagged && matches!(wanted, Place::Translated(_)) {
                self.push(name, Invalidation::ALL);
            }
        } else if wanted == Place::Blocked {
            self.block(name);
        } else {
            self.put(name, wanted);
        }
        self.tidy(name);
    }

    /// Puts the address space there, or else blocks it.
    fn put(&mut self, name: SpaceName, place: Place) {
        self.abandon(name);
        let Some(plugged) = self.devices.get_mut(&name.port) else {
            return;
        };
        let answer = self.host.put(&mut plugged.device, name.pasid, &place);
        let source = plugged.source;
        let Some(space) = plugged.space_mut(name.pasid) else {
            return;
        };
        match answer {
            Ok(()) => space.place = Some(place),
            Err(error) => {
                // It may be on tables that the guest takes for left.
                space.place = None;
                self.reports.add(Report::PlaceRefused {
                    source,
                    pasid: name.pasid,
                    place,
                    error,
                });
                self.block(name);
            }
        }
    }

    /// The address space is blocked, if at all possible.
    pub(super) fn block(&mut self, name: SpaceName) {
        if self
            .space(name)
            .is_none_or(|space| space.place == Some(Place::Blocked))
        {
            return;
        }
        self.abandon(name);
        let Some(plugged) = self.devices.get_mut(&name.port) else {
            return;
        };
        let answer = self
            .host
            .put(&mut plugged.device, name.pasid, &Place::Blocked);
        let source = plugged.source;
        let Some(space) = plugged.space_mut(name.pasid) else {
            return;
        };
        match answer {
            Ok(()) => space.place = Some(Place::Blocked),
            Err(error) => {
                space.place = None;
                self.reports.add(Report::NotBlocked {
                    source,
                    pasid: name.pasid,
                    error,
                });
            }
        }
    }

    /// The address space leaves where it is. With its tables goes what was cached of them, and who
    /// waited for a page of theirs is answered. What the guest says of the groups from now on must
    /// not be said to those that come.
    fn abandon(&mut self, name: SpaceName) {
        self.spent = self.spent.saturating_add(1);
        self.batch.retain(|(of, _)| *of != name);
        if let Some(plugged) = self.devices.get_mut(&name.port) {
            plugged
                .requests
                .retain(|_, waiting| waiting.space() != name.pasid);
        }
    }

    /// A PASID that is blocked, and should be, is one like all that nobody has used.
    pub(super) fn tidy(&mut self, name: SpaceName) {
        let is_idle = |space: &Space| {
            space.place == Some(Place::Blocked) && space.configuration.place() == Place::Blocked
        };
        if let Some(pasid) = name.pasid
            && let Some(plugged) = self.devices.get_mut(&name.port)
            && plugged.tagged.get(&pasid).is_some_and(is_idle)
        {
            plugged.tagged.remove(&pasid);
        }
    }

    /// Whether an address space is translated.
    pub(super) fn is_translated(&self, name: SpaceName) -> bool {
        let place = self.space(name).and_then(|space| space.place);
        matches!(place, Some(Place::Translated(_)))
    }

    pub(super) fn space(&self, name: SpaceName) -> Option<&Space> {
        self.devices.get(&name.port)?.space(name.pasid)
    }

    pub(super) fn numbers(&self) -> Vec<PortNumber> {
        self.devices.keys().copied().collect()
    }

    /// The PASIDs of a device that something is known of.
    pub(super) fn pasids(&self, number: PortNumber) -> Vec<Pasid> {
        let tagged = self.devices.get(&number).map(|plugged| &plugged.tagged);
        tagged.map_or_else(Vec::new, |tagged| tagged.keys().copied().collect())
    }
}

impl<H: Host> Plugged<H> {
    pub(super) fn space(&self, pasid: Option<Pasid>) -> Option<&Space> {
        match pasid {
            None => Some(&self.untagged),
            Some(pasid) => self.tagged.get(&pasid),
        }
    }

    pub(super) fn space_mut(&mut self, pasid: Option<Pasid>) -> Option<&mut Space> {
        match pasid {
            None => Some(&mut self.untagged),
            Some(pasid) => self.tagged.get_mut(&pasid),
        }
    }
}

/// Where requests go while nothing is translated.
fn idle(pasid: Option<Pasid>) -> Place {
    match pasid {
        None => Place::Bypass,
        Some(_) => Place::Blocked,
    }
}
