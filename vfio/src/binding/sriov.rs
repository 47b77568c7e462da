//! Making virtual functions, and removing them.

use std::num::NonZeroU16;

use crate::address::PciAddress;
use crate::binding::cause;
use crate::binding::guard::refuse_own;
use crate::binding::pending::Pending;
use crate::binding::users::Node;
use crate::binding::write::write;
use crate::discovery::PciFunction;
use crate::error::{Error, Result};
use crate::sysfs::Roots;

/// A physical function that can have virtual ones (PCI Express Base, "Single Root I/O
/// Virtualization").
///
/// Their number is set by its driver, at the wish of root. `vfio-pci` does it if it is loaded with
/// `enable_sriov=1`, or when `1` is written to
/// `/sys/module/vfio_pci/parameters/enable_sriov`; virtual functions that it has made are with
/// `vfio-pci` as well, and are bound by a VF token only.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::num::NonZeroU16;
/// use std::time::Duration;
///
/// let card = vfio::Sriov::of("0000:01:00.0".parse()?)?;
/// let two = NonZeroU16::new(2).ok_or("none")?;
/// let made = card.enable(two)?.wait(Duration::from_secs(10))?.done();
/// for address in made.ok_or("the driver takes long")? {
///     println!("{address}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// As for [`PciFunction`], `clone3`, and `write` to `sriov_numvfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sriov {
    address: PciAddress,
    total: u16,
}

impl Sriov {
    /// The physical function at `address`.
    ///
    /// # Errors
    /// [`Error::NoSriov`] if it can have none; [`Error::NoSuchDevice`] and [`Error::Sysfs`] as for
    /// [`PciFunction::at`].
    pub fn of(address: PciAddress) -> Result<Self> {
        Self::within(&Roots::default(), address)
    }

    fn within(roots: &Roots, address: PciAddress) -> Result<Self> {
        match PciFunction::within(roots, address)?.total_virtual_functions {
            Some(total) => Ok(Self { address, total }),
            None => Err(Error::NoSriov { address }),
        }
    }

    /// The physical function.
    #[must_use]
    pub fn address(self) -> PciAddress {
        self.address
    }

    /// How many virtual functions it can have.
    #[must_use]
    pub fn total(self) -> u16 {
        self.total
    }

    /// Those that it has now.
    ///
    /// # Errors
    /// As for [`PciFunction::at`].
    pub fn functions(self) -> Result<Vec<PciAddress>> {
        Ok(PciFunction::at(self.address)?.virtual_functions)
    }

    /// Begins to make `count` virtual functions, of a physical one that has none.
    ///
    /// The kernel looks for drivers for them at once, and these take them, if
    /// `sriov_drivers_autoprobe` does not say otherwise.
    ///
    /// # Errors
    /// [`Error::VirtualFunctionsExist`]: disable those first; [`Error::TooManyVirtualFunctions`];
    /// [`Error::NoThread`]; as for [`PciFunction::at`].
    ///
    /// And from [`Pending::wait`]: [`Error::SysfsWrite`]. `ENOENT`: no driver is bound to the physical
    /// function, or not one that makes virtual ones. `EBUSY`, `ERANGE`: as above. `EACCES`: this takes
    /// root. `ENOMEM`: there are no bus numbers, or no memory space, left for them.
    #[doc(alias = "sriov_numvfs")]
    pub fn enable(self, count: NonZeroU16) -> Result<Pending<Vec<PciAddress>>> {
        let roots = Roots::default();
        self.may_enable(&roots, count)?;
        let what = format!("{} is being given {count} virtual functions", self.address);
        Pending::start(what, Vec::new(), move || {
            self.set(&roots, count.get())?;
            Ok(PciFunction::within(&roots, self.address)?.virtual_functions)
        })
    }

    fn may_enable(self, roots: &Roots, count: NonZeroU16) -> Result<()> {
        let Self { address, total } = self;
        if count.get() > total {
            return Err(Error::TooManyVirtualFunctions {
                address,
                asked: count.get(),
                total,
            });
        }
        let existing = PciFunction::within(roots, address)?.virtual_functions;
        if !existing.is_empty() {
            return Err(Error::VirtualFunctionsExist {
                address,
                count: existing.len(),
            });
        }
        Ok(())
    }

    /// Begins to remove all virtual functions; it is no error if there are none.
    ///
    /// The kernel waits until nobody has one of them open, and holds up all other plugging of PCI
    /// functions meanwhile.
    ///
    /// # Errors
    /// [`Error::InUseHere`]: this process has one of them open; [`Error::NoThread`]; as for
    /// [`PciFunction::at`].
    ///
    /// And from [`Pending::wait`]: [`Error::SysfsWrite`], as for [`enable`](Self::enable).
    pub fn disable(self) -> Result<Pending<()>> {
        let roots = Roots::default();
        let functions = PciFunction::within(&roots, self.address)?.virtual_functions;
        for function in &functions {
            refuse_own(&roots, *function)?;
        }
        let nodes = functions
            .iter()
            .flat_map(|function| Node::all_of(&roots, *function).unwrap_or_default())
            .collect();
        let what = format!(
            "the virtual functions of {} are being removed",
            self.address
        );
        Pending::start(what, nodes, move || self.set(&roots, 0))
    }

    fn set(self, roots: &Roots, count: u16) -> Result<()> {
        let file = roots.pci_device(self.address).join("sriov_numvfs");
        Ok(write(
            &file,
            &count.to_string(),
            cause::of_virtual_functions,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;
    use rustix::io::Errno;

    const CARD: &str = "0000:01:00.0";
    const FOLDER: &str = "sys/devices/pci0000:00/0000:01:00.0";

    #[test]
    fn what_cannot_be_is_refused_before_the_kernel_is_asked() {
        let tree = Tree::new();
        tree.function(CARD, 6);
        let address = CARD.parse().unwrap();
        let of = || Sriov::within(&tree.roots, address);
        assert!(matches!(of(), Err(Error::NoSriov { .. })));
        tree.file(&format!("{FOLDER}/sriov_totalvfs"), "2\n");
        let card = of().unwrap();
        assert_eq!((card.total(), card.address()), (2, address));
        let may = |count| card.may_enable(&tree.roots, NonZeroU16::new(count).unwrap());
        may(2).unwrap();
        assert!(matches!(
            may(3),
            Err(Error::TooManyVirtualFunctions {
                asked: 3,
                total: 2,
                ..
            })
        ));
        tree.function("0000:01:10.0", 7);
        tree.link(
            &format!("{FOLDER}/virtfn0"),
            "sys/devices/pci0000:00/0000:01:10.0",
        );
        assert!(matches!(
            may(2),
            Err(Error::VirtualFunctionsExist { count: 1, .. })
        ));
    }

    #[test]
    fn the_number_is_written_or_the_refusal_told() {
        let tree = Tree::new();
        tree.function(CARD, 6);
        tree.file(&format!("{FOLDER}/sriov_totalvfs"), "8\n");
        let card = Sriov::within(&tree.roots, CARD.parse().unwrap()).unwrap();
        let error = card.set(&tree.roots, 2).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert!(error.to_string().contains("enable_sriov"), "{error}");
        tree.file(&format!("{FOLDER}/sriov_numvfs"), "0");
        card.set(&tree.roots, 7).unwrap();
        assert_eq!(tree.text(&format!("{FOLDER}/sriov_numvfs")), "7");
    }
}
