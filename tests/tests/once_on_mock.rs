//! The program that is written once for all formats, on the mock driver's: tables in their parent, and behind a virtual
//! IOMMU.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::cell::Cell;

use iommufd::{Leaks, NestedHwPt};
use tests::guest::{Guest as Machine, NUMBER};
use tests::mock::nesting::{
    DeviceInvalidation, MockViommu, OnParent, OnViommu, Stage1, TableInvalidation,
};
use tests::mock::{abi, check_dev_cache, check_iotlb};
use tests::once::{self, Finds, Guest, Tables, run};
use tests::{ids, raw};

/// What all entries of a table's cache hold at first.
fn value(tables: Tables) -> u32 {
    match tables {
        Tables::First => 0x1111_0001,
        Tables::Second => 0x2222_0002,
    }
}

/// The entry that the guest changes of them.
fn entry(tables: Tables) -> u32 {
    match tables {
        Tables::First => 1,
        Tables::Second => 2,
    }
}

fn config(tables: Tables) -> Stage1 {
    Stage1 {
        iotlb: value(tables),
    }
}

/// Fails if the device is not attached to `table`, or that holds anything but what `tables` begin with, and 0 for `gone`.
fn assert_attached<F: iommufd::format::Format>(
    machine: &Machine,
    table: Option<&NestedHwPt<F>>,
    tables: Option<Tables>,
    gone: Option<u32>,
) {
    assert_eq!(machine.device.is_attached(), tables.is_some());
    let (Some(table), Some(tables)) = (table, tables) else {
        assert!(table.is_none() && tables.is_none());
        return;
    };
    let id = ids::of(table);
    assert_eq!(machine.device.page_table(), id);
    for index in 0..abi::CACHE_LEN {
        let value = if gone == Some(index) {
            0
        } else {
            value(tables)
        };
        check_iotlb(&machine.iommufd, id, index, value).unwrap();
    }
}

fn tables_of(finds: Finds) -> Option<Tables> {
    match finds {
        Finds::Nothing => None,
        Finds::Tables(tables) | Finds::Changed(tables) => Some(tables),
    }
}

/// A guest whose tables' caches are invalidated.
struct InParent<'m>(&'m Machine);

impl Guest for InParent<'_> {
    type Place = once::OnParent<OnParent>;

    fn config(&self, tables: Tables) -> Stage1 {
        config(tables)
    }

    fn change(&self, tables: Tables) -> Vec<TableInvalidation> {
        vec![TableInvalidation::of(entry(tables))]
    }

    fn assert_finds(&self, finds: Finds, table: Option<&NestedHwPt<OnParent>>) {
        let gone = match finds {
            Finds::Changed(tables) => Some(entry(tables)),
            _ => None,
        };
        assert_attached(self.0, table, tables_of(finds), gone);
    }
}

/// A guest whose device's cache is invalidated, which the device keeps from table to table.
struct BehindViommu<'m> {
    machine: &'m Machine,
    /// What of it was invalidated.
    gone: [Cell<bool>; abi::CACHE_LEN as usize],
}

impl Guest for BehindViommu<'_> {
    type Place = once::OnViommu<MockViommu>;

    fn config(&self, tables: Tables) -> Stage1 {
        config(tables)
    }

    fn change(&self, tables: Tables) -> Vec<DeviceInvalidation> {
        vec![DeviceInvalidation::of(NUMBER, entry(tables))]
    }

    fn assert_finds(&self, finds: Finds, table: Option<&NestedHwPt<OnViommu>>) {
        assert_attached(self.machine, table, tables_of(finds), None);
        if let Finds::Changed(tables) = finds {
            self.gone[entry(tables) as usize].set(true);
        }
        for (index, gone) in (0..).zip(&self.gone) {
            let value = if gone.get() {
                0
            } else {
                abi::DEV_CACHE_DEFAULT
            };
            let (iommufd, device) = (&self.machine.iommufd, self.machine.device.id());
            check_dev_cache(iommufd, device, index, value).unwrap();
        }
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_program_of_all_formats_runs_on_tables_in_their_parent() {
    let machine = Machine::new();
    let objects = raw::objects(&machine.iommufd);
    let place = once::OnParent::new(&machine.parent);
    run(&InParent(&machine), place, &machine.device).unwrap();
    assert!(!machine.device.is_attached());
    assert_eq!(raw::objects(&machine.iommufd), objects);
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_program_of_all_formats_runs_on_tables_behind_a_virtual_iommu() {
    let machine = Machine::new();
    let objects = raw::objects(&machine.iommufd);
    let vdevice = machine.vdevice();
    let place = once::OnViommu::new(&machine.viommu, &vdevice, || ());
    let guest = BehindViommu {
        machine: &machine,
        gone: Default::default(),
    };
    run(&guest, place, &machine.device).unwrap();
    assert!(!machine.device.is_attached());
    vdevice.try_destroy().unwrap();
    assert_eq!(raw::objects(&machine.iommufd), objects);
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}
