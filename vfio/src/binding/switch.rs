//! From one driver to another, step by step, and back if a step fails.

use std::fmt;

use crate::address::PciAddress;
use crate::binding::driver::DriverName;
use crate::binding::write::SysfsRefusal;

/// Which driver a function has, and which it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The driver that is bound to it.
    pub(super) driver: Option<DriverName>,
    /// The one driver that may be bound to it, if that has been said.
    pub(super) only: Option<DriverName>,
}

/// What can be done to a function's driver.
pub(super) trait Hands {
    fn set_override(&self, only: Option<&DriverName>) -> Result<(), SysfsRefusal>;
    fn unbind(&self, driver: &DriverName) -> Result<(), SysfsRefusal>;
    fn bind(&self, driver: &DriverName) -> Result<(), SysfsRefusal>;
}

/// A change of drivers that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebindError {
    /// The function.
    pub address: PciAddress,
    /// The step that was refused.
    pub refused: SysfsRefusal,
    /// What was refused when all before it was undone. `None`: everything is as it was before.
    pub rollback: Option<Box<SysfsRefusal>>,
}

impl fmt::Display for RebindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; ", self.address, self.refused)?;
        match &self.rollback {
            None => f.write_str("it has the driver that it had"),
            Some(refusal) => write!(f, "and it could not be given back what it had: {refusal}"),
        }
    }
}

impl std::error::Error for RebindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refused.error)
    }
}

/// Brings a function from one state to another. If a step fails, brings it back.
///
/// The override comes first: whatever interrupts the change, the only driver that can come by itself
/// is the one that is to be.
pub(super) fn switch(
    address: PciAddress,
    hands: &impl Hands,
    from: &State,
    to: &State,
) -> Result<(), RebindError> {
    let mut done = Done::default();
    forward(hands, from, to, &mut done).map_err(|refused| RebindError {
        address,
        refused,
        rollback: back(hands, from, done).err().map(Box::new),
    })
}

/// What has been changed.
#[derive(Default)]
struct Done {
    only: bool,
    unbound: bool,
}

fn forward(
    hands: &impl Hands,
    from: &State,
    to: &State,
    done: &mut Done,
) -> Result<(), SysfsRefusal> {
    if from.only != to.only {
        hands.set_override(to.only.as_ref())?;
        done.only = true;
    }
    if from.driver == to.driver {
        return Ok(());
    }
    if let Some(driver) = &from.driver {
        hands.unbind(driver)?;
        done.unbound = true;
    }
    match &to.driver {
        Some(driver) => hands.bind(driver),
        None => Ok(()),
    }
}

/// The driver that was there comes back only where the override lets it.
fn back(hands: &impl Hands, from: &State, done: Done) -> Result<(), SysfsRefusal> {
    if done.only {
        hands.set_override(from.only.as_ref())?;
    }
    match &from.driver {
        Some(driver) if done.unbound => hands.bind(driver),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iommufd::KernelError;
    use rustix::io::Errno;
    use std::cell::{Cell, RefCell};

    /// A kernel with a function, whose every step can be made to fail.
    struct Model {
        state: RefCell<State>,
        steps: Cell<usize>,
        failing: fn(usize) -> bool,
    }

    impl Model {
        fn step(&self, file: &str, legal: bool) -> Result<(), SysfsRefusal> {
            let step = self.steps.replace(self.steps.get() + 1);
            assert!(legal, "step {step}, {file}");
            if (self.failing)(step) {
                return Err(SysfsRefusal {
                    path: file.into(),
                    wrote: String::new(),
                    error: KernelError::new("write", Errno::IO, "injected"),
                });
            }
            Ok(())
        }
    }

    impl Hands for Model {
        fn set_override(&self, only: Option<&DriverName>) -> Result<(), SysfsRefusal> {
            self.step("driver_override", true)?;
            self.state.borrow_mut().only = only.cloned();
            Ok(())
        }

        fn unbind(&self, driver: &DriverName) -> Result<(), SysfsRefusal> {
            let legal = self.state.borrow().driver.as_ref() == Some(driver);
            self.step("unbind", legal)?;
            self.state.borrow_mut().driver = None;
            Ok(())
        }

        fn bind(&self, driver: &DriverName) -> Result<(), SysfsRefusal> {
            // `nvme` takes the function by its identifiers, others only by the override.
            let matches = match &self.state.borrow().only {
                Some(only) => only == driver,
                None => driver.as_str() == "nvme",
            };
            let free = self.state.borrow().driver.is_none();
            self.step("bind", matches && free)?;
            self.state.borrow_mut().driver = Some(driver.clone());
            Ok(())
        }
    }

    fn states() -> Vec<State> {
        let name = |name: &str| name.parse::<DriverName>().ok();
        [
            (None, None),
            (name("nvme"), None),
            (None, name("other")),
            (name("other"), name("other")),
            (name("vfio-pci"), name("vfio-pci")),
        ]
        .map(|(driver, only)| State { driver, only })
        .into()
    }

    fn model(state: &State, failing: fn(usize) -> bool) -> Model {
        Model {
            state: RefCell::new(state.clone()),
            steps: Cell::new(0),
            failing,
        }
    }

    fn address() -> PciAddress {
        "00:04.0".parse().unwrap()
    }

    #[test]
    fn a_function_comes_from_every_state_to_every_other_and_back() {
        for from in states() {
            for to in states() {
                let model = model(&from, |_| false);
                switch(address(), &model, &from, &to).unwrap();
                assert_eq!(*model.state.borrow(), to);
                switch(address(), &model, &to, &from).unwrap();
                assert_eq!(*model.state.borrow(), from);
                if from == to {
                    assert_eq!(model.steps.get(), 0);
                }
            }
        }
    }

    #[test]
    fn whichever_step_fails_all_is_as_it_was() {
        let failing: [fn(usize) -> bool; 3] =
            [|step| step == 0, |step| step == 1, |step| step == 2];
        let mut failed = [0; 3];
        for (number, failing) in failing.into_iter().enumerate() {
            for from in states() {
                for to in states() {
                    let model = model(&from, failing);
                    let Err(error) = switch(address(), &model, &from, &to) else {
                        continue;
                    };
                    failed[number] += 1;
                    assert_eq!(error.rollback, None);
                    assert_eq!(*model.state.borrow(), from);
                    assert!(error.to_string().contains("that it had"), "{error}");
                }
            }
        }
        assert!(failed.iter().all(|&count| count > 0), "{failed:?}");
    }

    #[test]
    fn what_cannot_be_undone_is_told() {
        let [free, nvme, .., vfio] = &*states() else {
            panic!()
        };
        let left = |from, failing| {
            let model = model(from, failing);
            let error = switch(address(), &model, from, vfio).unwrap_err();
            assert_eq!(error.refused.path.to_str(), Some("bind"));
            assert!(error.to_string().contains("could not be given back"));
            error.rollback.unwrap().path
        };
        assert_eq!(
            left(free, |step| step >= 1).to_str(),
            Some("driver_override")
        );
        assert_eq!(
            left(nvme, |step| step >= 2).to_str(),
            Some("driver_override")
        );
        assert_eq!(
            left(nvme, |step| step == 2 || step == 4).to_str(),
            Some("bind")
        );
    }
}
