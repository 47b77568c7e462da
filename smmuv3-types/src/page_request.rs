//! Page requests of PCIe devices: what the SMMU puts into the PRI queue, and the answers to them
//! (chapter 8).

use core::fmt;

use hardware_records::{Field, in_memory};

use crate::{InputAddress, PageRequestGroup, StreamId, SubstreamId};

const STREAM: Field = Field::new(31, 0);
const SUBSTREAM: Field = Field::new(51, 32);
const PRIVILEGED: Field = Field::bit(58);
const EXECUTE: Field = Field::bit(59);
const READ: Field = Field::bit(60);
const WRITE: Field = Field::bit(61);
const LAST: Field = Field::bit(62);
const SSV: Field = Field::bit(63);
const GROUP: Field = Field::new(8, 0);
const ADDRESS: Field = Field::new(63, 12);

/// An entry of the PRI queue, as the two words that it has (chapter 8). Every bit is kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PriRecord([u64; 2]);

in_memory!(PriRecord, 2);

impl PriRecord {
    /// What it says. Bits that are RES0 or UNKNOWN are not looked at.
    #[must_use]
    pub const fn decode(&self) -> PriMessage {
        let [first, second] = self.0;
        let stream = StreamId::new(STREAM.get(first) as u32);
        let substream = if SSV.is_set(first) {
            Some(SubstreamId::masked(SUBSTREAM.get(first)))
        } else {
            None
        };
        let (last, write, read) = (LAST.is_set(first), WRITE.is_set(first), READ.is_set(first));
        if let (true, false, false, Some(substream)) = (last, write, read, substream) {
            return PriMessage::StopMarker { stream, substream };
        }
        PriMessage::Request(PriRequest {
            stream,
            substream,
            group: PageRequestGroup::masked(GROUP.get(second)),
            last,
            address: InputAddress::new(second & ADDRESS.mask()),
            read,
            write,
            // Both are 0 where there is no substream.
            execute: substream.is_some() && EXECUTE.is_set(first),
            privileged: substream.is_some() && PRIVILEGED.is_set(first),
        })
    }
}

impl fmt::Debug for PriRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PriRecord({:#018x?}, {:?})", self.0, self.decode())
    }
}

/// What an entry of the PRI queue says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriMessage {
    /// A device asks for a page.
    Request(PriRequest),
    /// A device has stopped to use a substream: no request of it comes after this. It is not
    /// answered. It has `Last` but neither `R` nor `W`, and a substream.
    StopMarker {
        /// `StreamID`, bits 31:0 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 51:32 of the first word.
        substream: SubstreamId,
    },
}

/// A device asks for a page.
///
/// Without [`read`](Self::read) and [`write`](Self::write), but with [`last`](Self::last) and a
/// substream, it is encoded as a [`PriMessage::StopMarker`]: devices do not ask so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PriRequest {
    /// `StreamID`, bits 31:0 of the first word.
    pub stream: StreamId,
    /// `SubstreamID`, bits 51:32 of the first word, if `SSV`, bit 63, is 1.
    pub substream: Option<SubstreamId>,
    /// `PRGIndex`, bits 8:0 of the second word: the group that it is of, which is answered as a
    /// whole.
    pub group: PageRequestGroup,
    /// `Last`, bit 62 of the first word: it is the last of its group. Others of it may come
    /// before it in any order.
    pub last: bool,
    /// The page, bits 63:12 of the second word.
    pub address: InputAddress,
    /// `R`, bit 60 of the first word: to read.
    pub read: bool,
    /// `W`, bit 61 of the first word: to write.
    pub write: bool,
    /// `X`, bit 59 of the first word: to fetch instructions. Not without a substream.
    pub execute: bool,
    /// `Priv`, bit 58 of the first word: for privileged accesses. Not without a substream.
    pub privileged: bool,
}

impl PriMessage {
    /// Its entry. Every bit that is not of a field is 0.
    ///
    /// ```
    /// use smmuv3_types::{PriMessage, StreamId, SubstreamId};
    ///
    /// let marker = PriMessage::StopMarker {
    ///     stream: StreamId::new(0x18),
    ///     substream: SubstreamId::new(5).unwrap(),
    /// };
    /// assert_eq!(marker.encode().words(), [0xc000_0005_0000_0018, 0]);
    /// ```
    #[must_use]
    pub const fn encode(&self) -> PriRecord {
        PriRecord(match *self {
            Self::Request(request) => request.words(),
            Self::StopMarker { stream, substream } => {
                [LAST.put(requester(stream, Some(substream)), 1), 0]
            }
        })
    }
}

impl PriRequest {
    const fn words(&self) -> [u64; 2] {
        let first = LAST.put(requester(self.stream, self.substream), self.last as u64);
        let first = READ.put(first, self.read as u64);
        let first = WRITE.put(first, self.write as u64);
        let first = if self.substream.is_some() {
            PRIVILEGED.put(
                EXECUTE.put(first, self.execute as u64),
                self.privileged as u64,
            )
        } else {
            first
        };
        [
            first,
            (self.address.get() & ADDRESS.mask()) | GROUP.put(0, self.group.get() as u64),
        ]
    }
}

const fn requester(stream: StreamId, substream: Option<SubstreamId>) -> u64 {
    let word = STREAM.put(0, stream.get() as u64);
    match substream {
        Some(substream) => SSV.put(SUBSTREAM.put(word, substream.get() as u64), 1),
        None => word,
    }
}

/// How a page request group is answered: `PRI_RESP.Resp` (4.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriResponse {
    /// `ResponseFailure`, `0b00`: nothing can be paged in for this device, now or later.
    Failure,
    /// `InvalidRequest`, `0b01`: a page of the group could not be paged in.
    InvalidRequest,
    /// `Success`, `0b10`: all pages of the group are there.
    Success,
}

impl PriResponse {
    pub(crate) const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            0b00 => Some(Self::Failure),
            0b01 => Some(Self::InvalidRequest),
            0b10 => Some(Self::Success),
            _ => None,
        }
    }

    pub(crate) const fn bits(self) -> u64 {
        match self {
            Self::Failure => 0b00,
            Self::InvalidRequest => 0b01,
            Self::Success => 0b10,
        }
    }

    /// The Response Code of the PRG Response message that the device is sent, 4 bits (8.3).
    #[must_use]
    pub const fn message_code(self) -> u8 {
        match self {
            Self::Failure => 0b1111,
            Self::InvalidRequest => 0b0001,
            Self::Success => 0b0000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardware_records::testing::Random;

    #[test]
    fn vectors() {
        // By hand: StreamID 31:0, SubstreamID 51:32, Priv 58, X 59, R 60, W 61, Last 62, SSV 63;
        // PRGIndex 8:0, address 63:12.
        let request = PriRequest {
            stream: StreamId::new(0xdead_beef),
            substream: SubstreamId::new(0xa_bcde),
            group: PageRequestGroup::new(0x1ab).unwrap(),
            last: true,
            address: InputAddress::new(0xffff_8000_1234_5000),
            read: true,
            write: false,
            execute: true,
            privileged: true,
        };
        let vectors = [
            (request, 0xdc0a_bcde_dead_beef),
            (
                PriRequest {
                    substream: None,
                    last: false,
                    write: true,
                    execute: false,
                    privileged: false,
                    ..request
                },
                0x3000_0000_dead_beef,
            ),
            // LWR is 0b100, but there is no substream: not a marker.
            (
                PriRequest {
                    substream: None,
                    read: false,
                    execute: false,
                    privileged: false,
                    ..request
                },
                0x4000_0000_dead_beef,
            ),
        ];
        for (request, first) in vectors {
            let record = PriRecord::from_words([first, 0xffff_8000_1234_51ab]);
            assert_eq!(record.decode(), PriMessage::Request(request));
            assert_eq!(PriMessage::Request(request).encode(), record);
            assert_eq!(PriRecord::from_bytes(&record.to_bytes()), record);
            assert_eq!(record.to_bytes()[..8], first.to_le_bytes());
        }
    }

    #[test]
    fn decoding_what_is_encoded_gives_the_message_for_any_words() {
        let mut random = Random::new(5);
        for _ in 0..200_000 {
            let record = PriRecord::from_words(random.words());
            let message = record.decode();
            assert_eq!(message.encode().decode(), message, "{record:?}");
        }
    }

    #[test]
    fn every_response_has_its_code() {
        for bits in 0..3 {
            assert_eq!(PriResponse::from_bits(bits).unwrap().bits(), bits);
        }
        assert_eq!(PriResponse::from_bits(3), None);
        assert_eq!(PriResponse::Failure.message_code(), 0xf);
    }
}
