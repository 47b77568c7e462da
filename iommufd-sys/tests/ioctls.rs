//! The table of ioctls. Numbers and sizes are asserted at compile time, in `src/numbers.rs`.

use std::collections::HashSet;

use iommufd_sys::ioctl::{self, Description, Fd, Ioctl, Linux};

fn all() -> impl Iterator<Item = &'static Description> {
    ioctl::iommufd::ALL.iter().chain(ioctl::vfio::ALL)
}

#[test]
fn names_are_unique() {
    let names: HashSet<_> = all().map(|ioctl| ioctl.name).collect();
    assert_eq!(names.len(), 22 + 34);
}

#[test]
fn one_number_has_one_meaning_on_one_descriptor() {
    let mut seen = HashSet::new();
    for ioctl in all() {
        // Containers of POWER give two of type 1's numbers another meaning.
        if !ioctl.name.starts_with("VFIO_IOMMU_SPAPR") {
            assert!(seen.insert((ioctl.fd, ioctl.request)), "{}", ioctl.name);
        }
    }
}

#[test]
fn no_ioctl_asks_for_more_than_its_struct() {
    for ioctl in all() {
        assert!(ioctl.min_size <= ioctl.size, "{}", ioctl.name);
    }
}

#[test]
fn releases_are_printed_and_ordered_as_numbers() {
    let [old, new] = [
        Linux { major: 6, minor: 2 },
        Linux {
            major: 6,
            minor: 13,
        },
    ];
    assert_eq!(new.to_string(), "6.13");
    assert!(old < new);
}

#[test]
fn a_description_says_what_the_ioctl_says() {
    let reset = ioctl::vfio::DEVICE_RESET;
    let description = reset.describe();
    assert_eq!(description.name, reset.name());
    assert_eq!(description.request, reset.request());
    assert_eq!(description.fd, reset.fd());
    assert_eq!(description.min_size, reset.min_size());
    assert_eq!(description.size, reset.size());
    assert_eq!(description.since, reset.since());
    assert_eq!(format!("{reset:?}"), format!("{description:?}"));
}

#[test]
fn an_ioctl_is_copied_whatever_its_argument() {
    fn copied<T: ?Sized>(ioctl: &Ioctl<T>) -> Ioctl<T> {
        *ioctl
    }
    assert_eq!(copied(&ioctl::vfio::GROUP_GET_DEVICE_FD).fd(), Fd::Group);
}
