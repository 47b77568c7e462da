//! The address space that stands in for a VFIO container.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use crate::context::Iommufd;
use crate::error::Result;
use crate::ioas::Ioas;
use crate::option::op;

/// The address space that stands in for a VFIO container.
///
/// A program written for VFIO's older interface can be given `/dev/iommu` in place of a container
/// (`/dev/vfio/vfio`): the kernel answers the container's ioctls (`VFIO_SET_IOMMU`,
/// `VFIO_IOMMU_MAP_DMA` and so on) for one address space of the context, the compatibility address
/// space, to which it attaches the groups that are put into that container. Without one these
/// ioctls answer `ENODEV`, until the first group is put in: then the kernel makes one by itself.
///
/// The kernel remembers it, but holds it not: it can be destroyed, and is then forgotten. So there
/// is no handle of it to be had; each address space [says](Ioas::is_compat) whether it is the one.
/// What such a program maps or unmaps in it the SDK does not know of, as it does not know of what
/// anybody else does who has the same `/dev/iommu`.
///
/// ```no_run
/// # fn example(iommufd: &iommufd::Iommufd) -> iommufd::Result<()> {
/// use iommufd::Ioas;
///
/// let ioas = Ioas::new(iommufd)?;
/// iommufd.set_compat_ioas(&ioas)?;
/// assert!(ioas.is_compat()?);
/// ioas.try_destroy()?;
/// assert!(!iommufd.has_compat_ioas()?);
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `IOMMU_VFIO_IOAS`.
impl Iommufd {
    /// Makes `ioas` the compatibility address space, in place of the one that was.
    ///
    /// Groups that are in the container already stay attached where they are.
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::ForeignContext`](crate::Error::ForeignContext);
    /// [`Error::Forked`](crate::Error::Forked).
    #[doc(alias = "IOMMU_VFIO_IOAS_SET")]
    pub fn set_compat_ioas(&self, ioas: &Ioas) -> Result<()> {
        self.must_be(ioas.iommufd(), "address space")?;
        self.check_process()?;
        // Also if it is refused: then it is only more careful than it need be.
        ioas.inner.ledger().expect_strangers();
        self.vfio_ioas(sys::IOMMU_VFIO_IOAS_SET, ioas.inner.id())
            .map(drop)
    }

    /// Lets no address space be the compatibility address space.
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[doc(alias = "IOMMU_VFIO_IOAS_CLEAR")]
    pub fn clear_compat_ioas(&self) -> Result<()> {
        self.vfio_ioas(sys::IOMMU_VFIO_IOAS_CLEAR, 0).map(drop)
    }

    /// Whether there is a compatibility address space, whoever has set or made it.
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[doc(alias = "IOMMU_VFIO_IOAS_GET")]
    pub fn has_compat_ioas(&self) -> Result<bool> {
        Ok(self.compat_ioas()?.is_some())
    }

    /// The id of the compatibility address space. It can be another's as soon as it is known.
    fn compat_ioas(&self) -> Result<Option<u32>> {
        match self.vfio_ioas(sys::IOMMU_VFIO_IOAS_GET, 0) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn vfio_ioas(&self, operation: u32, id: u32) -> Result<u32> {
        let mut arg = sys::iommu_vfio_ioas::sized();
        arg.ioas_id = id;
        arg.op = op(operation);
        // A question takes hold of the address space that it is about.
        self.context()
            .call_past_bystanders(&nr::VFIO_IOAS, &mut arg)?;
        Ok(arg.ioas_id)
    }
}

impl Ioas {
    /// Whether it is the compatibility address space: see [`Iommufd::set_compat_ioas`].
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[doc(alias = "IOMMU_VFIO_IOAS_GET")]
    pub fn is_compat(&self) -> Result<bool> {
        // As long as this one lives nothing else has its id.
        let id = self.inner.id();
        Ok(self.iommufd().compat_ioas()? == Some(id))
    }
}
