//! The mock driver's formats of nested translation, written from their layout.

// UNSAFETY: vouches for what the kernel takes these structures for.
#![expect(unsafe_code, reason = "implements unsafe traits")]

use std::mem::offset_of;

use iommufd::Device;
use iommufd::format::{
    Event, Format, HasHwQueues, InParent, InViommu, PageLocation, Reports, ShowsPage, ViommuKind,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::abi;

/// Tables that are nested in their parent itself, as VT-d's are.
#[derive(Debug, Clone, Copy)]
pub enum OnParent {}

/// Tables that are nested through a virtual IOMMU, as SMMUv3's are.
#[derive(Debug, Clone, Copy)]
pub enum OnViommu {}

/// The same, of which it is said that a count of handled invalidations means little, as it does with SMMUv3.
#[derive(Debug, Clone, Copy)]
pub enum OnViommuInBatches {}

/// What a nested table of the mock's is configured with.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Stage1 {
    /// What all entries of its cache hold, until they are invalidated.
    pub iotlb: u32,
}

/// A nested table with nothing of its own.
pub const CONFIG: Stage1 = Stage1 {
    iotlb: abi::IOTLB_DEFAULT,
};

/// What a table of the mock's that is not nested can be configured with, since there are two ways to build one. An older
/// mock takes nothing of this length, so a nested table's is no more than it needs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
pub struct Unnested {
    /// Means nothing here.
    pub iotlb: u32,
    /// How it is built.
    pub pagetable_type: u32,
}

/// An invalidation of a table that is nested in its parent.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct TableInvalidation {
    /// [`INVALIDATE_ALL`] or 0.
    pub flags: u32,
    /// Which entry of the cache.
    pub iotlb_id: u32,
}

/// An invalidation through a virtual IOMMU: of what a device has cached.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DeviceInvalidation {
    /// [`INVALIDATE_ALL`] or 0.
    pub flags: u32,
    /// The guest's number of the device.
    pub vdev_id: u32,
    /// Which entry of its cache.
    pub cache_id: u32,
}

/// Every entry is invalidated.
pub const INVALIDATE_ALL: u32 = 1;

impl TableInvalidation {
    /// Of the entry `iotlb_id`.
    #[must_use]
    pub const fn of(iotlb_id: u32) -> Self {
        Self { flags: 0, iotlb_id }
    }
}

impl DeviceInvalidation {
    /// Of the entry `cache_id` of the device that the guest knows as `vdev_id`.
    #[must_use]
    pub const fn of(vdev_id: u32, cache_id: u32) -> Self {
        Self {
            flags: 0,
            vdev_id,
            cache_id,
        }
    }

    /// Of all that the device has cached.
    #[must_use]
    pub const fn of_all(vdev_id: u32) -> Self {
        Self {
            flags: INVALIDATE_ALL,
            vdev_id,
            cache_id: 0,
        }
    }
}

// SAFETY: with the mock driver the kernel takes numbers for these types, one for a table and two for an invalidation;
// without it, it refuses the types.
unsafe impl Format for OnParent {
    type NestsOn = InParent;
    type Config = Stage1;
    const CONFIG_TYPE: u32 = abi::HWPT_DATA_SELFTEST;
    type Invalidation = TableInvalidation;
    const INVALIDATION_TYPE: u32 = abi::TYPE_SELFTEST;
    const COUNT_IS_EXACT: bool = true;
}

// SAFETY: as for `OnParent`; an invalidation through a virtual IOMMU has three numbers.
unsafe impl Format for OnViommu {
    type NestsOn = InViommu;
    type Config = Stage1;
    const CONFIG_TYPE: u32 = abi::HWPT_DATA_SELFTEST;
    type Invalidation = DeviceInvalidation;
    const INVALIDATION_TYPE: u32 = abi::TYPE_SELFTEST;
    const COUNT_IS_EXACT: bool = true;
}

// SAFETY: as for `OnViommu`.
unsafe impl Format for OnViommuInBatches {
    type NestsOn = InViommu;
    type Config = Stage1;
    const CONFIG_TYPE: u32 = abi::HWPT_DATA_SELFTEST;
    type Invalidation = DeviceInvalidation;
    const INVALIDATION_TYPE: u32 = abi::TYPE_SELFTEST;
    const COUNT_IS_EXACT: bool = false;
}

/// Of a kind of virtual IOMMU: nothing outlives its tables, and nothing is demanded of invalidations.
macro_rules! demands_nothing {
    () => {
        type Stale = ();
        type Demands = ();

        fn stale((): &(), (): &()) -> Vec<<Self::Format as Format>::Invalidation> {
            Vec::new()
        }

        fn demands(_: &Device) -> iommufd::Result<()> {
            Ok(())
        }
    };
}

/// The mock's virtual IOMMU.
#[derive(Debug, Clone, Copy)]
pub enum MockViommu {}

/// The mock's virtual IOMMU with a page of its own.
#[derive(Debug, Clone, Copy)]
pub enum MockViommuWithPage {}

/// The mock's virtual IOMMU, for the format that is said to be handled in batches.
#[derive(Debug, Clone, Copy)]
pub enum MockViommuInBatches {}

/// The guest's number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualNumber(pub u64);

impl From<VirtualNumber> for u64 {
    fn from(number: VirtualNumber) -> Self {
        number.0
    }
}

/// What a [`MockViommuWithPage`] is told, and answers.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Loopback {
    /// Any number: the page begins with it.
    pub in_data: u32,
    /// The same number, back.
    pub out_data: u32,
    /// Where the page is.
    pub out_mmap_offset: u64,
    /// Its length in bytes.
    pub out_mmap_length: u64,
}

const _: () = {
    assert!(size_of::<Stage1>() == 4);
    assert!(size_of::<Unnested>() == 8 && offset_of!(Unnested, pagetable_type) == 4);
    assert!(size_of::<TableInvalidation>() == 8 && offset_of!(TableInvalidation, iotlb_id) == 4);
    assert!(size_of::<DeviceInvalidation>() == 12 && offset_of!(DeviceInvalidation, cache_id) == 8);
    assert!(size_of::<Loopback>() == 24 && offset_of!(Loopback, out_mmap_offset) == 8);
    assert!(offset_of!(Loopback, out_mmap_length) == 16);
};

// SAFETY: with the mock driver the kernel takes no data for this type; without it, it refuses the type.
unsafe impl ViommuKind for MockViommu {
    type Format = OnViommu;
    const TYPE: u32 = abi::TYPE_SELFTEST;
    type Data = ();
    type VirtualId = VirtualNumber;
    demands_nothing!();
}

// SAFETY: as for `MockViommu`.
unsafe impl ViommuKind for MockViommuInBatches {
    type Format = OnViommuInBatches;
    const TYPE: u32 = abi::TYPE_SELFTEST;
    type Data = ();
    type VirtualId = VirtualNumber;
    demands_nothing!();
}

// SAFETY: with the mock driver the kernel takes and writes 24 bytes of numbers for this type; without it, it refuses
// the type.
unsafe impl ViommuKind for MockViommuWithPage {
    type Format = OnViommu;
    const TYPE: u32 = abi::TYPE_SELFTEST;
    type Data = Loopback;
    type VirtualId = VirtualNumber;
    demands_nothing!();
}

impl ShowsPage for MockViommuWithPage {
    fn page(answer: &Loopback) -> PageLocation {
        PageLocation {
            offset: answer.out_mmap_offset,
            len: answer.out_mmap_length,
        }
    }
}

/// A kind that says where its page is, and is wrong by so many bytes.
#[derive(Debug, Clone, Copy)]
pub enum Astray<const OFFSET: u64, const LESS: u64> {}

// SAFETY: as for `MockViommuWithPage`; where the page is, is none of the contract.
unsafe impl<const OFFSET: u64, const LESS: u64> ViommuKind for Astray<OFFSET, LESS> {
    type Format = OnViommu;
    const TYPE: u32 = MockViommuWithPage::TYPE;
    type Data = Loopback;
    type VirtualId = VirtualNumber;
    demands_nothing!();
}

impl<const OFFSET: u64, const LESS: u64> ShowsPage for Astray<OFFSET, LESS> {
    fn page(answer: &Loopback) -> PageLocation {
        let right = MockViommuWithPage::page(answer);
        PageLocation {
            offset: right.offset.wrapping_add(OFFSET),
            len: right.len.wrapping_sub(LESS),
        }
    }
}

/// A kind of the type `TYPE`, that takes so many words.
#[derive(Debug, Clone, Copy)]
pub enum Unusual<const TYPE: u32, const WORDS: usize> {}

// SAFETY: the mock takes and writes words of any number for its type, or refuses their length; other types no driver
// knows.
unsafe impl<const TYPE: u32, const WORDS: usize> ViommuKind for Unusual<TYPE, WORDS> {
    type Format = OnViommu;
    const TYPE: u32 = TYPE;
    type Data = [u32; WORDS];
    type VirtualId = VirtualNumber;
    demands_nothing!();
}

/// An event of the mock's virtual IOMMU.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct MockEvent {
    /// The guest's number of the device.
    pub virt_id: u32,
}

impl Event for MockEvent {
    const QUEUE_TYPE: u32 = abi::VEVENTQ_TYPE_SELFTEST;
}

impl Reports<MockEvent> for MockViommu {}
impl Reports<MockEvent> for MockViommuWithPage {}

impl HasHwQueues for MockViommu {
    const QUEUE_TYPE: u32 = abi::TYPE_SELFTEST;
}

impl HasHwQueues for MockViommuWithPage {
    const QUEUE_TYPE: u32 = abi::TYPE_SELFTEST;
}
