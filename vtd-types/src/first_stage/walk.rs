//! A walk through the tables of the first stage.

use super::{FirstStage, FirstStageEntry, FirstStageLeaf, FirstStageTable};
use crate::{
    Access, EntryUpdate, FaultReason, FirstStageLevels, Gpa, InputAddress, Level, Permissions,
    Rights, bits,
};

/// A walk through the tables of the first stage that waits for an entry.
///
/// It reads no memory: it says where the entry is, and goes on with what was read there.
///
/// ```
/// use vtd_types::{
///     Access, FirstStage, FirstStageFault, FirstStageStep, FirstStageTranslation, Gpa,
///     InputAddress,
/// };
///
/// fn translate(
///     stage: &FirstStage,
///     address: InputAddress,
///     access: Access,
///     read: impl Fn(Gpa) -> [u8; 8],
/// ) -> Result<FirstStageTranslation, FirstStageFault> {
///     let mut walk = stage.walk(address, access)?;
///     loop {
///         match walk.resume(read(walk.address()))? {
///             FirstStageStep::Read(next) => walk = next,
///             FirstStageStep::Done(translation) => return Ok(translation),
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct FirstStageWalk {
    stage: FirstStage,
    input: InputAddress,
    access: Access,
    level: Level,
    address: Gpa,
    update: Option<EntryUpdate>,
    /// What the tables on the way allow.
    writable: bool,
    user: bool,
    executable: bool,
}

/// What comes next of a walk.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub enum FirstStageStep {
    /// Read the next entry.
    Read(FirstStageWalk),
    /// It is done.
    Done(FirstStageTranslation),
}

/// Where the first stage has an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FirstStageTranslation {
    /// Where it goes.
    pub output: Gpa,
    /// How many of its low bits are those of the input: the size of the page.
    pub span_bits: u32,
    /// The level of the page.
    pub level: Level,
    /// The page.
    pub leaf: FirstStageLeaf,
    /// Where its entry is.
    pub entry: Gpa,
    /// What may be done with it.
    pub permissions: Permissions,
    /// What hardware writes over the entry: the accessed flags set, or the dirty flag, since it is
    /// written.
    pub update: Option<EntryUpdate>,
}

/// A request faults in the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("first stage: {kind} on {level:?}")]
pub struct FirstStageFault {
    /// The kind of fault.
    pub kind: FirstStageFaultKind,
    /// The level at which it was found. The first, for a request that no table was read for.
    pub level: Level,
}

/// Kinds of faults in the first stage (3.6.1, 7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FirstStageFaultKind {
    /// The request is of the supervisor: `PASIDTE.SRE` is 0.
    #[error("a request of the supervisor")]
    Supervisor,
    /// The request is to execute: `PASIDTE.ERE` is 0.
    #[error("a request to execute")]
    Execute,
    /// The address is not canonical.
    #[error("an address that is not canonical")]
    NotCanonical,
    /// Nothing is mapped there.
    #[error("an entry that is not present")]
    NotPresent,
    /// An entry has bits set that are reserved.
    #[error("an entry with the reserved bits {0:#x}")]
    Reserved(u64),
    /// The page is the supervisor's alone.
    #[error("a page of the supervisor")]
    NotUser,
    /// The page cannot be written.
    #[error("a page that cannot be written")]
    NoWrite,
    /// The page cannot be executed.
    #[error("a page that cannot be executed")]
    NoExecute,
    /// The address goes to where interrupts are.
    #[error("an output in the range of interrupts")]
    Interrupt,
}

impl FirstStageFault {
    /// The fault that the request is blocked with.
    #[must_use]
    pub const fn reason(&self) -> FaultReason {
        match self.kind {
            FirstStageFaultKind::Supervisor => FaultReason::Spt6,
            FirstStageFaultKind::Execute => FaultReason::Spt5,
            FirstStageFaultKind::NotCanonical => FaultReason::Sgn1,
            FirstStageFaultKind::NotPresent => FaultReason::Sfs2,
            FirstStageFaultKind::Reserved(_) => FaultReason::Sfs3,
            FirstStageFaultKind::NotUser => FaultReason::Sgn2,
            FirstStageFaultKind::NoWrite => FaultReason::Sgn6,
            FirstStageFaultKind::NoExecute => FaultReason::Sgn3,
            FirstStageFaultKind::Interrupt => FaultReason::Sgn8,
        }
    }
}

impl FirstStage {
    /// The level of the first table.
    #[must_use]
    pub const fn start(&self) -> Level {
        match self.levels {
            FirstStageLevels::Four => Level::Level4,
            FirstStageLevels::Five => Level::Level5,
        }
    }

    /// Begins to translate an address, for an access (3.6).
    ///
    /// A read that fails is [`FaultReason::Sfs4`] of the first table, [`FaultReason::Sfs1`] of
    /// others, which is for the caller to record.
    ///
    /// # Errors
    /// The address is not canonical, or the entry allows no such requests.
    pub const fn walk(
        &self,
        input: InputAddress,
        access: Access,
    ) -> Result<FirstStageWalk, FirstStageFault> {
        let level = self.start();
        let kind = if access.privileged && !self.supervisor {
            FirstStageFaultKind::Supervisor
        } else if access.rights.contains(Rights::EXECUTE) && !self.execute {
            FirstStageFaultKind::Execute
        } else if !input.is_canonical(self.levels.bits_of_address()) {
            FirstStageFaultKind::NotCanonical
        } else {
            return Ok(FirstStageWalk {
                stage: *self,
                input,
                access,
                level,
                address: level.entry(self.table, input),
                update: None,
                writable: true,
                user: true,
                executable: true,
            });
        };
        Err(FirstStageFault { kind, level })
    }
}

impl FirstStageWalk {
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

    /// What hardware writes over the entry that led here: the accessed flags set.
    #[must_use]
    pub const fn update(&self) -> Option<EntryUpdate> {
        self.update
    }

    /// Goes on with the bytes of the entry at [`Self::address`].
    ///
    /// # Errors
    /// The request faults.
    pub fn resume(self, entry: [u8; 8]) -> Result<FirstStageStep, FirstStageFault> {
        let bits = u64::from_le_bytes(entry);
        let stage = self.stage;
        match FirstStageEntry::decode(bits, self.level, stage.gigabyte_pages, stage.width) {
            FirstStageEntry::NotPresent => Err(self.fault(FirstStageFaultKind::NotPresent)),
            FirstStageEntry::Reserved(bits) => Err(self.fault(FirstStageFaultKind::Reserved(bits))),
            FirstStageEntry::Table(table) => match self.level.next() {
                Some(level) => Ok(FirstStageStep::Read(self.descend(table, level))),
                // The last level has no tables.
                None => Err(self.fault(FirstStageFaultKind::NotPresent)),
            },
            FirstStageEntry::Leaf(leaf) => self.finish(leaf).map(FirstStageStep::Done),
        }
    }

    fn descend(self, table: FirstStageTable, level: Level) -> Self {
        let ea = table.ea() || self.stage.extended_accessed;
        let used = table.with_a(true).with_ea(ea);
        Self {
            level,
            address: level.entry(table.addr(), self.input),
            update: EntryUpdate::between(self.address, table.words()[0], used.words()[0]),
            writable: self.writable && table.rw(),
            user: self.user && table.us(),
            executable: self.executable && !table.xd(),
            ..self
        }
    }

    fn finish(self, leaf: FirstStageLeaf) -> Result<FirstStageTranslation, FirstStageFault> {
        let permissions = self.permissions(&leaf);
        if !permissions.allow(self.access) {
            return Err(self.fault(self.denied(permissions)));
        }
        let span_bits = self.level.span_bits();
        let output = leaf.output(self.level).get() | self.input.get() & bits::low(span_bits);
        let output = Gpa::masked(output);
        if output.is_interrupt() {
            return Err(self.fault(FirstStageFaultKind::Interrupt));
        }
        let used = leaf
            .with_a(true)
            .with_ea(leaf.ea() || self.stage.extended_accessed)
            .with_d(leaf.d() || self.access.rights.contains(Rights::WRITE));
        Ok(FirstStageTranslation {
            output,
            span_bits,
            level: self.level,
            leaf,
            entry: self.address,
            permissions,
            update: EntryUpdate::between(self.address, leaf.words()[0], used.words()[0]),
        })
    }

    /// What the page and the tables on the way allow (3.6.2).
    fn permissions(&self, leaf: &FirstStageLeaf) -> Permissions {
        let stage = self.stage;
        let writable = self.writable && leaf.rw();
        let is_user = self.user && leaf.us();
        let executable = stage.execute && !(stage.no_execute && (leaf.xd() || !self.executable));

        let mut user = Rights::empty();
        if is_user {
            user |= Rights::READ;
            user.set(Rights::WRITE, writable);
            user.set(Rights::EXECUTE, executable);
        }
        let mut supervisor = Rights::empty();
        if stage.supervisor {
            supervisor |= Rights::READ;
            supervisor.set(Rights::WRITE, writable || !stage.write_protect);
            supervisor.set(
                Rights::EXECUTE,
                executable && !(stage.supervisor_no_user_execute && is_user),
            );
        }
        Permissions { supervisor, user }
    }

    /// The kind of fault of an access that is not allowed.
    fn denied(&self, permissions: Permissions) -> FirstStageFaultKind {
        let rights = if self.access.privileged {
            permissions.supervisor
        } else {
            permissions.user
        };
        let missing = self.access.rights.difference(rights);
        if !rights.contains(Rights::READ) {
            FirstStageFaultKind::NotUser
        } else if missing.contains(Rights::WRITE) {
            FirstStageFaultKind::NoWrite
        } else {
            FirstStageFaultKind::NoExecute
        }
    }

    const fn fault(&self, kind: FirstStageFaultKind) -> FirstStageFault {
        FirstStageFault {
            kind,
            level: self.level,
        }
    }
}
