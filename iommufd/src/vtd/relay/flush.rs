//! What was gathered is carried out, and what if it cannot be.

use vtd_types::Invalidation;

use super::devices::SpaceName;
use super::{Flushed, Host, NotFlushed, Relay, Report};

impl<H: Host> Relay<H> {
    /// Carries out everything that was taken. (What a [`run`](Self::run) has left to do of its last
    /// descriptor is not: no wait is taken before that is done.)
    ///
    /// If the host refuses invalidations of a table, all that is cached of the table is invalidated;
    /// if that is refused, too, the address space is blocked. Then nothing stale is used, and the
    /// guest's descriptors are as good as done; the VMM finds a [`Report`] of it.
    ///
    /// # Errors
    /// [`NotFlushed`], if the host even refuses to block an address space. It is tried again with
    /// the next flush.
    pub fn flush(&mut self) -> Result<Flushed, NotFlushed> {
        self.flush_batch();
        for name in self.stuck() {
            self.block(name);
            self.tidy(name);
        }
        let stuck = self.devices.values().filter(|plugged| plugged.is_stuck());
        match stuck.count() {
            0 => Ok(Flushed::new(self.id, self.waits)),
            devices => Err(NotFlushed { devices }),
        }
    }

    /// The address spaces that are perhaps not where they must be.
    fn stuck(&self) -> Vec<SpaceName> {
        let mut stuck = Vec::new();
        for (&port, plugged) in &self.devices {
            let tagged = plugged.tagged.iter();
            let tagged = tagged.map(|(pasid, space)| (Some(*pasid), space));
            for (pasid, space) in tagged.chain([(None, &plugged.untagged)]) {
                if space.place.is_none() {
                    stuck.push(SpaceName { port, pasid });
                }
            }
        }
        stuck
    }

    /// Has the host carry out what was gathered, or what covers it: for each table in one call, in
    /// the guest's order. Between tables there is no order that anybody could see.
    pub(super) fn flush_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        // The sort is stable.
        batch.sort_by_key(|(name, _)| *name);
        for of_one in batch.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((name, _)) = of_one.first() else {
                continue;
            };
            let commands: Vec<_> = of_one.iter().map(|(_, command)| *command).collect();
            match commands.iter().any(Invalidation::is_all) {
                // All of it is done before anything is complete: that covers the others.
                true => self.invalidate(*name, &[Invalidation::ALL]),
                false => self.invalidate(*name, &commands),
            }
        }
        batch.clear();
        // Its memory is used again.
        self.batch = batch;
    }

    /// Invalidates what is cached of a table, or what covers it, or has it used no more.
    fn invalidate(&mut self, name: SpaceName, commands: &[Invalidation]) {
        let Some(plugged) = self.devices.get_mut(&name.port) else {
            return;
        };
        let source = plugged.source;
        let device = &mut plugged.device;
        let Err(error) = self.host.invalidate(device, name.pasid, commands) else {
            return;
        };
        self.reports.add(Report::InvalidationRefused {
            source,
            pasid: name.pasid,
            count: commands.len(),
            error,
        });
        let all = [Invalidation::ALL];
        if let Err(error) = self.host.invalidate(device, name.pasid, &all) {
            self.reports.add(Report::TranslationsStale {
                source,
                pasid: name.pasid,
                error,
            });
            self.block(name);
        }
    }
}
