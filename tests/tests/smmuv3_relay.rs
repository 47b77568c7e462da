//! The relay over the kernel and the lab's SMMUv3: a guest's driver writes registers, tables and commands, and the
//! device's DMA goes where they say.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::rc::Rc;
use std::time::Duration;

use examples::guest::{AddressSpace, Memory};
use iommufd::smmuv3::relay::{
    CommandQueue, GuestMemory, Kernel, Place, Port, Ran, Relay, RelayedDevice, Stop, Unreadable,
};
use iommufd::smmuv3::{EventRecord, Smmuv3, StreamId};
use iommufd::{Access, Ioas, Iommufd, Iova, Leaks, Mapping, NestParent, VEventQueue, Viommu};
use smmuv3_types::{
    AddressSize, Asid, BadCommand, CmdqCons, CmdqProd, Command, CommandWords, Cr0, Event, Features,
    Gbpa, GlobalErrorRegisters, IdRegisters, InputAddress, Ipa, QueueBase, QueueIndex, QueueSize,
    Requester, Ste, StrtabBase, StrtabBaseCfg, SyncSignal, TableEndianness, Vmid,
};
use tests::edu;
use tests::raw;
use tests::smmu::{Engine, PAGES, RAM, VA, within};

/// By which number the guest knows its device.
const STREAM: StreamId = StreamId::new(9);
/// How many commands and entries fit into a page.
const COMMANDS: QueueSize = match QueueSize::from_log2(8) {
    Some(size) => size,
    None => panic!("no such size"),
};
const LOG2_STREAMS: u8 = 6;
const SYNC: Command = Command::Sync(SyncSignal::None);

struct Ram(Rc<Memory>);

impl GuestMemory for Ram {
    fn read(&self, address: Ipa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let place = address.get().checked_sub(RAM.get()).ok_or(Unreadable)?;
        let place = usize::try_from(place).map_err(|_| Unreadable)?;
        let read = self.0.shared().read_bytes(place, bytes);
        read.map_err(|_| Unreadable)
    }
}

/// A guest, its SMMU as a VMM emulates it, and the VMM.
struct Machine {
    relay: Relay<Kernel>,
    events: VEventQueue<EventRecord>,
    engine: Engine,
    memory: Ram,
    /// The guest's stream table and command queue.
    table: Ipa,
    queue: Ipa,
    prod: CmdqProd,
    cons: CmdqCons,
    errors: GlobalErrorRegisters,
    _ram: Mapping,
    parent: NestParent,
    // Released last.
    device: vfio::Device,
    iommufd: Iommufd,
}

impl Machine {
    /// The guest's SMMU is off, and its device is plugged in without a number.
    fn new() -> (Self, Port) {
        let iommufd = Iommufd::open().unwrap();
        let device = edu::bind(edu::lone(), &iommufd);
        let iommu = device.iommu();
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = Memory::new(RAM, PAGES).unwrap();
        let start = Iova::new(RAM.get());
        let ram = ioas
            .map_at(start, memory.shared(), Access::ReadWrite)
            .unwrap();
        let parent = NestParent::new(&ioas, iommu).unwrap();
        let (smmu, events) = Viommu::<Smmuv3>::with_events(&parent, iommu, 64).unwrap();
        let vouched = iommu
            .vendor_info::<iommufd::Smmuv3Info>()
            .unwrap()
            .vouched();
        let mut wanted = IdRegisters::default();
        wanted.idr0 = wanted
            .idr0
            .with_ttf_aarch64(true)
            .with_cohacc(true)
            .with_asid16(true)
            .with_stall_model(vouched.stall_model().unwrap())
            .with_ttendian(TableEndianness::Little);
        wanted.idr1 = wanted.idr1.with_sidsize(16);
        wanted.idr5 = wanted.idr5.with_gran4k(true).with_oas(AddressSize::Bits44);
        let features = Features::new(vouched.offer(&wanted).unwrap()).unwrap();
        let mut relay = Relay::new(Kernel::new(&smmu), features).unwrap();
        let (table, queue) = (memory.page().unwrap(), memory.page().unwrap());
        let memory = Ram(Rc::new(memory));
        let port = relay
            .plug(RelayedDevice::new(iommu.clone()), None, &memory)
            .unwrap();
        let machine = Self {
            relay,
            events,
            engine: Engine::new(&device),
            memory,
            table,
            queue,
            prod: CmdqProd::from_bits(0),
            cons: CmdqCons::from_bits(0),
            errors: GlobalErrorRegisters::default(),
            _ram: ram,
            parent,
            device,
            iommufd,
        };
        (machine, port)
    }

    /// The guest switches its SMMU on, with all its streams' entries as they are.
    fn switch_on(&mut self) {
        let base = StrtabBase::from_bits(0).with_addr(self.table);
        let cfg = StrtabBaseCfg::from_bits(0).with_log2size(LOG2_STREAMS);
        assert!(self.relay.set_stream_table(base, cfg));
        let on = Cr0::from_bits(0)
            .with_smmuen(true)
            .with_cmdqen(true)
            .with_eventqen(true);
        self.relay.set_cr0(on, &self.memory);
    }

    /// The guest writes its device's entry.
    fn write_entry(&self, ste: &Ste) {
        let at = self
            .table
            .checked_add(u64::from(STREAM.get()) * 64)
            .unwrap();
        self.memory.0.write(at, &ste.to_bytes()).unwrap();
    }

    /// The guest writes these commands into its queue, and the VMM takes them.
    fn issue(&mut self, commands: &[CommandWords]) -> Ran {
        let mut index = self.prod.index(COMMANDS);
        for words in commands {
            let at = self.queue.checked_add(u64::from(index.position()) * 16);
            self.memory.0.write(at.unwrap(), &words.to_bytes()).unwrap();
            index = index.next();
        }
        self.prod = self.prod.with_index(index);
        let queue = CommandQueue {
            base: QueueBase::from_bits(0)
                .with_address(self.queue)
                .with_size(COMMANDS),
            max: QueueSize::MAX,
            prod: self.prod,
            cons: &mut self.cons,
            errors: &mut self.errors,
        };
        self.relay.run(queue, &self.memory, 100)
    }

    /// The same of commands that are all right, with a SYNC after them.
    fn say(&mut self, commands: &[Command]) {
        let words: Vec<_> = commands
            .iter()
            .chain([&SYNC])
            .map(Command::encode)
            .collect();
        let ran = self.issue(&words);
        assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 1));
        let reports = self.relay.take_reports();
        assert!(reports.is_empty(), "{reports:?}");
    }

    /// In which of these pages the device's write to `to` arrives.
    fn lands(&self, to: InputAddress, pages: &[Ipa]) -> Option<Ipa> {
        let places = pages.iter().map(|page| within(*page, to));
        let mark = [0x5a; 8];
        for at in places.clone() {
            self.memory.0.write(at, &mark).unwrap();
        }
        self.engine.store(to, 8);
        let mut changed = pages
            .iter()
            .zip(places)
            .filter(|(_, at)| self.memory.0.read::<8>(*at).unwrap() != mark);
        let page = changed.next().map(|(page, _)| *page);
        assert!(changed.next().is_none());
        page
    }
}

fn of_page(page: Ipa) -> InputAddress {
    InputAddress::new(page.get())
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_is_where_the_guests_registers_and_tables_say() {
    let (mut machine, port) = Machine::new();
    let [first, second] = [(); 2].map(|()| machine.memory.0.page().unwrap());
    let memory = Rc::clone(&machine.memory.0);
    let entry_of = |asid, to| {
        let space = AddressSpace::new(&memory, Asid::new(asid)).unwrap();
        space.map(VA, to).unwrap();
        space.entry().unwrap()
    };

    // The SMMU is off: by guest physical address, or not at all.
    assert_eq!(machine.relay.place(&port), Some(Place::Bypass));
    assert_eq!(machine.lands(of_page(first), &[first, second]), Some(first));
    machine.relay.set_gbpa(Gbpa::from_bits(0).with_abort(true));
    assert_eq!(machine.lands(of_page(first), &[first, second]), None);
    machine.relay.set_gbpa(Gbpa::from_bits(0));
    assert_eq!(
        machine.lands(of_page(second), &[first, second]),
        Some(second)
    );

    // On, before the device has a number, and with an entry that is not valid: nowhere.
    machine.switch_on();
    assert_eq!(machine.lands(of_page(first), &[first, second]), None);
    machine
        .relay
        .assign(&port, Some(STREAM), &machine.memory)
        .unwrap();
    assert_eq!(machine.lands(of_page(first), &[first, second]), None);
    let bad = machine.relay.take_event().unwrap().decode().unwrap();
    let requester = Requester {
        stream: STREAM,
        substream: None,
    };
    assert_eq!(bad, Event::BadSte(requester));

    // The guest has written the entry: from the SYNC on it counts.
    let stream = STREAM;
    let changed = Command::CfgiSte { stream, leaf: true };
    machine.write_entry(&entry_of(1, first));
    assert_eq!(machine.lands(VA, &[first, second]), None);
    machine.say(&[changed]);
    assert_eq!(machine.lands(VA, &[first, second]), Some(first));
    assert_eq!(machine.lands(of_page(first), &[first, second]), None);
    assert!(machine.events.wait(Some(Duration::from_secs(30))).unwrap());
    machine.events.read().unwrap();

    // Another entry, with other tables and another ASID.
    machine.write_entry(&entry_of(2, second));
    machine.say(&[changed]);
    assert_eq!(machine.lands(VA, &[first, second]), Some(second));

    // One that bypasses, one that aborts, and off again.
    machine.write_entry(&smmuv3_types::NestedSte::bypass().ste());
    machine.say(&[changed]);
    assert_eq!(machine.lands(of_page(first), &[first, second]), Some(first));
    machine.write_entry(&smmuv3_types::NestedSte::abort().ste());
    machine.say(&[changed]);
    assert_eq!(machine.lands(of_page(first), &[first, second]), None);
    machine.relay.set_cr0(Cr0::from_bits(0), &machine.memory);
    assert_eq!(
        machine.lands(of_page(second), &[first, second]),
        Some(second)
    );

    // Unplugged it is nowhere, and whose it was.
    let device = machine.relay.unplug(port).unwrap().into_device();
    assert_eq!(device, *machine.device.iommu());
    assert_eq!(machine.lands(of_page(first), &[first, second]), None);
    let attachment = device.attach(&machine.parent).unwrap();
    assert_eq!(machine.lands(of_page(first), &[first, second]), Some(first));
    attachment.detach().unwrap();
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_a_guest_invalidates_is_gone_when_its_sync_is_complete() {
    let (mut machine, port) = Machine::new();
    let [first, second] = [(); 2].map(|()| machine.memory.0.page().unwrap());
    machine.switch_on();
    machine
        .relay
        .assign(&port, Some(STREAM), &machine.memory)
        .unwrap();
    machine.relay.take_event();
    let memory = Rc::clone(&machine.memory.0);
    let space = AddressSpace::new(&memory, Asid::new(1)).unwrap();
    space.map(VA, first).unwrap();
    machine.write_entry(&space.entry().unwrap());
    machine.say(&[Command::CfgiAll]);
    assert_eq!(machine.lands(VA, &[first, second]), Some(first));
    let (vmid, asid) = (Vmid::new(0), Asid::new(1));
    let of_address = Command::TlbiNhVa {
        vmid,
        asid,
        address: InputAddress::new(VA.get() & !0xfff),
        leaf: true,
        range: None,
    };
    for (command, to) in [
        (of_address, second),
        (Command::TlbiNhAsid { vmid, asid }, first),
        (Command::TlbiNhAll { vmid }, second),
        (Command::TlbiNsnhAll, first),
    ] {
        space.map(VA, to).unwrap();
        machine.say(&[command]);
        assert_eq!(machine.lands(VA, &[first, second]), Some(to), "{command:?}");
    }

    // A bad command among good ones: those before it count, and it is named.
    space.map(VA, second).unwrap();
    let all = Command::TlbiNsnhAll.encode();
    let before = machine.prod.index(COMMANDS);
    let bad = CommandWords::from_words([0xff, 0]);
    let ran = machine.issue(&[all, SYNC.encode(), bad, all, SYNC.encode()]);
    assert_eq!(ran.stop, Stop::Illegal(BadCommand::Unknown(0xff)));
    assert_eq!(ran.signals.len(), 1);
    let at: QueueIndex = before.next().next();
    assert_eq!(machine.cons.index(COMMANDS), at);
    assert_eq!(machine.lands(VA, &[first, second]), Some(second));
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
    let objects = raw::objects(&machine.iommufd);
    machine.relay.unplug(port).unwrap();
    assert!(raw::objects(&machine.iommufd) < objects);
}
