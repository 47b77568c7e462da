//! Queues in guest memory that the hardware itself reads.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::address::IovaRange;
use crate::context::Iommufd;
use crate::error::{Refused, Result};
use crate::format::HasHwQueues;
use crate::object::{Object, destroy_last};
use crate::viommu::{Viommu, ViommuInner};

/// A queue of commands in guest memory that the hardware reads without the VMM, as a Tegra241
/// CMDQV does.
///
/// The hardware reads it by physical address: the memory must be mapped in the virtual IOMMU's
/// address space, in one piece of physical memory, and as long as the queue lives it cannot be
/// unmapped (`EBUSY`).
///
/// The queues of a virtual IOMMU are numbered. They are made in ascending order and destroyed in
/// descending order: each but the [`first`](Self::first) is made [`after`](Self::after) another,
/// and holds it.
///
/// # System calls
/// `IOMMU_HW_QUEUE_ALLOC` and `IOMMU_DESTROY`.
///
/// Since Linux 6.17.
#[doc(alias = "IOMMU_HW_QUEUE_ALLOC")]
#[must_use = "dropping a queue takes it from the hardware"]
pub struct HwQueue<V: HasHwQueues> {
    inner: Arc<HwQueueInner>,
    _kind: PhantomData<V>,
}

impl<V: HasHwQueues> HwQueue<V> {
    /// Queue number 0 of `viommu`, in the memory at `queue` (guest physical addresses).
    ///
    /// # Errors
    /// `EEXIST`: there is one already; `ENOENT`: not all of the addresses are mapped; `EPERM`: they
    /// are not mapped readable; `EFAULT`: the memory is not contiguous; `EINVAL`: the hardware does
    /// not take this length or alignment; `EADDRINUSE`: in the address space something is mapped, wherever, that is not
    /// made of whole pages of the CPU's; `EOVERFLOW`; `EOPNOTSUPP`: the IOMMU has no such queues;
    /// `ENOMEM`; [`Error::Unsupported`](crate::Error::Unsupported) before Linux 6.17; [`Error::Forked`](crate::Error::Forked).
    pub fn first(viommu: &Viommu<V>, queue: IovaRange) -> Result<Self> {
        Self::allocate(viommu.inner(), 0, queue, None)
    }

    /// The queue with the next number.
    ///
    /// # Errors
    /// As for [`first`](Self::first); `EINVAL`: the hardware has no more.
    pub fn after(previous: &Self, queue: IovaRange) -> Result<Self> {
        let previous = &previous.inner;
        // Past the last number there is none: the kernel refuses.
        let number = previous.number.saturating_add(1);
        Self::allocate(&previous.viommu, number, queue, Some(previous))
    }

    fn allocate(
        viommu: &Arc<ViommuInner>,
        number: u32,
        queue: IovaRange,
        previous: Option<&Arc<HwQueueInner>>,
    ) -> Result<Self> {
        let mut arg = sys::iommu_hw_queue_alloc::sized();
        arg.viommu_id = viommu.id();
        arg.type_ = V::QUEUE_TYPE;
        arg.index = number;
        arg.nesting_parent_iova = queue.start().get();
        // No queue fills the whole address space: the kernel refuses what the length cannot say.
        arg.length = queue.len().unwrap_or(u64::MAX);
        viommu
            .iommufd()
            .context()
            .call(&nr::HW_QUEUE_ALLOC, &mut arg)?;
        Ok(Self::of(Arc::new(HwQueueInner {
            object: Object::new(viommu.iommufd(), arg.out_hw_queue_id, KIND),
            _previous: previous.map(Arc::clone),
            viommu: Arc::clone(viommu),
            number,
            queue,
        })))
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.inner.number
    }

    /// Where it is, by guest physical address.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        self.inner.queue
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.inner.object.iommufd()
    }

    /// Takes the queue from the hardware: on return the memory can be unmapped.
    ///
    /// # Errors
    /// [`Error::InUse`](crate::Error::InUse), with the queue and without asking the kernel, if the next one is still
    /// there; the kernel's refusal: `EBUSY`; [`Error::Forked`](crate::Error::Forked).
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        destroy_last(self.inner, KIND, |inner| inner.object.destroy())
            .map_err(|refused| refused.map(Self::of))
    }

    fn of(inner: Arc<HwQueueInner>) -> Self {
        Self {
            inner,
            _kind: PhantomData,
        }
    }
}

const KIND: &str = "hardware queue";

impl<V: HasHwQueues> fmt::Debug for HwQueue<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HwQueue")
            .field("id", &self.inner.object.id())
            .field("number", &self.number())
            .field("range", &self.range())
            .field("viommu", &self.inner.viommu.id())
            .finish()
    }
}

/// # Invariants
/// `object` is queue `number` of `viommu`, and nobody else destroys it. `_previous` is the one with
/// the number before, if it is not the first.
struct HwQueueInner {
    // The order matters: the kernel must destroy a queue before the one before it.
    object: Object,
    _previous: Option<Arc<Self>>,
    viommu: Arc<ViommuInner>,
    number: u32,
    queue: IovaRange,
}
