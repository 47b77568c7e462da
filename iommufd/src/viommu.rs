//! Virtual IOMMUs: what a guest takes for its own IOMMU, as far as the hardware has a part in it.

use std::fmt;
use std::sync::Arc;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::format::{Demands, Format, ViommuKind};
use crate::funnel;
use crate::nest_parent::NestParent;
use crate::object::{Object, destroy_last, equal_by};

/// A part of a physical IOMMU that is given to one guest: it knows devices by the guest's numbers
/// ([`VDevice`](crate::VDevice)), translates by the guest's tables
/// ([`NestedHwPt`](crate::NestedHwPt)), takes the guest's invalidations, and reports what happens
/// ([`VEventQueue`](crate::VEventQueue)).
///
/// A guest with devices behind several physical IOMMUs has a virtual one for each.
///
/// Cloning gives another handle. It holds its parent; all that is made of it holds it. Dropping the
/// last handle destroys it; [`try_destroy`](Self::try_destroy) does the same, and tells. The kernel
/// refuses at once (`EBUSY`) while an ioctl of somebody else is using it.
///
/// # System calls
/// `IOMMU_VIOMMU_ALLOC`, `IOMMU_HWPT_INVALIDATE` and `IOMMU_DESTROY`.
///
/// Since Linux 6.13.
#[doc(alias = "IOMMU_VIOMMU_ALLOC")]
pub struct Viommu<V: ViommuKind> {
    inner: Arc<ViommuInner>,
    /// What the kernel answered.
    data: V::Data,
    demands: V::Demands,
}

impl<V: ViommuKind<Data = ()>> Viommu<V> {
    /// A virtual IOMMU over `parent`, of the physical one behind `device`. Where its kind reports
    /// events, [`with_events`](Self::with_events) makes it so that none is missed.
    ///
    /// # Errors
    /// [`Error::ForeignContext`]; `EOPNOTSUPP`: the IOMMU has none of this kind; `EINVAL`: the
    /// parent is of another IOMMU; `ENOMEM`; [`Error::Unsupported`] before Linux 6.13;
    /// [`Error::Forked`].
    ///
    /// [`Error::ForeignContext`]: crate::Error::ForeignContext
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn new(parent: &NestParent, device: &Device) -> Result<Self> {
        Self::with_data(parent, device, ())
    }
}

impl<V: ViommuKind> Viommu<V> {
    /// A virtual IOMMU of a kind of which the kernel is told something, and answers it.
    ///
    /// # Errors
    /// As for [`new`](Self::new); `ENOSPC`: the hardware has no more of them; [`Error::Unsupported`]
    /// before Linux 6.17.
    ///
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    pub fn with_data(parent: &NestParent, device: &Device, data: V::Data) -> Result<Self> {
        let iommufd = parent.iommufd();
        iommufd.must_be(device.iommufd(), "device")?;
        let mut data = data;
        let mut arg = sys::iommu_viommu_alloc::sized();
        arg.dev_id = device.id();
        arg.hwpt_id = parent.table.id();
        let context = iommufd.context();
        context.checked(&nr::VIOMMU_ALLOC, &mut context.notices(), |fd| {
            funnel::viommu_alloc::<V>(fd, &mut arg, &mut data)
        })?;
        let inner = Arc::new(ViommuInner {
            object: Object::new(iommufd, arg.out_viommu_id, KIND),
            parent: parent.clone(),
        });
        Ok(Self {
            inner,
            data,
            demands: V::demands(device)?,
        })
    }

    /// What the kernel has answered to the data of [`with_data`](Self::with_data).
    #[must_use]
    pub fn data(&self) -> &V::Data {
        &self.data
    }

    /// What the physical IOMMU demands of invalidations.
    #[must_use]
    pub fn demands(&self) -> &V::Demands {
        &self.demands
    }

    /// Invalidates what the IOMMU, and devices, have cached of the guest's tables. On return that
    /// is done.
    ///
    /// All `commands` go to the kernel in one call, in their order (in several, if they are more than
    /// the [format](Format::MOST_IN_A_CALL) has it take); none makes no call. Where an erratum [demands](Self::demands) it, they go
    /// twice.
    ///
    /// # Errors
    /// [`Error::InvalidationNotThere`], before the kernel is asked; [`Error::InvalidationRefused`],
    /// which says what was done and which command was refused; [`Error::Forked`].
    ///
    /// [`Error::InvalidationNotThere`]: crate::Error::InvalidationNotThere
    /// [`Error::InvalidationRefused`]: crate::Error::InvalidationRefused
    /// [`Error::Forked`]: crate::Error::Forked
    #[doc(alias = "IOMMU_HWPT_INVALIDATE")]
    pub fn invalidate(&self, commands: &[<V::Format as Format>::Invalidation]) -> Result<()> {
        self.inner.invalidate::<V>(&self.demands, commands)
    }

    /// What it is made of: the address space of the guest's physical addresses.
    #[must_use]
    pub fn parent(&self) -> &NestParent {
        self.inner.parent()
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.inner.iommufd()
    }

    /// Destroys it.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles, nested
    /// tables, virtual devices, queues or its mapped page hold it; the kernel's refusal: `EBUSY`;
    /// [`Error::Forked`].
    ///
    /// [`Error::InUse`]: crate::Error::InUse
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        let Self {
            inner,
            data,
            demands,
        } = self;
        destroy_last(inner, KIND, |inner| inner.object.destroy()).map_err(|refused| {
            refused.map(|inner| Self {
                inner,
                data,
                demands,
            })
        })
    }

    pub(crate) fn inner(&self) -> &Arc<ViommuInner> {
        &self.inner
    }
}

const KIND: &str = "virtual IOMMU";

// By hand: a derive would ask the same of the kind.
impl<V: ViommuKind> Clone for Viommu<V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            data: self.data,
            demands: self.demands,
        }
    }
}

equal_by!(inner: Viommu<V: ViommuKind>);

impl<V: ViommuKind> fmt::Debug for Viommu<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viommu")
            .field("id", &self.inner.id())
            .field("parent", &self.inner.parent)
            .field("data", &self.data)
            .finish()
    }
}

/// The virtual IOMMU itself, whatever its kind.
///
/// # Invariants
/// `object` is a virtual IOMMU over `parent` that nobody else destroys.
pub(crate) struct ViommuInner {
    // The order matters: the kernel must destroy it before its parent.
    object: Object,
    parent: NestParent,
}

impl ViommuInner {
    pub(crate) fn id(&self) -> u32 {
        self.object.id()
    }

    pub(crate) fn parent(&self) -> &NestParent {
        &self.parent
    }

    /// Has the kernel carry out `commands` as the physical IOMMU demands it.
    pub(crate) fn invalidate<V: ViommuKind>(
        &self,
        demands: &V::Demands,
        commands: &[<V::Format as Format>::Invalidation],
    ) -> Result<()> {
        if let Some(index) = demands.first_lacking(commands) {
            return Err(Error::InvalidationNotThere { index });
        }
        self.object.invalidate::<V::Format>(commands)?;
        if demands.twice() {
            self.object.invalidate::<V::Format>(commands)?;
        }
        Ok(())
    }

    pub(crate) fn iommufd(&self) -> &Iommufd {
        self.object.iommufd()
    }
}
