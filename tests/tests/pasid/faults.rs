//! The kernel fails at every point at which it can.

use iommufd::{Access, HwPt, Ioas, Iommufd, Mapping, PasidSlot};
use tests::at::{PAGE, page};
use tests::faults::{Nth, nothing_is_left_of};
use tests::ids;
use tests::memory::Living;
use tests::mock::{MockDevice, MockOptions, abi};
use tests::pasids::{pasid, table};

/// Two tables over an address space with memory in it.
struct Tables {
    here: HwPt,
    there: HwPt,
    _mapping: Mapping,
}

impl Tables {
    fn new(iommufd: &Iommufd, device: &MockDevice, living: &Living) -> iommufd::Result<Self> {
        let ioas = Ioas::new(iommufd)?;
        let memory = living.memory(PAGE);
        Ok(Self {
            _mapping: ioas.map_at(page(0), memory, Access::ReadWrite)?,
            here: table(&ioas, device),
            there: table(&ioas, device),
        })
    }
}

/// Lets `work` fail at every point. That the device has PASIDs was asked before.
fn sweep(work: impl Fn(&mut Nth, &MockDevice, &Tables) -> iommufd::Result<()>) {
    let options = MockOptions {
        flags: abi::DEVICE_PASID,
        ..MockOptions::default()
    };
    nothing_is_left_of(options, |nth, iommufd, device, living| {
        let tables = Tables::new(iommufd, device, living)?;
        device.attach_pasid(pasid(1), &tables.here)?.detach()?;
        let result = work(nth, device, &tables);
        assert_eq!(device.check_pasid(pasid(1), 0), Ok(()));
        result
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_attach_that_fails_leaves_the_pasid_unattached() {
    sweep(|nth, device, tables| {
        let result = nth.armed(|| device.attach_pasid(pasid(1), &tables.here));
        let expected = match result {
            Ok(_) => ids::of(&tables.here),
            Err(_) => 0,
        };
        assert_eq!(device.check_pasid(pasid(1), expected), Ok(()));
        result?.detach()?;
        Ok(())
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_replace_that_fails_leaves_the_pasid_where_it_was() {
    sweep(|nth, device, tables| {
        let mut of_pasid = device.attach_pasid(pasid(1), &tables.here)?;
        let result = nth.armed(|| of_pasid.replace(&tables.there));
        let now = match result {
            Ok(()) => &tables.there,
            Err(_) => &tables.here,
        };
        assert_eq!(device.check_pasid(pasid(1), ids::of(now)), Ok(()));
        of_pasid.detach()?;
        result
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_detach_that_fails_gives_the_pasid_back() {
    sweep(|nth, device, tables| {
        let of_pasid = device.attach_pasid(pasid(1), &tables.here)?;
        let Err(refused) = nth.armed(|| of_pasid.detach()) else {
            return Ok(());
        };
        let here = ids::of(&tables.here);
        assert_eq!(device.check_pasid(pasid(1), here), Ok(()));
        let (of_pasid, error) = refused.into_parts();
        of_pasid.detach()?;
        Err(error)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_attach_that_fails_gives_back_what_was_handed_out() {
    sweep(|nth, device, tables| {
        let allocated = device.pasids().allocate()?;
        let number = allocated.pasid();
        let (allocated, error) = match nth.armed(|| allocated.attach(&tables.here)) {
            Ok(of_pasid) => return Ok(of_pasid.detach()?),
            Err(refused) => refused.into_parts(),
        };
        assert_eq!(device.check_pasid(number, 0), Ok(()));
        assert_ne!(device.pasids().allocate()?.pasid(), number, "it is taken");
        let of_pasid = allocated.attach(&tables.there)?;
        assert_eq!(of_pasid.pasid(), number);
        let there = ids::of(&tables.there);
        assert_eq!(device.check_pasid(number, there), Ok(()));
        of_pasid.detach()?;
        Err(error)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_slot_of_which_anything_fails_is_as_it_was() {
    for to_clear in [false, true] {
        sweep(|nth, device, tables| {
            let mut slot = PasidSlot::new(device, pasid(1));
            slot.set(&tables.here)?;
            let result = nth.armed(|| match to_clear {
                true => slot.clear(),
                false => slot.set(&tables.there),
            });
            let now = match (&result, to_clear) {
                (Err(_), _) => ids::of(&tables.here),
                (Ok(()), false) => ids::of(&tables.there),
                (Ok(()), true) => 0,
            };
            assert_eq!(device.check_pasid(pasid(1), now), Ok(()));
            assert_eq!(slot.attachment().is_some(), now != 0);
            slot.clear()?;
            result
        });
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_of_which_it_cannot_be_asked_has_no_pasid_attached() {
    let iommufd = Iommufd::open().unwrap();
    let mut errors = 0;
    tests::faults::sweep(tests::faults::Points::Everywhere, |nth| {
        // A new one: what was answered once is known.
        let device = MockDevice::with_pasids(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let table = table(&ioas, &device);
        match nth.armed(|| device.attach_pasid(pasid(1), &table)) {
            Ok(of_pasid) => of_pasid.detach().unwrap(),
            Err(error) => {
                assert!(error.errno().is_some(), "{error}");
                device
                    .attach_pasid(pasid(1), &table)
                    .unwrap()
                    .detach()
                    .unwrap();
                errors += 1;
            }
        }
    });
    assert!(errors > 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_of_which_it_cannot_be_asked_hands_out_none_and_loses_none() {
    let iommufd = Iommufd::open().unwrap();
    let mut errors = 0;
    tests::faults::sweep(tests::faults::Points::Everywhere, |nth| {
        let device = MockDevice::with_pasids(&iommufd).unwrap();
        let allocated = nth.armed(|| device.pasids().allocate()).or_else(|error| {
            assert!(error.errno().is_some(), "{error}");
            errors += 1;
            device.pasids().allocate()
        });
        assert_eq!(allocated.unwrap().pasid(), pasid(1));
    });
    assert!(errors > 0);
}
