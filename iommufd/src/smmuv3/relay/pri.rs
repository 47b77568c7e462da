//! What lies in the PRI queue.

use smmuv3_types::{PageRequestGroup, StreamId};

use super::{PageRequests, RequestedPage};
use crate::fault_queue::Permissions;

/// A page request as the 16 bytes that it has in the PRI queue (8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PriRecord([u64; 2]);

impl PriRecord {
    /// How many bytes it has.
    pub const BYTES: usize = 16;

    /// The records of a group. The last says that it is.
    pub(super) fn of(
        stream: StreamId,
        group: PageRequestGroup,
        requests: &impl PageRequests,
    ) -> Vec<Self> {
        let mut records: Vec<_> = requests
            .pages()
            .map(|page| Self::one(stream, group, &page))
            .collect();
        if let Some(last) = records.last_mut() {
            last.0[0] |= LAST;
        }
        records
    }

    fn one(stream: StreamId, group: PageRequestGroup, page: &RequestedPage) -> Self {
        let mut first = u64::from(stream);
        if let Some(substream) = page.substream {
            first |= SSV | u64::from(substream) << 32;
        }
        let bits = [
            (Permissions::PRIVILEGED, PRIVILEGED),
            (Permissions::EXEC, EXECUTE),
            (Permissions::READ, READ),
            (Permissions::WRITE, WRITE),
        ];
        for (permission, bit) in bits {
            if page.permissions.contains(permission) {
                first |= bit;
            }
        }
        Self([first, page.address.get() & !0xfff | u64::from(group)])
    }

    /// Its words. Each is a number, in the machine's own order of bytes.
    #[must_use]
    pub const fn words(&self) -> [u64; 2] {
        self.0
    }

    /// Its bytes, as they lie in the queue.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (words, _) = bytes.as_chunks_mut();
        for (place, word) in words.iter_mut().zip(self.0) {
            *place = word.to_le_bytes();
        }
        bytes
    }
}

const PRIVILEGED: u64 = 1 << 58;
const EXECUTE: u64 = 1 << 59;
const READ: u64 = 1 << 60;
const WRITE: u64 = 1 << 61;
const LAST: u64 = 1 << 62;
const SSV: u64 = 1 << 63;
