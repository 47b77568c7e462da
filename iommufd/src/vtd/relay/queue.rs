//! The guest's invalidation queue.

use vtd_types::{
    BadDescriptor, BadOffset, DescriptorWords, EntrySize, Fsts, Gpa, Iqa, Iqercd, QueueError,
    QueueOffset, TableMode,
};

use super::context::read;
use super::descriptors::is_once_only;
use super::{GuestMemory, Host, NotFlushed, PendingWait, Relay, WaitSignal};

/// The registers of the guest's invalidation queue, lent to [`Relay::run`].
#[derive(Debug)]
pub struct InvalidationQueue<'r> {
    /// `IQA_REG`.
    pub iqa: Iqa,
    /// `IQT_REG`, as the guest has written it.
    pub tail: QueueOffset,
    /// `IQH_REG`, which is moved on. After an error it is at the descriptor.
    pub head: &'r mut QueueOffset,
    /// `FSTS_REG`: `IQE` is set after an error.
    pub status: &'r mut Fsts,
    /// `IQERCD_REG`, which says what the error is.
    pub error: &'r mut Iqercd,
}

/// What [`Relay::run`] has done.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it says how the guest is to be told"]
pub struct Ran {
    /// How the guest is to be told of the waits that are complete, in their order. They are.
    pub signals: Vec<WaitSignal>,
    /// Why it has come to an end.
    pub stop: Stop,
}

/// Why [`Relay::run`] has come to an end.
///
/// After [`Invalid`](Self::Invalid), [`Unreadable`](Self::Unreadable), [`Offset`](Self::Offset) and
/// [`Width`](Self::Width) `FSTS_REG.IQE` is set, of which the VMM raises the interrupt, and
/// `IQERCD_REG` says which it was. The queue stands still until the guest has cleared the former.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "there may be more to do"]
pub enum Stop {
    /// There is nothing more to take: the queue is empty, or off (`GSTS_REG.QIES`), or stopped by an
    /// error that the guest has not cleared (`FSTS_REG.IQE`).
    Idle,
    /// There is more to do: run it again, when others have had their turn.
    More,
    /// The descriptor at `IQH_REG` is invalid.
    Invalid(BadDescriptor),
    /// The descriptor at `IQH_REG` cannot be read.
    Unreadable,
    /// `IQT_REG` is not at a descriptor of the queue, or `IQH_REG` is not, as the guest has changed
    /// `IQA_REG` meanwhile.
    Offset(BadOffset),
    /// The queue is one of 128-bit descriptors, in scalable mode.
    Width,
    /// The wait at `IQH_REG` cannot be completed. Running the queue again tries it again; descriptors
    /// after it may then be carried out twice, which does no harm.
    NotFlushed(NotFlushed),
}

impl Stop {
    /// What `IQERCD_REG.IQEI` says of it.
    fn error(&self) -> Option<QueueError> {
        match self {
            Self::Idle | Self::More | Self::NotFlushed(_) => None,
            Self::Invalid(bad) => Some(bad.error()),
            Self::Unreadable => Some(QueueError::Fetch),
            Self::Offset(bad) => Some(bad.error()),
            Self::Width => Some(QueueError::Width),
        }
    }
}

impl<H: Host> Relay<H> {
    /// Takes descriptors from the guest's queue, in their order, and completes each wait when all
    /// before it is done. Nothing of a wait shows before: not its signal, nor the `IQH_REG` after it.
    ///
    /// So that one guest does not keep the thread for ever, it ends when it has done work of `most`:
    /// 1 for each descriptor, for each invalidation of a table that becomes of it, for each 64
    /// PASIDs that are looked at, and for each address space that is moved. What it has begun then it
    /// finishes: a descriptor, or 64 PASIDs. Waits that are in the queue together become complete by
    /// one flush.
    pub fn run(
        &mut self,
        queue: InvalidationQueue<'_>,
        memory: &(impl GuestMemory + ?Sized),
        most: usize,
    ) -> Ran {
        let InvalidationQueue {
            iqa,
            tail,
            head,
            status,
            error,
        } = queue;
        let mut signals = Vec::new();
        if status.iqe() || !self.registers.status.qies() {
            let stop = Stop::Idle;
            return Ran { signals, stop };
        }
        let stop = self.run_queue(iqa, tail, head, memory, most, &mut signals);
        if let Some(code) = stop.error() {
            *error = error.with_iqei(code);
            *status = status.with_iqe(true);
        }
        Ran { signals, stop }
    }

    fn run_queue(
        &mut self,
        iqa: Iqa,
        tail: QueueOffset,
        head: &mut QueueOffset,
        memory: &(impl GuestMemory + ?Sized),
        most: usize,
        signals: &mut Vec<WaitSignal>,
    ) -> Stop {
        let ring = iqa.ring(self.features.width());
        let mut indices = match ring.indices(*head, tail) {
            Ok(indices) => indices,
            Err(bad) => return Stop::Offset(bad),
        };
        let mut open = Vec::new();
        self.spent = 0;
        let stop = loop {
            if self.spent != 0 && self.spent >= most {
                let idle = indices.is_empty() && !self.is_searching();
                break if idle { Stop::Idle } else { Stop::More };
            }
            if self.is_searching() {
                // No descriptor is begun before the one before is through.
                self.go_on_searching(memory);
                continue;
            }
            let Some(address) = indices.first() else {
                break Stop::Idle;
            };
            let size = ring.entry_size();
            if size == EntrySize::Bytes16 && self.registers.mode() == TableMode::Scalable {
                break Stop::Width;
            }
            let Some(words) = fetch(memory, address, size) else {
                break Stop::Unreadable;
            };
            let descriptor = match self.decode(words) {
                Ok(descriptor) => descriptor,
                Err(bad) => break Stop::Invalid(bad),
            };
            if is_once_only(&descriptor)
                && let Err(not_flushed) = self.complete_all(&mut open, signals)
            {
                return Stop::NotFlushed(not_flushed);
            }
            let wait = self.carry_out(&descriptor, memory);
            if open.is_empty() {
                // From the first wait on, until it is complete, the guest sees it as the next.
                *head = indices.head();
            }
            open.extend(wait);
            indices.consume();
        };
        if let Err(not_flushed) = self.complete_all(&mut open, signals) {
            return Stop::NotFlushed(not_flushed);
        }
        *head = indices.head();
        stop
    }

    /// Completes the waits, if there are any. If that cannot be, they are dropped: they are still in
    /// the queue.
    fn complete_all(
        &mut self,
        open: &mut Vec<PendingWait>,
        signals: &mut Vec<WaitSignal>,
    ) -> Result<(), NotFlushed> {
        if !open.is_empty() {
            let flushed = self.flush();
            let waits = open.drain(..);
            let flushed = flushed?;
            // None is of another relay, or was taken after.
            signals.extend(waits.filter_map(|wait| wait.complete(&flushed).ok()));
        }
        Ok(())
    }
}

/// Reads a descriptor.
fn fetch(
    memory: &(impl GuestMemory + ?Sized),
    address: Gpa,
    size: EntrySize,
) -> Option<DescriptorWords> {
    match size {
        EntrySize::Bytes16 => {
            read(memory, address).map(|bytes| DescriptorWords::from_narrow_bytes(&bytes))
        }
        EntrySize::Bytes32 => {
            read(memory, address).map(|bytes| DescriptorWords::from_bytes(&bytes))
        }
    }
}
