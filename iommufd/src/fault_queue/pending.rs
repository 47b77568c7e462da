//! The page requests that were read and not answered, and who may answer which.
//!
//! The kernel names a group by a cookie, which is free again when the group is answered. It answers
//! groups by itself, too, when their device is detached or moved, and tells nobody. So a cookie may
//! come again while somebody still has the value of the group that had it before.

use std::collections::hash_map::Entry;

use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

use super::request::{PageResponse, Record, Requests, Spare};
use crate::by_number::ByNumber;
use crate::cause;
use crate::error::{Error, KernelError, Result};

/// How many records are read at once, before a group needs more.
const USUAL: usize = 64;
/// The most records that are read at once: 40 MiB.
const MOST: usize = 1 << 20;

const READ: &str = "read of a fault queue";
const WRITE: &str = "write of a page response";

/// The right to answer one group. The kernel may have answered it already.
#[derive(Debug)]
pub(crate) struct Ticket {
    cookie: u32,
    serial: u64,
}

/// A group that was read.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) ticket: Ticket,
    /// The kernel's id of the device.
    pub(crate) device: u32,
    pub(crate) requests: Requests,
}

/// What a queue has to remember between its reads and the answers.
///
/// # Invariants
/// `live` has, for every cookie, the ticket of the group that was the last to be read with it, until
/// that one is answered. So a ticket that is not in it answers nobody.
#[derive(Debug)]
pub(crate) struct Pending {
    live: ByNumber<u32, u64>,
    /// The serial of the last ticket; none is used twice.
    last: u64,
    buffer: Vec<Record>,
    spare: Spare,
    /// What was wrong with something that was read, to be told when nothing has to be delivered.
    flaw: Option<&'static str>,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            live: ByNumber::default(),
            last: 0,
            buffer: vec![Record::new_zeroed(); USUAL],
            spare: Spare::new(),
            flaw: None,
        }
    }

    /// Reads groups by one `read`, and hands each to `deliver`. Says how many there were.
    ///
    /// A group that makes no sense is answered by `write` and not delivered. An error that comes
    /// beside groups is kept for the next call.
    pub(crate) fn read(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
        mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
        mut deliver: impl FnMut(Arrival),
    ) -> Result<usize> {
        if let Some(flaw) = self.flaw.take() {
            return Err(malformed(flaw));
        }
        let bytes = fill(&mut self.buffer, &mut read)?;
        let whole = bytes / size_of::<Record>();
        if whole > self.buffer.len() || !bytes.is_multiple_of(size_of::<Record>()) {
            self.flaw = Some("a page request is cut off");
        }
        let mut count = 0_usize;
        let records = self.buffer.get(..whole).unwrap_or(&self.buffer);
        for group in records.chunk_by(|one, next| one.cookie == next.cookie) {
            let Some(&Record { cookie, dev_id, .. }) = group.first() else {
                continue;
            };
            // Whoever had the cookie before has been answered, or the kernel could not give it away.
            let ticket = admit(&mut self.live, &mut self.last, cookie);
            match Requests::of(group, &mut self.spare) {
                Ok(requests) => {
                    count = count.saturating_add(1);
                    deliver(Arrival {
                        ticket,
                        device: dev_id,
                        requests,
                    });
                }
                Err(flaw) => {
                    self.flaw = Some(flaw);
                    // The device shall not wait for ever. If it cannot be told, detaching it will.
                    answer(&mut self.live, &ticket, PageResponse::Invalid, &mut write).ok();
                    self.live.remove(&cookie);
                }
            }
        }
        match self.flaw.take_if(|_| count == 0) {
            None => Ok(count),
            Some(flaw) => Err(malformed(flaw)),
        }
    }

    /// Answers the group of `ticket` by `write`.
    ///
    /// After [`Error::RequestGone`] and success the ticket is used up; after any other error it is
    /// as good as before.
    pub(crate) fn answer(
        &mut self,
        ticket: &Ticket,
        response: PageResponse,
        write: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<()> {
        answer(&mut self.live, ticket, response, write)
    }

    /// Keeps the memory of requests that are done with.
    pub(crate) fn recycle(&mut self, requests: Requests) {
        self.spare.give(requests);
    }
}

/// Makes a ticket for a cookie that the kernel has just handed out. One that another ticket had
/// before, it has no more.
fn admit(live: &mut ByNumber<u32, u64>, last: &mut u64, cookie: u32) -> Ticket {
    *last = last.wrapping_add(1);
    let serial = *last;
    live.insert(cookie, serial);
    Ticket { cookie, serial }
}

fn answer(
    live: &mut ByNumber<u32, u64>,
    ticket: &Ticket,
    response: PageResponse,
    mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<()> {
    let Entry::Occupied(entry) = live.entry(ticket.cookie) else {
        return Err(Error::RequestGone);
    };
    if *entry.get() != ticket.serial {
        return Err(Error::RequestGone);
    }
    let message = sys::iommu_hwpt_page_response {
        cookie: ticket.cookie,
        code: response.code(),
    };
    let refused = match write(message.as_bytes()) {
        Ok(len) if len == size_of_val(&message) => {
            entry.remove();
            return Ok(());
        }
        // The code is one that the kernel knows, so it is the cookie that it does not.
        Err(Errno::INVAL) => {
            entry.remove();
            return Err(Error::RequestGone);
        }
        Ok(_) => Errno::IO,
        Err(errno) => errno,
    };
    Err(KernelError::new(WRITE, refused, cause::of_page_response(refused)).into())
}

/// Fills the buffer by one successful read, and says how many bytes there were. The buffer grows
/// until the first group fits.
fn fill(
    buffer: &mut Vec<Record>,
    read: &mut impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize> {
    let refused = loop {
        match read(buffer.as_mut_slice().as_mut_bytes()) {
            Ok(bytes) => return Ok(bytes),
            Err(Errno::INVAL) if buffer.len() < MOST => {
                let more = buffer.len().max(1);
                if buffer.try_reserve_exact(more).is_err() {
                    break Errno::NOMEM;
                }
                buffer.extend(std::iter::repeat_n(Record::new_zeroed(), more));
            }
            Err(errno) => break errno,
        }
    };
    Err(KernelError::new(READ, refused, cause::of_fault_read(refused)).into())
}

fn malformed(reason: &'static str) -> Error {
    Error::MalformedAnswer {
        operation: READ,
        reason,
    }
}

/// Plays a kernel that hands out the bytes of `reads`, as far as they fit, and takes every answer. Answers what was
/// delivered as soon as `keeps` have been delivered after it, and says how many groups there were.
#[cfg(fuzzing)]
pub(crate) fn deliver_reads(reads: &[&[u8]], keeps: usize) -> usize {
    let (mut pending, mut groups) = (Pending::new(), std::collections::VecDeque::new());
    let mut count = 0;
    for bytes in reads {
        let answer = |buffer: &mut [u8]| {
            if bytes.len() > buffer.len() {
                return Err(Errno::INVAL);
            }
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        };
        let read = pending.read(
            answer,
            |response| Ok(response.len()),
            |group| groups.push_back(group),
        );
        count += read.unwrap_or(0);
        while groups.len() > keeps {
            let Some(Arrival {
                ticket, requests, ..
            }) = groups.pop_front()
            else {
                break;
            };
            assert!(!requests.is_empty());
            let first =
                pending.answer(
                    &ticket,
                    PageResponse::Success,
                    |response| Ok(response.len()),
                );
            let again = pending.answer(&ticket, PageResponse::Success, |_| {
                unreachable!("it was answered, or its cookie is another's")
            });
            assert!(first.is_ok() || matches!(first, Err(Error::RequestGone)));
            assert!(matches!(again, Err(Error::RequestGone)));
            pending.recycle(requests);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use zerocopy::FromBytes;

    use crate::address::Iova;
    use crate::fault_queue::Permissions;

    const LAST: u32 = sys::IOMMU_PGFAULT_FLAGS_LAST_PAGE;
    const PASID: u32 = sys::IOMMU_PGFAULT_FLAGS_PASID_VALID;

    /// The kernel's side of a queue.
    #[derive(Default)]
    struct Kernel {
        waiting: Vec<Vec<Record>>,
        /// The answers, by cookie; none yet, for those that have been handed out.
        handed_out: BTreeMap<u32, Option<u32>>,
        reads: usize,
    }

    impl Kernel {
        /// Hands out whole groups, as many as fit.
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
            self.reads += 1;
            let mut len = 0;
            while let Some(group) = self.waiting.first() {
                let bytes = group.as_slice().as_bytes();
                let Some(place) = buffer.get_mut(len..len + bytes.len()) else {
                    break;
                };
                place.copy_from_slice(bytes);
                len += bytes.len();
                self.handed_out.insert(group[0].cookie, None);
                self.waiting.remove(0);
            }
            match (len, self.waiting.is_empty()) {
                (0, false) => Err(Errno::INVAL),
                _ => Ok(len),
            }
        }

        fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
            let answer = sys::iommu_hwpt_page_response::read_from_bytes(bytes).unwrap();
            match self.handed_out.get_mut(&answer.cookie) {
                Some(place @ None) => *place = Some(answer.code),
                _ => return Err(Errno::INVAL),
            }
            Ok(bytes.len())
        }
    }

    fn record(cookie: u32, flags: u32) -> Record {
        let mut record = Record::new_zeroed();
        record.cookie = cookie;
        record.flags = flags;
        record
    }

    fn group(cookie: u32, len: usize) -> Vec<Record> {
        let mut group = vec![record(cookie, 0); len];
        for (page, record) in (1..).zip(&mut group) {
            record.addr = page * 4096;
        }
        group.last_mut().unwrap().flags |= LAST;
        group
    }

    struct Queue {
        kernel: RefCell<Kernel>,
        pending: Pending,
    }

    impl Queue {
        fn of(waiting: Vec<Vec<Record>>) -> Self {
            Self {
                kernel: RefCell::new(Kernel {
                    waiting,
                    ..Kernel::default()
                }),
                pending: Pending::new(),
            }
        }

        fn read(&mut self) -> Result<Vec<Arrival>> {
            let mut arrivals = Vec::new();
            let count = self.pending.read(
                |buffer| self.kernel.borrow_mut().read(buffer),
                |bytes| self.kernel.borrow_mut().write(bytes),
                |arrival| arrivals.push(arrival),
            )?;
            assert_eq!(count, arrivals.len());
            Ok(arrivals)
        }

        fn answer(&mut self, ticket: &Ticket) -> Result<()> {
            let kernel = self.kernel.get_mut();
            self.pending
                .answer(ticket, PageResponse::Success, |bytes| kernel.write(bytes))
        }

        fn told(&self, cookie: u32) -> Option<PageResponse> {
            match self.kernel.borrow().handed_out[&cookie]? {
                sys::IOMMUFD_PAGE_RESP_SUCCESS => Some(PageResponse::Success),
                sys::IOMMUFD_PAGE_RESP_INVALID => Some(PageResponse::Invalid),
                code => panic!("{code}"),
            }
        }
    }

    fn is_flaw<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::MalformedAnswer { .. }))
    }

    #[test]
    fn groups_are_delivered_whole_and_in_order() {
        let mut queue = Queue::of(vec![group(1, 1), group(2, 3), group(3, 2)]);
        let arrivals = queue.read().unwrap();
        let lens: Vec<_> = arrivals.iter().map(|group| group.requests.len()).collect();
        assert_eq!(lens, [1, 3, 2]);
        let pages: Vec<_> = arrivals[1].requests.iter().map(|r| r.address()).collect();
        assert_eq!(pages, [4096, 8192, 12288].map(Iova::new));
        for arrival in &arrivals {
            queue.answer(&arrival.ticket).unwrap();
            assert_eq!(
                queue.told(arrival.ticket.cookie),
                Some(PageResponse::Success)
            );
        }
        assert!(queue.pending.live.is_empty());
        assert!(queue.read().unwrap().is_empty());
    }

    #[test]
    fn the_buffer_grows_until_the_first_group_fits() {
        let mut queue = Queue::of(vec![group(1, 5 * USUAL), group(2, 1)]);
        let arrivals = queue.read().unwrap();
        assert_eq!(arrivals[0].requests.len(), 5 * USUAL);
        assert_eq!(arrivals.len(), 2);
        let reads = queue.kernel.borrow().reads;
        assert_eq!(reads, 4, "1, 2, 4 and 8 times as much");
        queue.read().unwrap();
        assert_eq!(queue.kernel.borrow().reads, reads + 1);
    }

    #[test]
    fn what_does_not_fit_waits_for_the_next_read() {
        let mut queue = Queue::of(vec![group(1, USUAL - 1), group(2, 2)]);
        assert_eq!(queue.read().unwrap().len(), 1);
        assert_eq!(queue.read().unwrap().len(), 1);
    }

    #[test]
    fn a_kernel_to_which_every_buffer_is_too_small_is_not_asked_for_ever() {
        let mut pending = Pending::new();
        let mut most = 0;
        let error = pending.read(
            |buffer| {
                most = most.max(buffer.len());
                Err(Errno::INVAL)
            },
            |_| unreachable!("there is nothing to answer"),
            |_| unreachable!("there is nothing to deliver"),
        );
        assert_eq!(error.unwrap_err().errno(), Some(Errno::INVAL));
        assert_eq!(most, MOST * size_of::<Record>());
    }

    #[test]
    fn a_refused_read_is_named_and_takes_nothing() {
        let mut queue = Queue::of(vec![group(1, 1)]);
        let error = queue.pending.read(
            |_| Err(Errno::NOMEM),
            |_| unreachable!("there is nothing to answer"),
            |_| unreachable!("there is nothing to deliver"),
        );
        assert_eq!(error.unwrap_err().errno(), Some(Errno::NOMEM));
        assert_eq!(queue.read().unwrap().len(), 1);
    }

    #[test]
    fn a_request_says_what_the_device_asks_for() {
        let mut one = record(1, LAST | PASID | 4);
        one.addr = 0x1234_5000;
        one.perm = sys::IOMMU_PGFAULT_PERM_WRITE | sys::IOMMU_PGFAULT_PERM_PRIV | 0x100;
        one.pasid = 7;
        one.grpid = 9;
        one.dev_id = 11;
        let zero = record(2, LAST | PASID);
        let mut none = record(3, LAST);
        // Not to be read: no PASID is said to be there.
        none.pasid = u32::MAX;
        let arrivals = Queue::of(vec![vec![one], vec![zero], vec![none]])
            .read()
            .unwrap();
        assert_eq!(arrivals[0].device, 11);
        let [request] = *arrivals[0].requests else {
            panic!("{arrivals:?}");
        };
        assert_eq!(request.address(), Iova::new(0x1234_5000));
        let wanted = Permissions::WRITE | Permissions::PRIVILEGED;
        assert_eq!(
            request.permissions(),
            wanted | Permissions::from_bits_retain(0x100)
        );
        assert_eq!(request.pasid().map(u32::from), Some(7));
        assert_eq!(request.group().get(), 9);
        let pasids = arrivals
            .iter()
            .map(|arrival| arrival.requests[0])
            .map(|request| (request.carries_pasid(), request.pasid().is_some()))
            .collect::<Vec<_>>();
        assert_eq!(pasids, [(true, true), (true, false), (false, false)]);
    }

    #[test]
    fn a_cookie_that_comes_again_is_only_the_new_ones() {
        let mut queue = Queue::of(vec![group(1, 1)]);
        let old = queue.read().unwrap().remove(0);
        // The device was detached and attached, and has asked for something else.
        queue.kernel.borrow_mut().waiting.push(group(1, 1));
        let new = queue.read().unwrap().remove(0);
        assert!(matches!(queue.answer(&old.ticket), Err(Error::RequestGone)));
        assert_eq!(queue.told(1), None);
        queue.answer(&new.ticket).unwrap();
        assert_eq!(queue.told(1), Some(PageResponse::Success));
    }

    #[test]
    fn a_late_answer_is_told_from_a_refused_one() {
        let mut queue = Queue::of(vec![group(1, 1)]);
        let arrival = queue.read().unwrap().remove(0);
        let refusals = [
            (Err(Errno::FAULT), Some(Errno::FAULT)),
            (Ok(4), Some(Errno::IO)),
            (Err(Errno::INVAL), None),
            // Now the kernel is not even asked.
            (Ok(8), None),
        ];
        for (answer, errno) in refusals {
            let response = PageResponse::Invalid;
            let error = queue
                .pending
                .answer(&arrival.ticket, response, |_| answer)
                .unwrap_err();
            assert_eq!(error.errno(), errno);
            assert_eq!(matches!(error, Error::RequestGone), errno.is_none());
        }
    }

    #[test]
    fn a_malformed_group_is_refused_and_the_others_are_delivered() {
        let unended = vec![record(2, 0), record(2, 0)];
        let ended_twice = vec![record(2, LAST), record(2, LAST)];
        let mut of_two_devices = group(2, 2);
        of_two_devices[1].dev_id = 1;
        let mut of_two_groups = group(2, 2);
        of_two_groups[0].grpid = 1;
        let mut wide_pasid = group(2, 2);
        wide_pasid[1].flags |= PASID;
        wide_pasid[1].pasid = 1 << 20;
        for malformed in [
            unended,
            ended_twice,
            of_two_devices,
            of_two_groups,
            wide_pasid,
        ] {
            let mut queue = Queue::of(vec![group(1, 1), malformed, group(3, 2)]);
            let arrivals = queue.read().unwrap();
            assert_eq!(arrivals.len(), 2);
            assert_eq!(queue.told(2), Some(PageResponse::Invalid));
            assert!(is_flaw(queue.read()), "told when nothing is delivered");
            assert!(queue.read().unwrap().is_empty(), "and once");
            assert_eq!(queue.pending.live.len(), 2);
            for arrival in &arrivals {
                queue.answer(&arrival.ticket).unwrap();
            }
        }
    }

    #[test]
    fn a_malformed_group_alone_is_an_error() {
        let mut queue = Queue::of(vec![vec![record(1, 0)]]);
        assert!(is_flaw(queue.read()));
        assert!(queue.read().unwrap().is_empty());
    }

    #[test]
    fn a_read_that_ends_within_a_request_delivers_those_before() {
        // A length that is not a whole number of records, and one beyond the buffer.
        for (cut, whole) in [(100, 2), (usize::MAX, USUAL)] {
            let mut pending = Pending::new();
            let mut arrivals = Vec::new();
            let count = pending.read(
                |buffer| {
                    for (cookie, place) in (1..).zip(buffer.chunks_exact_mut(size_of::<Record>())) {
                        place.copy_from_slice(record(cookie, LAST).as_bytes());
                    }
                    Ok(cut)
                },
                |_| unreachable!("there is nothing to refuse"),
                |arrival| arrivals.push(arrival),
            );
            assert_eq!(count.unwrap(), whole);
            let next = pending.read(|_| Ok(0), |_| Ok(8), |_| ());
            assert!(is_flaw(next));
        }
    }

    #[test]
    fn groups_use_the_memory_of_earlier_ones() {
        let mut queue = Queue::of(Vec::new());
        let mut places = Vec::new();
        for _ in 0..3 {
            queue.kernel.borrow_mut().waiting = vec![group(1, 100), group(2, 1)];
            for arrival in queue.read().unwrap() {
                queue.answer(&arrival.ticket).unwrap();
                if let Requests::Many(list) = &arrival.requests {
                    places.push(list.as_ptr());
                }
                queue.pending.recycle(arrival.requests);
            }
        }
        assert_eq!(places.len(), 3, "the others need none");
        assert!(places.iter().all(|place| *place == places[0]));
    }
}
