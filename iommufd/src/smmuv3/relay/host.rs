//! What is behind the relay.

use smmuv3_types::{
    InputAddress, Invalidation, InvalidationLimits, NestedSte, PageRequestGroup, Stag, StreamId,
    SubstreamId,
};

use crate::fault_queue::{PageResponse, Permissions};

/// What is behind a [`Relay`](super::Relay): the devices, and the SMMU that translates for them.
///
/// [`Kernel`](super::Kernel) is the one for iommufd. Another is for tests, or for devices that the
/// VMM emulates itself.
///
/// The relay calls it from its own methods, and holds no lock meanwhile.
pub trait Host {
    /// A device that can be [plugged](super::Relay::plug). Then it has no number.
    type Device;
    /// Page requests that wait for one answer.
    type Requests: PageRequests;
    /// Why something could not be done.
    type Error;

    /// Which invalidations the host has.
    fn limits(&self) -> InvalidationLimits;

    /// Whether `device` has ATS, and caches translations when an entry turns it on. If not, no
    /// `CMD_ATC_INV` is for it.
    fn has_ats(&self, device: &Self::Device) -> bool;

    /// `device` comes behind the SMMU: when it returns, the device is [blocked](Place::Blocked), and
    /// all that is asked of it until it [leaves](Self::leave) is to be possible.
    ///
    /// # Errors
    /// The device is given back to the VMM.
    fn enter(&mut self, device: &mut Self::Device) -> Result<(), Self::Error>;

    /// `device`, which is [blocked](Place::Blocked) and has no number, leaves: it is the VMM's again.
    ///
    /// # Errors
    /// The device is blocked, and behind the SMMU. (If it was to be given back, as it got no number
    /// when it came, it is given back like that. It may come again.)
    fn leave(&mut self, device: &mut Self::Device) -> Result<(), Self::Error>;

    /// Carries out `commands`, in their order. When it returns, that is done.
    ///
    /// There is at least one. Every stream in them is the number of a device.
    ///
    /// # Errors
    /// Not all of it was done; it is not known what was.
    fn invalidate(&mut self, commands: &[Invalidation]) -> Result<(), Self::Error>;

    /// The guest knows `device` by the number `stream` now, or by none. The device is
    /// [blocked](Place::Blocked) or [bypasses](Place::Bypass) meanwhile, and no other device has the
    /// number.
    ///
    /// # Errors
    /// The device has the number that it had.
    fn name(
        &mut self,
        device: &mut Self::Device,
        stream: Option<StreamId>,
    ) -> Result<(), Self::Error>;

    /// Puts `device` to `place`, at once: when it returns, nothing uses where it was, and the SMMU
    /// has forgotten the stream's configuration of before. Its page requests that waited are
    /// answered.
    ///
    /// A device without a number is never [translated](Place::Translated).
    ///
    /// # Errors
    /// The device is where it was.
    fn put(&mut self, device: &mut Self::Device, place: &Place) -> Result<(), Self::Error>;

    /// Whether `requests` are from `device`.
    fn is_of(&self, device: &Self::Device, requests: &Self::Requests) -> bool;

    /// Answers page requests.
    ///
    /// # Errors
    /// They were not answered. (That they do not wait any more is no error.)
    fn answer(
        &mut self,
        requests: Self::Requests,
        response: PageResponse,
    ) -> Result<(), Self::Error>;
}

/// What becomes of a device's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// They are aborted, and no event tells of it.
    Blocked,
    /// Their addresses are the guest's physical ones.
    Bypass,
    /// The guest's stage 1 translates them, as this entry says, which is one that translates.
    Translated(NestedSte),
}

/// Page requests that wait for one answer. Dropped, they are answered
/// [`PageResponse::Invalid`].
pub trait PageRequests {
    /// By what the guest answers them; `None` if it cannot.
    fn name(&self) -> Option<RequestName>;

    /// The pages that are asked for.
    fn pages(&self) -> impl Iterator<Item = RequestedPage>;
}

/// By what the guest answers page requests of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestName {
    /// A transaction has stalled: by `CMD_RESUME` with this tag (3.12.2).
    Stall(Stag),
    /// A device asks by PCI Express's PRI: by `CMD_PRI_RESP` with this index (8.1).
    Pri(PageRequestGroup),
}

/// A page that a device asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedPage {
    /// The substream that the request carries.
    pub substream: Option<SubstreamId>,
    /// The address.
    pub address: InputAddress,
    /// What the device means to do there.
    pub permissions: Permissions,
}
