//! The guest's commands, one at a time.

use std::ops::RangeInclusive;

use smmuv3_types::{BadCommand, Command, CommandWords, StreamId, SyncSignal};

use super::{GuestMemory, Host, PendingSync, Relay};
use crate::relay::Pending;

/// What has become of a command.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a CMD_SYNC is to be completed"]
pub enum Taken {
    /// It was taken. It is done when a `CMD_SYNC` after it is complete.
    Command,
    /// It is a `CMD_SYNC`.
    Sync(PendingSync),
}

impl<H: Host> Relay<H> {
    /// Takes the guest's next command, for a VMM that reads the queue itself;
    /// [`run`](Self::run) reads it, too.
    ///
    /// What a command can cost is bounded: at most one read of the stream table, and one replaced
    /// table, for each device.
    ///
    /// # Errors
    /// The command is illegal, and nothing has happened. The queue is to stop at it with
    /// `CERROR_ILL` (7.1).
    pub fn take(
        &mut self,
        words: impl Into<CommandWords>,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<Taken, BadCommand> {
        let command = self.decode(words.into())?;
        Ok(match self.carry_out(&command, memory) {
            Some(sync) => Taken::Sync(sync),
            None => Taken::Command,
        })
    }

    pub(super) fn decode(&self, words: CommandWords) -> Result<Command, BadCommand> {
        Command::decode(words, &self.features)
    }

    /// Carries out a command, or notes it to be. Of what names a stream that no device has, or that
    /// is not translated, nothing is cached.
    pub(super) fn carry_out(
        &mut self,
        command: &Command,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Option<PendingSync> {
        self.used = true;
        if let Some(streams) = configures(command) {
            self.reconfigure(streams, memory);
            return None;
        }
        match *command {
            Command::CfgiCd { stream, .. } | Command::CfgiCdAll { stream } => {
                if self.translated(stream).is_some() {
                    self.forward(command);
                }
            }
            // A device without ATS, or with ATS off, would not answer, and the host's queue would
            // wait for it.
            Command::AtcInv { stream, .. } => {
                if self.has_ats(stream) {
                    self.forward(command);
                }
            }
            Command::Resume {
                stream,
                stag,
                action,
            } => self.resume(stream, stag, action),
            Command::StallTerm { stream } => self.terminate_stalls(stream),
            Command::PriResp {
                stream,
                group,
                response,
                ..
            } => self.respond_to_pri(stream, group, response),
            Command::Sync(signal) => return Some(self.sync(signal)),
            // Invalidations of TLBs, and hints, of which nothing is forwarded. What the guest's
            // SMMU has not, such as stage 2, was not decoded.
            _ => self.forward(command),
        }
        None
    }

    /// What a command costs, as [`run`](Self::run) counts it.
    pub(super) fn cost(&self, command: &Command) -> usize {
        let streams = match configures(command) {
            Some(streams) if self.registers.cr0.smmuen() => self.streams.range(streams).count(),
            _ => 0,
        };
        streams.saturating_add(1)
    }

    fn sync(&mut self, signal: SyncSignal) -> PendingSync {
        let number = self.syncs;
        // 2^64 are not used up.
        self.syncs = number.wrapping_add(1);
        Pending::new(self.id, number, signal)
    }
}

/// The streams of which a command says that their entries have changed.
fn configures(command: &Command) -> Option<RangeInclusive<StreamId>> {
    match *command {
        Command::CfgiSte { stream, .. } => Some(stream..=stream),
        Command::CfgiSteRange(range) => Some(range.first()..=range.last()),
        Command::CfgiAll => Some(StreamId::new(0)..=StreamId::new(u32::MAX)),
        _ => None,
    }
}

/// Whether carrying a command out again could do something else: the tag that it names can be
/// another transaction's by then.
pub(super) fn is_once_only(command: &Command) -> bool {
    matches!(
        command,
        Command::Resume { .. } | Command::StallTerm { .. } | Command::PriResp { .. }
    )
}
