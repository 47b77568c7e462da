//! The lab's DMA engine that no IOMMU stands before, and physical addresses for it.

// UNSAFETY: implements the driver's contract, and lets a device do DMA by physical address.
#![expect(unsafe_code, reason = "there is no IOMMU")]

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use iommufd::driver::{DeviceDriver, Kept, Notices, PageTableId};
use iommufd::volatile::VolatileRegion;
use iommufd::{
    Device, GroupIdentity, Ioas, Iommufd, IovaRange, KernelError, Mapping, PhysicalRange,
};
use iommufd_sys::ioctl::{ArgszArg, vfio as nr};
use iommufd_sys::vfio as sys;
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;
use rustix::io::Errno;
use vfio::{PciAddress, VfioGroup};

use crate::raw;

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
    // Unmapped before the file is closed: until then the device would stay bound.
    registers: Registers,
    device: Device,
}

impl BareEdu {
    /// Binds it.
    #[must_use]
    pub fn bind(iommufd: &Iommufd) -> Self {
        let path = Path::new("/dev/vfio/devices").join(node());
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut arg = sys::vfio_device_bind_iommufd::sized();
        arg.iommufd = iommufd.as_fd().as_raw_fd();
        // SAFETY: there is no token to be read; the file of the context is open.
        unsafe { raw::issue(file.as_fd(), &nr::DEVICE_BIND_IOMMUFD, &mut arg) }.unwrap();
        // Memory accesses and bus mastering, in the command register of configuration space.
        file.write_at(&[6, 0], (7 << 40) + 4).unwrap();
        let registers = Registers::map(&file);
        let driver = Arc::new(Driver(file, Mutex::default()));
        // SAFETY: the kernel has bound the device to this context just now, and answered with this id. The device does
        // DMA by physical addresses only, for which whoever asks for one answers.
        let device =
            unsafe { Device::from_bound(iommufd, arg.out_devid, GroupIdentity::Alone, driver) };
        Self {
            registers,
            device: device.unwrap(),
        }
    }

    /// The device, to be attached.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Reads `len` bytes at the start of `mapping`, which is in `ioas`, into the engine's buffer.
    pub fn fetch(&self, ioas: &Ioas, mapping: &Mapping, len: u64) {
        let memory = physical(ioas, mapping.range()).unwrap();
        assert!(memory.len() >= len);
        self.registers
            .transfer(memory.start().get(), BUFFER, len, START);
    }

    /// Writes `len` bytes of the engine's buffer to the start of `mapping`, which is in `ioas` and may be written.
    pub fn store(&self, ioas: &Ioas, mapping: &Mapping, len: u64) {
        let memory = physical(ioas, mapping.range()).unwrap();
        assert!(memory.len() >= len);
        self.registers
            .transfer(BUFFER, memory.start().get(), len, START | TO_MEMORY);
    }
}

/// Where the engine's group is.
#[must_use]
pub fn group_node() -> PathBuf {
    node();
    let group = fs::read_link(function().join("iommu_group")).unwrap();
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
    folder
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Gives the engine to `vfio-pci`, if that has not got it yet, and says what its character device is called.
fn node() -> String {
    // Nothing is offered without an IOMMU unless that is asked for. The kernel is tainted by it, and says so.
    fs::write(
        "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        "Y",
    )
    .unwrap();
    let folder = function();
    let offered = folder.join("vfio-dev");
    if !offered.exists() {
        fs::write(folder.join("driver_override"), "vfio-pci").unwrap();
        let address = folder.file_name().unwrap().to_str().unwrap();
        fs::write("/sys/bus/pci/drivers_probe", address).unwrap();
    }
    let name = fs::read_dir(offered).unwrap().next().unwrap();
    let name = name.unwrap().file_name().into_string().unwrap();
    assert!(name.starts_with("noiommu-"), "{name}");
    name
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

const DMA_SOURCE: usize = 0x80;
const DMA_DESTINATION: usize = 0x88;
const DMA_COUNT: usize = 0x90;
const DMA_COMMAND: usize = 0x98;
const START: u64 = 1;
const TO_MEMORY: u64 = 2;
/// Where the engine finds its own buffer.
const BUFFER: u64 = 0x4_0000;

/// The engine's registers.
#[derive(Debug)]
struct Registers {
    words: VolatileRegion,
    _map: MmapRaw,
}

impl Registers {
    fn map(file: &File) -> Self {
        const LEN: usize = 4096;
        let map = MmapOptions::new().len(LEN).map_raw(file).unwrap();
        let base = NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: a mapping of its own of device registers, aligned to a page, outside of every Rust allocation, and kept
        // beside the region that it is.
        let words = unsafe { VolatileRegion::new(base, LEN) };
        Self { words, _map: map }
    }

    fn transfer(&self, from: u64, to: u64, len: u64, command: u64) {
        assert!(len <= 4096, "the engine's buffer is no longer");
        self.words.write(DMA_SOURCE, from).unwrap();
        self.words.write(DMA_DESTINATION, to).unwrap();
        self.words.write(DMA_COUNT, len).unwrap();
        // What the CPU wrote to memory before is there for the engine to read.
        self.words.store_release(DMA_COMMAND, command).unwrap();
        let begin = Instant::now();
        while self.words.load_acquire::<u64>(DMA_COMMAND).unwrap() & START != 0 {
            assert!(begin.elapsed() < Duration::from_secs(30), "no end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The open file, and what goes after it.
#[derive(Debug)]
struct Driver(File, Mutex<Vec<Kept>>);

// SAFETY:
// - the file is bound to the context, and is closed with this value, after the registers are unmapped;
// - both calls answer what the kernel answered;
// - it starts no DMA: `BareEdu` does.
unsafe impl DeviceDriver for Driver {
    unsafe fn attach(&self, target: PageTableId, _: &mut Notices<'_>) -> Result<(), KernelError> {
        let mut arg = sys::vfio_device_attach_iommufd_pt::sized();
        arg.pt_id = target.get();
        // SAFETY: no address.
        unsafe { raw::issue(self.0.as_fd(), &nr::DEVICE_ATTACH_IOMMUFD_PT, &mut arg) }
            .map_err(refusal)
    }

    unsafe fn detach(&self, _: &mut Notices<'_>) -> Result<(), KernelError> {
        let mut arg = sys::vfio_device_detach_iommufd_pt::sized();
        // SAFETY: no address.
        unsafe { raw::issue(self.0.as_fd(), &nr::DEVICE_DETACH_IOMMUFD_PT, &mut arg) }
            .map_err(refusal)
    }

    fn keep(&self, kept: Kept) {
        self.1.lock().push(kept);
    }
}

fn refusal(errno: Errno) -> KernelError {
    KernelError::new("VFIO", errno, "the kernel refused")
}
