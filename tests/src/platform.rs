//! The lab's platform device, on Arm: a source of random numbers by virtio, which is on no PCI bus (Virtio, section 4.2,
//! "Virtio Over MMIO"). No IOMMU stands before it.

// UNSAFETY: lets a device do DMA by physical address.
#![expect(unsafe_code, reason = "there is no IOMMU")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{Access, DmaBuffer, Ioas, Iommufd, Mapping, SharedBuffer};
use vfio::{IoasAttachment, NoIommuDevice, Region, RegionIndex};

use crate::at::PAGE;
use crate::bare::{offered, physical};

const LONG: Duration = Duration::from_secs(30);

/// The registers, of 32 bits each.
mod register {
    pub(super) const MAGIC: u64 = 0x00;
    pub(super) const DEVICE: u64 = 0x08;
    pub(super) const DRIVER_FEATURES: u64 = 0x20;
    pub(super) const DRIVER_FEATURES_PART: u64 = 0x24;
    pub(super) const QUEUE: u64 = 0x30;
    pub(super) const QUEUE_LEN: u64 = 0x38;
    pub(super) const QUEUE_READY: u64 = 0x44;
    pub(super) const QUEUE_NOTIFY: u64 = 0x50;
    pub(super) const INTERRUPTS: u64 = 0x60;
    pub(super) const HANDLED: u64 = 0x64;
    pub(super) const STATUS: u64 = 0x70;
    pub(super) const DESCRIPTORS: u64 = 0x80;
    pub(super) const AVAILABLE: u64 = 0x90;
    pub(super) const USED: u64 = 0xa0;
}

/// Of the status: acknowledged, a driver is there, the features are chosen, the driver is ready.
const READY: u32 = 1 | 2 | 8 | 4;
/// Of the page that the device is given: where its queue is, which has one entry, and where the entry leads.
const TABLE: usize = 0;
const AVAILABLE: usize = 0x100;
const USED: usize = 0x200;
const DATA: usize = 0x800;

/// The device, by its registers.
#[derive(Debug)]
pub struct Platform {
    // All that it was asked for it has written when its line is up.
    registers: Region,
    memory: Arc<SharedBuffer>,
    mapping: Mapping,
    attachment: IoasAttachment,
    ioas: Ioas,
    /// The device.
    pub device: NoIommuDevice,
}

impl Platform {
    /// Binds it to a context of its own.
    #[must_use]
    pub fn open() -> Self {
        let iommufd = Iommufd::open().unwrap();
        // SAFETY: it reads and writes memory when it is told to, and it is told to by `raise` alone: that of a mapping
        // that is there until it has done so.
        let device = unsafe { NoIommuDevice::open(node(), &iommufd) }.unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let attachment = device.attach(&ioas).unwrap();
        let memory = DmaBuffer::new(PAGE).unwrap().share();
        let this = Self {
            registers: device.region(RegionIndex::new(0)).unwrap(),
            mapping: ioas.map(&memory, Access::ReadWrite).unwrap(),
            memory,
            attachment,
            ioas,
            device,
        };
        assert_eq!(this.read(register::MAGIC), 0x7472_6976);
        assert_eq!(this.read(register::DEVICE), 4, "a source of random numbers");
        this.handled();
        this
    }

    /// Has it raise its line: by asking for some random bytes.
    pub fn raise(&self) {
        use register as at;
        let page = physical(&self.ioas, self.mapping.range()).unwrap();
        let place = |offset: usize| page.start().get() + offset as u64;
        let low = |address: u64| u32::try_from(address & 0xffff_ffff).unwrap();
        let high = |address: u64| u32::try_from(address >> 32).unwrap();
        self.write(at::STATUS, 0);
        // The features: none but that it is not a device of before the standard.
        for (part, features) in [(0, 0), (1, 1)] {
            self.write(at::DRIVER_FEATURES_PART, part);
            self.write(at::DRIVER_FEATURES, features);
        }
        self.write(at::STATUS, 1 | 2 | 8);
        // Entry 0: 16 bytes, for the device to write; it is the first that is available.
        self.memory.write(TABLE, place(DATA)).unwrap();
        self.memory.write(TABLE + 8, 16_u32).unwrap();
        self.memory.write(TABLE + 12, 2_u32).unwrap();
        self.memory.write(AVAILABLE, 1_u32 << 16).unwrap();
        self.memory.write(AVAILABLE + 4, 0_u32).unwrap();
        self.memory.write(USED, 0_u32).unwrap();
        self.write(at::QUEUE, 0);
        self.write(at::QUEUE_LEN, 8);
        for (register, offset) in [
            (at::DESCRIPTORS, TABLE),
            (at::AVAILABLE, AVAILABLE),
            (at::USED, USED),
        ] {
            self.write(register, low(place(offset)));
            self.write(register + 4, high(place(offset)));
        }
        self.write(at::QUEUE_READY, 1);
        self.write(at::STATUS, READY);
        self.write(at::QUEUE_NOTIFY, 0);
        let begin = Instant::now();
        while !self.is_raised() {
            assert!(begin.elapsed() < LONG, "no random bytes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it has.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.read(register::INTERRUPTS) != 0
    }

    /// Tells it that its interrupt is handled: the line goes down.
    pub fn handled(&self) {
        self.write(register::STATUS, 0);
        self.write(register::HANDLED, 3);
        assert!(!self.is_raised());
    }

    /// Closes it, which nothing holds any more.
    pub fn close(self) {
        self.handled();
        drop(self.registers);
        self.mapping.unmap().unwrap();
        self.attachment.detach().unwrap();
        self.device.try_close().unwrap();
    }

    fn read(&self, register: u64) -> u32 {
        self.registers.read(register).unwrap()
    }

    fn write(&self, register: u64, value: u32) {
        self.registers.write(register, value).unwrap();
    }
}

/// Gives the device to `vfio-platform`, if that has not got it yet, and says where its character device is.
#[must_use]
pub fn node() -> PathBuf {
    // The first of those that the board has, behind which there is something.
    let folder = Path::new("/sys/bus/platform/devices/LNRO0005:00");
    offered(folder, "platform", "vfio-platform")
}
