//! What lies in the PRI queue.

use smmuv3_types::{PageRequestGroup, PriMessage, PriRecord, PriRequest, StreamId};

use super::{PageRequests, RequestedPage};
use crate::fault_queue::Permissions;

/// The records of a group. The last says that it is.
pub(super) fn records(
    stream: StreamId,
    group: PageRequestGroup,
    requests: &impl PageRequests,
) -> Vec<PriRecord> {
    let mut requests: Vec<_> = requests
        .pages()
        .map(|page| request(stream, group, &page))
        .collect();
    if let Some(last) = requests.last_mut() {
        last.last = true;
    }
    let messages = requests.into_iter().map(PriMessage::Request);
    messages.map(|message| message.encode()).collect()
}

fn request(stream: StreamId, group: PageRequestGroup, page: &RequestedPage) -> PriRequest {
    let may = |permission| page.permissions.contains(permission);
    PriRequest {
        stream,
        substream: page.substream,
        group,
        last: false,
        address: page.address,
        read: may(Permissions::READ),
        write: may(Permissions::WRITE),
        execute: may(Permissions::EXEC),
        privileged: may(Permissions::PRIVILEGED),
    }
}
