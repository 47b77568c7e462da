//! Page tables whose writes are recorded, and a device that writes.

use iommufd::{
    Access, DirtyBitmap, DirtyTracking, Granule, HwPt, Ioas, Iommufd, Iova, IovaRange, Mapping,
};

use crate::at::{PAGE, page};
use crate::ids;
use crate::memory::Living;
use crate::mock::{self, MockDevice, MockOptions, abi};
use crate::raw::dirty::Request;

/// An address space with a page table that can be tracked.
#[derive(Debug)]
pub struct Space {
    /// The page table.
    pub hwpt: HwPt,
    /// The address space.
    pub ioas: Ioas,
    /// A device that is attached to nothing.
    pub device: MockDevice,
    /// The context.
    pub iommufd: Iommufd,
    /// What is mapped is made of this.
    pub living: Living,
}

impl Space {
    /// In a context of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::within(Iommufd::open().unwrap())
    }

    /// In a context.
    #[must_use]
    pub fn within(iommufd: Iommufd) -> Self {
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let hwpt = trackable(&ioas, &device).unwrap();
        Self {
            hwpt,
            ioas,
            device,
            iommufd,
            living: Living::new(),
        }
    }

    /// Maps `count` pages from number `first` on, each by itself, so that each has an entry of its own in the page
    /// table. They follow one another all the same.
    pub fn map(&self, first: u64, count: u64) -> Vec<Mapping> {
        let map = |n| {
            let memory = self.living.memory(PAGE);
            self.ioas
                .map_at(page(n), memory, Access::ReadWrite)
                .unwrap()
        };
        (first..first + count).map(map).collect()
    }

    /// A device writes to these pages, through the page table.
    pub fn write(&self, pages: impl IntoIterator<Item = u64>) {
        write_through(&self.hwpt, pages);
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

/// A page table that can be tracked.
///
/// # Errors
/// The kernel's.
pub fn trackable(ioas: &Ioas, device: &MockDevice) -> iommufd::Result<HwPt> {
    HwPt::builder(ioas, device).dirty_tracking(true).allocate()
}

/// A device whose IOMMU does not record what is written.
#[must_use]
pub fn device_without(iommufd: &Iommufd) -> MockDevice {
    let options = MockOptions {
        flags: abi::DEVICE_NO_DIRTY,
        ..MockOptions::default()
    };
    MockDevice::with(iommufd, options).unwrap()
}

/// A device writes to these pages, through `table`.
pub fn write_through(table: &impl Table, pages: impl IntoIterator<Item = u64>) {
    for n in pages {
        write_at(table, page(n));
    }
}

/// A device writes at `iova`, a multiple of 2048, through `table`.
pub fn write_at(table: &impl Table, iova: Iova) {
    let range = (iova.get(), mock::PAGE);
    let written = mock::set_dirty(table.iommufd(), ids::of(table), range, mock::PAGE, &[1]);
    assert_eq!(written, Ok(1));
}

/// A page table that devices can write through.
pub trait Table: std::fmt::Debug {
    /// The context.
    fn iommufd(&self) -> &Iommufd;
}

impl Table for HwPt {
    fn iommufd(&self) -> &Iommufd {
        self.iommufd()
    }
}

impl Table for iommufd::NestParent {
    fn iommufd(&self) -> &Iommufd {
        self.iommufd()
    }
}

/// A granule of so many bytes.
#[must_use]
pub fn granule(bytes: u64) -> Granule {
    Granule::new(bytes).unwrap()
}

/// A clean bitmap of the first `count` pages, a bit for each.
#[must_use]
pub fn bitmap(count: u64) -> DirtyBitmap {
    DirtyBitmap::new(crate::at::pages(0, count), Granule::KIB_4).unwrap()
}

/// The pages that are dirty in a bitmap.
#[must_use]
pub fn dirty<B: AsRef<[u64]>>(bitmap: &DirtyBitmap<B>) -> Vec<u64> {
    let number = |iova: Iova| (iova.get() - page(0).get()) / PAGE as u64;
    let runs = bitmap.runs();
    runs.flat_map(|run| number(run.start())..=number(run.last()))
        .collect()
}

/// What is dirty now, of the first 64 pages; it is clean after.
#[must_use]
pub fn take(tracking: &DirtyTracking) -> Vec<u64> {
    let mut bitmap = bitmap(64);
    tracking.read_and_clear(&mut bitmap).unwrap();
    dirty(&bitmap)
}

/// What is dirty now, of the first 64 pages.
#[must_use]
pub fn look(tracking: &DirtyTracking) -> Vec<u64> {
    let mut bitmap = bitmap(64);
    tracking.read(&mut bitmap).unwrap();
    dirty(&bitmap)
}

/// Which of the bits the kernel sets for `range`, when it is asked past the SDK. Pages of 4096 bytes are asked for, and
/// there is room for more of them than are in the range, of which bits are reported as well.
#[must_use]
pub fn ask_kernel(hwpt: &HwPt, range: IovaRange, keep: bool) -> Vec<u64> {
    let request = Request::of(ids::of(hwpt), range, PAGE as u64);
    let request = if keep { request.keeping() } else { request };
    let bytes = request.bits_at(hwpt.iommufd(), 0, 0).unwrap();
    let bit = |n: &u64| bytes[(n / 8) as usize] & (1 << (n % 8)) != 0;
    (0..bytes.len() as u64 * 8).filter(bit).collect()
}
