//! Mapping and unmapping.

use std::collections::VecDeque;
use std::sync::Arc;

use iommufd::{
    Access, Attachment, DmaBuffer, DmaMemory, DmaSlice, HugePage, Ioas, Iommufd, SharedBuffer,
};
use tests::edu;
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::observe::Recorder;

use crate::measure::{Bound, Plan, alone, loops, once, pair, tell};
use crate::raw::{Raw, RawMaps};

/// An address space that a device is attached to: what is mapped there is pinned, and gets into a page table.
#[derive(Debug)]
pub(crate) struct Space {
    /// The address space.
    pub(crate) ioas: Ioas,
    /// The same, for a loop.
    pub(crate) raw: Raw,
    _attachment: Attachment,
}

impl Space {
    /// With a device of the mock driver's.
    pub(crate) fn of_mock(iommufd: &Iommufd) -> Self {
        let ioas = Ioas::new(iommufd).unwrap();
        let device = MockDevice::new(iommufd).unwrap();
        Self {
            raw: Raw::of(iommufd, &ioas),
            _attachment: device.attach(&ioas).unwrap(),
            ioas,
        }
    }

    /// With a DMA engine.
    fn of_hardware(iommufd: &Iommufd) -> Self {
        let ioas = Ioas::new(iommufd).unwrap();
        let device = edu::bind(edu::lone(), iommufd);
        Self {
            raw: Raw::of(iommufd, &ioas),
            _attachment: device.attach(&ioas).unwrap(),
            ioas,
        }
    }

    /// Maps and unmaps.
    #[inline]
    pub(crate) fn round(&self, memory: &Arc<impl DmaMemory>) {
        let mapping = self.ioas.map(memory, Access::ReadWrite).unwrap();
        mapping.unmap().unwrap();
    }
}

/// A page that is there.
pub(crate) fn a_page() -> Arc<SharedBuffer> {
    touched(DmaBuffer::new(4096).unwrap())
}

/// Memory of which every page has been touched.
pub(crate) fn touched(mut buffer: DmaBuffer) -> Arc<SharedBuffer> {
    for page in buffer.chunks_mut(4096) {
        page[0] = 1;
    }
    buffer.share()
}

fn rounds(case: &str, space: &Space, memory: &Arc<impl DmaMemory>, plan: Plan) {
    let raw = RawMaps::new(space.raw, memory);
    loops(
        case,
        Bound::Gate,
        plan,
        || raw.round(),
        || space.round(memory),
    );
}

pub(crate) fn of_4_kib() {
    const PLAN: Plan = Plan::new(15, 1000);
    let iommufd = Iommufd::open().unwrap();
    let memory = a_page();
    let ioas = Ioas::new(&iommufd).unwrap();
    let raw = RawMaps::new(Raw::of(&iommufd, &ioas), &memory);
    let sdk = || {
        let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
        mapping.unmap().unwrap();
    };
    let case = "map+unmap 4 KiB, no page table";
    loops(case, Bound::Gate, PLAN, || raw.round(), sdk);

    let space = Space::of_mock(&iommufd);
    rounds("map+unmap 4 KiB", &space, &memory, PLAN);
    ring(&space, &memory, PLAN);

    // What is recorded has its place among what is recorded.
    let others = touched(DmaBuffer::new(4096 * 4096).unwrap());
    let map = |n: usize| {
        let page = DmaSlice::new(&others, n * 4096..(n + 1) * 4096).unwrap();
        space.ioas.map(page, Access::ReadWrite).unwrap()
    };
    let mappings: Vec<_> = (0..4096).map(map).collect();
    let case = "map+unmap 4 KiB, beside 4096 others";
    rounds(case, &space, &memory, PLAN);
    drop(mappings);
}

/// What a driver with a ring of buffers does: the oldest goes when a new one comes.
fn ring(space: &Space, memory: &Arc<SharedBuffer>, plan: Plan) {
    const LEN: usize = 128;
    let raw = RawMaps::new(space.raw, memory);
    let map = || space.ioas.map(memory, Access::ReadWrite).unwrap();
    let room = || VecDeque::with_capacity(LEN + 1);
    let (mut addresses, mut mappings) = (room(), VecDeque::with_capacity(LEN + 1));
    for _ in 0..LEN {
        addresses.push_back(raw.map());
        mappings.push_back(map());
    }
    loops(
        "map+unmap 4 KiB, in a ring of 128",
        Bound::Gate,
        plan,
        || {
            addresses.push_back(raw.map());
            raw.unmap(addresses.pop_front().unwrap());
        },
        || {
            mappings.push_back(map());
            mappings.pop_front().unwrap().unmap().unwrap();
        },
    );
    for iova in addresses {
        raw.unmap(iova);
    }
}

pub(crate) fn on_hardware() {
    let iommufd = Iommufd::open().unwrap();
    let space = Space::of_hardware(&iommufd);
    let case = "map+unmap 4 KiB, hardware";
    rounds(case, &space, &a_page(), Plan::new(15, 300));
}

pub(crate) fn copies() {
    const LEN: u64 = 64 << 10;
    let iommufd = Iommufd::open().unwrap();
    let space = Space::of_mock(&iommufd);
    let memory = touched(DmaBuffer::new(64 << 10).unwrap());
    let source = space.ioas.map(&memory, Access::ReadWrite).unwrap();
    let raw = space.raw;
    loops(
        "copy+unmap 64 KiB",
        Bound::Gate,
        Plan::new(15, 500),
        || {
            let iova = raw.copy(source.iova().get(), LEN);
            raw.unmap(iova, LEN);
        },
        || {
            let copy = space.ioas.copy(&source, Access::ReadWrite).unwrap();
            copy.unmap().unwrap();
        },
    );
}

/// How many ioctls a map and an unmap are.
pub(crate) fn calls() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::of_mock(&iommufd);
    let memory = a_page();
    recorder.clear();
    space.round(&memory);
    tell("map+unmap 4 KiB", "ioctls", recorder.count(), 2);
}

pub(crate) fn of_2_mib() {
    let iommufd = Iommufd::open().unwrap();
    let space = Space::of_mock(&iommufd);
    let len = 2 << 20;
    let plan = Plan::new(9, 10);
    let small = Living::new().filled(len, 1);
    rounds("map+unmap 2 MiB, small pages", &space, &small, plan);
    for (kind, buffer) in [
        ("transparent huge pages", DmaBuffer::new(len)),
        ("huge pages", DmaBuffer::huge(len, HugePage::Size2M)),
        (
            "huge pages in a file",
            DmaBuffer::memfd_huge(len, HugePage::Size2M),
        ),
    ] {
        let memory = touched(buffer.unwrap());
        let case = format!("map+unmap 2 MiB, {kind}");
        rounds(&case, &space, &memory, plan);
    }
}

pub(crate) fn of_1_gib(samples: usize) {
    let iommufd = Iommufd::open().unwrap();
    let space = Space::of_mock(&iommufd);
    let len = 1 << 30;
    large(
        "small pages",
        &space,
        &Living::new().filled(len, 1),
        samples,
    );
    for (kind, make) in [
        (
            "transparent huge pages",
            (|len| DmaBuffer::new(len)) as fn(usize) -> iommufd::Result<DmaBuffer>,
        ),
        ("huge pages", |len| DmaBuffer::huge(len, HugePage::Size2M)),
        ("huge pages in a file", |len| {
            DmaBuffer::memfd_huge(len, HugePage::Size2M)
        }),
    ] {
        large(kind, &space, &touched(make(len).unwrap()), samples);
    }
}

/// Maps, and unmaps, each by itself.
fn large(kind: &str, space: &Space, memory: &Arc<impl DmaMemory>, samples: usize) {
    let raw = RawMaps::new(space.raw, memory);
    let map = || space.ioas.map(memory, Access::ReadWrite).unwrap();
    pair(
        &format!("map 1 GiB, {kind}"),
        Bound::Gate,
        samples,
        || once(|| raw.map(), |iova| raw.unmap(iova)),
        || once(map, |mapping| mapping.unmap().unwrap()),
    );
    pair(
        &format!("unmap 1 GiB, {kind}"),
        Bound::Gate,
        samples,
        || {
            let iova = raw.map();
            once(|| raw.unmap(iova), drop)
        },
        || {
            let mapping = map();
            once(|| mapping.unmap().unwrap(), drop)
        },
    );
}

/// The same pages of a file, by their address and by the file.
pub(crate) fn by_file() {
    let iommufd = Iommufd::open().unwrap();
    let space = Space::of_mock(&iommufd);
    for (name, len, samples) in [("2 MiB", 2 << 20, 9), ("1 GiB", 1 << 30, 3)] {
        let memory = touched(DmaBuffer::memfd_huge(len, HugePage::Size2M).unwrap());
        let raw = RawMaps::new(space.raw, &memory).by_address();
        let case = format!("map {name}, huge pages in a file, by address");
        alone(&case, "raw", samples, || {
            once(|| raw.map(), |iova| raw.unmap(iova))
        });
        let case = format!("map {name}, huge pages in a file, by file");
        alone(&case, "sdk", samples, || {
            once(
                || space.ioas.map(&memory, Access::ReadWrite).unwrap(),
                |mapping| mapping.unmap().unwrap(),
            )
        });
    }
}
