//! Page requests, which the guest answers by descriptors.

use vtd_types::{
    PageMessage, PageRequest, PageRequestGroup, PageRequestRecord, PageResponse as GuestResponse,
    Pasid, SourceId,
};

use super::devices::{SpaceName, space_of};
use super::{Host, PageRequests, Relay, Report, RequestedPage};
use crate::fault_queue::{PageResponse, Permissions};
use crate::relay::PortNumber;

/// What the guest is told of page requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the guest answers what it is told of"]
pub enum ForGuest {
    /// These are for the guest's page request queue, together. If there is not room for all of them,
    /// or `PRS_REG.PRO` is set already, none is put there, `PRS_REG.PRO` is set, and they are given
    /// to [`Relay::not_told`].
    Requests(Vec<PageRequestRecord>),
    /// Nothing. They are answered already, INVALID: they are from no device of the relay's, or from
    /// an address space that the guest's tables do not translate for or allow no page requests in,
    /// or the guest could not answer them.
    Nothing,
}

/// Page requests that wait for the guest's answer.
pub(super) struct Waiting<R> {
    /// The PASID that they carry.
    pasid: Option<Pasid>,
    requests: R,
}

impl<R> Waiting<R> {
    /// The address space that they are of.
    pub(super) fn space(&self) -> Option<Pasid> {
        space_of(self.pasid)
    }

    pub(super) fn into_requests(self) -> R {
        self.requests
    }
}

impl<H: Host> Relay<H> {
    /// Takes page requests, makes of them what the guest is told, and keeps them until it answers by
    /// `page_grp_resp_dsc`. Success is answered SUCCESS, and everything else INVALID: the kernel does
    /// not know more.
    ///
    /// An address space that leaves its tables, whatever the reason, has its requests answered
    /// INVALID. The guest's answer then comes too late, and is for nobody.
    ///
    /// Requests that were read of the queue before the address space has left its tables, and come
    /// here after, cannot be told from those of the tables where it is now, and the guest is told of
    /// them. That does no harm: the host has answered them when the address space left, so the
    /// guest's answer is for nobody.
    ///
    /// What the guest does not answer waits: at most 512 groups for a device, of which each index is
    /// of one.
    pub fn page_requests(&mut self, requests: H::Requests) -> ForGuest {
        let is_from = |number: &PortNumber| {
            self.devices
                .get(number)
                .is_some_and(|plugged| self.host.is_of(&plugged.device, &requests))
        };
        let Some(port) = self.devices.keys().copied().find(is_from) else {
            return ForGuest::Nothing;
        };
        let (Some(group), Some(page)) = (requests.group(), requests.pages().last()) else {
            return ForGuest::Nothing;
        };
        let asks = Permissions::READ | Permissions::WRITE;
        if page.pasid.is_some() && !page.permissions.intersects(asks) {
            // What would be written is no request to the guest, which would not answer it.
            return ForGuest::Nothing;
        }
        let pasid = space_of(page.pasid);
        if !self.is_translated(SpaceName { port, pasid }) {
            return ForGuest::Nothing;
        }
        let Some(plugged) = self.devices.get_mut(&port) else {
            return ForGuest::Nothing;
        };
        let allows = plugged.context.directory().map(|it| it.page_requests);
        let (Some(source), Some(true)) = (plugged.source, allows) else {
            return ForGuest::Nothing;
        };
        let records = records(source, group, &requests);
        let waiting = Waiting {
            pasid: page.pasid,
            requests,
        };
        // Who had the index is gone: an index is used again when its bearer was answered.
        plugged.requests.insert(group, waiting);
        ForGuest::Requests(records)
    }

    /// The guest could not be told of these: its page request queue has no room. They are answered
    /// so that the device asks again.
    ///
    /// What is no record of [`page_requests`](Self::page_requests) is passed over.
    pub fn not_told(&mut self, records: &[PageRequestRecord]) {
        for record in records {
            if let Ok(PageMessage::Request(request)) = record.decode()
                && request.last
            {
                self.answer(
                    request.source,
                    request.pasid,
                    request.group,
                    PageResponse::Success,
                );
            }
        }
    }

    /// `page_grp_resp_dsc` (7.6).
    pub(super) fn respond(
        &mut self,
        source: SourceId,
        pasid: Option<Pasid>,
        group: PageRequestGroup,
        response: GuestResponse,
    ) {
        let response = match response {
            GuestResponse::Success => PageResponse::Success,
            // The kernel knows one way to say no.
            GuestResponse::InvalidRequest | GuestResponse::Failure => PageResponse::Invalid,
        };
        self.answer(source, pasid, group, response);
    }

    /// Answers what waits by that index, if anything does: one that is unknown is ignored.
    fn answer(
        &mut self,
        source: SourceId,
        pasid: Option<Pasid>,
        group: PageRequestGroup,
        response: PageResponse,
    ) {
        let Some(&number) = self.sources.get(&source) else {
            return;
        };
        let waits = |waiting: &Waiting<H::Requests>| waiting.pasid == pasid;
        let plugged = self.devices.get(&number);
        if !plugged.is_some_and(|plugged| plugged.requests.get(&group).is_some_and(waits)) {
            return;
        }
        // A request that is tried again finds what the guest has invalidated before.
        self.flush_batch();
        let waiting = self
            .devices
            .get_mut(&number)
            .and_then(|plugged| plugged.requests.remove(&group));
        if let Some(Waiting { requests, .. }) = waiting
            && let Err(error) = self.host.answer(requests, response)
        {
            self.reports.add(Report::AnswerRefused { source, error });
        }
    }
}

/// The records of a group. The last says that it is.
fn records(
    source: SourceId,
    group: PageRequestGroup,
    requests: &impl PageRequests,
) -> Vec<PageRequestRecord> {
    let mut requests: Vec<_> = requests
        .pages()
        .map(|page| request(source, group, &page))
        .collect();
    if let Some(last) = requests.last_mut() {
        last.last = true;
    }
    let messages = requests.into_iter().map(PageMessage::Request);
    messages.map(|message| message.encode()).collect()
}

fn request(source: SourceId, group: PageRequestGroup, page: &RequestedPage) -> PageRequest {
    let may = |permission| page.permissions.contains(permission);
    PageRequest {
        source,
        pasid: page.pasid,
        group,
        last: false,
        address: page.address,
        read: may(Permissions::READ),
        write: may(Permissions::WRITE),
        execute: may(Permissions::EXEC),
        privileged: may(Permissions::PRIVILEGED),
    }
}
