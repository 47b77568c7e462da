//! What is behind the relay.

use vtd_types::{InputAddress, Invalidation, NestedPasidEntry, PageRequestGroup, Pasid};

use crate::fault_queue::{PageResponse, Permissions};

/// What is behind a [`Relay`](super::Relay): the devices, and what translates for them.
///
/// [`Kernel`](super::Kernel) is the one for iommufd. Another is for tests, or for devices that the
/// VMM emulates itself.
///
/// A device has an address space for each of its PASIDs, and one for requests that carry none. Here
/// a `pasid` of `None` is that one. PASID 0 is never asked for: see
/// [the module](super#where-requests-go).
///
/// The relay calls it from its own methods, and holds no lock meanwhile.
pub trait Host {
    /// A device that can be [plugged](super::Relay::plug).
    type Device;
    /// Page requests that wait for one answer.
    type Requests: PageRequests;
    /// Why something could not be done.
    type Error;

    /// How many bits the PASIDs of `device` have that can have an address space; 0 if none can. It
    /// is the same as long as the device is behind the relay. More than 20 are 20.
    fn pasid_bits(&self, device: &Self::Device) -> u8;

    /// `device` comes behind the guest's unit: when it returns, all of its address spaces are
    /// [blocked](Place::Blocked), and all that is asked of it until it [leaves](Self::leave) is to be
    /// possible.
    ///
    /// # Errors
    /// The device is given back to the VMM.
    fn enter(&mut self, device: &mut Self::Device) -> Result<(), Self::Error>;

    /// `device`, all of whose address spaces are [blocked](Place::Blocked), leaves: it is the VMM's
    /// again.
    ///
    /// # Errors
    /// The device is blocked, and behind the unit.
    fn leave(&mut self, device: &mut Self::Device) -> Result<(), Self::Error>;

    /// Puts an address space of `device` to `place`, at once: when it returns, nothing uses where it
    /// was, and nothing that was cached of that is used again, in the device either. Its page
    /// requests that waited are answered.
    ///
    /// # Errors
    /// It is where it was, or blocked.
    fn put(
        &mut self,
        device: &mut Self::Device,
        pasid: Option<Pasid>,
        place: &Place,
    ) -> Result<(), Self::Error>;

    /// Forgets what is cached of the tables of an address space, which is
    /// [translated](Place::Translated), in the device, too. When it returns, that is done.
    ///
    /// There is at least one invalidation. They are in the guest's order.
    ///
    /// # Errors
    /// Not all of it was done; it is not known what was.
    fn invalidate(
        &mut self,
        device: &mut Self::Device,
        pasid: Option<Pasid>,
        invalidations: &[Invalidation],
    ) -> Result<(), Self::Error>;

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

/// What becomes of the requests of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// They are refused, and no fault of the guest's tells of it.
    Blocked,
    /// Their addresses are the guest's physical ones.
    Bypass,
    /// The guest's first stage translates them, as this entry says.
    Translated(NestedPasidEntry),
}

/// Page requests that wait for one answer. Dropped, they are answered
/// [`PageResponse::Invalid`].
pub trait PageRequests {
    /// The index of their group, by which the guest answers them; `None` if it cannot.
    fn group(&self) -> Option<PageRequestGroup>;

    /// The pages that are asked for. All of them carry the same PASID, or none.
    fn pages(&self) -> impl Iterator<Item = RequestedPage>;
}

/// A page that a device asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedPage {
    /// The PASID that the request carries, which can be 0.
    pub pasid: Option<Pasid>,
    /// The address.
    pub address: InputAddress,
    /// What the device means to do there.
    pub permissions: Permissions,
}
