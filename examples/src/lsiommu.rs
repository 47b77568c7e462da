//! What `lsiommu` tells of a machine.

mod class;
pub mod json;
mod state;
mod table;
pub mod text;

use iommufd::Iommufd;
use vfio::{
    Cdev, Error, IommuGroup, IommuUnit, PciAddress, PciFunction, Readiness, Result, User, VfioNode,
};

/// A machine, as far as it was looked at.
#[derive(Debug)]
pub struct Survey {
    /// Its IOMMUs.
    pub iommus: Vec<IommuUnit>,
    /// Its IOMMU groups.
    pub groups: Vec<IommuGroup>,
    /// The PCI functions that were asked for.
    pub functions: Vec<Entry>,
    /// What VFIO drivers have that is no PCI function.
    pub others: Vec<VfioNode>,
}

/// A PCI function.
#[derive(Debug)]
pub struct Entry {
    /// What it is, and what it lacks.
    pub readiness: Readiness,
    /// Who has it open, as far as may be known.
    pub users: Vec<User>,
    /// What its IOMMU says, if that was asked: or why there was no answer.
    pub iommu: Option<std::result::Result<String, String>>,
}

impl Survey {
    /// The whole machine.
    ///
    /// # Errors
    /// Those of [`PciFunction::all`]: without sysfs nothing is told.
    pub fn of_all() -> Result<Self> {
        let functions = PciFunction::all()?;
        let addresses: Vec<PciAddress> = functions.iter().map(|found| found.address).collect();
        Self::over(&addresses, |entry| match entry {
            // Unplugged meanwhile.
            Err(Error::NoSuchDevice { .. }) => Ok(None),
            entry => entry.map(Some),
        })
    }

    /// Some functions of it.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if one is not there; as for [`of_all`](Self::of_all).
    pub fn of(addresses: &[PciAddress]) -> Result<Self> {
        Self::over(addresses, |entry| entry.map(Some))
    }

    fn over(
        addresses: &[PciAddress],
        keep: impl Fn(Result<Entry>) -> Result<Option<Entry>>,
    ) -> Result<Self> {
        let entries = addresses.iter().map(|address| keep(Entry::of(*address)));
        Ok(Self {
            functions: entries
                .filter_map(Result::transpose)
                .collect::<Result<_>>()?,
            iommus: IommuUnit::all()?,
            groups: IommuGroup::all()?,
            others: VfioNode::all()?
                .into_iter()
                .filter(|node| node.address().is_none())
                .collect(),
        })
    }

    /// Whether there is anything that [`probe`](Self::probe) would open.
    #[must_use]
    pub fn can_be_probed(&self) -> bool {
        self.functions.iter().any(Entry::is_idle)
    }

    /// Opens every function that is ready and that nobody has open, and asks its IOMMU what it can do. The kernel resets
    /// them by that.
    pub fn probe(&mut self, iommufd: &Iommufd) {
        for entry in &mut self.functions {
            if entry.is_idle() {
                let answer = ask(entry.readiness.address(), iommufd);
                entry.iommu = Some(answer.map_err(|error| error.to_string()));
            }
        }
    }
}

impl Entry {
    /// Whether it can be opened now, and disturbs nobody.
    fn is_idle(&self) -> bool {
        self.readiness.is_ready() && self.users.is_empty()
    }

    fn of(address: PciAddress) -> Result<Self> {
        let readiness = Readiness::of(address)?;
        Ok(Self {
            users: readiness.function().users(),
            readiness,
            iommu: None,
        })
    }
}

fn ask(address: PciAddress, iommufd: &Iommufd) -> Result<String> {
    let device = Cdev::open_pci(address)?.bind(iommufd)?;
    let answer = device.iommu().hw_info()?.to_string();
    device.try_close()?;
    Ok(answer)
}
