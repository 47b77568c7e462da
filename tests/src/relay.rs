//! A guest with an SMMU that a VMM emulates, by a relay, over the lab's SMMUv3.

use std::rc::Rc;

use examples::guest::{AddressSpace, Memory};
use examples::virtual_smmu::offered;
use iommufd::smmuv3::relay::{
    CommandQueue, GuestMemory, Kernel, Port, Ran, Relay, RelayedDevice, Report, Stop, Unreadable,
};
use iommufd::smmuv3::{EventRecord, Smmuv3, StreamId};
use iommufd::{Access, Error, Ioas, Iommufd, Iova, Mapping, NestParent, VEventQueue, Viommu};
use smmuv3_types::{
    Asid, CmdqCons, CmdqProd, Command, CommandWords, Cr0, GlobalErrorRegisters, InputAddress, Ipa,
    QueueBase, QueueSize, Ste, StrtabBase, StrtabBaseCfg, SyncSignal,
};
use vfio::{Device, PciAddress};

use crate::edu;
use crate::smmu::{Engine, PAGES, RAM, VA, within};

/// By which number the guest knows its device.
pub const STREAM: StreamId = StreamId::new(9);
/// How many commands fit into the page of the queue.
pub const COMMANDS: QueueSize = match QueueSize::from_log2(8) {
    Some(size) => size,
    None => panic!("no such size"),
};
/// Nothing that the guest is told by.
pub const SYNC: Command = Command::Sync(SyncSignal::None);
/// The guest has changed the entry of [`STREAM`].
pub const CHANGED: Command = Command::CfgiSte {
    stream: STREAM,
    leaf: true,
};
const LOG2_STREAMS: u8 = 6;

/// The guest's memory, as the relay reads it.
#[derive(Debug, Clone)]
pub struct Ram(pub Rc<Memory>);

impl GuestMemory for Ram {
    fn read(&self, address: Ipa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let place = address.get().checked_sub(RAM.get()).ok_or(Unreadable)?;
        let place = usize::try_from(place).map_err(|_| Unreadable)?;
        let read = self.0.shared().read_bytes(place, bytes);
        read.map_err(|_| Unreadable)
    }
}

/// A guest, its SMMU as a VMM emulates it, and the VMM.
#[derive(Debug)]
pub struct Machine {
    /// Between the guest's SMMU and the host's.
    pub relay: Relay<Kernel>,
    /// What the hardware tells the guest.
    pub events: VEventQueue<EventRecord>,
    /// The guest's memory.
    pub memory: Ram,
    /// The guest's stream table and command queue.
    table: Ipa,
    queue: Ipa,
    /// How far the guest has written its queue.
    pub prod: CmdqProd,
    /// How far it was read.
    pub cons: CmdqCons,
    errors: GlobalErrorRegisters,
    _ram: Mapping,
    /// Stage 2.
    pub parent: NestParent,
    ioas: Ioas,
    /// The context.
    pub iommufd: Iommufd,
}

/// A device in the machine.
#[derive(Debug)]
pub struct Slot {
    /// Its place behind the relay.
    pub port: Port,
    /// The device, as hardware.
    pub engine: Engine,
    /// The device.
    pub device: Device,
}

impl Machine {
    /// The guest's SMMU is off, and the lone engine is plugged in without a number.
    #[must_use]
    pub fn new() -> (Self, Slot) {
        let (mut machine, device) = Self::beside(edu::lone());
        let slot = machine.plug(device, None);
        (machine, slot)
    }

    /// The guest's SMMU is off, and the engine at `address` is not plugged in yet.
    #[must_use]
    pub fn beside(address: PciAddress) -> (Self, Device) {
        let iommufd = Iommufd::open().unwrap();
        let device = edu::bind(address, &iommufd);
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = Memory::new(RAM, PAGES).unwrap();
        let start = Iova::new(RAM.get());
        let ram = ioas
            .map_at(start, memory.shared(), Access::ReadWrite)
            .unwrap();
        let (parent, relay, events) = virtual_smmu(&ioas, &device);
        let machine = Self {
            relay,
            events,
            table: memory.page().unwrap(),
            queue: memory.page().unwrap(),
            memory: Ram(Rc::new(memory)),
            prod: CmdqProd::from_bits(0),
            cons: CmdqCons::from_bits(0),
            errors: GlobalErrorRegisters::default(),
            _ram: ram,
            parent,
            ioas,
            iommufd,
        };
        (machine, device)
    }

    /// The guest's memory has come to another machine, where there is a relay that nobody has used.
    pub fn migrates(&mut self, device: &Device) {
        (self.parent, self.relay, self.events) = virtual_smmu(&self.ioas, device);
    }

    /// Plugs a device in.
    pub fn plug(&mut self, device: Device, stream: Option<StreamId>) -> Slot {
        self.plug_as(device, stream, |relayed| relayed)
    }

    /// Plugs a device in, with more.
    pub fn plug_as(
        &mut self,
        device: Device,
        stream: Option<StreamId>,
        with: impl FnOnce(RelayedDevice) -> RelayedDevice,
    ) -> Slot {
        let engine = Engine::new(&device);
        let relayed = with(RelayedDevice::new(device.iommu().clone()));
        let port = self.relay.plug(relayed, stream, &self.memory).unwrap();
        Slot {
            port,
            engine,
            device,
        }
    }

    /// The guest numbers its device.
    pub fn number(&mut self, slot: &Slot) {
        let stream = Some(STREAM);
        self.relay.assign(&slot.port, stream, &self.memory).unwrap();
    }

    /// The guest switches its SMMU on, with all its streams' entries as they are.
    pub fn switch_on(&mut self) {
        let base = StrtabBase::from_bits(0).with_addr(self.table);
        let cfg = StrtabBaseCfg::from_bits(0).with_log2size(LOG2_STREAMS);
        assert!(self.relay.set_stream_table(base, cfg));
        let on = Cr0::from_bits(0)
            .with_smmuen(true)
            .with_cmdqen(true)
            .with_eventqen(true);
        self.relay.set_cr0(on, &self.memory);
    }

    /// The guest switches its SMMU off.
    pub fn switch_off(&mut self) {
        self.relay.set_cr0(Cr0::from_bits(0), &self.memory);
    }

    /// The guest writes its device's entry.
    pub fn write_entry(&self, ste: &Ste) {
        let at = self
            .table
            .checked_add(u64::from(STREAM.get()) * 64)
            .unwrap();
        self.memory.0.write(at, &ste.to_bytes()).unwrap();
    }

    /// The guest writes its device's entry, and says so.
    pub fn enter(&mut self, ste: &Ste) {
        self.write_entry(ste);
        self.say(&[CHANGED]);
    }

    /// An entry that leads to an address space where [`VA`] is `to`.
    #[must_use]
    pub fn entry_to(&self, asid: u16, to: Ipa) -> Ste {
        let space = AddressSpace::new(&self.memory.0, Asid::new(asid)).unwrap();
        space.map(VA, to).unwrap();
        space.entry().unwrap()
    }

    /// The guest writes these commands into its queue, and the VMM takes them.
    pub fn issue(&mut self, commands: &[CommandWords]) -> Ran {
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

    /// The same of commands that are all right, with a SYNC after them. Gives what the host has refused.
    #[track_caller]
    pub fn reports(&mut self, commands: &[Command]) -> Vec<Report<Error>> {
        let words: Vec<_> = commands
            .iter()
            .chain([&SYNC])
            .map(Command::encode)
            .collect();
        let ran = self.issue(&words);
        assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 1));
        self.relay.take_reports()
    }

    /// The same of which the host refuses nothing.
    #[track_caller]
    pub fn say(&mut self, commands: &[Command]) {
        let reports = self.reports(commands);
        assert!(reports.is_empty(), "{reports:?}");
    }

    /// In which of these pages a device's write to `to` arrives.
    #[track_caller]
    pub fn lands(&self, engine: &Engine, to: InputAddress, pages: &[Ipa]) -> Option<Ipa> {
        let places = pages.iter().map(|page| within(*page, to));
        let mark = [0x5a; 8];
        for at in places.clone() {
            self.memory.0.write(at, &mark).unwrap();
        }
        engine.store(to, 8);
        let mut changed = pages
            .iter()
            .zip(places)
            .filter(|(_, at)| self.memory.0.read::<8>(*at).unwrap() != mark);
        let page = changed.next().map(|(page, _)| *page);
        assert!(changed.next().is_none());
        page
    }
}

/// A share of the SMMU over stage 2 of its own, and a relay in front of it.
fn virtual_smmu(
    ioas: &Ioas,
    device: &Device,
) -> (NestParent, Relay<Kernel>, VEventQueue<EventRecord>) {
    let parent = NestParent::new(ioas, device.iommu()).unwrap();
    let (smmu, events) = Viommu::<Smmuv3>::with_events(&parent, device.iommu(), 64).unwrap();
    let features = offered(&device.iommu().vendor_info().unwrap()).unwrap();
    let relay = Relay::new(Kernel::new(&smmu), features).unwrap();
    (parent, relay, events)
}

/// The page as a device addresses it that nothing translates for.
#[must_use]
pub fn of_page(page: Ipa) -> InputAddress {
    InputAddress::new(page.get())
}
