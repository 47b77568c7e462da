//! What the first word of a command and of an event record have in common.

use hardware_records::Field;

use crate::{StreamId, SubstreamId};

/// The opcode of a command (4.1.1), the number of an event (7.3).
pub(crate) const ID: Field = Field::new(7, 0);
/// The stream is a Secure one (4.1.6). Of commands only.
pub(crate) const SSEC: Field = Field::bit(10);
/// A substream is named.
pub(crate) const SSV: Field = Field::bit(11);
/// The substream.
pub(crate) const SSID: Field = Field::new(31, 12);
/// The stream.
pub(crate) const SID: Field = Field::new(63, 32);

/// The stream that a first word names.
pub(crate) const fn stream(word: u64) -> StreamId {
    StreamId::new(SID.get(word) as u32)
}

/// The substream that a first word names, whatever its `SSV`.
pub(crate) const fn any_substream(word: u64) -> SubstreamId {
    SubstreamId::masked(SSID.get(word))
}

/// The substream that a first word names, if its `SSV` says that it names one.
pub(crate) const fn substream(word: u64) -> Option<SubstreamId> {
    if SSV.is_set(word) {
        Some(any_substream(word))
    } else {
        None
    }
}

/// A first word of this number, with nothing else.
pub(crate) const fn first_word(id: u8) -> u64 {
    id as u64
}

/// `word` with the stream in its place.
pub(crate) const fn with_stream(word: u64, stream: StreamId) -> u64 {
    SID.put(word, stream.get() as u64)
}

/// `word` with the substream in its place and `SSV` to say so.
pub(crate) const fn with_substream(word: u64, substream: Option<SubstreamId>) -> u64 {
    match substream {
        Some(substream) => SSV.put(SSID.put(word, substream.get() as u64), 1),
        None => word,
    }
}
