//! The guest's invalidations, gathered for the host in the guest's order.

use smmuv3_types::{
    Command, InputAddress, Invalidation, NotForwarded, NotForwardedReason, TlbiRange,
};

use super::{Host, Relay};

/// How many invalidations are gathered before the host is given them, whatever the guest does. A
/// guest's own queue can have 2^19.
pub(super) const BATCH: usize = 1024;

/// The most granules of a range that become a command each, where the host has no ranges.
const GRANULES: u64 = 16;

impl<H: Host> Relay<H> {
    /// Gathers what the host takes for the guest's command.
    pub(super) fn forward(&mut self, command: &Command) {
        match Invalidation::from_command(command, &self.limits) {
            Ok(invalidation) => self.push(invalidation),
            Err(refused) => self.forward_instead(&refused),
        }
    }

    pub(super) fn push(&mut self, invalidation: Invalidation) {
        if self.batch.len() >= BATCH {
            self.flush_batch();
        }
        self.batch.push(invalidation);
    }

    /// Gathers what covers a command that the host has not: the guest was told of more than there
    /// is.
    fn forward_instead(&mut self, refused: &NotForwarded) {
        if refused.reason() == NotForwardedReason::Range
            && let Some(granules) = self.granule_by_granule(&refused.command())
        {
            for invalidation in granules {
                self.push(invalidation);
            }
        } else if let Some(instead) = refused.instead() {
            self.push(instead);
        }
        // Of what is left, there is nothing in any cache of the host's.
    }

    /// A command for each granule of a short range.
    fn granule_by_granule(&self, command: &Command) -> Option<Vec<Invalidation>> {
        let one = |address, asid, leaf| match asid {
            Some(asid) => Invalidation::tlbi_nh_va(asid, address, leaf, None, &self.limits).ok(),
            None => Invalidation::tlbi_nh_vaa(address, leaf, None, &self.limits).ok(),
        };
        let (address, asid, leaf, range) = match *command {
            Command::TlbiNhVa {
                asid,
                address,
                leaf,
                range: Some(range),
                ..
            } => (address, Some(asid), leaf, range),
            Command::TlbiNhVaa {
                address,
                leaf,
                range: Some(range),
                ..
            } => (address, None, leaf, range),
            _ => return None,
        };
        addresses(address, &range)?
            .map(|address| one(address, asid, leaf))
            .collect()
    }
}

/// Where the granules of a range are, if they are few and none is past the last address.
fn addresses(
    address: InputAddress,
    range: &TlbiRange,
) -> Option<impl Iterator<Item = InputAddress>> {
    let granules = range.granules();
    if granules > GRANULES {
        return None;
    }
    let bytes = range.granule().bytes();
    let first = address.get() & !bytes.wrapping_sub(1);
    let _last = first.checked_add(bytes.checked_mul(granules)?.wrapping_sub(1))?;
    Some((0..granules).map(move |index| InputAddress::new(first.wrapping_add(index * bytes))))
}
