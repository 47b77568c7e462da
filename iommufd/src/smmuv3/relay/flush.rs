//! What was gathered is carried out, and what if it cannot be.

use smmuv3_types::{AtcSpan, Command, InputAddress, Invalidation, StreamId, SubstreamId};

use super::{Flushed, Host, NotFlushed, Place, Relay, Report};
use crate::relay::PortNumber;

impl<H: Host> Relay<H> {
    /// Carries out everything that was taken.
    ///
    /// If the host refuses a batch, more is invalidated than the guest has asked for: all context
    /// descriptors, all translations, everything that devices have cached. A stream of which that
    /// is refused, too, is blocked; if it is the translations, every stream is. Then nothing stale
    /// is used, and the guest's commands are as good as done; the VMM finds a
    /// [`Report`] of it.
    ///
    /// # Errors
    /// [`NotFlushed`], if the host even refuses to block a device. It is tried again with the next
    /// flush.
    pub fn flush(&mut self) -> Result<Flushed, NotFlushed> {
        self.flush_batch();
        for number in self.stuck() {
            self.block(number);
        }
        self.nothing_is_stuck()?;
        if self.overdue {
            // This can have devices blocked, which can fail again.
            self.overdue = false;
            self.forget_all();
            self.nothing_is_stuck()?;
        }
        Ok(Flushed::new(self.id, self.syncs))
    }

    /// The devices that are not where they must be.
    fn stuck(&self) -> Vec<PortNumber> {
        let stuck = |number: &PortNumber| {
            self.devices
                .get(number)
                .is_some_and(|plugged| plugged.place.is_none())
        };
        self.devices.keys().copied().filter(stuck).collect()
    }

    fn nothing_is_stuck(&self) -> Result<(), NotFlushed> {
        match self.stuck().len() {
            0 => Ok(()),
            devices => Err(NotFlushed { devices }),
        }
    }

    /// Has the host carry out what was gathered, or what covers it.
    pub(super) fn flush_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let answer = self.host.invalidate(&self.batch);
        let commands = self.batch.len();
        self.batch.clear();
        if let Err(error) = answer {
            self.reports.add(Report::BatchRefused { commands, error });
            self.forget_all();
        }
    }

    /// Forgets everything that is cached of the guest's tables: configurations first, then
    /// translations, then what devices have, so that nothing is cached anew by what is forgotten
    /// after. What cannot be forgotten is not used: its streams are blocked.
    pub(super) fn forget_all(&mut self) {
        for (stream, number) in self.translated_streams() {
            self.forget_of_stream(stream, number, &[Invalidation::cfgi_cd_all(stream)]);
        }
        if !self.forget_translations() {
            for (_, number) in self.translated_streams() {
                self.block(number);
            }
        }
        for (stream, number) in self.translated_streams() {
            if self.has_ats(stream) {
                self.forget_of_stream(stream, number, &self.whole_atc(stream));
            }
        }
    }

    fn forget_of_stream(
        &mut self,
        stream: StreamId,
        number: PortNumber,
        commands: &[Invalidation],
    ) {
        if commands.is_empty() {
            return;
        }
        if let Err(error) = self.host.invalidate(commands) {
            self.reports.add(Report::StreamStale { stream, error });
            self.block(number);
        }
    }

    /// Forgets all translations of the guest, and says whether that was done.
    pub(super) fn forget_translations(&mut self) -> bool {
        let answer = self.host.invalidate(&[Invalidation::tlbi_nh_all()]);
        self.stale = answer.is_err();
        if let Err(error) = answer {
            self.reports.add(Report::TranslationsStale { error });
        }
        !self.stale
    }

    /// Whether a stream can be translated: translations that could not be forgotten are forgotten
    /// now, or not used.
    pub(super) fn translations_are_good(&mut self) -> bool {
        !self.stale || self.forget_translations()
    }

    /// What a device has cached, without a substream and with any.
    fn whole_atc(&self, stream: StreamId) -> Vec<Invalidation> {
        [None, SubstreamId::new(0)]
            .into_iter()
            .filter_map(|substream| {
                let command = Command::AtcInv {
                    stream,
                    substream,
                    global: substream.is_some(),
                    address: InputAddress::new(0),
                    span: AtcSpan::ALL,
                };
                Invalidation::from_command(&command, &self.limits).ok()
            })
            .collect()
    }

    fn translated_streams(&self) -> Vec<(StreamId, PortNumber)> {
        let is_translated = |number: &PortNumber| {
            self.devices
                .get(number)
                .is_some_and(|plugged| matches!(plugged.place, Some(Place::Translated(_))))
        };
        self.streams
            .iter()
            .filter(|(_, number)| is_translated(number))
            .map(|(stream, number)| (*stream, *number))
            .collect()
    }
}
