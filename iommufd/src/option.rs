//! Options that must precede everything else: how pinned memory counts, and the size of pages.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::context::{Context, Iommufd, IommufdBuilder};
use crate::error::{Accounting, Error, Result};
use crate::ioas::Ioas;

/// The kernel's number for how pinned memory counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RlimitMode(u64);

impl RlimitMode {
    const PER_USER: Self = Self(0);
    const PER_PROCESS: Self = Self(1);

    pub(crate) fn accounting(self) -> Accounting {
        match self {
            Self::PER_USER => Accounting::PerUser,
            Self::PER_PROCESS => Accounting::PerProcess,
            _ => Accounting::Unknown,
        }
    }
}

/// How pinned memory counts against the limit of locked memory (`RLIMIT_MEMLOCK`).
///
/// The kernel lets it be changed as long as there is no object in the context. A context that
/// counts as it shall already is left as it is, and takes no privilege.
///
/// ```no_run
/// # fn main() -> iommufd::Result<()> {
/// use iommufd::{Accounting, Iommufd};
///
/// let iommufd = Iommufd::builder().account_per_process().open()?;
/// assert_eq!(iommufd.accounting()?, Accounting::PerProcess);
/// # Ok(())
/// # }
/// ```
impl IommufdBuilder {
    /// Counts what this process pins for itself, as VFIO's type1 container does: `VmLck` in
    /// `/proc/PID/status`.
    ///
    /// Takes `CAP_SYS_RESOURCE`: every process of a user then has a limit of its own.
    ///
    /// Since Linux 6.2.
    #[doc(alias = "IOMMU_OPTION_RLIMIT_MODE")]
    pub fn account_per_process(mut self) -> Self {
        self.rlimit_mode = Some(RlimitMode::PER_PROCESS);
        self
    }

    /// Counts what all processes of this user pin together: what `/dev/iommu` does unless told
    /// otherwise.
    ///
    /// For a file that somebody else has opened, or that is `/dev/vfio/vfio`, where memory counts
    /// for each process. To change that takes `CAP_SYS_RESOURCE`.
    ///
    /// Since Linux 6.2.
    #[doc(alias = "IOMMU_OPTION_RLIMIT_MODE")]
    pub fn account_per_user(mut self) -> Self {
        self.rlimit_mode = Some(RlimitMode::PER_USER);
        self
    }
}

impl Iommufd {
    /// How memory that is pinned from now on counts against the limit of locked memory.
    ///
    /// Set by [`IommufdBuilder::account_per_process`].
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[doc(alias = "IOMMU_OPTION_RLIMIT_MODE")]
    pub fn accounting(&self) -> Result<Accounting> {
        self.context().rlimit_mode().map(RlimitMode::accounting)
    }
}

/// The size of the pages in page tables.
impl Ioas {
    /// An address space with options, which are fixed once it is allocated.
    ///
    /// ```no_run
    /// # fn example(iommufd: &iommufd::Iommufd) -> iommufd::Result<()> {
    /// use iommufd::Ioas;
    ///
    /// let ioas = Ioas::builder(iommufd).huge_pages(false).allocate()?;
    /// assert!(!ioas.huge_pages()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(iommufd: &Iommufd) -> IoasBuilder<'_> {
        IoasBuilder {
            iommufd,
            huge_pages: true,
        }
    }

    /// Whether its page tables may use pages of more than the smallest size.
    ///
    /// Set by [`IoasBuilder::huge_pages`]; `VFIO_SET_IOMMU` of the type `VFIO_TYPE1_IOMMU`, by
    /// whoever uses the context as a VFIO container, ends it for the
    /// [compatibility address space](Iommufd::set_compat_ioas).
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[doc(alias = "IOMMU_OPTION_HUGE_PAGES")]
    pub fn huge_pages(&self) -> Result<bool> {
        let context = self.inner.context();
        let value = context.option(sys::IOMMU_OPTION_HUGE_PAGES, self.inner.id())?;
        Ok(value != 0)
    }
}

/// The options of an address space to be: see [`Ioas::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is allocated before `allocate`"]
pub struct IoasBuilder<'a> {
    iommufd: &'a Iommufd,
    huge_pages: bool,
}

impl IoasBuilder<'_> {
    /// Whether its page tables may use pages of more than the smallest size, where the memory
    /// allows it. On unless said otherwise.
    ///
    /// Without them every IOVA and length must be a multiple of the CPU's page, and the tables
    /// take more memory and more walking. It is what makes dirty tracking exact to the smallest page,
    /// where memory would be mapped by large ones.
    ///
    /// It is set once and for all: the kernel does not break up huge pages that are in use, nor
    /// make them of what is mapped already.
    ///
    /// Since Linux 6.2.
    #[doc(alias = "IOMMU_OPTION_HUGE_PAGES")]
    pub fn huge_pages(mut self, wanted: bool) -> Self {
        self.huge_pages = wanted;
        self
    }

    /// Allocates it.
    ///
    /// # Errors
    /// As for [`Ioas::new`]. If an option cannot be set nothing is left.
    #[doc(alias = "IOMMU_IOAS_ALLOC")]
    pub fn allocate(self) -> Result<Ioas> {
        let ioas = Ioas::new(self.iommufd)?;
        // A new address space has them.
        if !self.huge_pages {
            let context = self.iommufd.context();
            context.set_option(sys::IOMMU_OPTION_HUGE_PAGES, ioas.inner.id(), 0)?;
        }
        Ok(ioas)
    }
}

impl Context {
    /// How pinned memory counts.
    pub(crate) fn rlimit_mode(&self) -> Result<RlimitMode> {
        self.option(sys::IOMMU_OPTION_RLIMIT_MODE, 0)
            .map(RlimitMode)
    }

    /// Lets pinned memory count as `wanted`, where it counts otherwise `now`.
    pub(crate) fn make_rlimit_mode(
        &self,
        wanted: Option<RlimitMode>,
        now: RlimitMode,
    ) -> Result<()> {
        match wanted {
            Some(mode) if mode != now => self.set_option(sys::IOMMU_OPTION_RLIMIT_MODE, 0, mode.0),
            _ => Ok(()),
        }
    }

    /// The value of an option of `object`, or of the context where that is 0.
    fn option(&self, option: u32, object: u32) -> Result<u64> {
        let mut arg = sys::iommu_option::sized();
        arg.option_id = option;
        arg.op = op(sys::IOMMU_OPTION_OP_GET);
        arg.object_id = object;
        arg.val64 = UNANSWERED;
        self.call(&nr::OPTION, &mut arg)?;
        match arg.val64 {
            UNANSWERED => Err(Error::NotIommufd),
            value => Ok(value),
        }
    }

    fn set_option(&self, option: u32, object: u32, value: u64) -> Result<()> {
        let mut arg = sys::iommu_option::sized();
        arg.option_id = option;
        arg.op = op(sys::IOMMU_OPTION_OP_SET);
        arg.object_id = object;
        arg.val64 = value;
        self.call(&nr::OPTION, &mut arg)
    }
}

/// The value of no option: a file that answers every ioctl with success, and fills in nothing, is no
/// iommufd, and what it would seem to hand out (files, ids) is none of its making.
const UNANSWERED: u64 = u64::MAX;

/// The constants for operations are those of a C enum; the fields that take them have 16 bits.
pub(crate) fn op(constant: u32) -> u16 {
    u16::try_from(constant).unwrap_or(u16::MAX)
}
