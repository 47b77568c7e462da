//! Places of devices behind relays.

use super::RelayId;

/// A device's place behind a relay, from when it is plugged until it is unplugged.
///
/// It is the right to move the device and to take it back, so there is one of it. Dropping it
/// leaves the device where it is, until the relay is dropped.
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "without it the device cannot be unplugged"]
pub struct Port {
    relay: RelayId,
    number: PortNumber,
}

impl Port {
    pub(crate) fn new(relay: RelayId, number: PortNumber) -> Self {
        Self { relay, number }
    }

    /// Its number, if it is one of that relay's.
    pub(crate) fn of(&self, relay: RelayId) -> Option<PortNumber> {
        (self.relay == relay).then_some(self.number)
    }
}

/// Which port it is: no two of one relay have the same, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PortNumber(u64);

impl PortNumber {
    pub(crate) const FIRST: Self = Self(0);

    /// Gives one out.
    pub(crate) fn take(&mut self) -> Self {
        let taken = *self;
        // 2^64 are not used up.
        self.0 = self.0.wrapping_add(1);
        taken
    }
}
