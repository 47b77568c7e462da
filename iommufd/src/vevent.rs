//! What happens in a virtual IOMMU.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Error, KernelError, Refused, Result};
use crate::event_queue::{ClosedQueue, EventQueue};
use crate::format::{Event, Reports, ViommuKind};
use crate::funnel;
use crate::nest_parent::NestParent;
use crate::viommu::{Viommu, ViommuInner};

/// A queue of what happens in a virtual IOMMU and concerns the guest, such as a translation that
/// failed by the guest's tables.
///
/// What happens while there is no queue is only written to the host's log. So make it together with
/// the virtual IOMMU, by [`Viommu::with_events`], or at least before a device is attached to the
/// guest's tables. There is one queue of each type at most.
///
/// Reading never waits: an empty queue gives nothing. [`wait`](Self::wait) waits, or any poller
/// does, of the file that [`AsFd`] lends: ready to be read means that there are events.
///
/// It holds the virtual IOMMU. Dropping it closes the file and destroys the queue, with the events
/// that nobody has read.
///
/// # System calls
/// `IOMMU_VEVENTQ_ALLOC`, `read`, `poll`, `close` and `IOMMU_DESTROY`.
///
/// Since Linux 6.15.
#[doc(alias = "IOMMU_VEVENTQ_ALLOC")]
#[must_use = "dropping a queue destroys it, and its events are lost"]
pub struct VEventQueue<E: Event> {
    // The order matters: the kernel destroys no virtual IOMMU that has a queue.
    queue: EventQueue,
    viommu: Arc<ViommuInner>,
    parser: Parser,
    /// What is read into; its length is what fits.
    buffer: Vec<u8>,
    /// How many reads empty a full queue.
    reads: u32,
    _event: PhantomData<E>,
}

/// What comes out of a queue of events, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VEvent<E> {
    /// An event.
    Event(E),
    /// So many events are missing here: the queue was full.
    Lost(u32),
}

impl<E: Event> VEventQueue<E> {
    /// A queue of `viommu` for at most `depth` events that nobody has read yet, from 1 to 524288.
    ///
    /// # Errors
    /// `EEXIST`: there is a queue of this type already; `EINVAL`: such a depth is not possible;
    /// `EMFILE`: too many open files; `ENOMEM`; [`Error::Unsupported`] before Linux 6.15;
    /// [`Error::Forked`].
    pub fn new<V: ViommuKind + Reports<E>>(viommu: &Viommu<V>, depth: u32) -> Result<Self> {
        let iommufd = viommu.iommufd();
        let mut arg = sys::iommu_veventq_alloc::sized();
        arg.viommu_id = viommu.inner().id();
        arg.type_ = E::QUEUE_TYPE;
        arg.veventq_depth = depth;
        let context = iommufd.context();
        let file = context.checked(&nr::VEVENTQ_ALLOC, &mut context.notices(), |fd| {
            funnel::veventq_alloc(fd, &mut arg)
        })?;
        Ok(Self {
            queue: EventQueue::new(iommufd, arg.out_veventq_id, file, KIND),
            viommu: Arc::clone(viommu.inner()),
            parser: Parser::default(),
            buffer: vec![0; AT_ONCE as usize * entry_len::<E>()],
            reads: depth / AT_ONCE + 1,
            _event: PhantomData,
        })
    }

    /// What has happened since the last time; nothing if that is so. At most what a full queue
    /// holds: what comes in while this is read may be left for the next time.
    ///
    /// # Errors
    /// `ENOMEM`: nothing is lost; [`Error::MalformedAnswer`]: the kernel's events are not of this type;
    /// [`Error::Forked`].
    pub fn read(&mut self) -> Result<Vec<VEvent<E>>> {
        let mut events = Vec::new();
        self.read_into(&mut events)?;
        Ok(events)
    }

    /// As [`read`](Self::read), appended to `events`: a vector that is used again makes for a loop
    /// that allocates nothing. Says how many there were.
    ///
    /// # Errors
    /// As for [`read`](Self::read), with nothing appended.
    pub fn read_into(&mut self, events: &mut Vec<VEvent<E>>) -> Result<usize> {
        self.iommufd().check_process()?;
        let before = events.len();
        // No more often: a guest that makes events faster than they are read could keep this going
        // for ever.
        for _ in 0..self.reads {
            match self.read_once(events) {
                Ok(true) => {}
                Ok(false) => break,
                // What was read is told first; an error that stays comes again.
                Err(_) if events.len() > before => break,
                Err(error) => return Err(error),
            }
        }
        Ok(events.len() - before)
    }

    /// Whether there may be more.
    fn read_once(&mut self, events: &mut Vec<VEvent<E>>) -> Result<bool> {
        let read = self
            .queue
            .file()
            .read(&mut self.buffer)
            .map_err(|errno| KernelError::new(READ, errno, cause_of_read(errno)))?;
        let bytes = self.buffer.get(..read).unwrap_or_default();
        self.parser.parse(bytes, events)?;
        // A read that leaves room for another event has emptied the queue.
        Ok(self.buffer.len() - bytes.len() < entry_len::<E>())
    }

    /// Waits until there is something to read, and says whether there is; not when the time is
    /// over, which without a `timeout` it never is.
    ///
    /// # Errors
    /// `ENOMEM`; [`Error::Forked`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        self.queue.wait(timeout)
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.queue.iommufd()
    }

    /// Closes the queue's file. What is then left is to be destroyed, which the kernel refuses as
    /// long as somebody has a duplicate of the file:
    ///
    /// ```no_run
    /// # fn example<E: iommufd::format::Event>(queue: iommufd::VEventQueue<E>) -> iommufd::Result<()> {
    /// queue.try_close()?.try_destroy()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The queue, in a child of a fork: [`Error::Forked`].
    #[expect(
        clippy::result_large_err,
        reason = "a queue is a value that comes back as it is"
    )]
    pub fn try_close(self) -> Result<ClosedQueue, Refused<Self>> {
        match self.iommufd().check_process() {
            Ok(()) => Ok(self.queue.close().of(self.viommu)),
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}

impl<V: ViommuKind<Data = ()>> Viommu<V> {
    /// A virtual IOMMU, as [`new`](Self::new) makes it, and the queue of what happens in it, as
    /// [`VEventQueue::new`] does: nothing can happen before there is a queue. If the queue cannot be
    /// made, the virtual IOMMU does not stay either.
    ///
    /// ```no_run
    /// # use iommufd::format::{Event, Reports, ViommuKind};
    /// # fn example<V: ViommuKind<Data = ()> + Reports<E>, E: Event>(
    /// #     parent: &iommufd::NestParent,
    /// #     device: &iommufd::Device,
    /// # ) -> iommufd::Result<()> {
    /// use iommufd::Viommu;
    ///
    /// let (viommu, mut events) = Viommu::<V>::with_events::<E>(parent, device, 1024)?;
    /// // Virtual devices and nested tables are made of it, and devices attached; then:
    /// while events.wait(None)? {
    ///     println!("{:?}", events.read()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # System calls
    /// `IOMMU_VIOMMU_ALLOC` and `IOMMU_VEVENTQ_ALLOC`.
    ///
    /// Since Linux 6.15.
    ///
    /// # Errors
    /// As for [`new`](Self::new) and [`VEventQueue::new`].
    pub fn with_events<E: Event>(
        parent: &NestParent,
        device: &Device,
        depth: u32,
    ) -> Result<(Self, VEventQueue<E>)>
    where
        V: Reports<E>,
    {
        Self::with_data_and_events(parent, device, (), depth)
    }
}

impl<V: ViommuKind> Viommu<V> {
    /// As [`with_events`](Self::with_events), of a kind of which the kernel is told something: see
    /// [`with_data`](Self::with_data).
    ///
    /// # Errors
    /// As for [`with_data`](Self::with_data) and [`VEventQueue::new`].
    pub fn with_data_and_events<E: Event>(
        parent: &NestParent,
        device: &Device,
        data: V::Data,
        depth: u32,
    ) -> Result<(Self, VEventQueue<E>)>
    where
        V: Reports<E>,
    {
        let viommu = Self::with_data(parent, device, data)?;
        let events = VEventQueue::new(&viommu, depth)?;
        Ok((viommu, events))
    }
}

const KIND: &str = "event queue";
const READ: &str = "read of an event queue";

/// How many events are read at once.
const AT_ONCE: u32 = 64;

/// The length of an event with its header, in bytes.
const fn entry_len<E>() -> usize {
    size_of::<sys::iommufd_vevent_header>() + size_of::<E>()
}

fn cause_of_read(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "the kernel's events are longer than the queue's type says",
        Errno::NOMEM => "the kernel is out of memory; the events stay in the queue",
        _ => "the events could not be read",
    }
}

/// Lends the file, for a poller to wait for events.
impl<E: Event> AsFd for VEventQueue<E> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl<E: Event> fmt::Debug for VEventQueue<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VEventQueue")
            .field("id", &self.queue.id())
            .field("viommu", &self.viommu.id())
            .finish_non_exhaustive()
    }
}

fn malformed() -> Error {
    Error::MalformedAnswer {
        operation: READ,
        reason: "an event is cut off, or of an unknown form",
    }
}

/// Takes the kernel's stream apart, and finds out what is missing in it.
///
/// Every event has a number, whether or not there was room for it. A header without an event, at
/// the end, has the number of the last one that there was no room for.
#[derive(Debug, Default)]
struct Parser {
    /// The number that comes next if none is missing.
    next: u32,
}

impl Parser {
    /// Numbers are from 0 to the largest `i32`, and then from 0 again.
    const MASK: u32 = i32::MAX.unsigned_abs();

    /// Appends what `bytes` tell. What cannot be understood after something that could is left
    /// out: it is missing in the numbers, and so it will be told as lost.
    fn parse<E: Event>(&mut self, mut bytes: &[u8], events: &mut Vec<VEvent<E>>) -> Result<()> {
        let mut first = true;
        while !bytes.is_empty() {
            match self.entry(bytes, events) {
                Some(rest) => bytes = rest,
                None if first => return Err(malformed()),
                None => return Ok(()),
            }
            first = false;
        }
        Ok(())
    }

    fn entry<'b, E: Event>(
        &mut self,
        bytes: &'b [u8],
        events: &mut Vec<VEvent<E>>,
    ) -> Option<&'b [u8]> {
        let (header, rest) = sys::iommufd_vevent_header::read_from_prefix(bytes).ok()?;
        if header.sequence > Self::MASK {
            return None;
        }
        // How many numbers were passed over.
        let missing = header.sequence.wrapping_sub(self.next) & Self::MASK;
        let (lost, event, rest) = match header.flags {
            0 => {
                let (event, rest) = E::read_from_prefix(rest).ok()?;
                (missing, Some(event), rest)
            }
            // This number is a lost event's, too.
            sys::IOMMU_VEVENTQ_FLAG_LOST_EVENTS => (missing.saturating_add(1), None, rest),
            _ => return None,
        };
        self.next = header.sequence.wrapping_add(1) & Self::MASK;
        if lost > 0 {
            events.push(VEvent::Lost(lost));
        }
        events.extend(event.map(VEvent::Event));
        Some(rest)
    }
}

/// Takes apart what `reads` have brought, one after the other.
#[cfg(fuzzing)]
pub(crate) fn parse_reads<E: Event>(reads: &[&[u8]]) -> Vec<VEvent<E>> {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    for bytes in reads {
        let before = events.len();
        if parser.parse(bytes, &mut events).is_err() {
            assert_eq!(events.len(), before, "an error, and events as well");
        }
        assert!(parser.next <= Parser::MASK);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use VEvent::{Event as Happened, Lost};

    impl Event for u64 {
        const QUEUE_TYPE: u32 = 77;
    }

    /// The stream of headers, each with its event if it has one.
    fn stream(entries: &[(u32, u32, Option<u64>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (flags, sequence, event) in entries {
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend(event.iter().flat_map(|event| event.to_ne_bytes()));
        }
        bytes
    }

    fn parsed(parser: &mut Parser, bytes: &[u8]) -> Vec<VEvent<u64>> {
        let mut events = Vec::new();
        parser.parse(bytes, &mut events).unwrap();
        events
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        let bytes = stream(&[(0, 0, Some(10)), (0, 1, Some(11))]);
        let mut parser = Parser::default();
        assert_eq!(parsed(&mut parser, &bytes), [Happened(10), Happened(11)]);
        assert_eq!(parsed(&mut parser, &[]), []);
    }

    #[test]
    fn a_gap_in_the_numbers_is_as_many_lost_events() {
        let bytes = stream(&[(0, 3, Some(10)), (0, 6, Some(11))]);
        let events = parsed(&mut Parser::default(), &bytes);
        assert_eq!(events, [Lost(3), Happened(10), Lost(2), Happened(11)]);
    }

    /// The header that tells of lost events has the number of one of them.
    #[test]
    fn p07_a_header_of_lost_events_counts_itself() {
        let mut parser = Parser::default();
        let bytes = stream(&[(0, 0, Some(10)), (1, 1, None)]);
        assert_eq!(parsed(&mut parser, &bytes), [Happened(10), Lost(1)]);
        let bytes = stream(&[(1, 4, None)]);
        assert_eq!(parsed(&mut parser, &bytes), [Lost(3)]);
        // What follows it directly has lost nothing more.
        let bytes = stream(&[(0, 5, Some(11))]);
        assert_eq!(parsed(&mut parser, &bytes), [Happened(11)]);
    }

    #[test]
    fn the_numbers_begin_again_after_the_largest() {
        let mut parser = Parser { next: Parser::MASK };
        let bytes = stream(&[(0, Parser::MASK, Some(10)), (0, 0, Some(11))]);
        assert_eq!(parsed(&mut parser, &bytes), [Happened(10), Happened(11)]);
        let mut parser = Parser { next: Parser::MASK };
        let bytes = stream(&[(1, 1, None)]);
        assert_eq!(parsed(&mut parser, &bytes), [Lost(3)]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_or_counted_as_lost() {
        let whole = stream(&[(0, 0, Some(10)), (0, 1, Some(11))]);
        for len in 0..whole.len() {
            let mut events = Vec::<VEvent<u64>>::new();
            let answer = Parser::default().parse(&whole[..len], &mut events);
            match len {
                0 => assert!(answer.is_ok() && events.is_empty()),
                1..16 => assert!(matches!(answer, Err(Error::MalformedAnswer { .. }))),
                _ => assert_eq!(events, [Happened(10)]),
            }
        }
        let mut parser = Parser::default();
        let mut events = Vec::<VEvent<u64>>::new();
        for unknown in [(2, 0, Some(1)), (3, 0, None), (0, 1 << 31, Some(1))] {
            assert!(parser.parse(&stream(&[unknown]), &mut events).is_err());
        }
        let bytes = stream(&[(0, 0, Some(10)), (2, 1, Some(11)), (0, 2, Some(12))]);
        assert_eq!(parsed(&mut parser, &bytes), [Happened(10)]);
        let bytes = stream(&[(0, 3, Some(13))]);
        assert_eq!(parsed(&mut parser, &bytes), [Lost(2), Happened(13)]);
    }
}
