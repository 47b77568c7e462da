//! The lab's DMA engines, and one of them ready for use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, Attachment, DmaBuffer, FaultQueue, HwPt, Ioas, Iommufd, Iova, SharedBuffer};
use vfio::{BarMapping, Cdev, Device, PciAddress, RegionIndex};

use crate::observe::Recorder;

/// The one in an IOMMU group of its own.
#[must_use]
pub fn lone() -> PciAddress {
    *of_group_size(1)
        .first()
        .expect("the machine has an edu alone in its IOMMU group")
}

/// Two in one IOMMU group.
#[must_use]
pub fn pair() -> [PciAddress; 2] {
    let mut pair = of_group_size(2);
    pair.sort_by_key(ToString::to_string);
    pair.try_into()
        .expect("the machine has two edu in one IOMMU group")
}

/// The two functions of a card in one IOMMU group, on a bus of their own: they are reset together.
#[must_use]
pub fn card() -> [PciAddress; 2] {
    let mut card: Vec<_> = functions("0x1234", "0x11e8")
        .map(|function| function.address)
        .filter(|address| !is_on_the_root_bus(*address))
        .collect();
    card.sort();
    card.try_into()
        .expect("the machine has a card of two edu behind a port")
}

fn is_on_the_root_bus(address: PciAddress) -> bool {
    address.bus() == 0
}

fn of_group_size(size: usize) -> Vec<PciAddress> {
    functions("0x1234", "0x11e8")
        .filter(|function| is_on_the_root_bus(function.address))
        .filter(|function| {
            let members = function.folder.join("iommu_group/devices");
            fs::read_dir(members).unwrap().count() == size
        })
        .map(|function| function.address)
        .collect()
}

/// Where the lab's devices write their interrupts: nothing can be mapped there for them.
pub const INTERRUPTS: Iova = Iova::new(if cfg!(target_arch = "aarch64") {
    0x800_0000
} else {
    0xfee0_0000
});

/// A network card, with a reset and MSI-X, which an `edu` has not, alone on its bus.
#[must_use]
pub fn igb() -> PciAddress {
    let (_, alone) = igbs();
    alone.expect("the machine has an igb alone on its bus")
}

/// The two functions of a network card, each in an IOMMU group of its own: they are reset together.
#[must_use]
pub fn igb_pair() -> [PciAddress; 2] {
    let (pair, _) = igbs();
    pair.try_into()
        .expect("the machine has an igb of two functions")
}

/// Those of a card of several functions, and that of another.
fn igbs() -> (Vec<PciAddress>, Option<PciAddress>) {
    let mut all: Vec<_> = functions("0x8086", "0x10c9")
        .map(|function| function.address)
        .collect();
    all.sort();
    let shares = |one: &PciAddress| all.iter().filter(|other| other.bus() == one.bus()).count() > 1;
    let (pair, alone): (Vec<_>, Vec<_>) = all.iter().partition(|address| shares(address));
    (pair, alone.first().copied())
}

struct Function {
    folder: PathBuf,
    address: PciAddress,
}

/// The functions with these identifiers that an IOMMU translates.
fn functions(vendor: &'static str, device: &'static str) -> impl Iterator<Item = Function> {
    let is = |folder: &Path, file: &str, id: &str| {
        fs::read_to_string(folder.join(file)).unwrap().trim() == id
    };
    fs::read_dir("/sys/bus/pci/devices")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(move |folder| is(folder, "vendor", vendor) && is(folder, "device", device))
        .filter(|folder| folder.join("iommu").exists())
        .map(|folder| {
            let name = folder.file_name().unwrap().to_str().unwrap();
            let address = name.parse().unwrap();
            Function { folder, address }
        })
}

/// Opens the function's character device, after giving it to `vfio-pci` if it has not got it yet.
/// (Taking it away again waits for its users, so it stays there.)
#[must_use]
pub fn cdev(address: PciAddress) -> Cdev {
    let function = Path::new("/sys/bus/pci/devices").join(address.to_string());
    if !function.join("vfio-dev").exists() {
        fs::write(function.join("driver_override"), "vfio-pci").unwrap();
        fs::write("/sys/bus/pci/drivers_probe", address.to_string()).unwrap();
    }
    Cdev::open_pci(address).unwrap()
}

/// Binds the function to `iommufd`.
#[must_use]
pub fn bind(address: PciAddress, iommufd: &Iommufd) -> Device {
    cdev(address).bind(iommufd).unwrap()
}

/// The function at `address`, bound to a context of its own.
#[must_use]
pub fn device(address: PciAddress) -> Device {
    bind(address, &Iommufd::open().unwrap())
}

/// The function at `address` in a context of its own, attached to an address space: not every machine has interrupts for a
/// device that is not.
pub fn attached(address: PciAddress) -> (Device, Attachment) {
    let device = device(address);
    let ioas = Ioas::new(device.iommu().iommufd()).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    (device, attachment)
}

/// Attaches a device to the tables that there are for all of them, for PASIDs and not, and detaches it again.
pub fn attaches_to_tables(device: &Device, ioas: &Ioas) {
    for pasid in [false, true] {
        let builder = HwPt::builder(ioas, device.iommu());
        let table = builder.pasid(pasid).allocate().unwrap();
        device.attach(&table).unwrap().detach().unwrap();
        table.try_destroy().unwrap();
    }
}

/// A table for a device whose page requests go to `queue`.
#[must_use]
pub fn taking_page_requests(device: &Device, ioas: &Ioas, queue: &FaultQueue) -> HwPt {
    let builder = HwPt::builder(ioas, device.iommu());
    builder.fault_queue(queue).allocate().unwrap()
}

/// Asserts that nothing holds the function any more: it can be bound elsewhere, and closed.
#[track_caller]
pub fn assert_free(address: PciAddress) {
    device(address).try_close().unwrap();
}

/// A DMA engine attached to an address space.
#[derive(Debug)]
pub struct Rig {
    /// The engine.
    pub edu: Edu,
    /// What keeps it attached.
    pub attachment: Attachment,
    /// The device.
    pub device: Device,
    /// What it sees.
    pub ioas: Ioas,
    /// The context.
    pub iommufd: Iommufd,
    /// What the context asks of the kernel.
    pub recorder: Arc<Recorder>,
}

impl Rig {
    /// The lone engine in a context of its own.
    #[must_use]
    pub fn new() -> Self {
        let (iommufd, recorder) = Recorder::context();
        Self::within(lone(), &iommufd, recorder)
    }

    /// The engine at `address` in a context that is there, attached to an address space of its own.
    #[must_use]
    pub fn within(address: PciAddress, iommufd: &Iommufd, recorder: Arc<Recorder>) -> Self {
        let device = bind(address, iommufd);
        let ioas = Ioas::new(iommufd).unwrap();
        let attachment = device.attach(&ioas).unwrap();
        Self {
            edu: Edu::new(&device).unwrap(),
            attachment,
            device,
            ioas,
            iommufd: iommufd.clone(),
            recorder,
        }
    }

    /// Puts `bytes` into the engine's own buffer, through memory that is mapped for it alone.
    pub fn load(&self, bytes: &[u8]) {
        let memory = memory_with(bytes);
        let mapping = self.ioas.map(&memory, Access::Read).unwrap();
        self.edu.fetch(mapping.iova(), bytes.len()).unwrap();
        mapping.unmap().unwrap();
    }

    /// What is in the engine's own buffer.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        let memory = memory_with(&[0; BUFFER_LEN]);
        let mapping = self.ioas.map(&memory, Access::ReadWrite).unwrap();
        self.edu.store(mapping.iova(), BUFFER_LEN).unwrap();
        mapping.unmap().unwrap();
        contents(&memory)
    }

    /// As [`copies_through`].
    pub fn copies_through(&self, memory: &SharedBuffer, at: Iova) {
        copies_through(&self.edu, memory, at);
    }

    /// Whether the engine can write to `memory` at `to`, where it may or may not be mapped.
    #[must_use]
    pub fn reaches(&self, to: Iova, memory: &SharedBuffer) -> bool {
        reaches(&self.edu, to, memory)
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

/// Copies the first page of `memory`, which is mapped at `at`, to its second, by the engine.
pub fn copies_through(edu: &Edu, memory: &SharedBuffer, at: Iova) {
    memory.write_bytes(0, &pattern(7)).unwrap();
    edu.fetch(at, BUFFER_LEN).unwrap();
    let second = at.checked_add(BUFFER_LEN as u64).unwrap();
    edu.store(second, BUFFER_LEN).unwrap();
    let mut copy = vec![0; BUFFER_LEN];
    memory.read_bytes(BUFFER_LEN, &mut copy).unwrap();
    assert_eq!(copy, pattern(7));
}

/// Whether `edu` can write to `memory` at `to`: writes 8 bytes there, and compares with what was
/// there before.
#[must_use]
pub fn reaches(edu: &Edu, to: Iova, memory: &SharedBuffer) -> bool {
    changes(memory, || edu.store(to, 8).unwrap())
}

fn changes(memory: &SharedBuffer, store: impl Fn()) -> bool {
    // What the engine has in its buffer is unknown here: two values, one of which must differ.
    [0_u64, u64::MAX].into_iter().any(|before| {
        memory.write(0, before).unwrap();
        store();
        memory.load_acquire::<u64>(0).unwrap() != before
    })
}

/// An engine whose interrupts nobody waits for: not every machine has them for a device that is not attached.
#[derive(Debug)]
pub struct Unheard(BarMapping);

impl Unheard {
    /// The engine that `device` is.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        device.config().unwrap().enable_bus_master().unwrap();
        Self(device.map_bar(RegionIndex::BAR0).unwrap())
    }

    /// Starts what [`Edu::store`] does. The end comes after 100 ms.
    pub fn start_store(&self, to: Iova, len: usize) {
        self.start(0x4_0000, to.get(), len, 0b011);
    }

    /// Starts what [`Edu::fetch`] does, in the same way.
    pub fn start_fetch(&self, from: Iova, len: usize) {
        self.start(from.get(), 0x4_0000, len, 0b001);
    }

    fn start(&self, from: u64, to: u64, len: usize, command: u64) {
        assert!(len <= BUFFER_LEN, "QEMU stops");
        self.0.write(0x80, from).unwrap();
        self.0.write(0x88, to).unwrap();
        self.0.write(0x90, len as u64).unwrap();
        self.0.store_release(0x98, command).unwrap();
    }

    /// Waits for the end of what was started.
    pub fn wait_until_idle(&self) {
        while self.0.load_acquire::<u64>(0x98).unwrap() & 1 != 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// As [`reaches`].
    #[must_use]
    pub fn reaches(&self, to: Iova, memory: &SharedBuffer) -> bool {
        changes(memory, || {
            self.start_store(to, 8);
            self.wait_until_idle();
        })
    }
}

/// Shared memory that begins with `bytes`.
#[must_use]
pub fn memory_with(bytes: &[u8]) -> Arc<SharedBuffer> {
    let mut buffer = DmaBuffer::new(bytes.len()).unwrap();
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer.share()
}

/// All the bytes of shared memory.
#[must_use]
pub fn contents(memory: &SharedBuffer) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.read_bytes(0, &mut bytes).unwrap();
    bytes
}

/// A page of bytes that differs with the seed, and from page to page of one buffer.
#[must_use]
pub fn pattern(seed: u8) -> Vec<u8> {
    (0..BUFFER_LEN)
        .map(|place| (place % 241) as u8 ^ seed.wrapping_mul(37))
        .collect()
}
