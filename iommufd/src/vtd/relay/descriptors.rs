//! The guest's descriptors, one at a time.

use vtd_types::{BadDescriptor, ContextCacheScope, Descriptor, DescriptorWords, PasidCacheScope};

use super::devices::{SpaceName, space_of};
use super::{GuestMemory, Host, PendingWait, Relay, WaitSignal};
use crate::relay::{Pending, PortNumber};

/// What has become of a descriptor.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a wait is to be completed"]
pub enum Taken {
    /// It was taken. It is done when a wait after it is complete.
    Descriptor,
    /// It is a wait.
    Wait(PendingWait),
}

impl<H: Host> Relay<H> {
    /// Takes the guest's next descriptor, for a VMM that reads the queue itself;
    /// [`run`](Self::run) reads it, too. Of a queue of 128-bit descriptors it is two words, else four.
    ///
    /// What a descriptor can cost is bounded: at most the tables of all devices are read, and all
    /// that they are attached to replaced. [`run`](Self::run) does that in pieces.
    ///
    /// # Errors
    /// The descriptor is invalid, and nothing has happened. The queue is to stop at it with
    /// `FSTS_REG.IQE`, and with [`BadDescriptor::error`] in `IQERCD_REG` (6.5.2.10).
    pub fn take(
        &mut self,
        words: impl Into<DescriptorWords>,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<Taken, BadDescriptor> {
        let descriptor = self.decode(words.into())?;
        // What a run has left.
        self.finish_searches(memory);
        let wait = self.carry_out(&descriptor, memory);
        self.finish_searches(memory);
        Ok(match wait {
            Some(wait) => Taken::Wait(wait),
            None => Taken::Descriptor,
        })
    }

    pub(super) fn decode(&self, words: DescriptorWords) -> Result<Descriptor, BadDescriptor> {
        Descriptor::decode(words, &self.descriptors())
    }

    /// Carries out a descriptor, or notes it to be, or begins to. None is before the searches that
    /// the one before has begun are at their end.
    pub(super) fn carry_out(
        &mut self,
        descriptor: &Descriptor,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Option<PendingWait> {
        self.used = true;
        self.spent = self.spent.saturating_add(1);
        match *descriptor {
            Descriptor::ContextCache(scope) => self.forget_contexts(&scope, memory),
            Descriptor::PasidCache(scope) => self.forget_entries(&scope, memory),
            Descriptor::PageGroupResponse {
                source,
                pasid,
                group,
                response,
            } => self.respond(source, pasid, group, response),
            Descriptor::Wait {
                interrupt,
                status,
                drain_page_requests,
                // None is begun before those before it are done.
                fence: _,
            } => {
                return Some(self.wait(WaitSignal {
                    drain_page_requests,
                    status,
                    interrupt,
                }));
            }
            // Invalidations of TLBs. Those of devices the host does with those of its own; and
            // interrupts are not remapped here.
            _ => self.forward(descriptor),
        }
        None
    }

    /// `cc_inv_dsc` (6.5.2.1). Of one of a domain all devices are looked at: of which domains a
    /// device's entries are is not known before.
    fn forget_contexts(&mut self, scope: &ContextCacheScope, memory: &(impl GuestMemory + ?Sized)) {
        let meant = |source| match *scope {
            ContextCacheScope::Global | ContextCacheScope::Domain(_) => true,
            ContextCacheScope::Device {
                source: of,
                functions,
                ..
            } => functions.matches(of, source),
        };
        self.remembered.retain(|source, _| !meant(*source));
        let sources = self.sources.iter().filter(|(source, _)| meant(**source));
        let numbers: Vec<_> = sources.map(|(_, number)| *number).collect();
        for number in self.if_translating(numbers) {
            self.look_up(number, memory);
        }
    }

    /// `pc_inv_dsc` (6.5.2.2).
    fn forget_entries(&mut self, scope: &PasidCacheScope, memory: &(impl GuestMemory + ?Sized)) {
        // What a unit has cached it can forget at any time.
        self.remembered.clear();
        for number in self.if_translating(self.numbers()) {
            match *scope {
                PasidCacheScope::Global => self.look_up_entries(number, None, memory),
                PasidCacheScope::Domain(domain) => {
                    self.look_up_entries(number, Some(domain), memory);
                }
                PasidCacheScope::Pasid { domain, pasid } => {
                    let plugged = self.devices.get(&number);
                    let directory = plugged.and_then(|plugged| plugged.context.directory());
                    if directory.is_some_and(|directory| directory.rid_pasid == pasid) {
                        let name = SpaceName::untagged(number);
                        self.look_up_entry(name, Some(domain), memory);
                    }
                    if let Some(pasid) = space_of(Some(pasid)) {
                        let name = SpaceName::tagged(number, pasid);
                        self.look_up_entry(name, Some(domain), memory);
                    }
                }
            }
        }
    }

    /// While nothing is translated, nothing is cached: all is read when that begins.
    fn if_translating(&self, numbers: Vec<PortNumber>) -> Vec<PortNumber> {
        match self.registers.translates() {
            true => numbers,
            false => Vec::new(),
        }
    }

    fn wait(&mut self, signal: WaitSignal) -> PendingWait {
        let number = self.waits;
        // 2^64 are not used up.
        self.waits = number.wrapping_add(1);
        Pending::new(self.id, number, signal)
    }
}

/// Whether carrying a descriptor out again could do something else: the group that it names can be
/// another one's by then.
pub(super) fn is_once_only(descriptor: &Descriptor) -> bool {
    matches!(descriptor, Descriptor::PageGroupResponse { .. })
}
