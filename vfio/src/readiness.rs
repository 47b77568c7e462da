//! Whether a PCI function can be used through VFIO yet, and if not, what to do about it.

mod blocker;
mod msi_isolation;
mod sibling;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use iommufd::GroupId;

pub use self::blocker::Blocker;
pub use self::msi_isolation::MsiIsolation;
pub use self::sibling::Sibling;
pub(crate) use self::sibling::members;
use crate::address::PciAddress;
use crate::discovery::{IommuGroup, PciFunction};
use crate::error::Result;
use crate::ids::PciIds;
use crate::sysfs::Roots;

/// What stands between a PCI function and its use through VFIO, as sysfs tells.
///
/// It is a snapshot, made without opening the device; a kernel can still refuse the bind for what
/// sysfs does not show, such as another process that has the device open.
///
/// ```no_run
/// # fn main() -> vfio::Result<()> {
/// let readiness = vfio::Readiness::of("0000:00:04.0".parse().expect("an address"))?;
/// for blocker in readiness.blockers() {
///     println!("{blocker}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Readiness {
    function: PciFunction,
    group: Option<IommuGroup>,
    siblings: Vec<Sibling>,
    cdev: Option<PathBuf>,
    msi_isolation: MsiIsolation,
    blockers: Vec<Blocker>,
}

impl Readiness {
    /// Looks at the function at `address`.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`](crate::Error::NoSuchDevice) if there is no such function;
    /// [`Error::Sysfs`](crate::Error::Sysfs) if sysfs is not mounted or cannot be read.
    pub fn of(address: PciAddress) -> Result<Self> {
        Self::within(&Roots::default(), address)
    }

    pub(crate) fn within(roots: &Roots, address: PciAddress) -> Result<Self> {
        let function = PciFunction::within(roots, address)?;
        // In a sandbox the link may be there, and what it leads to not.
        let group = function.group.filter(|group| roots.group(*group).is_dir());
        let group = group
            .map(|group| IommuGroup::within(roots, group))
            .transpose()?;
        let own = address.to_string();
        let siblings = group.iter().flat_map(|group| &group.devices);
        let siblings = siblings.filter(|device| device.name != own);
        let cdev = function.vfio.as_deref().map(|name| roots.vfio_node(name));
        let mut readiness = Self {
            siblings: siblings.cloned().collect(),
            cdev,
            msi_isolation: MsiIsolation::of(roots),
            blockers: Vec::new(),
            function,
            group,
        };
        readiness.blockers = readiness.find_blockers(roots);
        Ok(readiness)
    }

    /// The function this is about.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.function.address
    }

    /// All that sysfs says of the function: its class, its NUMA node, its physical or virtual
    /// functions, how it can be reset.
    #[must_use]
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    /// The IOMMU group, with what its addresses are reserved for. `None` also where sysfs hides it.
    #[must_use]
    pub fn iommu_group(&self) -> Option<&IommuGroup> {
        self.group.as_ref()
    }

    /// Whether a bind must show the VF token of the physical function. That is no blocker: who made
    /// the virtual function knows it.
    #[must_use]
    pub fn needs_vf_token(&self) -> bool {
        self.function.needs_vf_token
    }

    /// Vendor and device identifier (PCI Express Base, "Type 0/1 Common Configuration Space").
    #[must_use]
    pub fn ids(&self) -> Option<PciIds> {
        self.function.ids
    }

    /// The driver that is bound to the function.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        self.function.driver.as_deref()
    }

    /// The IOMMU group of the function.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.function.group
    }

    /// The other devices of the group.
    #[must_use]
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// The VFIO character device of the function, for [`Cdev::open`](crate::Cdev::open).
    #[must_use]
    pub fn cdev(&self) -> Option<&Path> {
        self.cdev.as_deref()
    }

    /// Whether interrupts are isolated on this machine.
    #[must_use]
    pub fn msi_isolation(&self) -> MsiIsolation {
        self.msi_isolation
    }

    /// All that has to be dealt with first.
    #[must_use]
    pub fn blockers(&self) -> &[Blocker] {
        &self.blockers
    }

    /// Whether nothing that sysfs shows stands in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.blockers.is_empty()
    }

    pub(crate) fn into_blockers(self) -> Vec<Blocker> {
        self.blockers
    }
}

/// What a user wants to know at a glance, and then every blocker on lines of its own.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())?;
        if let Some(ids) = self.ids() {
            write!(f, " [{ids}]")?;
        }
        match self.driver() {
            Some(driver) => write!(f, ", driver {driver}")?,
            None => f.write_str(", no driver")?,
        }
        match self.group() {
            Some(group) => write!(f, ", IOMMU group {group}")?,
            None => f.write_str(", no IOMMU group")?,
        }
        match self.siblings.len() {
            0 => {}
            1 => f.write_str(" shared with 1 device")?,
            others => write!(f, " shared with {others} devices")?,
        }
        if let Some(physical) = self.function.physical_function {
            write!(f, ", virtual function of {physical}")?;
        }
        if self.needs_vf_token() {
            f.write_str(", bound with a VF token")?;
        }
        f.write_str(if self.is_ready() {
            ": ready"
        } else {
            ": not ready"
        })?;
        self.blockers
            .iter()
            .try_for_each(|blocker| write!(f, "\n{blocker}"))
    }
}
