//! Invalidations: in batches, in order, counted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use iommufd::{Error, Leaks, NestedHwPt, VDevice, Viommu};
use rustix::io::Errno;
use tests::guest::{Guest, NUMBER};
use tests::ids;
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, MockViommuInBatches, OnParent, TableInvalidation, VirtualNumber,
};
use tests::mock::{MockDevice, abi, check_dev_cache, check_iotlb};

/// As many as go to the kernel in one call.
const MOST: usize = 1 << 19;

const ENTRIES: u32 = abi::CACHE_LEN;

/// What a device and a table have cached, entry by entry: whether it was invalidated.
fn invalidated(holds: impl Fn(u32, u32) -> bool, usual: u32) -> Vec<bool> {
    let entries = (0..ENTRIES).map(|index| {
        let gone = holds(index, 0);
        assert_ne!(gone, holds(index, usual), "it is one or the other");
        gone
    });
    entries.collect()
}

fn of_device(guest: &Guest, device: &MockDevice) -> Vec<bool> {
    invalidated(
        |index, value| check_dev_cache(&guest.iommufd, device.id(), index, value).is_ok(),
        abi::DEV_CACHE_DEFAULT,
    )
}

fn of_table(guest: &Guest, table: &NestedHwPt<OnParent>) -> Vec<bool> {
    invalidated(
        |index, value| check_iotlb(&guest.iommufd, ids::of(table), index, value).is_ok(),
        abi::IOTLB_DEFAULT,
    )
}

fn table(guest: &Guest) -> NestedHwPt<OnParent> {
    NestedHwPt::new(&guest.parent, &guest.device, &CONFIG).unwrap()
}

/// What was done, what was refused, and why.
fn refusal(error: &Error) -> (usize, usize, Errno) {
    let Error::InvalidationRefused {
        done,
        refused,
        reason,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert!(!reason.to_string().contains("not a documented"), "{reason}");
    assert_eq!(error.errno(), Some(reason.errno));
    (*done, *refused, reason.errno)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn nothing_to_invalidate_asks_nobody() {
    let guest = Guest::new();
    let table = table(&guest);
    guest.recorder.clear();
    guest.viommu.invalidate(&[]).unwrap();
    table.invalidate(&[]).unwrap();
    assert_eq!(guest.recorder.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_batch_of_any_size_is_one_call() {
    let guest = Guest::new();
    let _vdevice = guest.vdevice();
    for size in [1, 2, 3, 63, 64, 65, 1000, 4095, 4096] {
        let table = table(&guest);
        let index = |n: usize| n as u32 % ENTRIES;
        let of_table_commands: Vec<_> =
            (0..size).map(|n| TableInvalidation::of(index(n))).collect();
        let of_device_commands: Vec<_> = (0..size)
            .map(|n| DeviceInvalidation::of(NUMBER, index(n)))
            .collect();
        guest.recorder.clear();
        table.invalidate(&of_table_commands).unwrap();
        guest.viommu.invalidate(&of_device_commands).unwrap();
        assert_eq!(guest.recorder.calls(), ["IOMMU_HWPT_INVALIDATE"; 2]);
        let reached: Vec<_> = (0..ENTRIES).map(|n| (n as usize) < size).collect();
        assert_eq!(of_table(&guest, &table), reached);
    }
    assert_eq!(of_device(&guest, &guest.device), [true; ENTRIES as usize]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn of_a_table_what_comes_before_a_refused_one_is_done_and_nothing_after_it() {
    let guest = Guest::new();
    let bad_flag = TableInvalidation {
        flags: 2,
        iotlb_id: 0,
    };
    for (bad, errno) in [
        (TableInvalidation::of(ENTRIES), Errno::INVAL),
        (TableInvalidation::of(u32::MAX), Errno::INVAL),
        (bad_flag, Errno::OPNOTSUPP),
    ] {
        for at in 0..=ENTRIES {
            let table = table(&guest);
            let mut commands: Vec<_> = (0..ENTRIES).map(TableInvalidation::of).collect();
            commands.insert(at as usize, bad);
            let error = table.invalidate(&commands).unwrap_err();
            assert_eq!(refusal(&error), (at as usize, at as usize, errno));
            let done: Vec<_> = (0..ENTRIES).map(|n| n < at).collect();
            assert_eq!(of_table(&guest, &table), done, "{at}");
        }
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn of_devices_what_comes_before_a_refused_one_is_done_and_nothing_after_it() {
    let guest = Guest::new();
    let bad_flag = DeviceInvalidation {
        flags: 4,
        ..DeviceInvalidation::of_all(NUMBER)
    };
    for (bad, errno) in [
        (DeviceInvalidation::of(NUMBER, ENTRIES), Errno::INVAL),
        (DeviceInvalidation::of_all(NUMBER + 1), Errno::INVAL),
        (bad_flag, Errno::OPNOTSUPP),
    ] {
        for at in 0..=ENTRIES {
            let device = MockDevice::new(&guest.iommufd).unwrap();
            let _vdevice = guest.knows(&device, NUMBER);
            let mut commands: Vec<_> = (0..ENTRIES)
                .map(|index| DeviceInvalidation::of(NUMBER, index))
                .collect();
            commands.insert(at as usize, bad);
            let error = guest.viommu.invalidate(&commands).unwrap_err();
            assert_eq!(refusal(&error), (at as usize, at as usize, errno));
            let done: Vec<_> = (0..ENTRIES).map(|n| n < at).collect();
            assert_eq!(of_device(&guest, &device), done, "{at}");
        }
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn where_the_count_means_little_only_earlier_calls_are_certain() {
    let guest = Guest::new();
    let viommu = Viommu::<MockViommuInBatches>::new(&guest.parent, &guest.device).unwrap();
    let _vdevice = VDevice::new(&viommu, &guest.device, VirtualNumber(5)).unwrap();
    let good = DeviceInvalidation::of_all(5);
    viommu.invalidate(&[good; 100]).unwrap();
    for at in [0, 1, 99] {
        let mut commands = [good; 100];
        commands[at] = DeviceInvalidation::of_all(6);
        let error = viommu.invalidate(&commands).unwrap_err();
        assert_eq!(refusal(&error), (0, at, Errno::INVAL));
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn more_than_one_call_takes_are_several_calls() {
    let guest = Guest::new();
    let nested = table(&guest);
    let mut commands = vec![TableInvalidation::of(0); 2 * MOST + 1];
    commands[MOST] = TableInvalidation::of(1);
    commands[2 * MOST] = TableInvalidation::of(2);
    guest.recorder.clear();
    nested.invalidate(&commands[..MOST]).unwrap();
    assert_eq!(guest.recorder.calls(), ["IOMMU_HWPT_INVALIDATE"]);
    assert_eq!(of_table(&guest, &nested), [true, false, false, false]);
    guest.recorder.clear();
    nested.invalidate(&commands).unwrap();
    assert_eq!(guest.recorder.calls(), ["IOMMU_HWPT_INVALIDATE"; 3]);
    assert_eq!(of_table(&guest, &nested), [true, true, true, false]);

    // What is refused is counted from the first of all.
    for at in [0, MOST - 1, MOST, MOST + 7, 2 * MOST] {
        let nested = table(&guest);
        let good = std::mem::replace(&mut commands[at], TableInvalidation::of(ENTRIES));
        guest.recorder.clear();
        let error = nested.invalidate(&commands).unwrap_err();
        assert_eq!(refusal(&error), (at, at, Errno::INVAL));
        assert_eq!(
            guest.recorder.count(),
            at / MOST + 1,
            "the rest is not sent"
        );
        assert_eq!(of_table(&guest, &nested), [at > 0, at > MOST, false, false]);
        commands[at] = good;
    }
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}
