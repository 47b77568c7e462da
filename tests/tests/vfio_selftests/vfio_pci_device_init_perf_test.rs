//! Program `vfio_pci_device_init_perf_test`: several devices made ready at once.

use std::thread;
use std::time::{Duration, Instant};

use tests::edu::{assert_free, card, igb, lone, pair};

use crate::modes::Mode;

per_variant! {
    Mode [vfio_type1v2_iommu, iommufd_compat_type1, iommufd_compat_type1v2, iommufd]: init
}

fn init(mode: Mode) {
    // Each of another IOMMU group.
    let functions = [lone(), pair()[0], card()[0], igb()];
    let begin = Instant::now();
    let devices = thread::scope(|scope| {
        let threads = functions.map(|address| {
            let mode = &mode;
            scope.spawn(move || mode.open(address))
        });
        threads.map(|thread| thread.join().unwrap())
    });
    // How long it takes is of no use to know in an emulator; that nobody waits for anybody is.
    assert!(begin.elapsed() < Duration::from_secs(120));
    for (device, address) in devices.iter().zip(functions) {
        assert_eq!(device.address(), Some(address));
        assert!(device.info().unwrap().regions >= 9);
        assert!(device.config().unwrap().ids().is_ok());
    }
    thread::scope(|scope| {
        for device in devices {
            scope.spawn(move || drop(device));
        }
    });
    drop(mode);
    for address in functions {
        assert_free(address);
    }
}
