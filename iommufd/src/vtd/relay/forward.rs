//! The guest's invalidations, gathered for the host in the guest's order.

use vtd_types::{Descriptor, Invalidation, Pasid, TableScope};

use super::devices::{Plugged, SpaceName};
use super::{Host, Relay};
use crate::relay::PortNumber;

/// How many invalidations are gathered before the host is given them, whatever the guest does. A
/// guest's own queue can have 2^15, each for many tables.
pub(super) const BATCH: usize = 1024;

impl<H: Host> Relay<H> {
    /// Gathers what the host takes for a descriptor about translations, for each of the tables that
    /// it is about.
    pub(super) fn forward(&mut self, descriptor: &Descriptor) {
        let invalidation = match Invalidation::from_descriptor(descriptor) {
            Ok(invalidation) => Some(invalidation),
            // What the host does by itself, or has no cache of.
            Err(refused) => refused.instead(),
        };
        if let (Some(invalidation), Some(scope)) = (invalidation, descriptor.tables()) {
            for name in self.covered(&scope) {
                self.push(name, invalidation);
            }
        }
    }

    pub(super) fn push(&mut self, name: SpaceName, invalidation: Invalidation) {
        if self.batch.len() >= BATCH {
            self.flush_batch();
        }
        self.spent = self.spent.saturating_add(1);
        // The flush can have blocked it.
        if self.is_translated(name) {
            self.batch.push((name, invalidation));
        }
    }

    /// Gathers that everything is forgotten, of every table.
    pub(super) fn forget_translations(&mut self) {
        let mut names = Vec::new();
        for (&number, plugged) in &self.devices {
            let tagged = plugged.tagged.keys();
            names.extend(tagged.map(|pasid| name(number, Some(*pasid))));
            names.push(name(number, None));
        }
        for name in names {
            self.push(name, Invalidation::ALL);
        }
    }

    /// The address spaces that are translated by the tables that are meant.
    fn covered(&self, scope: &TableScope) -> Vec<SpaceName> {
        let mut covered = Vec::new();
        for (&number, plugged) in &self.devices {
            match *scope {
                // The one that is asked for most, and is found without a look at all.
                TableScope::Pasid { pasid, .. } => {
                    let spaces = [None, Some(pasid)].map(|pasid| name(number, pasid));
                    covered.extend(
                        spaces
                            .into_iter()
                            .filter(|name| plugged.is_in(scope, *name)),
                    );
                }
                _ => {
                    let tagged = plugged
                        .tagged
                        .keys()
                        .map(|pasid| name(number, Some(*pasid)));
                    let spaces = tagged.chain([name(number, None)]);
                    covered.extend(spaces.filter(|name| plugged.is_in(scope, *name)));
                }
            }
        }
        covered.retain(|name| self.is_translated(*name));
        covered
    }
}

impl<H: Host> Plugged<H> {
    /// Whether an address space has a table that is one of these.
    fn is_in(&self, scope: &TableScope, name: SpaceName) -> bool {
        let domain = self
            .space(name.pasid)
            .and_then(|space| space.configuration.domain());
        let (Some(source), Some(domain)) = (self.source, domain) else {
            return false;
        };
        let without = self
            .context
            .directory()
            .map_or(Pasid::ZERO, |it| it.rid_pasid);
        scope.contains(source, domain, name.pasid.unwrap_or(without))
    }
}

fn name(port: PortNumber, pasid: Option<Pasid>) -> SpaceName {
    SpaceName { port, pasid }
}
