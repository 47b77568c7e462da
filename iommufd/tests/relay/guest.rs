//! A guest with a command queue, a stream table, and page tables, in front of a relay.

use iommufd::smmuv3::relay::{CommandQueue, GuestMemory, Port, Ran, Relay, Stop, Taken};
use smmuv3_types::{
    Asid, AtsMode, CmdqCons, CmdqProd, Command, CommandWords, Cr0, Features, GlobalErrorRegisters,
    GlobalErrors, IdRegisters, Idr0, Idr1, Idr3, Idr5, InvalidationLimits, Ipa, NestedSte,
    QueueBase, QueueSize, Ste, StreamConfig, StreamId, StrtabBase, StrtabBaseCfg, SyncSignal, Vmid,
};

use crate::model::{Call, Dev, Model};
use crate::world::Memory;

pub(crate) const QUEUE: u64 = 0x1000;
const QUEUE_LOG2: u8 = 5;
pub(crate) const TABLE: u64 = 0x2000;
const TABLE_LOG2: u8 = 4;
const DESCRIPTORS: u64 = 0x4000;
const PAGE_TABLES: u64 = 0x5000;

pub(crate) const VMID: Vmid = Vmid::new(0);

pub(crate) struct Guest {
    pub(crate) memory: Memory,
    pub(crate) model: Model,
    pub(crate) relay: Relay<Model>,
    pub(crate) prod: CmdqProd,
    pub(crate) cons: CmdqCons,
    pub(crate) errors: GlobalErrorRegisters,
}

/// What most guests are offered.
pub(crate) fn offered() -> IdRegisters {
    IdRegisters {
        // S1P, TTF, COHACC, ATS, ASID16, MSI, SEV, PRI, CD2L, little-endian, two-level tables.
        idr0: Idr0::from_bits(1 << 1 | 2 << 2 | 1 << 4 | 1 << 12 | 2 << 21 | 1 << 27)
            .with_ats(true)
            .with_msi(true)
            .with_sev(true)
            .with_pri(true)
            .with_cd2l(true),
        idr1: Idr1::from_bits(0).with_sidsize(TABLE_LOG2).with_cmdqs(8),
        idr3: Idr3::from_bits(0).with_ril(true),
        idr5: Idr5::from_bits(0x74),
        ..IdRegisters::default()
    }
}

/// A host that has all that such a guest is offered.
pub(crate) fn limits() -> InvalidationLimits {
    InvalidationLimits::NONE
        .with_ril(true)
        .with_asid16(true)
        .with_ats(true)
}

pub(crate) fn on() -> Cr0 {
    Cr0::from_bits(0)
        .with_smmuen(true)
        .with_cmdqen(true)
        .with_eventqen(true)
        .with_priqen(true)
}

pub(crate) fn off() -> Cr0 {
    on().with_smmuen(false)
}

pub(crate) fn stream(number: u32) -> StreamId {
    StreamId::new(number)
}

/// Where the entry of a stream is.
pub(crate) fn entry(stream: StreamId) -> u64 {
    TABLE + 64 * u64::from(stream)
}

/// A descriptor of the guest's.
pub(crate) fn descriptor(index: u64) -> u64 {
    DESCRIPTORS + 64 * index
}

pub(crate) fn page_table(index: u64) -> u64 {
    PAGE_TABLES + 0x100 * index
}

/// An entry with stage 1, by that descriptor.
pub(crate) fn stage1(index: u64) -> Ste {
    Ste::valid(StreamConfig::Stage1)
        .with_s1_context_ptr(Ipa::new(descriptor(index)).unwrap())
        // What Linux writes besides: it means nothing here.
        .with_strw(2)
        .with_mev(true)
}

pub(crate) fn with_ats(ste: Ste) -> Ste {
    ste.with_eats(AtsMode::Full)
}

/// What the host is given for it.
pub(crate) fn nested(ste: Ste) -> NestedSte {
    ste.reduce(&Features::new(offered()).unwrap()).nested()
}

pub(crate) fn sync() -> Command {
    Command::Sync(SyncSignal::None)
}

pub(crate) fn cfgi_ste(number: u32) -> Command {
    Command::CfgiSte {
        stream: stream(number),
        leaf: true,
    }
}

pub(crate) fn cfgi_cd_all(number: u32) -> Command {
    Command::CfgiCdAll {
        stream: stream(number),
    }
}

pub(crate) fn nh_asid(asid: u16) -> Command {
    Command::TlbiNhAsid {
        vmid: VMID,
        asid: Asid::new(asid),
    }
}

pub(crate) fn nh_all() -> Command {
    Command::TlbiNhAll { vmid: VMID }
}

impl Guest {
    /// A guest whose SMMU is off, with everything told but that.
    pub(crate) fn new() -> Self {
        Self::with(offered(), limits(), 0)
    }

    pub(crate) fn with(offered: IdRegisters, limits: InvalidationLimits, seed: u64) -> Self {
        let memory = Memory::new();
        let model = Model::new(&memory, limits, seed);
        let features = Features::new(offered).unwrap();
        let relay = Relay::new(model.clone(), features).unwrap();
        let mut guest = Self {
            memory,
            model,
            relay,
            prod: CmdqProd::default(),
            cons: CmdqCons::default(),
            errors: GlobalErrorRegisters::default(),
        };
        assert!(guest.set_table());
        guest.cr0(off());
        guest
    }

    /// A guest whose SMMU is on, with a device at each of these streams, with these entries.
    pub(crate) fn with_streams(streams: &[(u32, Ste)]) -> (Self, Vec<Port>) {
        let mut guest = Self::new();
        let mut ports = Vec::new();
        for (number, ste) in streams {
            guest.write_ste(*number, ste);
            ports.push(guest.plug(*number, Some(*number)));
        }
        guest.cr0(on());
        guest.model.calls();
        (guest, ports)
    }

    pub(crate) fn set_table(&mut self) -> bool {
        let base = StrtabBase::from_bits(TABLE);
        let cfg = StrtabBaseCfg::from_bits(TABLE_LOG2.into());
        self.relay.set_stream_table(base, cfg)
    }

    pub(crate) fn cr0(&mut self, cr0: Cr0) {
        self.relay.set_cr0(cr0, &self.memory);
    }

    pub(crate) fn plug(&mut self, device: u32, number: Option<u32>) -> Port {
        let number = number.map(stream);
        let memory = self.memory.clone();
        self.relay.plug(Dev(device), number, &memory).unwrap()
    }

    pub(crate) fn write_ste(&self, number: u32, ste: &Ste) {
        self.memory.write(entry(stream(number)), &ste.to_bytes());
    }

    /// Writes a descriptor that is valid.
    pub(crate) fn write_descriptor(&self, index: u64, asid: u16, table: u64) {
        let first = u64::from(asid) << 48 | 1 << 31;
        let words = [first, page_table(table)];
        self.memory.write_words(descriptor(index), &words);
    }

    pub(crate) fn write_page(&self, table: u64, page: u64, to: u64) {
        self.memory.write_words(page_table(table) + 8 * page, &[to]);
    }

    /// Has the relay take one command.
    pub(crate) fn take(&mut self, command: Command) -> Taken {
        self.relay.take(command.encode(), &self.memory).unwrap()
    }

    /// Has the relay take these, and carry them out. Gives what the host was asked for.
    pub(crate) fn carries_out(&mut self, commands: &[Command]) -> Vec<Call> {
        self.model.calls();
        for command in commands {
            let _done = self.take(*command);
        }
        let _flushed = self.relay.flush().unwrap();
        self.model.calls()
    }

    /// The same, of which the invalidations are wanted.
    pub(crate) fn forwards(&mut self, commands: &[Command]) -> Vec<Command> {
        self.model.calls();
        for command in commands {
            let _done = self.take(*command);
        }
        let _flushed = self.relay.flush().unwrap();
        self.model.invalidations()
    }

    pub(crate) fn base(&self) -> QueueBase {
        QueueBase::default()
            .with_address(Ipa::new(QUEUE).unwrap())
            .with_size(self.size())
    }

    pub(crate) fn size(&self) -> QueueSize {
        QueueSize::from_log2(QUEUE_LOG2).unwrap()
    }

    pub(crate) fn room(&self) -> u32 {
        self.prod.indices(self.cons, self.size()).room()
    }

    /// Puts a command into the queue, and gives its place.
    pub(crate) fn push(&mut self, command: impl Into<CommandWords>) -> u32 {
        assert_ne!(self.room(), 0);
        let index = self.prod.index(self.size());
        let address = QUEUE + 16 * u64::from(index.position());
        self.memory.write(address, &command.into().to_bytes());
        self.prod = self.prod.with_index(index.next());
        index.position()
    }

    pub(crate) fn run(&mut self, most: usize) -> Ran {
        let queue = CommandQueue {
            base: self.base(),
            max: QueueSize::MAX,
            prod: self.prod,
            cons: &mut self.cons,
            errors: &mut self.errors,
        };
        self.relay.run(queue, &self.memory, most)
    }

    /// Puts these into the queue and runs it, until there is nothing left.
    pub(crate) fn issue(&mut self, commands: &[Command]) -> Vec<SyncSignal> {
        let mut signals = Vec::new();
        for batch in commands.chunks(16) {
            for command in batch {
                self.push(command.encode());
            }
            let ran = self.run(1000);
            assert_eq!(ran.stop, Stop::Idle);
            signals.extend(ran.signals);
        }
        assert_eq!(self.cons.bits(), self.prod.bits());
        signals
    }

    /// Acknowledges the error of the queue.
    pub(crate) fn acknowledge(&mut self) {
        let gerror = self.errors.gerror();
        assert_eq!(
            self.errors.write_gerrorn(gerror),
            GlobalErrors::CMDQ_ERR,
            "it was active"
        );
    }

    /// Where the queue has come to.
    pub(crate) fn position(&self) -> u32 {
        self.cons.index(self.size()).position()
    }

    pub(crate) fn reads(&self, address: u64, len: usize) -> bool {
        let mut bytes = vec![0; len];
        self.memory
            .read(Ipa::new(address).unwrap(), &mut bytes)
            .is_ok()
    }
}
