//! What a device has cached, invalidated through the virtual IOMMU.

use iommufd::Error;
use rustix::io::Errno;
use tests::ids;
use tests::mock::nesting::{DeviceInvalidation, INVALIDATE_ALL};
use tests::mock::{abi, check_dev_cache};

use super::{Fixture, Guest};
use crate::past::{self, invalidate};

/// The guest's number of the device.
const NUMBER: u32 = 0x99;
const ENTRIES: u32 = abi::CACHE_LEN;

type Command = DeviceInvalidation;

pub(super) fn vdevice_cache(fixture: Fixture) {
    let fd = &fixture.iommufd;
    let Some(guest) = &fixture.guest else {
        let all = [Command::of_all(NUMBER)];
        assert_eq!(invalidate(fd, 0, &all, |_| ()), (Err(Errno::NOENT), 0));
        // What is no table of a guest's, nor a virtual IOMMU.
        let ioas = ids::of(&fixture.ioas);
        assert_eq!(invalidate(fd, ioas, &all, |_| ()), (Err(Errno::INVAL), 0));
        assert_eq!(check_dev_cache(fd, 0, 0, 0), Err(Errno::NOENT));
        return;
    };
    let dev = guest.device.id();
    let holds = |values: [bool; ENTRIES as usize]| {
        for (index, gone) in (0..).zip(values) {
            let value = if gone { 0 } else { abi::DEV_CACHE_DEFAULT };
            assert_eq!(check_dev_cache(fd, dev, index, value), Ok(()), "{index}");
        }
    };
    let vdevice = guest.vdevice(NUMBER.into());
    let untouched = [false; ENTRIES as usize];
    holds(untouched);
    assert_eq!(check_dev_cache(fd, dev, ENTRIES, 0), Err(Errno::INVAL));

    let one = Command::of(NUMBER, 0);
    past::refuses_what_is_no_invalidation(fd, guest.id(), &one);
    // The parent is no table of the guest's.
    let answer = invalidate(fd, ids::of(&guest.parent), &[one], |_| ());
    assert_eq!(answer, (Err(Errno::INVAL), 0));
    // A command that is longer than the kernel knows, with something in what it does not know.
    let long = [[0_u32, NUMBER, 0, 1]];
    let answer = invalidate(fd, guest.id(), &long, |_| ());
    assert_eq!(answer, (Err(Errno::TOOBIG), 0));
    holds(untouched);

    // Commands that are understood one by one: those before a wrong one are carried out.
    let wrong = [
        (Command::of(NUMBER, ENTRIES), Errno::INVAL),
        (Command::of(NUMBER + 1, 0), Errno::INVAL),
        (Command { flags: 2, ..one }, Errno::OPNOTSUPP),
    ];
    for (bad, errno) in wrong {
        let answer = invalidate(fd, guest.id(), &[bad, one], |_| ());
        assert_eq!(answer, (Err(errno), 0));
    }
    holds(untouched);
    for ((bad, errno), index) in wrong.into_iter().zip(0..) {
        let commands = [Command::of(NUMBER, index), bad, Command::of(NUMBER, 3)];
        let answer = invalidate(fd, guest.id(), &commands, |_| ());
        assert_eq!(answer, (Err(errno), 1));
        holds(std::array::from_fn(|entry| entry <= index as usize));
    }
    through_the_sdk(guest, holds);

    // Its number gone, the device is nobody's.
    vdevice.try_destroy().unwrap();
    let answer = invalidate(fd, guest.id(), &[one], |_| ());
    assert_eq!(answer, (Err(Errno::INVAL), 0));
}

/// The first three entries are invalidated already.
fn through_the_sdk(guest: &Guest, holds: impl Fn([bool; ENTRIES as usize])) {
    let viommu = &guest.viommu;
    viommu.invalidate(&[]).unwrap();
    viommu.invalidate(&[Command::of(NUMBER, 0); 2]).unwrap();
    let unknown = Command::of(NUMBER, 77);
    let last = Command::of(NUMBER, 3);
    let error = viommu.invalidate(&[Command::of(NUMBER, 1), unknown, last]);
    let error = error.unwrap_err();
    assert!(matches!(
        error,
        Error::InvalidationRefused {
            done: 1,
            refused: 1,
            ..
        }
    ));
    assert_eq!(error.errno(), Some(Errno::INVAL));
    holds([true, true, true, false]);
    // With the flag for all, the entry does not matter, as long as there is one of its number.
    let all = Command {
        flags: INVALIDATE_ALL,
        ..Command::of(NUMBER, 2)
    };
    viommu.invalidate(&[all]).unwrap();
    holds([true; ENTRIES as usize]);
    viommu
        .invalidate(&[Command { cache_id: 4, ..all }])
        .unwrap_err();
}
