//! A guest's page tables, nested in the address space of its physical addresses.

use std::fmt;
use std::sync::Arc;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Refused, Result};
use crate::fault_queue::FaultQueue;
use crate::format::{Format, NestsOnParent, ViommuKind};
use crate::funnel;
use crate::ioas::Ioas;
use crate::nest_parent::NestParent;
use crate::object::{Object, destroy_last, equal_by};
use crate::paging::Options;
use crate::refused_option;
use crate::viommu::{Viommu, ViommuInner};

/// A guest's stage-1 tables, given to the hardware: it walks them itself, and translates what they
/// lead to by the [`NestParent`] under them.
///
/// The kernel copies the configuration. When the guest changes it, make another table, and
/// [`replace`](crate::Attachment::replace) this one: the device goes from one to the other, without
/// a gap where the IOMMU can. The guest's
/// tables themselves are the guest's to change; what the hardware has cached of them is to be
/// invalidated: by [`invalidate`](Self::invalidate) for a format that nests on the parent (VT-d),
/// through the [`Viommu`] for one that nests on that (SMMUv3).
///
/// Cloning gives another handle. It holds the parent, or the virtual IOMMU; an attachment holds it.
/// Dropping the last handle destroys it; [`try_destroy`](Self::try_destroy) does the same, and
/// tells. The kernel refuses at once (`EBUSY`) while an ioctl of somebody else is using it.
///
/// # System calls
/// `IOMMU_HWPT_ALLOC`, `IOMMU_HWPT_INVALIDATE` and `IOMMU_DESTROY`.
///
/// Since Linux 6.7 on a parent, 6.13 on a virtual IOMMU.
pub struct NestedHwPt<F: Format> {
    table: Arc<NestedTable>,
    config: F::Config,
}

/// What a table of the format `F` can be nested in: a [`NestParent`] for a format that
/// [`NestsOnParent`], else a [`Viommu`] of a kind of that format.
pub trait NestingHost<F: Format>: sealed::Host {}

impl<F: NestsOnParent> NestingHost<F> for NestParent {}
impl<V: ViommuKind> NestingHost<V::Format> for Viommu<V> {}

mod sealed {
    #[expect(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Host {
        fn base(&self) -> super::Base;
    }
}

impl sealed::Host for NestParent {
    fn base(&self) -> Base {
        Base {
            parent: self.clone(),
            viommu: None,
        }
    }
}

impl<V: ViommuKind> sealed::Host for Viommu<V> {
    fn base(&self) -> Base {
        Base {
            parent: self.parent().clone(),
            viommu: Some(Arc::clone(self.inner())),
        }
    }
}

/// What a nested table keeps alive.
#[derive(Clone)]
#[expect(unnameable_types, reason = "the answer of a sealed trait")]
pub struct Base {
    // The order matters: the kernel must destroy a virtual IOMMU before its parent.
    viommu: Option<Arc<ViommuInner>>,
    parent: NestParent,
}

impl Base {
    fn id(&self) -> u32 {
        match &self.viommu {
            Some(viommu) => viommu.id(),
            None => self.parent.table.id(),
        }
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Base").field(&self.id()).finish()
    }
}

impl<F: Format> NestedHwPt<F> {
    /// A nested table as `config` says, in `host`, for the IOMMU behind `device`.
    ///
    /// # Errors
    /// [`Error::ForeignContext`]; [`Error::LacksCapability`], before the kernel is asked: the IOMMU
    /// has not what the configuration asks for; `EOPNOTSUPP`: the IOMMU cannot nest this format;
    /// `EINVAL`: the device is behind another IOMMU than the host, or the configuration is not
    /// possible; `EIO`: the SMMUv3 driver refuses the configuration; `ENOMEM`;
    /// [`Error::Unsupported`] before Linux 6.7; [`Error::Forked`].
    ///
    /// [`Error::ForeignContext`]: crate::Error::ForeignContext
    /// [`Error::LacksCapability`]: crate::Error::LacksCapability
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn new(host: &impl NestingHost<F>, device: &Device, config: &F::Config) -> Result<Self> {
        Self::builder(host, device, config).allocate()
    }

    /// A nested table with options, which are fixed once it is allocated.
    pub fn builder<'a>(
        host: &impl NestingHost<F>,
        device: &'a Device,
        config: &'a F::Config,
    ) -> NestedHwPtBuilder<'a, F> {
        NestedHwPtBuilder {
            base: host.base(),
            device,
            config,
            options: Options::empty(),
            fault_queue: None,
        }
    }

    /// What it was made of. A guest that writes the same again needs no other table.
    #[must_use]
    pub fn config(&self) -> &F::Config {
        &self.config
    }

    /// What it is nested in: itself, or by way of the virtual IOMMU.
    #[must_use]
    pub fn parent(&self) -> &NestParent {
        &self.table.base.parent
    }

    /// The address space under it: of guest physical addresses.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        self.table.ioas()
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.table.object.iommufd()
    }

    /// Where the page requests of its devices go, if it was allocated with a queue.
    #[must_use]
    pub fn fault_queue(&self) -> Option<&FaultQueue> {
        self.table.fault_queue.as_ref()
    }

    /// Destroys the table.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles or an
    /// attachment hold it; the kernel's refusal: `EBUSY`; [`Error::Forked`].
    ///
    /// [`Error::InUse`]: crate::Error::InUse
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        let Self { table, config } = self;
        destroy_last(table, KIND, |table| table.object.destroy())
            .map_err(|refused| refused.map(|table| Self { table, config }))
    }

    pub(crate) fn table(&self) -> &Arc<NestedTable> {
        &self.table
    }
}

impl<F: NestsOnParent> NestedHwPt<F> {
    /// Invalidates what the IOMMU, and devices, have cached of the guest's tables. On return that
    /// is done.
    ///
    /// All `commands` go to the kernel in one call, in their order (in several, if they are more than
    /// the [format](Format::MOST_IN_A_CALL) has it take); none makes no call.
    ///
    /// # Errors
    /// [`Error::InvalidationRefused`], which says what was done and which command was refused;
    /// [`Error::Forked`].
    ///
    /// [`Error::InvalidationRefused`]: crate::Error::InvalidationRefused
    /// [`Error::Forked`]: crate::Error::Forked
    #[doc(alias = "IOMMU_HWPT_INVALIDATE")]
    pub fn invalidate(&self, commands: &[F::Invalidation]) -> Result<()> {
        self.table.object.invalidate::<F>(commands)
    }
}

const KIND: &str = "nested page table";

/// The options of a nested table to be: see [`NestedHwPt::builder`].
#[must_use = "nothing is allocated before `allocate`"]
pub struct NestedHwPtBuilder<'a, F: Format> {
    base: Base,
    device: &'a Device,
    config: &'a F::Config,
    options: Options,
    fault_queue: Option<&'a FaultQueue>,
}

impl<'a, F: Format> NestedHwPtBuilder<'a, F> {
    /// Whether the table can be attached to a PASID, and to a device that has tables attached to
    /// its PASIDs. Off unless asked for. Arm's SMMU has its PASIDs in the guest's tables instead,
    /// and refuses it.
    ///
    /// Since Linux 6.15.
    #[doc(alias = "IOMMU_HWPT_ALLOC_PASID")]
    pub fn pasid(mut self, wanted: bool) -> Self {
        self.options = self.options.with(Options::PASID, wanted);
        self
    }

    /// Lets devices ask for what is not in the guest's tables, and delivers what they ask for to
    /// `queue`: see [`HwPtBuilder::fault_queue`](crate::HwPtBuilder::fault_queue). Where the guest
    /// has PASID tables of its own, as with SMMUv3, requests with any PASID come, too.
    ///
    /// On VT-d a device leaves such a table best for one that is no guest's, such as the parent, and
    /// goes to the guest's next from there: moved there at once, it is counted by the driver as one that
    /// waits for ever, and the kernel warns when it is unplugged (Linux 7.3). The
    /// [relay](crate::vtd::relay) does so.
    ///
    /// On Arm it is only for a device that can stall; a table without a queue is made of an entry
    /// [`without_stalls`](crate::smmuv3::Smmuv3Demands::without_stalls).
    ///
    /// Since Linux 6.11.
    #[doc(alias = "IOMMU_HWPT_FAULT_ID_VALID")]
    pub fn fault_queue(mut self, queue: &'a FaultQueue) -> Self {
        self.fault_queue = Some(queue);
        self
    }

    /// Allocates it.
    ///
    /// # Errors
    /// As for [`NestedHwPt::new`]; `EOPNOTSUPP`: the IOMMU does not have an option;
    /// [`Error::Unsupported`](crate::Error::Unsupported): this kernel does not;
    /// [`Error::ForeignContext`](crate::Error::ForeignContext), of the fault queue, too.
    pub fn allocate(self) -> Result<NestedHwPt<F>> {
        let iommufd = self.base.parent.iommufd().clone();
        iommufd.must_be(self.device.iommufd(), "device")?;
        F::fits(self.config, self.device)?;
        let mut arg = sys::iommu_hwpt_alloc::sized();
        arg.flags = self.options.bits();
        arg.dev_id = self.device.id();
        arg.pt_id = self.base.id();
        FaultQueue::serve(self.fault_queue, &iommufd, &mut arg)?;
        let context = iommufd.context();
        context
            .checked(&nr::HWPT_ALLOC, &mut context.notices(), |fd| {
                funnel::nested_alloc::<F>(fd, &mut arg, self.config)
            })
            // With a fault queue they are as old as fault queues are.
            .map_err(|error| refused_option::meaning(error, context, self.options, false))?;
        let config = *self.config;
        let table = Arc::new(NestedTable {
            object: Object::new(&iommufd, arg.out_hwpt_id, KIND),
            base: self.base,
            fault_queue: self.fault_queue.cloned(),
            options: self.options,
            fits: Box::new(move |device| F::fits(&config, device)),
        });
        Ok(NestedHwPt { table, config })
    }
}

impl<F: Format> fmt::Debug for NestedHwPtBuilder<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedHwPtBuilder")
            .field("device", &self.device)
            .field("config", &self.config)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

// By hand: a derive would ask the same of the format.
impl<F: Format> Clone for NestedHwPt<F> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            config: self.config,
        }
    }
}

equal_by!(table: NestedHwPt<F: Format>);

impl<F: Format> fmt::Debug for NestedHwPt<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedHwPt")
            .field("id", &self.table.id())
            .field("base", &self.table.base.id())
            .field("config", &self.config)
            .field("options", &self.table.options)
            .finish()
    }
}

/// The table itself, whatever its format.
///
/// # Invariants
/// `object` is a table nested in `base` that nobody else destroys, allocated with `options`; its page
/// requests go to `fault_queue`.
pub(crate) struct NestedTable {
    // The order matters: the kernel must destroy the table before what it is nested in, and before
    // the queue.
    object: Object,
    base: Base,
    fault_queue: Option<FaultQueue>,
    options: Options,
    /// Whether the IOMMU behind a device can do what the table asks for.
    fits: Box<Fits>,
}

type Fits = dyn Fn(&Device) -> Result<()> + Send + Sync;

impl NestedTable {
    /// Refuses a device behind an IOMMU that has not what the table asks for.
    pub(crate) fn fits(&self, device: &Device) -> Result<()> {
        (self.fits)(device)
    }

    pub(crate) fn id(&self) -> u32 {
        self.object.id()
    }

    pub(crate) fn ioas(&self) -> &Ioas {
        self.base.parent.ioas()
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// Whether it is nested through that virtual IOMMU.
    pub(crate) fn is_through(&self, viommu: &Arc<ViommuInner>) -> bool {
        self.base
            .viommu
            .as_ref()
            .is_some_and(|through| Arc::ptr_eq(through, viommu))
    }
}
