//! A group of page requests, answered exactly once.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::QueueInner;
use super::pending::{Arrival, Ticket};
use super::request::{PageRequest, PageResponse, Requests};
use crate::device::Device;
use crate::devices::{DeviceKey, NamedDevice, Names};
use crate::error::{Error, Refused, Result};

/// Page requests of one device that are answered together, once.
///
/// Dropping it answers [`PageResponse::Invalid`]: the device gives up what it was doing. Forgetting
/// it lets the device wait until it is detached.
///
/// When the device is detached, or moved to another table, the kernel answers INVALID by itself (in
/// an IOMMU group with several devices, when the last of them is). An answer then comes too late,
/// and answers nobody.
///
/// It holds the queue.
///
/// # System calls
/// `write`, which does not wait.
#[must_use = "dropping page requests answers them INVALID"]
pub struct PageRequestGroup {
    queue: Arc<QueueInner>,
    /// `None` when it is answered.
    ticket: Option<Ticket>,
    device: Option<NamedDevice>,
    requests: Requests,
}

impl PageRequestGroup {
    /// What the kernel has just handed out, while `names` says whose it is.
    pub(super) fn new(queue: &Arc<QueueInner>, names: &Names<'_>, arrival: Arrival) -> Self {
        Self {
            queue: Arc::clone(queue),
            ticket: Some(arrival.ticket),
            device: names.of(arrival.device),
            requests: arrival.requests,
        }
    }

    /// What the device asks for: at least one page.
    #[must_use]
    pub fn requests(&self) -> &[PageRequest] {
        &self.requests
    }

    /// The device that asks; `None` when it has been released, and in a child of a fork.
    ///
    /// Of an IOMMU group with several devices the kernel names the one that was attached first, or by
    /// which the group was moved last: it does not know them apart here. (It would name it after its
    /// end, too: so that one stays bound, though it may have been detached and dropped, until the others
    /// are detached or moved.)
    #[must_use]
    pub fn device(&self) -> Option<Device> {
        let context = self.queue.context();
        context.check_process().ok()?;
        let device = context.devices.find(self.device?)?;
        Some(Device::from_inner(device))
    }

    /// The [`key`](Device::key) of that device, also when it has been released; `None` if it was not
    /// of this context when the requests were read.
    ///
    /// Unlike [`device`](Self::device) this takes no lock and holds nothing.
    #[must_use]
    pub fn device_key(&self) -> Option<DeviceKey> {
        self.device.map(NamedDevice::key)
    }

    /// Answers the device. Does not wait.
    ///
    /// # Errors
    /// The group, with: [`Error::RequestGone`] if the kernel has answered it already, as the device
    /// was detached or moved: there is nothing left to do, and dropping it does nothing;
    /// [`Error::Forked`]; a refusal of the kernel's, after which the group still waits to be
    /// answered.
    #[doc(alias = "iommu_hwpt_page_response")]
    #[expect(
        clippy::result_large_err,
        reason = "a group is a value that takes no memory elsewhere, and comes back as it is"
    )]
    pub fn respond(mut self, response: PageResponse) -> Result<(), Refused<Self>> {
        match self.answer(response) {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn answer(&mut self, response: PageResponse) -> Result<()> {
        self.queue.context().check_process()?;
        let ticket = self.ticket.take().ok_or(Error::RequestGone)?;
        let mut pending = self.queue.pending.lock();
        let file = self.queue.queue.file();
        let answer = pending.answer(&ticket, response, |bytes| file.write(bytes));
        match &answer {
            Ok(()) => pending.recycle(mem::take(&mut self.requests)),
            Err(Error::RequestGone) => {}
            Err(_) => self.ticket = Some(ticket),
        }
        answer
    }
}

impl Drop for PageRequestGroup {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        match self.answer(PageResponse::Invalid) {
            // Too late is no harm: the kernel has answered the same.
            Ok(()) | Err(Error::Forked | Error::RequestGone) => {}
            Err(error) => {
                let context = self.queue.context();
                context.object_stays("page request group", &error);
            }
        }
    }
}

impl fmt::Debug for PageRequestGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRequestGroup")
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}
