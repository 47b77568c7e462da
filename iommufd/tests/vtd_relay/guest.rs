//! A guest with an invalidation queue, root, context and PASID tables, and page tables, in front of a
//! relay.

use iommufd::vtd::relay::{InvalidationQueue, Place, Port, Ran, Relay, Stop, Taken, WaitSignal};
use vtd_types::{
    AddressMask, Cap, Capabilities, ContextCacheScope, Descriptor, DescriptorWords, DomainId, Ecap,
    Features, Fsts, FunctionMask, Gcmd, Gpa, HostAddressWidth, InputAddress, IotlbScope, Iqa,
    Iqercd, NestedPasidEntry, PageSelection, Pasid, PasidCacheScope, PasidEntry,
    PasidTranslationType, QueueOffset, Rtaddr, ScalableContextEntry, SourceId, StatusWrite,
};

use crate::model::{Call, Dev, Model};
use crate::world::Memory;

pub(crate) const ROOT: u64 = 0x1000;
const CONTEXTS: u64 = 0x2000;
const DIRECTORIES: u64 = 0x4000;
const PASID_TABLES: u64 = 0x8000;
const PAGE_TABLES: u64 = 0x1_8000;
pub(crate) const QUEUE: u64 = 0x2_0000;

/// How many bits PASIDs have that most guests are offered: so a search is of 4 pieces.
pub(crate) const PASID_BITS: u8 = 8;

pub(crate) struct Guest {
    pub(crate) memory: Memory,
    pub(crate) model: Model,
    pub(crate) relay: Relay<Model>,
    pub(crate) iqa: Iqa,
    pub(crate) tail: QueueOffset,
    pub(crate) head: QueueOffset,
    pub(crate) status: Fsts,
    pub(crate) error: Iqercd,
}

/// What most guests are offered.
pub(crate) fn offered() -> Capabilities {
    Capabilities {
        cap: Cap::default()
            .with_nd(6)
            .with_cm(true)
            .with_sagaw_48(true)
            .with_mgaw(47)
            .with_psi(true)
            .with_mamv(18)
            .with_fs5lp(true)
            .with_esrtps(true),
        ecap: Ecap::default()
            .with_c(true)
            .with_qi(true)
            .with_dt(true)
            .with_pt(true)
            .with_prs(true)
            .with_pds(true)
            .with_srs(true)
            .with_pasid(true)
            .with_pss(PASID_BITS - 1)
            .with_smts(true)
            .with_fsts(true)
            .with_smpwcs(true),
    }
}

pub(crate) fn features_of(offered: Capabilities) -> Features {
    Features::new(offered, HostAddressWidth::new(46).unwrap()).unwrap()
}

pub(crate) fn features() -> Features {
    features_of(offered())
}

pub(crate) fn scalable() -> Rtaddr {
    Rtaddr::from_bits(ROOT | 1 << 10)
}

pub(crate) fn on() -> Gcmd {
    Gcmd::default().with_te(true).with_qie(true)
}

pub(crate) fn off() -> Gcmd {
    Gcmd::default().with_qie(true)
}

/// Device `number`, function 0, on bus 0.
pub(crate) fn source(number: u32) -> SourceId {
    SourceId::new((number << 3) as u16)
}

pub(crate) fn pasid(number: u32) -> Pasid {
    Pasid::new(number).unwrap()
}

pub(crate) fn domain(number: u16) -> DomainId {
    DomainId::new(number)
}

pub(crate) fn gpa(address: u64) -> Gpa {
    Gpa::new(address).unwrap()
}

/// Where the context entry of a device is.
pub(crate) fn context(number: u32) -> u64 {
    let devfn = u64::from(number) << 3;
    CONTEXTS + (devfn >> 7) * 0x1000 + (devfn & 0x7f) * 32
}

pub(crate) fn directory(index: u64) -> u64 {
    DIRECTORIES + 0x1000 * index
}

/// Where the entry of a PASID is, in the tables of a directory.
pub(crate) fn entry(directory: u64, pasid: u32) -> u64 {
    let pasid = u64::from(pasid);
    PASID_TABLES + directory * 0x4000 + (pasid >> 6) * 0x1000 + (pasid & 0x3f) * 64
}

pub(crate) fn page_table(index: u64) -> u64 {
    PAGE_TABLES + 0x1000 * index
}

/// An entry with a first stage, by that page table.
pub(crate) fn first_stage(table: u64, domain: u16) -> PasidEntry {
    PasidEntry::default()
        .with_p(true)
        .with_pgtt(PasidTranslationType::FirstStage)
        .with_did(DomainId::new(domain))
        .with_fsptptr(gpa(page_table(table)))
        // What Linux writes besides: it means nothing here.
        .with_aw(vtd_types::Agaw::Four)
        .with_pwsnp(true)
}

pub(crate) fn pass_through(domain: u16) -> PasidEntry {
    PasidEntry::default()
        .with_p(true)
        .with_pgtt(PasidTranslationType::PassThrough)
        .with_did(DomainId::new(domain))
        .with_aw(vtd_types::Agaw::Four)
}

/// A context entry with that directory.
pub(crate) fn with_directory(index: u64) -> ScalableContextEntry {
    ScalableContextEntry::default()
        .with_p(true)
        .with_pasiddirptr(gpa(directory(index)))
        .with_paside(true)
        .with_pre(true)
        .with_dte(true)
}

/// Where the host is to put what has this entry.
pub(crate) fn translated(entry: &PasidEntry) -> Place {
    Place::Translated(NestedPasidEntry::from_entry(entry, &features()).unwrap())
}

pub(crate) fn wait() -> Descriptor {
    Descriptor::Wait {
        interrupt: false,
        status: StatusWrite::new(gpa(0x3_0000), 2),
        fence: false,
        drain_page_requests: false,
    }
}

pub(crate) fn waited() -> WaitSignal {
    WaitSignal {
        drain_page_requests: false,
        status: StatusWrite::new(gpa(0x3_0000), 2),
        interrupt: false,
    }
}

pub(crate) fn pc_inv(of: u16, number: u32) -> Descriptor {
    Descriptor::PasidCache(PasidCacheScope::Pasid {
        domain: domain(of),
        pasid: pasid(number),
    })
}

pub(crate) fn cc_inv(number: u32) -> Descriptor {
    Descriptor::ContextCache(ContextCacheScope::Device {
        domain: domain(0),
        source: source(number),
        functions: FunctionMask::None,
    })
}

pub(crate) fn iotlb(scope: IotlbScope) -> Descriptor {
    Descriptor::Iotlb {
        scope,
        drain_reads: true,
        drain_writes: true,
    }
}

pub(crate) fn piotlb(of: u16, number: u32) -> Descriptor {
    Descriptor::PasidIotlb {
        domain: domain(of),
        pasid: pasid(number),
        pages: None,
    }
}

pub(crate) fn piotlb_pages(of: u16, number: u32, page: u64, mask: u8) -> Descriptor {
    Descriptor::PasidIotlb {
        domain: domain(of),
        pasid: pasid(number),
        pages: Some(PageSelection::new(
            InputAddress::new(page << 12),
            AddressMask::new(mask).unwrap(),
            true,
        )),
    }
}

impl Guest {
    /// A guest whose unit translates nothing, with everything told but that.
    pub(crate) fn new() -> Self {
        Self::with(offered(), 0)
    }

    pub(crate) fn with(offered: Capabilities, seed: u64) -> Self {
        let memory = Memory::new();
        let model = Model::new(&memory, seed);
        let relay = Relay::new(model.clone(), features_of(offered)).unwrap();
        let guest = Self {
            memory,
            model,
            relay,
            // A page of 256-bit descriptors: 128 of them.
            iqa: Iqa::from_bits(QUEUE | 1 << 11),
            tail: QueueOffset::default(),
            head: QueueOffset::default(),
            status: Fsts::default(),
            error: Iqercd::default(),
        };
        guest
            .memory
            .write_words(ROOT, &[CONTEXTS | 1, (CONTEXTS + 0x1000) | 1]);
        for index in 0..4 {
            let tables: Vec<_> = (0..4).map(|part| entry(index, part << 6) | 1).collect();
            guest.memory.write_words(directory(index), &tables);
        }
        let mut guest = guest;
        guest.gcmd(off().with_srtp(true));
        guest
    }

    /// A guest whose unit translates, with devices that have these entries for requests without a
    /// PASID. Device `n` is in slot `n`, and has directory `n`.
    pub(crate) fn with_devices(entries: &[PasidEntry]) -> (Self, Vec<Port>) {
        let mut guest = Self::new();
        let mut ports = Vec::new();
        for (number, entry) in (0..).zip(entries) {
            guest.write_context(number, &with_directory(number.into()));
            guest.write_entry(number.into(), 0, entry);
            ports.push(guest.plug(number, Some(number)));
        }
        guest.gcmd(on());
        guest.model.calls();
        (guest, ports)
    }

    pub(crate) fn gcmd(&mut self, gcmd: Gcmd) {
        let status = self.relay.write_gcmd(gcmd, scalable(), &self.memory);
        assert_eq!((status.tes(), status.qies()), (gcmd.te(), gcmd.qie()));
    }

    pub(crate) fn plug(&mut self, device: u32, number: Option<u32>) -> Port {
        let memory = self.memory.clone();
        self.relay
            .plug(Dev(device), number.map(source), &memory)
            .unwrap()
    }

    pub(crate) fn write_context(&self, number: u32, entry: &ScalableContextEntry) {
        self.memory.write(context(number), &entry.to_bytes());
    }

    pub(crate) fn write_entry(&self, directory: u64, pasid: u32, written: &PasidEntry) {
        self.memory
            .write(entry(directory, pasid), &written.to_bytes());
    }

    pub(crate) fn write_page(&self, table: u64, page: u64, to: u64) {
        self.memory.write_words(page_table(table) + 8 * page, &[to]);
    }

    /// Has the relay take one descriptor.
    pub(crate) fn take(&mut self, descriptor: Descriptor) -> Taken {
        self.relay.take(descriptor.encode(), &self.memory).unwrap()
    }

    /// Has the relay take these, and carry them out. Gives what the host was asked for.
    pub(crate) fn carries_out(&mut self, descriptors: &[Descriptor]) -> Vec<Call> {
        self.model.calls();
        for descriptor in descriptors {
            let _done = self.take(*descriptor);
        }
        let _flushed = self.relay.flush().unwrap();
        self.model.calls()
    }

    pub(crate) fn place(&self, device: u32, number: Option<u32>) -> Place {
        self.model.place(Dev(device), number.map(pasid))
    }

    /// How many bytes a descriptor has.
    pub(crate) fn size(&self) -> u32 {
        self.iqa.ring(features().width()).entry_size().bytes()
    }

    pub(crate) fn room(&self) -> u32 {
        let ring = self.iqa.ring(features().width());
        let used = ring.indices(self.head, self.tail).unwrap().len();
        ring.entries() - 1 - used
    }

    /// Puts a descriptor into the queue, and gives its place.
    pub(crate) fn push(&mut self, descriptor: impl Into<DescriptorWords>) -> u32 {
        assert_ne!(self.room(), 0);
        let words = descriptor.into();
        let at = self.tail.bytes();
        let address = QUEUE + u64::from(at);
        match self.size() {
            16 => self.memory.write(address, &words.to_narrow_bytes()),
            _ => self.memory.write(address, &words.to_bytes()),
        }
        self.tail = QueueOffset::from_bits(self.after(at).into());
        at
    }

    pub(crate) fn after(&self, at: u32) -> u32 {
        (at + self.size()) % self.iqa.ring(features().width()).size()
    }

    pub(crate) fn run(&mut self, most: usize) -> Ran {
        let queue = InvalidationQueue {
            iqa: self.iqa,
            tail: self.tail,
            head: &mut self.head,
            status: &mut self.status,
            error: &mut self.error,
        };
        self.relay.run(queue, &self.memory, most)
    }

    /// Puts these into the queue and runs it, until there is nothing left.
    pub(crate) fn issue(&mut self, descriptors: &[Descriptor]) -> Vec<WaitSignal> {
        for descriptor in descriptors {
            self.push(descriptor.encode());
        }
        let ran = self.run(10_000);
        assert_eq!(ran.stop, Stop::Idle);
        assert_eq!(self.head, self.tail);
        ran.signals
    }

    /// Clears the error of the queue.
    pub(crate) fn clear_error(&mut self) {
        assert!(self.status.iqe());
        self.status = self
            .status
            .after_write(Fsts::default().with_iqe(true).bits());
    }
}
