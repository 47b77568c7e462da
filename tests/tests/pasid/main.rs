//! PASIDs: attached, moved and detached, what must go with what, and what is left behind.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, but for what they have in common"
)]

mod ends;
mod faults;
mod groups;
mod hardware;
mod tables;

use std::sync::Arc;

use iommufd::{HwPt, Ioas, Iommufd, NestParent, NestedHwPt, Pasid, PasidTarget, Target};
use tests::ids;
use tests::mock::nesting::{OnParent, Stage1};
use tests::mock::{MockDevice, abi};
use tests::observe::Recorder;

/// A device with PASIDs, and an address space.
struct Rig {
    device: MockDevice,
    ioas: Ioas,
    iommufd: Iommufd,
    recorder: Arc<Recorder>,
}

impl Rig {
    fn new() -> Self {
        let (iommufd, recorder) = Recorder::context();
        Self {
            device: MockDevice::with_pasids(&iommufd).unwrap(),
            ioas: Ioas::new(&iommufd).unwrap(),
            iommufd,
            recorder,
        }
    }

    /// A page table that is for PASIDs.
    fn table(&self) -> HwPt {
        table(&self.ioas, &self.device)
    }

    /// One table of each kind, for PASIDs and not.
    fn tables(&self) -> Vec<Table> {
        let of = |for_pasids| self.tables_for(for_pasids);
        [of(false), of(true)].concat()
    }

    fn tables_for(&self, for_pasids: bool) -> Vec<Table> {
        let (ioas, device) = (&self.ioas, &self.device);
        let hwpt = HwPt::builder(ioas, device).pasid(for_pasids);
        let parent = NestParent::builder(ioas, device).pasid(for_pasids);
        let parent = parent.allocate().unwrap();
        let config = Stage1 {
            iotlb: abi::IOTLB_DEFAULT,
            pagetable_type: 0,
        };
        let nested = NestedHwPt::<OnParent>::builder(&parent, device, &config).pasid(for_pasids);
        let nested = nested.allocate().unwrap();
        let kinds = [
            Kind::HwPt(hwpt.allocate().unwrap()),
            Kind::NestParent(parent),
            Kind::Nested(nested),
        ];
        kinds.map(|kind| Table { kind, for_pasids }).into()
    }
}

/// A page table of `ioas` that is for PASIDs.
fn table(ioas: &Ioas, device: &MockDevice) -> HwPt {
    let builder = HwPt::builder(ioas, device).pasid(true);
    builder.allocate().unwrap()
}

/// PASID number `number`.
fn pasid(number: u32) -> Pasid {
    Pasid::new(number).unwrap()
}

/// A page table of any kind.
#[derive(Debug, Clone)]
struct Table {
    kind: Kind,
    for_pasids: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    HwPt(HwPt),
    NestParent(NestParent),
    Nested(NestedHwPt<OnParent>),
}

impl Table {
    fn id(&self) -> u32 {
        match &self.kind {
            Kind::HwPt(hwpt) => ids::of(hwpt),
            Kind::NestParent(parent) => ids::of(parent),
            Kind::Nested(nested) => ids::of(nested),
        }
    }
}

impl From<&Table> for Target {
    fn from(table: &Table) -> Self {
        match &table.kind {
            Kind::HwPt(hwpt) => hwpt.into(),
            Kind::NestParent(parent) => parent.into(),
            Kind::Nested(nested) => nested.into(),
        }
    }
}

impl From<&Table> for PasidTarget {
    fn from(table: &Table) -> Self {
        match &table.kind {
            Kind::HwPt(hwpt) => hwpt.into(),
            Kind::NestParent(parent) => parent.into(),
            Kind::Nested(nested) => nested.into(),
        }
    }
}
