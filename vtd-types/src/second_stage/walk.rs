//! A walk through the tables of the second stage.

use super::{SecondStage, SecondStageEntry, SecondStageLeaf, SecondStageTable};
use crate::{Agaw, EntryUpdate, FaultReason, Gpa, InputAddress, Level, Rights, bits};

/// A walk through the tables of the second stage that waits for an entry.
///
/// It reads no memory: it says where the entry is, and goes on with what was read there. The loop is
/// that of a [`FirstStageWalk`](crate::FirstStageWalk).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct SecondStageWalk {
    stage: SecondStage,
    input: InputAddress,
    access: Rights,
    level: Level,
    address: Gpa,
    update: Option<EntryUpdate>,
    /// What the tables on the way allow.
    allowed: Rights,
}

/// What comes next of a walk.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub enum SecondStageStep {
    /// Read the next entry.
    Read(SecondStageWalk),
    /// It is done.
    Done(SecondStageTranslation),
}

/// Where the second stage has an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SecondStageTranslation {
    /// Where it goes.
    pub output: Gpa,
    /// How many of its low bits are those of the input: the size of the page.
    pub span_bits: u32,
    /// The level of the page.
    pub level: Level,
    /// The page.
    pub leaf: SecondStageLeaf,
    /// Where its entry is.
    pub entry: Gpa,
    /// What may be done with it.
    pub rights: Rights,
    /// What hardware writes over the entry: the accessed flag set, or the dirty flag, since it is
    /// written.
    pub update: Option<EntryUpdate>,
}

/// A request faults in the second stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("second stage: {kind} on {level:?}")]
pub struct SecondStageFault {
    /// The kind of fault.
    pub kind: SecondStageFaultKind,
    /// The level at which it was found. The first, for a request that no table was read for.
    pub level: Level,
    /// Whether it is of scalable mode: what the fault is called.
    pub scalable: bool,
}

/// Kinds of faults in the second stage (3.7.1, 7.1.3). An entry that is not present allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SecondStageFaultKind {
    /// The address has more bits than the tables take, or than `CAP_REG.MGAW` has.
    #[error("an address beyond the width")]
    Beyond,
    /// An entry has bits set that are reserved.
    #[error("an entry with the reserved bits {0:#x}")]
    Reserved(u64),
    /// It cannot be written.
    #[error("an entry that does not allow writes")]
    NoWrite,
    /// It cannot be read.
    #[error("an entry that does not allow reads")]
    NoRead,
    /// It cannot be executed.
    #[error("an entry that does not allow to execute")]
    NoExecute,
    /// The address goes to where interrupts are.
    #[error("an output in the range of interrupts")]
    Interrupt,
}

impl SecondStageFault {
    /// The fault that the request is blocked with, where the second stage alone translates.
    #[must_use]
    pub const fn reason(&self) -> FaultReason {
        match (self.kind, self.scalable) {
            (SecondStageFaultKind::Beyond, false) => FaultReason::Lgn1,
            (SecondStageFaultKind::Beyond, true) => FaultReason::Sgn4,
            (SecondStageFaultKind::Reserved(_), false) => FaultReason::Lss2,
            (SecondStageFaultKind::Reserved(_), true) => FaultReason::Sss3,
            (SecondStageFaultKind::NoWrite, false) => FaultReason::Lgn2,
            (SecondStageFaultKind::NoWrite, true) => FaultReason::Sgn6,
            (SecondStageFaultKind::NoRead, false) => FaultReason::Lgn3,
            (SecondStageFaultKind::NoRead, true) => FaultReason::Sgn7,
            // Legacy mode has no such requests.
            (SecondStageFaultKind::NoExecute, _) => FaultReason::Sgn3,
            (SecondStageFaultKind::Interrupt, false) => FaultReason::Lgn4,
            (SecondStageFaultKind::Interrupt, true) => FaultReason::Sgn8,
        }
    }
}

impl SecondStage {
    /// The level of the first table.
    #[must_use]
    pub const fn start(&self) -> Level {
        match self.agaw {
            Agaw::Three => Level::Level3,
            Agaw::Four => Level::Level4,
            Agaw::Five => Level::Level5,
        }
    }

    /// Begins to translate an address, for an access (3.7).
    ///
    /// A read that fails is [`FaultReason::Lss1`] in legacy mode; in scalable mode
    /// [`FaultReason::Sss4`] of the first table, [`FaultReason::Sss1`] of others. It is for the
    /// caller to record.
    ///
    /// # Errors
    /// The address has more bits than the tables take.
    pub const fn walk(
        &self,
        input: InputAddress,
        access: Rights,
    ) -> Result<SecondStageWalk, SecondStageFault> {
        let level = self.start();
        if bits::from(input.get(), self.input_bits) != 0 {
            return Err(SecondStageFault {
                kind: SecondStageFaultKind::Beyond,
                level,
                scalable: self.scalable,
            });
        }
        Ok(SecondStageWalk {
            stage: *self,
            input,
            access,
            level,
            address: level.entry(self.table, input),
            update: None,
            allowed: Rights::all(),
        })
    }
}

impl SecondStageWalk {
    /// Where the 8 bytes of the next entry are.
    #[must_use]
    pub const fn address(&self) -> Gpa {
        self.address
    }

    /// The level of the next entry.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// What hardware writes over the entry that led here: the accessed flag set.
    #[must_use]
    pub const fn update(&self) -> Option<EntryUpdate> {
        self.update
    }

    /// Goes on with the bytes of the entry at [`Self::address`].
    ///
    /// # Errors
    /// The request faults.
    pub fn resume(self, entry: [u8; 8]) -> Result<SecondStageStep, SecondStageFault> {
        let bits = u64::from_le_bytes(entry);
        let decoded = SecondStageEntry::decode(bits, self.level, &self.stage);
        if let SecondStageEntry::Reserved(bits) = decoded {
            return Err(self.fault(SecondStageFaultKind::Reserved(bits)));
        }
        let allowed = self.allowed & self.rights(bits);
        if let Some(kind) = denied(self.access.difference(allowed)) {
            return Err(self.fault(kind));
        }
        match (decoded, self.level.next()) {
            (SecondStageEntry::Table(table), Some(level)) => {
                Ok(SecondStageStep::Read(self.descend(table, level, allowed)))
            }
            (SecondStageEntry::Leaf(leaf), _) => {
                self.finish(leaf, allowed).map(SecondStageStep::Done)
            }
            // An access that asks for nothing is not denied above.
            _ => Err(self.fault(SecondStageFaultKind::NoRead)),
        }
    }

    /// What an entry of these bits allows.
    fn rights(&self, bits: u64) -> Rights {
        let counts = if self.stage.execute { 0b111 } else { 0b11 };
        // The flags R, W and X are in this order.
        Rights::from_bits_truncate((bits & counts) as u8)
    }

    fn descend(self, table: SecondStageTable, level: Level, allowed: Rights) -> Self {
        let used = table.with_a(table.a() || self.stage.accessed_dirty);
        Self {
            level,
            address: level.entry(table.addr(), self.input),
            update: EntryUpdate::between(self.address, table.words()[0], used.words()[0]),
            allowed,
            ..self
        }
    }

    fn finish(
        self,
        leaf: SecondStageLeaf,
        rights: Rights,
    ) -> Result<SecondStageTranslation, SecondStageFault> {
        let span_bits = self.level.span_bits();
        let output = leaf.output(self.level).get() | self.input.get() & bits::low(span_bits);
        let output = Gpa::masked(output);
        if output.is_interrupt() {
            return Err(self.fault(SecondStageFaultKind::Interrupt));
        }
        let used = if self.stage.accessed_dirty {
            leaf.with_a(true)
                .with_d(leaf.d() || self.access.contains(Rights::WRITE))
        } else {
            leaf
        };
        Ok(SecondStageTranslation {
            output,
            span_bits,
            level: self.level,
            leaf,
            entry: self.address,
            rights,
            update: EntryUpdate::between(self.address, leaf.words()[0], used.words()[0]),
        })
    }

    const fn fault(&self, kind: SecondStageFaultKind) -> SecondStageFault {
        SecondStageFault {
            kind,
            level: self.level,
            scalable: self.stage.scalable,
        }
    }
}

/// The kind of fault, if these rights are missing.
fn denied(missing: Rights) -> Option<SecondStageFaultKind> {
    if missing.contains(Rights::WRITE) {
        Some(SecondStageFaultKind::NoWrite)
    } else if missing.contains(Rights::READ) {
        Some(SecondStageFaultKind::NoRead)
    } else if missing.contains(Rights::EXECUTE) {
        Some(SecondStageFaultKind::NoExecute)
    } else {
        None
    }
}
