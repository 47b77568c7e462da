//! The kernel fails at every point at which it can, with a real device: nothing is lost.

use iommufd::{HwPt, Ioas, Iommufd, IovaRanges};
use tests::edu::{bind, lone};
use tests::faults::{Points, sweep};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn after_a_replace_that_fails_the_usable_addresses_are_asked_for_again() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let table = || HwPt::new(&ioas, device.iommu()).unwrap();
    let (here, there) = (table(), table());
    let mut attachment = device.attach(&here).unwrap();
    let usable = |ranges: &IovaRanges| ranges.iter().collect::<Vec<_>>();
    let at_first = usable(&ioas.iova_ranges().unwrap());
    let mut errors = 0;
    sweep(Points::Everywhere, |nth| {
        let ranges = ioas.iova_ranges().unwrap();
        match nth.armed(|| attachment.replace(&there)) {
            Ok(()) => attachment.replace(&here).unwrap(),
            Err(_) => errors += 1,
        }
        assert!(!ranges.is_current());
        // The kernel gives up what the device reserves, and reserves it again when the device is attached again.
        assert_eq!(usable(&ioas.iova_ranges().unwrap()), at_first);
    });
    assert!(errors > 0);
    attachment.detach().unwrap();
    device.try_close().unwrap();
}
