//! The lab's DMA engine that no IOMMU stands before, and physical addresses for it.

// UNSAFETY: lets a device do DMA by physical address.
#![expect(unsafe_code, reason = "there is no IOMMU")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{Ioas, Iommufd, IovaRange, Mapping, PhysicalRange};
use vfio::{BarMapping, NoIommuDevice, PciAddress, RegionIndex, VfioGroup};

/// Where the memory at the start of `range` is physically.
///
/// # Errors
/// The kernel's.
pub fn physical(ioas: &Ioas, range: IovaRange) -> iommufd::Result<PhysicalRange> {
    // SAFETY: the only device that is given an answer is the engine here, and it stops before its mapping is unmapped.
    unsafe { ioas.noiommu_physical_range(range) }
}

/// The engine, bound to a context.
#[derive(Debug)]
pub struct BareEdu {
    registers: BarMapping,
    device: NoIommuDevice,
}

impl BareEdu {
    /// Binds it.
    #[must_use]
    pub fn bind(iommufd: &Iommufd) -> Self {
        // SAFETY: an `edu` does DMA when it is told to, and it is told to here alone: by addresses that `physical` gave
        // of mappings that are there until it has ended.
        let device = unsafe { NoIommuDevice::open(node(), iommufd) }.unwrap();
        device.config().unwrap().enable_bus_master().unwrap();
        Self {
            registers: device.map_bar(RegionIndex::BAR0).unwrap(),
            device,
        }
    }

    /// The device, to be attached.
    #[must_use]
    pub fn device(&self) -> &NoIommuDevice {
        &self.device
    }

    /// Reads `len` bytes at the start of `mapping`, which is in `ioas`, into the engine's buffer.
    pub fn fetch(&self, ioas: &Ioas, mapping: &Mapping, len: u64) {
        let memory = physical(ioas, mapping.range()).unwrap();
        assert!(memory.len() >= len);
        self.transfer(memory.start().get(), BUFFER, len, START);
    }

    /// Writes `len` bytes of the engine's buffer to the start of `mapping`, which is in `ioas` and may be written.
    pub fn store(&self, ioas: &Ioas, mapping: &Mapping, len: u64) {
        let memory = physical(ioas, mapping.range()).unwrap();
        assert!(memory.len() >= len);
        self.transfer(BUFFER, memory.start().get(), len, START | TO_MEMORY);
    }

    fn transfer(&self, from: u64, to: u64, len: u64, command: u64) {
        assert!(len <= 4096, "the engine's buffer is no longer");
        self.registers.write(DMA_SOURCE, from).unwrap();
        self.registers.write(DMA_DESTINATION, to).unwrap();
        self.registers.write(DMA_COUNT, len).unwrap();
        // What the CPU wrote to memory before is there for the engine to read.
        self.registers.store_release(DMA_COMMAND, command).unwrap();
        let begin = Instant::now();
        while self.registers.load_acquire::<u64>(DMA_COMMAND).unwrap() & START != 0 {
            assert!(begin.elapsed() < Duration::from_secs(30), "no end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where the engine's group is.
#[must_use]
pub fn group_node() -> PathBuf {
    // Its group has a node when the engine is offered.
    let function = function();
    offer(&function, "pci", "vfio-pci");
    let group = fs::read_link(function.join("iommu_group")).unwrap();
    let number = group.file_name().unwrap().to_str().unwrap();
    Path::new("/dev/vfio").join(format!("noiommu-{number}"))
}

/// The engine's group.
#[must_use]
pub fn group() -> VfioGroup {
    // SAFETY: the tests that open it start no DMA.
    unsafe { VfioGroup::open_noiommu(group_node()) }.unwrap()
}

/// Where the engine is.
#[must_use]
pub fn address() -> PciAddress {
    let folder = function();
    let name = folder.file_name().unwrap().to_str().unwrap();
    name.parse().unwrap()
}

/// Gives the engine to `vfio-pci`, if that has not got it yet, and says where its character device is.
#[must_use]
pub fn node() -> PathBuf {
    offered(&function(), "pci", "vfio-pci")
}

/// Gives the device of that folder in sysfs to `driver`, a VFIO driver of `bus`, if that has not got it yet, and says where
/// its character device is.
pub(crate) fn offered(folder: &Path, bus: &str, driver: &str) -> PathBuf {
    let offered = offer(folder, bus, driver);
    let name = fs::read_dir(offered).unwrap().next().unwrap();
    let name = name.unwrap().file_name();
    assert!(name.to_str().unwrap().starts_with("noiommu-"), "{name:?}");
    Path::new("/dev/vfio/devices").join(name)
}

/// The same, and says where in sysfs VFIO has it. Before Linux 7.3 it has a group there, and no character device.
fn offer(folder: &Path, bus: &str, driver: &str) -> PathBuf {
    // Nothing is offered without an IOMMU unless that is asked for. The kernel is tainted by it, and says so.
    fs::write(
        "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        "Y",
    )
    .unwrap();
    let offered = folder.join("vfio-dev");
    if !offered.exists() {
        fs::write(folder.join("driver_override"), driver).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        fs::write(format!("/sys/bus/{bus}/drivers_probe"), name).unwrap();
    }
    offered
}

/// The engine's folder in sysfs.
fn function() -> PathBuf {
    let is = |folder: &Path, file: &str, id: &str| {
        fs::read_to_string(folder.join(file)).unwrap().trim() == id
    };
    fs::read_dir("/sys/bus/pci/devices")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| is(folder, "vendor", "0x1234") && is(folder, "device", "0x11e8"))
        .find(|folder| !folder.join("iommu").exists())
        .expect("the machine has an edu with no IOMMU")
}

const DMA_SOURCE: u64 = 0x80;
const DMA_DESTINATION: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;
const START: u64 = 1;
const TO_MEMORY: u64 = 2;
/// Where the engine finds its own buffer.
const BUFFER: u64 = 0x4_0000;
