//! Page requests, which the guest answers by commands.

use smmuv3_types::{
    AccessAttributes, Event, EventRecord, Fault, PageRequestGroup, PriRecord, PriResponse,
    Requester, ResumeAction, Stag, StreamId,
};

use super::pri;
use super::{Host, PageRequests, Place, Relay, Report, RequestName, RequestedPage};
use crate::fault_queue::{PageResponse, Permissions};
use crate::relay::PortNumber;

/// What the guest is told of page requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the guest answers what it is told of"]
pub enum ForGuest {
    /// A transaction has stalled: this is for the guest's event queue. Such an event is not lost
    /// where the queue is full, but put there when there is room (7.4).
    Stall(EventRecord),
    /// A device asks by PRI: these are for the guest's PRI queue, together.
    Pri(Vec<PriRecord>),
    /// Nothing. They are answered already, INVALID: they are from no device of the relay's, or from
    /// one that the guest's tables do not translate for, or the guest could not answer them.
    Nothing,
}

impl<H: Host> Relay<H> {
    /// Takes page requests, makes of them what the guest is told, and keeps them until it answers:
    /// by `CMD_RESUME` or `CMD_STALL_TERM`, or by `CMD_PRI_RESP`. Success is answered SUCCESS, and
    /// everything else INVALID: the kernel does not know more.
    ///
    /// A device that leaves its tables, whatever the reason, has its requests answered INVALID. The
    /// guest's answer then comes too late, and is for nobody.
    ///
    /// Requests that were read of the queue before the device has left its tables, and come here
    /// after, cannot be told from those of the tables where it is now, and the guest is told of them.
    /// That does no harm. The host has answered them when the device left, so the guest's answer is
    /// for nobody, as one that comes too late. What the guest is told is what its device did, and an
    /// SMMU could have recorded it a moment before. Should the hardware have used the name again, and
    /// the newer requests have come here first, these are answered INVALID. A VMM that hands over
    /// what it has read before it lets the guest's next command be taken sees nothing of all this.
    ///
    /// What the guest does not answer waits: as many as the hardware lets stall, or 512 for a device
    /// that asks by PRI.
    pub fn page_requests(&mut self, requests: H::Requests) -> ForGuest {
        let is_from = |number: &PortNumber| {
            self.devices
                .get(number)
                .is_some_and(|plugged| self.host.is_of(&plugged.device, &requests))
        };
        let Some(number) = self.devices.keys().copied().find(is_from) else {
            return ForGuest::Nothing;
        };
        let Some(plugged) = self.devices.get_mut(&number) else {
            return ForGuest::Nothing;
        };
        let (Some(stream), Some(Place::Translated(_)), Some(name)) =
            (plugged.stream, plugged.place, requests.name())
        else {
            return ForGuest::Nothing;
        };
        let told = match name {
            RequestName::Stall(stag) => match requests.pages().next() {
                Some(page) => ForGuest::Stall(stall(stream, stag, &page)),
                None => ForGuest::Nothing,
            },
            RequestName::Pri(_) if !self.registers.cr0.priqen() => ForGuest::Nothing,
            RequestName::Pri(group) => ForGuest::Pri(pri::records(stream, group, &requests)),
        };
        if told != ForGuest::Nothing {
            // Who had the name is gone: a name is used again when its bearer was answered.
            plugged.requests.insert(name, requests);
        }
        told
    }

    /// `CMD_RESUME` (4.7.1).
    pub(super) fn resume(&mut self, stream: StreamId, stag: Stag, action: ResumeAction) {
        let response = match action {
            ResumeAction::Retry => PageResponse::Success,
            // The kernel knows one way to end a transaction.
            ResumeAction::Abort | ResumeAction::ReadZeroIgnoreWrite => PageResponse::Invalid,
        };
        self.answer(stream, RequestName::Stall(stag), response);
    }

    /// `CMD_STALL_TERM` (4.7.2).
    pub(super) fn terminate_stalls(&mut self, stream: StreamId) {
        if let Some(number) = self.streams.get(&stream)
            && let Some(plugged) = self.devices.get_mut(number)
        {
            plugged
                .requests
                .retain(|name, _| !matches!(name, RequestName::Stall(_)));
        }
    }

    /// `CMD_PRI_RESP` (4.5.2).
    pub(super) fn respond_to_pri(
        &mut self,
        stream: StreamId,
        group: PageRequestGroup,
        response: PriResponse,
    ) {
        let response = match response {
            PriResponse::Success => PageResponse::Success,
            PriResponse::InvalidRequest | PriResponse::Failure => PageResponse::Invalid,
        };
        self.answer(stream, RequestName::Pri(group), response);
    }

    /// Answers what waits by that name, if anything does: a name that is unknown is ignored.
    fn answer(&mut self, stream: StreamId, name: RequestName, response: PageResponse) {
        let Some(&number) = self.streams.get(&stream) else {
            return;
        };
        let waits = |plugged: &super::devices::Plugged<H>| plugged.requests.contains_key(&name);
        if !self.devices.get(&number).is_some_and(waits) {
            return;
        }
        // A transaction that is retried finds what the guest has invalidated before.
        self.flush_batch();
        let requests = self
            .devices
            .get_mut(&number)
            .and_then(|plugged| plugged.requests.remove(&name));
        if let Some(requests) = requests
            && let Err(error) = self.host.answer(requests, response)
        {
            self.reports.add(Report::AnswerRefused { stream, error });
        }
    }
}

/// The event of a stalled transaction. The kernel does not say which fault it was: with the guest's
/// page in place, a retry does well after each.
fn stall(stream: StreamId, stag: Stag, page: &RequestedPage) -> EventRecord {
    let permissions = page.permissions;
    let event = Event::Translation(Fault {
        requester: Requester {
            stream,
            substream: page.substream,
        },
        stalled: Some(stag),
        access: AccessAttributes {
            read: !permissions.contains(Permissions::WRITE),
            instruction: permissions.contains(Permissions::EXEC),
            privileged: permissions.contains(Permissions::PRIVILEGED),
        },
        address: page.address,
        stage2: None,
    });
    event.encode()
}
