//! Invalidations, in batches.

use iommufd::format::{Format, ViommuKind};
use iommufd::{Ioas, Iommufd, NestParent, NestedHwPt, VDevice, Viommu};
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, MockViommu, OnParent, TableInvalidation, VirtualNumber,
};
use tests::mock::{MockDevice, abi};
use tests::observe::Recorder;
use zerocopy::{Immutable, IntoBytes};

use crate::measure::{Bound, Plan, loops, tell};
use crate::raw::Raw;

/// From one command to as many as a queue has.
const BATCHES: [usize; 4] = [1, 16, 256, 4096];
/// The number by which a guest knows its device.
const NUMBER: u32 = 7;

/// Something that takes commands, as many as there are, and a loop that sends the same.
pub(crate) struct Taker<C> {
    /// What takes them.
    pub(crate) what: &'static str,
    /// The same, for a loop.
    pub(crate) raw: Raw,
    /// What the kernel calls their format.
    pub(crate) kind: u32,
    /// As many as the largest batch has.
    pub(crate) commands: Vec<C>,
}

impl<C: IntoBytes + Immutable> Taker<C> {
    /// Takes the times of all batches.
    pub(crate) fn compare(&self, invalidate: impl Fn(&[C])) {
        for batch in BATCHES {
            let commands = &self.commands[..batch];
            // About as many commands in a sample, whatever is in a batch.
            let times = u32::try_from(8192 / batch).unwrap().clamp(4, 1000);
            loops(
                &format!("invalidate {batch}, {}", self.what),
                Bound::Gate,
                Plan::new(15, times),
                || self.raw.invalidate(self.kind, commands),
                || invalidate(commands),
            );
        }
    }

    /// How many ioctls a batch is.
    fn calls(&self, recorder: &Recorder, invalidate: impl Fn(&[C])) {
        for batch in BATCHES {
            recorder.clear();
            invalidate(&self.commands[..batch]);
            let case = format!("invalidate {batch}, {}", self.what);
            tell(&case, "ioctls", recorder.count(), 1);
        }
    }
}

/// A table of the mock's, nested in its parent.
pub(crate) struct Nested {
    /// The table.
    pub(crate) table: NestedHwPt<OnParent>,
    parent: NestParent,
    device: MockDevice,
}

impl Nested {
    /// In this context.
    pub(crate) fn new(iommufd: &Iommufd) -> Self {
        let device = MockDevice::new(iommufd).unwrap();
        let ioas = Ioas::new(iommufd).unwrap();
        let parent = NestParent::new(&ioas, &device).unwrap();
        Self {
            table: NestedHwPt::new(&parent, &device, &CONFIG).unwrap(),
            parent,
            device,
        }
    }

    /// What goes to it.
    pub(crate) fn taker(&self, iommufd: &Iommufd) -> Taker<TableInvalidation> {
        Taker {
            what: "nested table",
            raw: Raw::of(iommufd, &self.table),
            kind: OnParent::INVALIDATION_TYPE,
            commands: (0..4096)
                .map(|n| TableInvalidation::of(n % abi::CACHE_LEN))
                .collect(),
        }
    }
}

/// Of the mock's: a table in its parent, and a virtual IOMMU.
pub(crate) fn of_mock() {
    let (iommufd, recorder) = Recorder::context();
    let nested = Nested::new(&iommufd);
    let invalidate = |commands: &[_]| nested.table.invalidate(commands).unwrap();
    nested.taker(&iommufd).calls(&recorder, invalidate);

    let iommufd = Iommufd::open().unwrap();
    let nested = Nested::new(&iommufd);
    let invalidate = |commands: &[_]| nested.table.invalidate(commands).unwrap();
    nested.taker(&iommufd).compare(invalidate);

    let viommu: Viommu<MockViommu> = Viommu::new(&nested.parent, &nested.device).unwrap();
    let _vdevice = VDevice::new(&viommu, &nested.device, VirtualNumber(NUMBER.into())).unwrap();
    let taker = Taker {
        what: "virtual IOMMU",
        raw: Raw::of(&iommufd, &viommu),
        kind: <MockViommu as ViommuKind>::Format::INVALIDATION_TYPE,
        commands: (0..4096)
            .map(|n| DeviceInvalidation::of(NUMBER, n % abi::CACHE_LEN))
            .collect(),
    };
    taker.compare(|commands| viommu.invalidate(commands).unwrap());
}
