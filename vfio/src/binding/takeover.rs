//! Giving a function to a VFIO driver, and giving it back.

use std::path::PathBuf;

use crate::address::PciAddress;
use crate::binding::cause;
use crate::binding::driver::DriverName;
use crate::binding::guard::refuse_own;
use crate::binding::pending::Pending;
use crate::binding::switch::{Hands, State, switch};
use crate::binding::users::Node;
use crate::binding::write::{SysfsRefusal, write};
use crate::discovery::{self, PciFunction};
use crate::error::{Error, Result};
use crate::sysfs::{self, Roots};

/// What a function had before it was given to a VFIO driver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Former {
    /// The driver that was bound to it.
    pub driver: Option<DriverName>,
    /// The one driver that might be bound to it, if somebody had said so.
    pub driver_override: Option<DriverName>,
}

impl Former {
    /// What a function had, as it was written down.
    #[must_use]
    pub fn new(driver: Option<DriverName>, driver_override: Option<DriverName>) -> Self {
        Self {
            driver,
            driver_override,
        }
    }
}

/// A function that was given to a VFIO driver, and what it had before.
///
/// It is a note, not a guard: dropping it changes nothing, so a function stays where it was put when
/// a process ends. Give it back by [`give_back`](Self::give_back); a later process can, too, with what
/// this one wrote down.
///
/// All of this takes root. The change is made by a thread, as the kernel may wait for users of the
/// function without limit.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use vfio::{DriverName, Takeover, Waited};
///
/// let address = "0000:01:00.0".parse()?;
/// let change = Takeover::begin(address, &DriverName::vfio_pci())?;
/// let takeover = match change.wait(Duration::from_secs(10))? {
///     Waited::Done(takeover) => takeover,
///     Waited::StillWaiting(change) => return Err(format!("{change}").into()),
/// };
///
/// // … the device is used, and closed …
///
/// match takeover.give_back()?.wait(Duration::from_secs(10))? {
///     Waited::Done(()) => println!("{:?} has it again", takeover.former().driver),
///     Waited::StillWaiting(change) => println!("{change}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `openat`, `read`, `readlink` and `getdents64` below `/sys` and `/proc`; `clone3`; `write` to
/// `driver_override` of the function, and to `unbind` and `bind` of drivers.
///
/// Since Linux 6.1, which shows in sysfs what VFIO has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    address: PciAddress,
    driver: DriverName,
    former: Former,
}

impl Takeover {
    /// Begins to give the function at `address` to `driver`: `vfio-pci`, or the VFIO driver that is
    /// made for the device. Whatever driver the function has loses it, **whoever uses it**: see first
    /// that no file system or network connection hangs on it.
    ///
    /// If anything fails, the function has the driver again that it had. Nothing is changed if
    /// `driver` has it already. If the process is killed meanwhile, no driver may have it, and none but
    /// `driver` takes it: what it had before is then known to who wrote it down
    /// ([`PciFunction::driver`], [`PciFunction::driver_override`]), for [`recorded`](Self::recorded).
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`]; [`Error::NoSuchDriver`]: its module is not loaded;
    /// [`Error::InUseHere`]: this process has the function open; [`Error::NoThread`];
    /// [`Error::Sysfs`].
    ///
    /// And from [`Pending::wait`]: [`Error::Rebind`]: a step was refused. `EACCES`: this takes root.
    /// `EROFS`: sysfs is mounted read-only. `ENODEV`, `EINVAL`: the driver does not take this
    /// function, such as a bridge. `EBUSY`: it is a physical function that has virtual ones.
    /// [`Error::NotVfioDriver`]: `driver` took the function, or has it already, and is no VFIO driver.
    pub fn begin(address: PciAddress, driver: &DriverName) -> Result<Pending<Self>> {
        let roots = Roots::default();
        let function = PciFunction::within(&roots, address)?;
        let hands = Sysfs {
            roots: roots.clone(),
            address,
        };
        if !hands.driver(driver).is_dir() {
            return Err(Error::NoSuchDriver {
                driver: driver.clone(),
            });
        }
        if function.driver.as_deref() != Some(driver.as_str()) {
            refuse_own_and_virtual(&roots, &function)?;
        }
        let what = format!("{address} is being given to the driver {driver}");
        let driver = driver.clone();
        Pending::start(what, nodes(&roots, &function), move || take(&hands, driver))
    }

    /// A takeover that was made before, by this process or another one.
    #[must_use]
    pub fn recorded(address: PciAddress, driver: DriverName, former: Former) -> Self {
        Self {
            address,
            driver,
            former,
        }
    }

    /// The function.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// The VFIO driver that it was given to.
    #[must_use]
    pub fn driver(&self) -> &DriverName {
        &self.driver
    }

    /// What it had before.
    #[must_use]
    pub fn former(&self) -> &Former {
        &self.former
    }

    /// Begins to give the function back to the driver that it had, or to none if it had none. Can be
    /// done again, also if somebody else has done it or has begun to.
    ///
    /// The kernel waits until nobody has the function open: whoever uses it by this crate is told
    /// through [`SignalKind::Request`](crate::SignalKind::Request). Of a physical function the virtual
    /// ones go first, and are waited for as well.
    ///
    /// If the former driver does not take it, the VFIO driver has it again. If the process is killed
    /// meanwhile, no driver has it; a later process can go on with the same call.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`]; [`Error::InUseHere`]: this process has the function, or a virtual one
    /// of it, open; [`Error::NoThread`]; [`Error::Sysfs`].
    ///
    /// And from [`Pending::wait`]: [`Error::DriverChanged`]: it has neither driver, but a third;
    /// [`Error::Rebind`] as for [`begin`](Self::begin).
    pub fn give_back(&self) -> Result<Pending<()>> {
        let roots = Roots::default();
        let address = self.address;
        let function = PciFunction::within(&roots, address)?;
        let former = self.former.driver.as_ref().map(DriverName::as_str);
        if function.driver.as_deref() != former {
            refuse_own_and_virtual(&roots, &function)?;
        }
        let what = match former {
            Some(former) => format!("{address} is being given back to the driver {former}"),
            None => format!("{address} is being taken from the driver {}", self.driver),
        };
        let hands = Sysfs {
            roots: roots.clone(),
            address,
        };
        let takeover = self.clone();
        Pending::start(what, nodes(&roots, &function), move || {
            return_to_former(&hands, &takeover)
        })
    }
}

/// In a thread of its own: even to read the override may mean to wait, in an older kernel.
fn take(hands: &Sysfs, driver: DriverName) -> Result<Takeover> {
    let address = hands.address;
    let before = hands.state()?;
    let takeover = Takeover {
        address,
        former: Former {
            driver: before.driver.clone(),
            driver_override: before.only.clone(),
        },
        driver: driver.clone(),
    };
    let folder = hands.roots.pci_device(address);
    let is_with_vfio = || match sysfs::vfio_name(&folder) {
        Ok(name) => Ok(name.is_some()),
        Err(error) => Err(Error::sysfs(folder.clone(), error)),
    };
    let has_it = before.driver.as_ref() == Some(&driver);
    let after = State {
        only: Some(driver.clone()),
        driver: Some(driver),
    };
    if !has_it {
        switch(address, hands, &before, &after)?;
    }
    let error = match is_with_vfio() {
        Ok(true) => return Ok(takeover),
        Ok(false) => Error::NotVfioDriver {
            driver: takeover.driver,
        },
        // Nobody would know what it had before.
        Err(error) => error,
    };
    if !has_it {
        switch(address, hands, &after, &before)?;
    }
    Err(error)
}

fn return_to_former(hands: &Sysfs, takeover: &Takeover) -> Result<()> {
    let Takeover {
        address,
        driver,
        former,
    } = takeover;
    let now = hands.state()?;
    let expected = [&former.driver, &None, &Some(driver.clone())];
    if !expected.contains(&&now.driver) {
        return Err(Error::DriverChanged {
            address: *address,
            expected: driver.clone(),
            found: now.driver,
        });
    }
    let after = State {
        driver: former.driver.clone(),
        only: former.driver_override.clone(),
    };
    Ok(switch(*address, hands, &now, &after)?)
}

/// A physical function takes its virtual ones with it.
fn refuse_own_and_virtual(roots: &Roots, function: &PciFunction) -> Result<()> {
    refuse_own(roots, function.address)?;
    let mut virtual_functions = function.virtual_functions.iter();
    virtual_functions.try_for_each(|address| refuse_own(roots, *address))
}

fn nodes(roots: &Roots, function: &PciFunction) -> Vec<Node> {
    std::iter::once(&function.address)
        .chain(&function.virtual_functions)
        .flat_map(|address| Node::all_of(roots, *address).unwrap_or_default())
        .collect()
}

/// The files of sysfs that a function's driver is changed by.
struct Sysfs {
    roots: Roots,
    address: PciAddress,
}

impl Sysfs {
    fn driver(&self, driver: &DriverName) -> PathBuf {
        self.roots.sys.join("bus/pci/drivers").join(driver.as_str())
    }

    fn state(&self) -> Result<State> {
        let folder = self.roots.pci_device(self.address);
        let only = discovery::driver_override(&self.roots, self.address)?;
        let driver = sysfs::link_name(&folder.join("driver"))
            .map_err(|error| Error::sysfs(folder, error))?;
        // A name that is none here is none that this crate could give back.
        let name = |text: Option<String>| text.map(|text| text.parse()).transpose();
        Ok(State {
            driver: name(driver)?,
            only: name(only)?,
        })
    }
}

impl Hands for Sysfs {
    fn set_override(&self, only: Option<&DriverName>) -> Result<(), SysfsRefusal> {
        let file = self.roots.pci_device(self.address).join("driver_override");
        // An empty line clears it.
        write(
            &file,
            only.map_or("\n", DriverName::as_str),
            cause::of_override,
        )
    }

    fn unbind(&self, driver: &DriverName) -> Result<(), SysfsRefusal> {
        let file = self.driver(driver).join("unbind");
        write(&file, &self.address.to_string(), cause::of_unbind)
    }

    /// Not by `drivers_probe`, which does not say why a driver did not take a function.
    fn bind(&self, driver: &DriverName) -> Result<(), SysfsRefusal> {
        let file = self.driver(driver).join("bind");
        write(&file, &self.address.to_string(), cause::of_bind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;
    use rustix::io::Errno;

    const CARD: &str = "0000:01:00.0";
    const OVERRIDE: &str = "sys/devices/pci0000:00/0000:01:00.0/driver_override";

    fn name(text: &str) -> DriverName {
        text.parse().unwrap()
    }

    /// A function, and drivers whose files take everything and do nothing.
    fn tree() -> (Tree, Sysfs) {
        let tree = Tree::new();
        tree.function(CARD, 6);
        tree.file(OVERRIDE, "(null)\n");
        for driver in ["vfio-pci", "nvme"] {
            for file in ["bind", "unbind"] {
                tree.file(&format!("sys/bus/pci/drivers/{driver}/{file}"), "");
            }
        }
        let hands = Sysfs {
            roots: tree.roots.clone(),
            address: CARD.parse().unwrap(),
        };
        (tree, hands)
    }

    #[test]
    fn the_right_files_are_written() {
        let (tree, hands) = tree();
        tree.bind(CARD, "nvme");
        let before = hands.state().unwrap();
        assert_eq!((before.driver, before.only), (Some(name("nvme")), None));
        hands.set_override(Some(&name("vfio-pci"))).unwrap();
        hands.unbind(&name("nvme")).unwrap();
        hands.bind(&name("vfio-pci")).unwrap();
        for (file, text) in [
            (OVERRIDE, "vfio-pci"),
            ("sys/bus/pci/drivers/nvme/unbind", CARD),
            ("sys/bus/pci/drivers/vfio-pci/bind", CARD),
            ("sys/bus/pci/drivers/nvme/bind", ""),
        ] {
            assert!(tree.text(file).starts_with(text), "{file}");
        }
        let only = hands.state().unwrap().only.unwrap();
        assert!(only.as_str().starts_with("vfio-pci"));
    }

    #[test]
    fn a_driver_that_is_not_vfios_does_not_keep_the_function() {
        let (tree, hands) = tree();
        // The link never changes here, and no `vfio-dev` comes.
        let error = take(&hands, name("nvme")).unwrap_err();
        assert!(matches!(error, Error::NotVfioDriver { .. }), "{error}");
        let unbound = tree.text("sys/bus/pci/drivers/nvme/unbind");
        assert_eq!(unbound, CARD);
        assert!(tree.text(OVERRIDE).starts_with('\n'));
    }

    #[test]
    fn a_driver_that_has_the_function_already_is_left_alone() {
        let (tree, hands) = tree();
        tree.bind(CARD, "vfio-pci");
        tree.cdev(CARD, "vfio0", "511:0");
        let takeover = take(&hands, DriverName::vfio_pci()).unwrap();
        assert_eq!(tree.text(OVERRIDE), "(null)\n");
        return_to_former(&hands, &takeover).unwrap();
        assert_eq!(tree.text(OVERRIDE), "(null)\n");
        assert_eq!(tree.text("sys/bus/pci/drivers/vfio-pci/unbind"), "");
    }

    #[test]
    fn a_driver_that_has_the_function_already_is_no_vfio_driver_for_that() {
        let (tree, hands) = tree();
        tree.bind(CARD, "nvme");
        let error = take(&hands, name("nvme")).unwrap_err();
        assert!(matches!(error, Error::NotVfioDriver { .. }), "{error}");
        assert_eq!(tree.text(OVERRIDE), "(null)\n");
        assert_eq!(tree.text("sys/bus/pci/drivers/nvme/unbind"), "");
    }

    #[test]
    fn what_cannot_be_seen_is_given_back() {
        let (tree, hands) = tree();
        tree.bind(CARD, "nvme");
        // What VFIO has is no folder: it cannot be read.
        tree.file("sys/devices/pci0000:00/0000:01:00.0/vfio-dev", "");
        let error = take(&hands, DriverName::vfio_pci()).unwrap_err();
        assert!(matches!(error, Error::Sysfs { .. }), "{error}");
        assert_eq!(tree.text("sys/bus/pci/drivers/nvme/bind"), CARD);
        assert!(tree.text(OVERRIDE).starts_with('\n'));
    }

    #[test]
    fn a_third_driver_is_not_taken_from() {
        let (tree, hands) = tree();
        tree.bind(CARD, "nvme");
        let takeover = Takeover::recorded(hands.address, DriverName::vfio_pci(), Former::default());
        let error = return_to_former(&hands, &takeover).unwrap_err();
        assert!(matches!(error, Error::DriverChanged { .. }), "{error}");
        assert!(error.to_string().contains("nvme"), "{error}");
        assert_eq!(tree.text("sys/bus/pci/drivers/nvme/unbind"), "");
    }

    #[test]
    fn a_refusal_names_the_file_and_leaves_all_as_it_was() {
        let (tree, hands) = tree();
        tree.bind(CARD, "nvme");
        tree.remove("sys/bus/pci/drivers/vfio-pci/bind");
        let error = take(&hands, DriverName::vfio_pci()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        let words = error.to_string();
        assert!(words.contains("drivers/vfio-pci/bind"), "{words}");
        assert!(words.contains("it has the driver that it had"), "{words}");
        assert_eq!(tree.text("sys/bus/pci/drivers/nvme/bind"), CARD);
        assert!(tree.text(OVERRIDE).starts_with('\n'));
        // Nothing is made where nothing was.
        tree.remove(OVERRIDE);
        let error = hands.set_override(None).unwrap_err();
        assert_eq!(error.error.errno, Errno::NOENT);
        let folder = hands.roots.pci_device(hands.address);
        assert!(!folder.join("driver_override").exists());
    }

    #[test]
    fn a_name_that_makes_no_sense_is_an_error() {
        let (tree, hands) = tree();
        tree.file(OVERRIDE, "a/b\n");
        assert!(matches!(hands.state(), Err(Error::Driver(_))));
    }
}
