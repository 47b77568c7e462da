//! A guest whose own page tables translate for a DMA engine, in hardware, by the lab's SMMUv3.
//!
//! The engine is polled: its interrupt goes through the guest's tables, too, and most of them have nothing for it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use examples::edu::BUFFER_LEN;
use examples::guest::{AddressSpace, Memory, PAGE};
use iommufd::smmuv3::{EventRecord, Invalidation, Smmuv3, StaleAsids};
use iommufd::{
    Access, Attachment, Ioas, Iommufd, Iova, Mapping, NestParent, NestedHwPt, VDevice, VEvent,
    VEventQueue, Viommu,
};
use smmuv3_types::{
    Asid, Event, InputAddress, InvalidationLimits, Ipa, LeafDescriptor, NestedSte, StreamId,
};
use vfio::{Device, PciAddress};

use crate::edu::{self, Unheard, pattern};
use crate::observe::Recorder;

/// Where a guest's memory begins.
pub const RAM: Ipa = match Ipa::new(0x4000_0000) {
    Some(start) => start,
    None => panic!("no such address"),
};
/// How many pages it has.
pub const PAGES: usize = 96;
/// The number by which a guest knows its device.
pub const STREAM: StreamId = StreamId::new(0x42);
/// An address that takes tables of all four levels, and is not that of a page.
pub const VA: InputAddress = InputAddress::new(0x1234_5678_9100);
/// For what is to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what is not to come, or has come together with something else.
const QUIET: Duration = Duration::from_millis(300);

/// A DMA engine without its interrupt, by the addresses of a guest's.
#[derive(Debug)]
pub struct Engine(Unheard);

impl Engine {
    /// The engine that `device` is.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        let engine = Unheard::new(device);
        engine.wait_until_idle();
        Self(engine)
    }

    /// Has it read `len` bytes of memory into its buffer.
    pub fn fetch(&self, from: InputAddress, len: usize) {
        self.0.start_fetch(Iova::new(from.get()), len);
        self.wait();
    }

    /// Has it write the first `len` bytes of its buffer to memory.
    pub fn store(&self, to: InputAddress, len: usize) {
        self.start_store(to, len);
        self.wait();
    }

    /// Starts a store, which is done 100 ms later.
    pub fn start_store(&self, to: InputAddress, len: usize) {
        self.0.start_store(Iova::new(to.get()), len);
    }

    /// Waits for what was started.
    pub fn wait(&self) {
        self.0.wait_until_idle();
    }

    /// Fills its buffer from the page at `from`, where the device is attached for that alone.
    fn load(&self, device: &Device, parent: &NestParent, from: Ipa) {
        let attachment = device.attach(parent).unwrap();
        self.fetch(InputAddress::new(from.get()), BUFFER_LEN);
        attachment.detach().unwrap();
    }
}

/// A guest with memory, and one device that is not attached yet.
#[derive(Debug)]
pub struct Guest {
    /// The device, as hardware.
    pub engine: Engine,
    /// The device, as the guest knows it.
    pub vdevice: VDevice<Smmuv3>,
    /// What the guest is told, while there is a queue.
    pub events: RefCell<Option<VEventQueue<EventRecord>>>,
    /// The guest's share of the SMMU.
    pub smmu: Viommu<Smmuv3>,
    /// Stage 2.
    pub parent: NestParent,
    /// The guest's memory, in stage 2.
    pub ram: Mapping,
    /// What stage 2 is made of.
    pub ioas: Ioas,
    /// The guest's memory.
    pub memory: Memory,
    /// The device.
    pub device: Device,
    /// The context.
    pub iommufd: Iommufd,
    /// What the context asks of the kernel.
    pub recorder: Arc<Recorder>,
}

impl Guest {
    /// A guest with the lone engine.
    #[must_use]
    pub fn new() -> Self {
        Self::with(edu::lone(), 512)
    }

    /// A guest with the engine at `address`, and room for so many events.
    #[must_use]
    pub fn with(address: PciAddress, depth: u32) -> Self {
        let (iommufd, recorder) = Recorder::context();
        let device = edu::bind(address, &iommufd);
        Self::of(device, recorder, depth)
    }

    /// A guest with an engine that is bound already, in a context with this recorder.
    #[must_use]
    pub fn of(device: Device, recorder: Arc<Recorder>, depth: u32) -> Self {
        let iommufd = device.iommu().iommufd().clone();
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = Memory::new(RAM, PAGES).unwrap();
        let ram = ioas
            .map_at(Iova::new(RAM.get()), memory.shared(), Access::ReadWrite)
            .unwrap();
        let parent = NestParent::new(&ioas, device.iommu()).unwrap();
        let (smmu, events) = Viommu::<Smmuv3>::with_events(&parent, device.iommu(), depth).unwrap();
        let vdevice = VDevice::new(&smmu, device.iommu(), STREAM).unwrap();
        let engine = Engine::new(&device);
        let page = memory.page().unwrap();
        memory.write(page, &pattern(7)).unwrap();
        engine.load(&device, &parent, page);
        Self {
            engine,
            vdevice,
            events: RefCell::new(Some(events)),
            smmu,
            parent,
            ram,
            ioas,
            memory,
            device,
            iommufd,
            recorder,
        }
    }

    /// A page of the guest's memory that nobody uses.
    #[must_use]
    pub fn page(&self) -> Ipa {
        self.memory.page().unwrap()
    }

    /// So many of them.
    #[must_use]
    pub fn pages<const N: usize>(&self) -> [Ipa; N] {
        std::array::from_fn(|_| self.page())
    }

    /// An empty address space of the guest's.
    #[must_use]
    pub fn space(&self, asid: u16) -> AddressSpace<'_> {
        AddressSpace::new(&self.memory, Asid::new(asid)).unwrap()
    }

    /// Maps a page at [`VA`] by a descriptor with this change.
    #[must_use]
    pub fn maps(
        &self,
        space: &AddressSpace<'_>,
        change: impl FnOnce(LeafDescriptor) -> LeafDescriptor,
    ) -> Ipa {
        let page = self.page();
        let leaf = AddressSpace::page(page).unwrap();
        space.set(VA, change(leaf)).unwrap();
        page
    }

    /// A table by this entry of the guest's stream table.
    #[must_use]
    pub fn table(&self, entry: &NestedSte) -> NestedHwPt<Smmuv3> {
        NestedHwPt::new(&self.smmu, self.device.iommu(), entry).unwrap()
    }

    /// Attaches the device by this entry; its ASIDs are the guest's concern.
    pub fn attach(&self, entry: &NestedSte) -> Attachment {
        let nested = self.table(entry);
        self.vdevice
            .attach(&nested, StaleAsids::GuestInvalidates)
            .unwrap()
    }

    /// Attaches the device to this address space.
    pub fn enter(&self, space: &AddressSpace<'_>) -> Attachment {
        self.attach(&translate(space))
    }

    /// Another device, as the guest knows it. All devices of an IOMMU group have to be known before one of them is
    /// attached: the kernel attaches the group.
    #[must_use]
    pub fn knows(&self, address: PciAddress, number: StreamId) -> (Device, VDevice<Smmuv3>) {
        let device = edu::bind(address, &self.iommufd);
        let vdevice = VDevice::new(&self.smmu, device.iommu(), number).unwrap();
        (device, vdevice)
    }

    /// What the host's SMMU has.
    #[must_use]
    pub fn limits(&self) -> &InvalidationLimits {
        self.smmu.demands().limits()
    }

    /// Passes on what the guest says.
    pub fn invalidate(&self, commands: &[Invalidation]) {
        self.smmu.invalidate(commands).unwrap();
    }

    /// In which of these pages, if in any, the device's write to `to` arrives; at the same offset.
    #[must_use]
    #[track_caller]
    pub fn lands(&self, to: InputAddress, pages: &[Ipa]) -> Option<Ipa> {
        self.lands_in(&self.memory, to, pages)
    }

    /// The same of other memory.
    #[must_use]
    #[track_caller]
    pub fn lands_in(&self, memory: &Memory, to: InputAddress, pages: &[Ipa]) -> Option<Ipa> {
        self.clear(memory, to, pages);
        self.engine.store(to, 8);
        self.landed(memory, to, pages)
    }

    /// Prepares [`landed`](Self::landed).
    pub fn clear(&self, memory: &Memory, to: InputAddress, pages: &[Ipa]) {
        for page in pages {
            memory.write(within(*page, to), &[0; 8]).unwrap();
        }
    }

    /// In which of these pages, if in any, a write to `to` has arrived.
    #[must_use]
    #[track_caller]
    pub fn landed(&self, memory: &Memory, to: InputAddress, pages: &[Ipa]) -> Option<Ipa> {
        let there = |page: &&Ipa| match memory.read::<8>(within(**page, to)).unwrap() {
            bytes if bytes == pattern(7)[..8] => true,
            bytes => {
                assert_eq!(bytes, [0; 8], "part of a write in {page}");
                false
            }
        };
        let mut pages = pages.iter().filter(there);
        let page = pages.next().copied();
        assert_eq!(
            pages.next(),
            None,
            "a write in two pages, one of them {page:?}"
        );
        page
    }

    /// What the guest is told next, and what comes together with it.
    #[must_use]
    #[track_caller]
    pub fn told(&self) -> Vec<VEvent<EventRecord>> {
        let mut queue = self.events.borrow_mut();
        let queue = queue.as_mut().expect("a queue");
        assert!(queue.wait(Some(PATIENCE)).unwrap(), "no event came");
        let mut events = Vec::new();
        while queue.wait(Some(QUIET)).unwrap() {
            queue.read_into(&mut events).unwrap();
        }
        events
    }

    /// What the guest is told next. More of the same may come with it, one for each part that the bus makes of a
    /// transfer.
    #[must_use]
    #[track_caller]
    pub fn event(&self) -> Event {
        let events: Vec<Event> = self
            .told()
            .iter()
            .map(|event| match event {
                VEvent::Event(record) => record.decode().unwrap(),
                VEvent::Lost(count) => panic!("{count} events are lost"),
            })
            .collect();
        let kinds: Vec<_> = events.iter().map(Event::kind).collect();
        assert!(kinds.iter().all(|kind| *kind == kinds[0]), "{events:?}");
        events[0]
    }

    /// Asserts that the guest is told nothing.
    #[track_caller]
    pub fn told_nothing(&self) {
        let mut queue = self.events.borrow_mut();
        let queue = queue.as_mut().expect("a queue");
        assert!(!queue.wait(Some(QUIET)).unwrap(), "{:?}", queue.read());
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

/// The entry that leads to an address space.
#[must_use]
pub fn translate(space: &AddressSpace<'_>) -> NestedSte {
    NestedSte::translate(space.stage1().unwrap())
}

/// The address in `page` at the offset that `at` has in its own.
#[must_use]
pub fn within(page: Ipa, at: InputAddress) -> Ipa {
    page.checked_add(at.get() % PAGE as u64).unwrap()
}

/// The address `bytes` further on.
#[must_use]
pub fn further(at: InputAddress, bytes: u64) -> InputAddress {
    InputAddress::new(at.get().checked_add(bytes).unwrap())
}
