//! PASIDs, and page tables that are for them or not.

use iommufd::{HwPt, Ioas, NestParent, NestedHwPt, Pasid, PasidTarget, Target};

use crate::ids;
use crate::mock::MockDevice;
use crate::mock::nesting::{CONFIG, OnParent};

/// PASID number `number`.
#[must_use]
pub fn pasid(number: u32) -> Pasid {
    Pasid::new(number).unwrap()
}

/// A page table of `ioas` that is for PASIDs.
#[must_use]
pub fn table(ioas: &Ioas, device: &MockDevice) -> HwPt {
    let builder = HwPt::builder(ioas, device).pasid(true);
    builder.allocate().unwrap()
}

/// One table of each kind over `ioas`, for PASIDs or not.
#[must_use]
pub fn tables(ioas: &Ioas, device: &MockDevice, for_pasids: bool) -> Vec<Table> {
    let hwpt = HwPt::builder(ioas, device).pasid(for_pasids);
    let parent = NestParent::builder(ioas, device).pasid(for_pasids);
    let parent = parent.allocate().unwrap();
    let nested = NestedHwPt::builder(&parent, device, &CONFIG).pasid(for_pasids);
    let nested = nested.allocate().unwrap();
    let kinds = [
        Kind::HwPt(hwpt.allocate().unwrap()),
        Kind::NestParent(parent),
        Kind::Nested(nested),
    ];
    kinds.map(|kind| Table { kind, for_pasids }).into()
}

/// A page table of any kind that a PASID can be attached to, if it is for that.
#[derive(Debug, Clone)]
pub struct Table {
    kind: Kind,
    /// Whether it is for PASIDs.
    pub for_pasids: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    HwPt(HwPt),
    NestParent(NestParent),
    Nested(NestedHwPt<OnParent>),
}

impl Table {
    /// The kernel's id of it.
    #[must_use]
    pub fn id(&self) -> u32 {
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
