//! What tells the nested translation of one vendor from that of another.
//!
//! Stage-1 tables, commands and events of one vendor mean nothing to the IOMMU of another. So the
//! objects of nested translation have their format as a type parameter, and what does not belong
//! together does not compile. [`smmuv3`](crate::smmuv3) is such a format. These traits are how another
//! is brought in; SMMUv3 with plain words would be:
//!
//! ```no_run
//! # #[allow(dead_code)]
//! # fn example(ioas: &iommufd::Ioas, device: &iommufd::Device) -> iommufd::Result<()> {
//! use iommufd::format::{Event, Format, InViommu, Reports, ViommuKind};
//! use iommufd::{NestParent, NestedHwPt, VDevice, VEvent, Viommu};
//!
//! /// Arm's SMMUv3, with plain words for its structures.
//! #[derive(Debug)]
//! enum Smmuv3 {}
//!
//! /// A stream's number, as the guest has it.
//! #[derive(Debug, Clone, Copy)]
//! struct StreamId(u32);
//!
//! impl From<StreamId> for u64 {
//!     fn from(id: StreamId) -> Self {
//!         id.0.into()
//!     }
//! }
//!
//! // SAFETY: the kernel takes two words for each, and looks up guest physical addresses in them.
//! unsafe impl Format for Smmuv3 {
//!     type NestsOn = InViommu;
//!     type Config = [u64; 2];
//!     const CONFIG_TYPE: u32 = iommufd_sys::iommufd::IOMMU_HWPT_DATA_ARM_SMMUV3;
//!     type Invalidation = [u64; 2];
//!     const INVALIDATION_TYPE: u32 =
//!         iommufd_sys::iommufd::IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
//!     const COUNT_IS_EXACT: bool = false;
//! }
//!
//! // SAFETY: the kernel takes no data.
//! unsafe impl ViommuKind for Smmuv3 {
//!     type Format = Self;
//!     const TYPE: u32 = iommufd_sys::iommufd::IOMMU_VIOMMU_TYPE_ARM_SMMUV3;
//!     type Data = ();
//!     type VirtualId = StreamId;
//!     type Stale = ();
//!     type Demands = ();
//!
//!     fn stale((): &(), (): &()) -> Vec<[u64; 2]> {
//!         Vec::new()
//!     }
//!
//!     fn demands(_: &iommufd::Device) -> iommufd::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
//!
//! /// An event record.
//! #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
//! #[repr(transparent)]
//! struct Record([u64; 4]);
//!
//! impl Event for Record {
//!     const QUEUE_TYPE: u32 = iommufd_sys::iommufd::IOMMU_VEVENTQ_TYPE_ARM_SMMUV3;
//! }
//!
//! impl Reports<Record> for Smmuv3 {}
//!
//! let parent = NestParent::new(ioas, device)?;
//! let (viommu, mut events) = Viommu::<Smmuv3>::with_events::<Record>(&parent, device, 512)?;
//! let vdevice = VDevice::new(&viommu, device, StreamId(7))?;
//! let stream_table_entry = [0, 0];
//! let nested = NestedHwPt::new(&viommu, device, &stream_table_entry)?;
//! let attachment = device.attach(vdevice.through(&nested, ()))?;
//!
//! let invalidate_all = [0x10, 0];
//! viommu.invalidate(&[invalidate_all])?;
//! for event in events.read()? {
//!     match event {
//!         VEvent::Event(record) => println!("{record:x?}"),
//!         VEvent::Lost(count) => println!("{count} events are missing"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

// UNSAFETY: declares contracts; calls nothing unsafe itself.
#![expect(
    unsafe_code,
    reason = "what the kernel does with a format is an unsafe trait"
)]

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::device::Device;
use crate::error::Result;

// The tests on a kernel include the same file, which is why it speaks of this crate by its name.
#[cfg(test)]
#[expect(unreachable_pub, reason = "for the tests on a kernel it is public")]
pub(crate) mod once;
#[cfg(test)]
pub(crate) mod played;

/// Plain bytes of a fixed layout, as the kernel copies them in and out.
pub trait Blob:
    FromBytes + IntoBytes + Immutable + KnownLayout + Copy + fmt::Debug + Send + Sync + 'static
{
}

impl<T> Blob for T where
    T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + fmt::Debug + Send + Sync + 'static
{
}

/// Plain bytes of a fixed layout that the kernel is given. Unlike a [`Blob`] it may have bytes that
/// it cannot be: those that the kernel would refuse.
pub trait Given: IntoBytes + Immutable + Copy + fmt::Debug + Send + Sync + 'static {}

impl<T> Given for T where T: IntoBytes + Immutable + Copy + fmt::Debug + Send + Sync + 'static {}

/// A format of stage-1 translation: how a nested page table is configured, and how what the IOMMU
/// has cached of it is invalidated.
///
/// # Safety
/// The kernel takes a `Config` as the data of type `CONFIG_TYPE` of a nested page table, and
/// `Invalidation`s as those of type `INVALIDATION_TYPE`, or refuses these types. It copies them,
/// and takes nothing in them for an address of this process.
pub unsafe trait Format: fmt::Debug + Send + Sync + 'static {
    /// What its tables are nested in. That decides how they are invalidated, and whether a device
    /// is attached to them under a number of the guest's.
    type NestsOn: NestingPlace;
    /// What configures a nested page table: where the guest's tables are, by guest physical
    /// address, and how they are to be read.
    type Config: Given;
    /// `IOMMU_HWPT_DATA_*`.
    const CONFIG_TYPE: u32;
    /// One invalidation.
    type Invalidation: Given;
    /// `IOMMU_*_INVALIDATE_DATA_*`.
    const INVALIDATION_TYPE: u32;
    /// Whether the kernel, when it refuses one invalidation of several, has carried out exactly
    /// those before it. (The SMMUv3 driver issues them in batches of its own, and may have not.)
    const COUNT_IS_EXACT: bool;
    /// How many invalidations go to the kernel in one call, at least one: by default as many as it
    /// takes. (A driver that copies all of a call before it looks at any has no room for so many.)
    const MOST_IN_A_CALL: usize = 1 << 19;

    /// Whether the IOMMU behind `device` can do what `config` asks for, as far as its hardware
    /// information tells. Asked before a table is made, and before a device comes to it: where the
    /// kernel asks late, or says less. By default everything fits, and the kernel answers.
    ///
    /// # Errors
    /// [`Error::LacksCapability`](crate::Error::LacksCapability); the kernel does not tell.
    fn fits(config: &Self::Config, device: &Device) -> Result<()> {
        let _ = (config, device);
        Ok(())
    }
}

/// What tables of a format are nested in: [`InParent`] or [`InViommu`].
pub trait NestingPlace: sealed::Sealed + fmt::Debug + Send + Sync + 'static {}

/// In a [`NestParent`](crate::NestParent) itself.
#[derive(Debug, Clone, Copy)]
pub enum InParent {}

/// In a [`Viommu`](crate::Viommu) over a parent.
#[derive(Debug, Clone, Copy)]
pub enum InViommu {}

impl NestingPlace for InParent {}
impl NestingPlace for InViommu {}

mod sealed {
    #[expect(unnameable_types, reason = "so that there are two places, and no more")]
    pub trait Sealed {}

    impl Sealed for super::InParent {}
    impl Sealed for super::InViommu {}
}

/// A format whose tables are nested in a [`NestParent`](crate::NestParent), and invalidated each by
/// itself: Intel VT-d.
pub trait NestsOnParent: Format<NestsOn = InParent> {}

impl<F: Format<NestsOn = InParent>> NestsOnParent for F {}

/// A format whose tables are nested through a [`Viommu`](crate::Viommu), and invalidated through
/// it: Arm SMMUv3.
pub trait NestsOnViommu: Format<NestsOn = InViommu> {}

impl<F: Format<NestsOn = InViommu>> NestsOnViommu for F {}

/// A kind of virtual IOMMU.
///
/// # Safety
/// The kernel takes a `Data` as the data of a virtual IOMMU of the type `TYPE` and may write it
/// back, of the same length, or it refuses the type. It takes nothing in it for an address of this
/// process.
pub unsafe trait ViommuKind: fmt::Debug + Send + Sync + 'static {
    /// The format of the tables that are nested through it.
    type Format: NestsOnViommu;
    /// `IOMMU_VIOMMU_TYPE_*`.
    const TYPE: u32;
    /// What the kernel is told, and answers, when one is made; `()` if nothing.
    type Data: Blob;
    /// The number by which the guest knows a device behind it.
    type VirtualId: Into<u64> + Copy + fmt::Debug + Send + Sync + 'static;
    /// What is to be said when a device comes to a table behind it: what becomes of translations
    /// that the IOMMU still has by the tags that the table uses, such as its address space
    /// identifiers. They outlive the tables, and the kernel does not invalidate them. `()` for a
    /// format without such tags.
    type Stale: fmt::Debug + Send + Sync + 'static;
    /// What is invalidated for that, after the device has come.
    fn stale(
        stale: &Self::Stale,
        demands: &Self::Demands,
    ) -> Vec<<Self::Format as Format>::Invalidation>;
    /// What the physical IOMMU demands of invalidations; `()` for nothing.
    type Demands: Demands<<Self::Format as Format>::Invalidation>;
    /// What the IOMMU behind `device` demands. It is asked once for each virtual IOMMU.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn demands(device: &Device) -> Result<Self::Demands>;
}

/// What a physical IOMMU demands of the invalidations `I` that are passed on to it.
pub trait Demands<I>: Copy + fmt::Debug + Send + Sync + 'static {
    /// Whether it has this one. The kernel is not asked for what it would refuse: when it refuses
    /// one of many, it can be unknown which of the others were carried out.
    fn has(&self, invalidation: &I) -> bool;

    /// The number of the first that it has not; `None` if it has all of them.
    fn first_lacking(&self, invalidations: &[I]) -> Option<usize> {
        invalidations.iter().position(|one| !self.has(one))
    }

    /// Whether all of it is to be issued twice, for an erratum.
    fn twice(&self) -> bool;
}

impl<I> Demands<I> for () {
    fn has(&self, _: &I) -> bool {
        true
    }

    fn twice(&self) -> bool {
        false
    }
}

/// A kind of virtual IOMMU that shows a page of its registers.
pub trait ShowsPage: ViommuKind {
    /// Where, as the kernel has answered.
    fn page(answer: &Self::Data) -> PageLocation;
}

/// Where on `/dev/iommu` a virtual IOMMU's registers can be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLocation {
    /// The offset for `mmap`, in bytes: a token of the kernel's.
    pub offset: u64,
    /// The length in bytes.
    pub len: u64,
}

/// What happens in a virtual IOMMU, as it is told in a [`VEventQueue`](crate::VEventQueue).
pub trait Event: Blob {
    /// `IOMMU_VEVENTQ_TYPE_*`.
    const QUEUE_TYPE: u32;
}

/// A kind of virtual IOMMU that reports events of the type `E`.
pub trait Reports<E: Event>: ViommuKind {}

/// A kind of virtual IOMMU of which the hardware itself reads queues in guest memory.
pub trait HasHwQueues: ViommuKind {
    /// `IOMMU_HW_QUEUE_TYPE_*`.
    const QUEUE_TYPE: u32;
}
