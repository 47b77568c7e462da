//! The guest's command queue.

use smmuv3_types::{
    BadCommand, CmdqCons, CmdqProd, CommandError, CommandWords, EntrySize, GlobalErrorRegisters,
    GlobalErrors, QueueBase, QueueSize, SyncSignal,
};

use super::commands::is_once_only;
use super::{GuestMemory, Host, NotFlushed, PendingSync, Relay};

/// The registers of the guest's command queue, lent to [`Relay::run`].
#[derive(Debug)]
pub struct CommandQueue<'r> {
    /// `SMMU_CMDQ_BASE`.
    pub base: QueueBase,
    /// The largest that it can be: `SMMU_IDR1.CMDQS`.
    pub max: QueueSize,
    /// `SMMU_CMDQ_PROD`, as the guest has written it.
    pub prod: CmdqProd,
    /// `SMMU_CMDQ_CONS`, which is moved on. After an error it names the command, and why.
    pub cons: &'r mut CmdqCons,
    /// `SMMU_GERROR` and `SMMU_GERRORN`: `CMDQ_ERR` is raised after an error.
    pub errors: &'r mut GlobalErrorRegisters,
}

/// What [`Relay::run`] has done.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it says how the guest is to be told"]
pub struct Ran {
    /// How the guest is to be told of the `CMD_SYNC`s that are complete, in their order. They are.
    pub signals: Vec<SyncSignal>,
    /// Why it has come to an end.
    pub stop: Stop,
}

/// Why [`Relay::run`] has come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "there may be more to do"]
pub enum Stop {
    /// There is nothing more to take: the queue is empty, or off (`SMMU_CR0.CMDQEN`), or stopped by
    /// an error that the guest has not acknowledged (`SMMU_GERROR.CMDQ_ERR`), or its indices
    /// contradict each other.
    Idle,
    /// There are more commands: run it again, when others have had their turn.
    More,
    /// The command at `SMMU_CMDQ_CONS` is illegal. `CERROR_ILL` is there, and `CMDQ_ERR` in
    /// `SMMU_GERROR`, of which the VMM raises the interrupt.
    Illegal(BadCommand),
    /// The command at `SMMU_CMDQ_CONS` cannot be read. `CERROR_ABT` is there, and `CMDQ_ERR` in
    /// `SMMU_GERROR`, of which the VMM raises the interrupt.
    Unreadable,
    /// The `CMD_SYNC` at `SMMU_CMDQ_CONS` cannot be completed. Running the queue again tries it
    /// again; commands after it may then be carried out twice, which does no harm.
    NotFlushed(NotFlushed),
}

impl<H: Host> Relay<H> {
    /// Takes commands from the guest's queue, in their order, and completes each `CMD_SYNC` when all
    /// before it is done. Nothing of a `CMD_SYNC` shows before: not its signal, nor the
    /// `SMMU_CMDQ_CONS` after it.
    ///
    /// So that one guest does not keep the thread for ever, it ends when it has done work of `most`:
    /// 1 for each command, and 1 for each stream whose entry is read again. It takes one command at
    /// least. `CMD_SYNC`s that are in the queue together become one call of the host's.
    pub fn run(
        &mut self,
        queue: CommandQueue<'_>,
        memory: &(impl GuestMemory + ?Sized),
        most: usize,
    ) -> Ran {
        let mut signals = Vec::new();
        let stop = self.run_queue(queue, memory, most, &mut signals);
        Ran { signals, stop }
    }

    fn run_queue(
        &mut self,
        queue: CommandQueue<'_>,
        memory: &(impl GuestMemory + ?Sized),
        most: usize,
        signals: &mut Vec<SyncSignal>,
    ) -> Stop {
        let has_stopped = queue.errors.active().contains(GlobalErrors::CMDQ_ERR);
        if has_stopped || !self.registers.cr0.cmdqen() {
            return Stop::Idle;
        }
        let mut indices = queue.prod.indices(*queue.cons, queue.base.size(queue.max));
        let mut open = Vec::new();
        let mut spent: usize = 0;
        let stop = loop {
            let Some(position) = indices.first() else {
                break Stop::Idle;
            };
            let mut bytes = [0; CommandWords::BYTES];
            let address = queue.base.entry(queue.max, EntrySize::Bytes16, position);
            if memory.read(address, &mut bytes).is_err() {
                break Stop::Unreadable;
            }
            let command = match self.decode(CommandWords::from_bytes(&bytes)) {
                Ok(command) => command,
                Err(bad) => break Stop::Illegal(bad),
            };
            let with_this = spent.saturating_add(self.cost(&command));
            if spent != 0 && with_this > most {
                break Stop::More;
            }
            spent = with_this;
            if is_once_only(&command)
                && let Err(not_flushed) = self.complete_all(&mut open, signals)
            {
                return Stop::NotFlushed(not_flushed);
            }
            let sync = self.carry_out(&command, memory);
            if open.is_empty() {
                // From the first SYNC on, until it is complete, the guest sees it as the next.
                *queue.cons = queue.cons.with_index(indices.consumer());
            }
            open.extend(sync);
            indices.consume();
        };
        if let Err(not_flushed) = self.complete_all(&mut open, signals) {
            return Stop::NotFlushed(not_flushed);
        }
        *queue.cons = queue.cons.with_index(indices.consumer());
        let error = match stop {
            Stop::Illegal(bad) => CommandError::from(bad),
            Stop::Unreadable => CommandError::Abort,
            Stop::Idle | Stop::More | Stop::NotFlushed(_) => return stop,
        };
        *queue.cons = queue.cons.with_error(error);
        queue.errors.raise(GlobalErrors::CMDQ_ERR);
        stop
    }

    /// Completes the `CMD_SYNC`s, if there are any. If that cannot be, they are dropped: they are
    /// still in the queue.
    fn complete_all(
        &mut self,
        open: &mut Vec<PendingSync>,
        signals: &mut Vec<SyncSignal>,
    ) -> Result<(), NotFlushed> {
        if !open.is_empty() {
            let flushed = self.flush();
            let syncs = open.drain(..);
            let flushed = flushed?;
            // None is of another relay, or was taken after.
            signals.extend(syncs.filter_map(|sync| sync.complete(&flushed).ok()));
        }
        Ok(())
    }
}
