//! Page requests of PCIe devices: what a remapping unit puts into the page request queue, and the
//! answers to them (7.4 to 7.6).

use core::fmt;

use crate::encoding::encoding;
use crate::field::Field;
use crate::record::in_memory;
use crate::{InputAddress, PageRequestGroup, Pasid, SourceId};

const TYPE: Field = Field::new(7, 0);
const PASID_PRESENT: Field = Field::bit(8);
const SOURCE: Field = Field::new(31, 16);
const PASID: Field = Field::new(51, 32);
const EXECUTE: Field = Field::bit(52);
const PRIVILEGED: Field = Field::bit(53);
const READ: Field = Field::bit(0);
const WRITE: Field = Field::bit(1);
const LAST: Field = Field::bit(2);
const GROUP: Field = Field::new(11, 3);
const ADDRESS: Field = Field::new(63, 12);

/// `page_req_dsc`, the only type there is.
const PAGE_REQUEST: u64 = 1;

/// An entry of the page request queue (`page_req_dsc`), as the four words that it has. Every bit is
/// kept.
///
/// The last two words were private data of the device's up to revision 3 of the document. Since then
/// they are reserved.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PageRequestRecord([u64; 4]);

in_memory!(PageRequestRecord, 4);

/// What an entry says cannot be told: it is not a page request. The type that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0:#04x} is not the type of a page request")]
pub struct BadPageRequest(pub u8);

impl PageRequestRecord {
    /// What it says. Bits that are reserved are not looked at.
    ///
    /// # Errors
    /// It is of another type.
    pub const fn decode(&self) -> Result<PageMessage, BadPageRequest> {
        let [first, second, ..] = self.0;
        if TYPE.get(first) != PAGE_REQUEST {
            return Err(BadPageRequest(TYPE.get(first) as u8));
        }
        let source = SourceId::new(SOURCE.get(first) as u16);
        let pasid = if PASID_PRESENT.is_set(first) {
            Some(Pasid::masked(PASID.get(first)))
        } else {
            None
        };
        let (last, write, read) = (
            LAST.is_set(second),
            WRITE.is_set(second),
            READ.is_set(second),
        );
        if let (true, false, false, Some(pasid)) = (last, write, read, pasid) {
            return Ok(PageMessage::StopMarker { source, pasid });
        }
        Ok(PageMessage::Request(PageRequest {
            source,
            pasid,
            group: PageRequestGroup::masked(GROUP.get(second)),
            last,
            address: InputAddress::new(second & ADDRESS.mask()),
            read,
            write,
            // Both are 0 where there is no PASID.
            execute: pasid.is_some() && EXECUTE.is_set(first),
            privileged: pasid.is_some() && PRIVILEGED.is_set(first),
        }))
    }
}

impl fmt::Debug for PageRequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PageRequestRecord({:#018x?}, {:?})",
            self.0,
            self.decode()
        )
    }
}

/// What an entry of the page request queue says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageMessage {
    /// A device asks for a page.
    Request(PageRequest),
    /// A device has stopped to use a PASID: no request of it comes after this. It is not answered.
    /// It has `LPIG` but neither `RD` nor `WR`, and a PASID.
    StopMarker {
        /// `RID`, bits 31:16 of the first word.
        source: SourceId,
        /// `PASID`, bits 51:32 of the first word.
        pasid: Pasid,
    },
}

/// A device asks for a page.
///
/// Without [`read`](Self::read) and [`write`](Self::write), but with [`last`](Self::last) and a
/// PASID, it is encoded as a [`PageMessage::StopMarker`]: devices do not ask so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// `RID`, bits 31:16 of the first word: the device.
    pub source: SourceId,
    /// `PASID`, bits 51:32 of the first word, if `PP`, bit 8, is 1.
    pub pasid: Option<Pasid>,
    /// `PRGI`, bits 11:3 of the second word: the group that it is of, which is answered as a whole.
    pub group: PageRequestGroup,
    /// `LPIG`, bit 2 of the second word: it is the last of its group.
    pub last: bool,
    /// The page, bits 63:12 of the second word.
    pub address: InputAddress,
    /// `RD`, bit 0 of the second word: to read.
    pub read: bool,
    /// `WR`, bit 1 of the second word: to write.
    pub write: bool,
    /// `EXR`, bit 52 of the first word: to execute. Not without a PASID.
    pub execute: bool,
    /// `PMR`, bit 53 of the first word: of the supervisor. Not without a PASID.
    pub privileged: bool,
}

impl PageMessage {
    /// Its entry. Every bit that is not of a field is 0.
    ///
    /// ```
    /// use vtd_types::{PageMessage, Pasid, SourceId};
    ///
    /// let marker = PageMessage::StopMarker {
    ///     source: SourceId::new(0x18),
    ///     pasid: Pasid::new(5).unwrap(),
    /// };
    /// assert_eq!(marker.encode().words(), [0x0000_0005_0018_0101, 4, 0, 0]);
    /// ```
    #[must_use]
    pub const fn encode(&self) -> PageRequestRecord {
        let [first, second] = match *self {
            Self::Request(request) => request.words(),
            Self::StopMarker { source, pasid } => [requester(source, Some(pasid)), LAST.put(0, 1)],
        };
        PageRequestRecord([first, second, 0, 0])
    }
}

impl PageRequest {
    const fn words(&self) -> [u64; 2] {
        let first = requester(self.source, self.pasid);
        let first = if self.pasid.is_some() {
            PRIVILEGED.put(
                EXECUTE.put(first, self.execute as u64),
                self.privileged as u64,
            )
        } else {
            first
        };
        let second = self.address.get() & ADDRESS.mask();
        let second = READ.put(second, self.read as u64);
        let second = WRITE.put(second, self.write as u64);
        let second = LAST.put(second, self.last as u64);
        [first, GROUP.put(second, self.group.get() as u64)]
    }
}

const fn requester(source: SourceId, pasid: Option<Pasid>) -> u64 {
    let word = SOURCE.put(PAGE_REQUEST, source.get() as u64);
    match pasid {
        Some(pasid) => PASID_PRESENT.put(PASID.put(word, pasid.get() as u64), 1),
        None => word,
    }
}

encoding! {
    /// How a page request group is answered: the response code of `page_grp_resp_dsc` (7.6), which
    /// the device is sent. Others are reserved.
    pub enum PageResponse {
        /// All pages of the group are there.
        Success = 0b0000,
        /// A page of the group could not be paged in.
        InvalidRequest = 0b0001,
        /// Nothing can be paged in for this device, now or later.
        Failure = 0b1111,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn vectors() {
        // By hand: type 7:0, PP 8, RID 31:16, PASID 51:32, EXR 52, PMR 53; RD 0, WR 1, LPIG 2,
        // PRGI 11:3, address 63:12.
        let request = PageRequest {
            source: SourceId::new(0x3afe),
            pasid: Pasid::new(0xa_bcde),
            group: PageRequestGroup::new(0x1ab).unwrap(),
            last: true,
            address: InputAddress::new(0xffff_8000_1234_5000),
            read: true,
            write: false,
            execute: true,
            privileged: true,
        };
        let vectors = [
            (request, [0x003a_bcde_3afe_0101, 0xffff_8000_1234_5d5d]),
            (
                PageRequest {
                    pasid: None,
                    last: false,
                    write: true,
                    execute: false,
                    privileged: false,
                    ..request
                },
                [0x0000_0000_3afe_0001, 0xffff_8000_1234_5d5b],
            ),
            // LPIG alone, but there is no PASID: not a marker.
            (
                PageRequest {
                    pasid: None,
                    read: false,
                    execute: false,
                    privileged: false,
                    ..request
                },
                [0x0000_0000_3afe_0001, 0xffff_8000_1234_5d5c],
            ),
        ];
        for (request, [first, second]) in vectors {
            let record = PageRequestRecord::from_words([first, second, 0, 0]);
            assert_eq!(record.decode(), Ok(PageMessage::Request(request)));
            assert_eq!(PageMessage::Request(request).encode(), record);
            assert_eq!(PageRequestRecord::from_bytes(&record.to_bytes()), record);
            assert_eq!(record.to_bytes()[..8], first.to_le_bytes());
        }
    }

    #[test]
    fn only_one_type_is_a_page_request() {
        for number in 0..=u8::MAX {
            let record = PageRequestRecord::from_words([number.into(), 0, 0, 0]);
            assert_eq!(record.decode().is_ok(), number == 1);
            if number != 1 {
                assert_eq!(record.decode(), Err(BadPageRequest(number)));
            }
        }
    }

    #[test]
    fn decoding_what_is_encoded_gives_the_message_for_any_words() {
        let mut random = Random::new(5);
        for _ in 0..200_000 {
            let [first, rest @ ..]: [u64; 4] = random.words();
            let [second, third, fourth] = rest;
            let record = PageRequestRecord::from_words([first & !0xff | 1, second, third, fourth]);
            let message = record.decode().unwrap();
            assert_eq!(message.encode().decode(), Ok(message), "{record:?}");
        }
    }

    #[test]
    fn every_response_has_its_code() {
        for bits in 0..16 {
            match PageResponse::decode("RC", bits) {
                Ok(response) => assert_eq!(u64::from(response.bits()), bits),
                Err(reserved) => assert_eq!(reserved.value(), bits),
            }
        }
        assert_eq!(PageResponse::ALL.len(), 3);
    }
}
