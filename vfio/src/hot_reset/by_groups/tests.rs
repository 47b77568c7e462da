//! What the kernel is asked, byte by byte, and what is refused without asking it.

use std::cell::RefCell;
use std::ffi::c_int;
use std::fs::File;
use std::os::fd::IntoRawFd;
use std::rc::Rc;

use rustix::io::Errno;

use super::*;
use crate::bound::Bound;
use crate::container::Container;
use crate::group::VfioGroup;
use crate::holders::Holders;
use crate::ioctl::script::{Asked, answering};

/// What is on the bus: the group, and the function's number, of each.
type Bus = &'static [(u32, u8)];

/// What was asked, and what is looked at while a reset is under way.
#[derive(Default)]
struct Seen {
    resets: Vec<Vec<u8>>,
    devices: Vec<Arc<Bound>>,
    /// Of each of the devices, whether its registers could be accessed during a reset.
    open_gates: Vec<bool>,
    refuse: Option<Errno>,
}

type Shared = Rc<RefCell<Seen>>;

/// A kernel in which that is on bus 3.
fn kernel(bus: Bus) -> (Shared, impl Drop) {
    let seen = Shared::default();
    let until = answering({
        let seen = Rc::clone(&seen);
        move |ask| answer(bus, &mut seen.borrow_mut(), ask)
    });
    (seen, until)
}

fn answer(bus: Bus, seen: &mut Seen, mut ask: Asked<'_>) -> Result<c_int, Errno> {
    if ask.ioctl == nr::GET_API_VERSION.describe() {
        return Ok(0);
    }
    if ask.ioctl == nr::CHECK_EXTENSION.describe() {
        return Ok(1);
    }
    if ask.ioctl == nr::GROUP_GET_DEVICE_FD.describe() {
        return Ok(File::open("/dev/null").unwrap().into_raw_fd());
    }
    if ask.ioctl == nr::DEVICE_GET_PCI_HOT_RESET_INFO.describe() {
        ask.set(8, &u32::try_from(bus.len()).unwrap().to_ne_bytes());
        if ask.arg.len() < 12 + 8 * bus.len() {
            return Err(Errno::NOSPC);
        }
        for (place, (group, function)) in bus.iter().enumerate() {
            ask.set(12 + 8 * place, &group.to_ne_bytes());
            ask.set(16 + 8 * place, &[0, 0, 3, *function]);
        }
        return Ok(0);
    }
    if ask.ioctl == nr::DEVICE_PCI_HOT_RESET.describe() {
        seen.resets.push(ask.arg.to_vec());
        let open = |bound: &Arc<Bound>| bound.gate.enter().is_ok();
        seen.open_gates = seen.devices.iter().map(open).collect();
        return seen.refuse.map_or(Ok(0), Err);
    }
    match ask.ioctl {
        set if set == nr::GROUP_SET_CONTAINER.describe() => Ok(0),
        set if set == nr::SET_IOMMU.describe() => Ok(0),
        unset if unset == nr::GROUP_UNSET_CONTAINER.describe() => Ok(0),
        other => panic!("{other:?}"),
    }
}

fn group(id: Option<u32>) -> MemberGroup {
    let group = VfioGroup::scripted(id.map(GroupId::new));
    group.join(&Container::scripted()).unwrap()
}

/// The device that is function `function` of the bus.
fn function(group: &MemberGroup, function: u8) -> GroupDevice {
    let address = format!("0000:03:00.{function}").parse().unwrap();
    group.pci_device(address).unwrap()
}

/// The words of a request behind its size and flags.
fn words(request: &[u8]) -> Vec<i32> {
    let words = request.as_chunks().0.iter();
    words.map(|word| i32::from_ne_bytes(*word)).collect()
}

fn number(group: &MemberGroup) -> i32 {
    group.as_fd().as_raw_fd()
}

#[test]
fn the_kernel_is_shown_the_files_of_the_groups_that_it_needs_each_once() {
    let (seen, _kernel) = kernel(&[(7, 0), (8, 1), (8, 2)]);
    let (own, other, elsewhere) = (group(Some(7)), group(Some(8)), group(Some(9)));
    let device = function(&own, 0);
    let again = other.clone();
    device
        .hot_reset(&[&own, &other, &again, &elsewhere])
        .unwrap();
    let request = seen.borrow().resets[0].clone();
    assert_eq!(
        words(&request),
        [24, 0, 2, number(&own), number(&other), 0],
        "argsz, flags, count, files, and what makes whole words of 64 bits"
    );
    // One that is in no container will do.
    let alone = VfioGroup::scripted(Some(GroupId::new(8)));
    device.hot_reset(&[&alone]).unwrap();
    let file = alone.as_fd().as_raw_fd();
    let request = seen.borrow().resets[1].clone();
    assert_eq!(words(&request)[2..5], [2, number(&own), file]);
}

#[test]
fn a_group_that_is_missing_is_named_and_the_kernel_is_not_asked() {
    let (seen, _kernel) = kernel(&[(7, 0), (8, 1), (9, 2)]);
    let (own, other) = (group(Some(7)), group(Some(9)));
    let device = function(&own, 0);
    let scope = device.hot_reset_scope().unwrap();
    assert_eq!(scope.groups(), [7, 8, 9].map(GroupId::new));
    assert!(scope.includes("0000:03:00.1".parse().unwrap()));
    assert!(!scope.includes("0000:03:00.3".parse().unwrap()));
    let refused = device.hot_reset(&[&other]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a hot reset would reset 0000:03:00.1 (group 8) as well; name the groups"
    );
    let Error::HotResetGroupsMissing { functions } = refused else {
        panic!("{refused}")
    };
    assert_eq!(functions, scope.functions()[1..2]);
    assert!(seen.borrow().resets.is_empty());
    // The gate has not been closed for it.
    let generation = device.bound().gate.generation().unwrap();
    drop(device.hot_reset(&[]));
    assert_eq!(device.bound().gate.generation().unwrap(), generation);
}

#[test]
fn a_group_without_a_number_is_known_by_what_is_open_of_it_or_else_by_the_kernel() {
    let (seen, _kernel) = kernel(&[(7, 0), (8, 1)]);
    let (own, other) = (group(None), group(None));
    let device = function(&own, 0);
    // Its own is the seventh.
    let refused = device.hot_reset(&[]);
    assert!(
        matches!(&refused, Err(Error::HotResetGroupsMissing { functions }) if functions.len() == 1)
    );
    // What the other is nobody knows here.
    seen.borrow_mut().refuse = Some(Errno::INVAL);
    let refused = device.hot_reset(&[&other]).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    let request = seen.borrow().resets[0].clone();
    assert_eq!(words(&request)[2..5], [2, number(&own), number(&other)]);
    seen.borrow_mut().refuse = None;
    // Where the others are known it is not needed: the kernel takes no more than there are functions.
    let known = VfioGroup::scripted(Some(GroupId::new(8)));
    device.hot_reset(&[&other, &known]).unwrap();
    let request = seen.borrow().resets[1].clone();
    let file = known.as_fd().as_raw_fd();
    assert_eq!(words(&request)[2..5], [2, number(&own), file]);
    let sibling = function(&other, 1);
    device.hot_reset(&[&other]).unwrap();
    drop(sibling);
    // By a name that is no address, it is itself all the same.
    drop(device);
    let device = own.device("elsewhere").unwrap();
    device.hot_reset(&[&other]).unwrap();
}

#[test]
fn the_registers_of_all_that_is_open_are_not_accessed_meanwhile() {
    let (seen, _kernel) = kernel(&[(7, 0), (8, 1), (8, 2)]);
    let (own, other) = (group(Some(7)), group(Some(8)));
    let device = function(&own, 0);
    let (second, third) = (function(&other, 1), function(&other, 2));
    // On another bus, so it stays as it is.
    let stays = other.pci_device("0000:04:00.0".parse().unwrap()).unwrap();
    let all = [&device, &second, &third, &stays];
    seen.borrow_mut().devices = all.map(|device| Arc::clone(device.bound())).to_vec();
    device.hot_reset(&[&other]).unwrap();
    assert_eq!(seen.borrow().open_gates, [false, false, false, true]);
    for device in all {
        drop(device.bound().gate.enter().unwrap());
        assert!(device.holders().is_empty(), "{}", device.holders());
    }
    // Who holds an access is told to drop it, whosever it is.
    let access = second.bound().gate.hold().unwrap();
    let refused = device.hot_reset(&[&other]);
    assert!(matches!(refused, Err(Error::AccessHeld)));
    drop(access);
    let access = stays.bound().gate.hold().unwrap();
    device.hot_reset(&[&other]).unwrap();
    drop(access);
    // And one that is being migrated is not reset.
    third.bound().resets.away().unwrap();
    let refused = device.hot_reset(&[&other]);
    assert!(matches!(
        refused,
        Err(Error::Feature(crate::FeatureError::Migrating))
    ));
    third.bound().resets.back();
    assert_eq!(seen.borrow().resets.len(), 2);
    seen.borrow_mut().devices.clear();
}

#[test]
fn a_refusal_before_the_reset_has_revoked_nothing_and_another_may_have() {
    let (seen, _kernel) = kernel(&[(7, 0)]);
    let own = group(Some(7));
    let device = function(&own, 0);
    let generation = || device.bound().gate.generation().unwrap();
    let before = generation();
    for (errno, same) in [(Errno::NODEV, true), (Errno::BUSY, false)] {
        seen.borrow_mut().refuse = Some(errno);
        let refused = device.hot_reset(&[]).unwrap_err();
        assert_eq!(refused.errno(), Some(errno));
        assert_eq!(generation() == before, same, "{errno}");
    }
}

#[test]
fn a_device_is_not_closed_while_it_is_reset_with_another() {
    let (_, _kernel) = kernel(&[(7, 0)]);
    let own = group(Some(7));
    let device = function(&own, 0);
    let held = own.devices(|_| true);
    assert_eq!((held.len(), own.devices(|_| false).len()), (1, 0));
    let refused = device.try_close().unwrap_err();
    assert!(
        refused.to_string().contains("1 reset under way"),
        "{refused}"
    );
    drop(held);
    // From when it is found that nothing holds it until it is closed, no reset comes to hold it.
    let device = refused.into_value();
    let seat = device.bound().seat().unwrap();
    let holders = Holders {
        regions: 1,
        ..Holders::default()
    };
    assert_eq!(seat.retire(|| holders.clone()), holders);
    assert_eq!(own.devices(|_| true).len(), 1);
    assert!(seat.retire(Holders::default).is_empty());
    assert!(own.devices(|_| true).is_empty());
    device.try_close().unwrap();
    own.leave().unwrap();
}

#[test]
fn an_answer_with_ids_of_devices_is_refused() {
    let raw = [sys::vfio_pci_dependent_device {
        group_id: 1,
        segment: 0,
        bus: 3,
        devfn: 0,
    }];
    for flags in [1, 3] {
        let refused = GroupResetScope::parse(flags, &raw);
        assert!(matches!(refused, Err(Error::Malformed { .. })));
    }
    let scope = GroupResetScope::parse(0, &raw).unwrap();
    assert_eq!(scope.functions()[0].to_string(), "0000:03:00.0 (group 1)");
}
