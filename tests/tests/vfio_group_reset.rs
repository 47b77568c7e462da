//! Hot resets of devices that were opened by way of their groups.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use examples::edu::BUFFER_LEN;
use iommufd::{Access, DmaBuffer, Leaks};
use rustix::io::Errno;
use tests::edu::{assert_free, card, cdev, igb, igb_pair, lone, pair, pattern};
use tests::groups::{KINDS, compat, device_files, group, own};
use tests::igb::Igb;
use tests::sriov::VirtualFunction;
use vfio::{
    Container, Error, GroupDevice, MemberGroup, PciAddress, Readiness, RegionIndex, Result,
    Revocation, VfToken, VfioGroup,
};

const BAR: RegionIndex = RegionIndex::BAR0;
const LONG: Duration = Duration::from_secs(60);

/// The group of the function in the container, and the function.
fn open(address: PciAddress, container: &Container) -> (MemberGroup, GroupDevice) {
    let member = group(address).join(container).unwrap();
    let device = member.pci_device(address).unwrap();
    (member, device)
}

/// The functions that are missing.
#[track_caller]
fn missing(refused: Result<()>) -> Vec<PciAddress> {
    match refused.unwrap_err() {
        Error::HotResetGroupsMissing { functions, .. } => {
            functions.iter().map(|function| function.address).collect()
        }
        error => panic!("{error}"),
    }
}

/// Resets again and again as long as an access by system call is in the way.
fn insistently(mut reset: impl FnMut() -> Result<()>) {
    let begin = Instant::now();
    loop {
        match reset() {
            Err(error) if matches!(error.errno(), Some(Errno::BUSY | Errno::AGAIN)) => {
                assert!(begin.elapsed() < LONG, "{error}");
                thread::yield_now();
            }
            done => return done.unwrap(),
        }
    }
}

/// Ends what other threads do, also when this one fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_hot_reset_is_of_the_registers_and_leaves_all_else_as_it_was() {
    for kind in KINDS {
        let (container, recorder) = kind();
        let (member, device) = open(igb(), &container);
        let number = Readiness::of(igb()).unwrap().group().unwrap();
        assert_eq!(member.id(), Some(number));
        let scope = device.hot_reset_scope().unwrap();
        let functions = scope.functions();
        assert_eq!((functions.len(), functions[0].address), (1, igb()));
        assert_eq!((functions[0].group, scope.groups()), (number, vec![number]));
        assert!(scope.includes(igb()) && !scope.includes(lone()));

        let card = Igb::new(&device);
        let msix = device.msix(3).unwrap();
        assert!(card.is_set_up());
        recorder.clear();
        device.hot_reset(&[]).unwrap();
        assert_eq!(
            recorder.calls()[..3],
            [
                "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
                "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
                "VFIO_DEVICE_PCI_HOT_RESET"
            ]
        );
        assert!(!card.is_set_up(), "the registers are as they were");
        card.set_up();
        for vector in msix.vectors() {
            card.raise(vector.number());
            assert_eq!(vector.wait(LONG).unwrap(), Some(1), "{vector:?}");
        }
        // Its own group, and those that it does not concern, change nothing.
        let elsewhere = group(lone());
        device.hot_reset(&[&member, &elsewhere, &member]).unwrap();
        assert!(!card.is_set_up());
        drop((card, msix));
        device.try_close().unwrap();
        member.leave().unwrap();
        assert_eq!(container.leaks(), Leaks::default());
    }
    assert_free(igb());
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn what_is_in_another_group_is_reset_by_who_has_that_and_by_nobody_else() {
    let [one, two] = igb_pair();
    drop(cdev(two));
    for kind in KINDS {
        let (container, recorder) = kind();
        let (member, device) = open(one, &container);
        let card = Igb::new(&device);
        let scope = device.hot_reset_scope().unwrap();
        assert_eq!(scope.groups().len(), 2);
        assert!(scope.includes(two) && !scope.includes(igb()));
        recorder.clear();
        assert_eq!(missing(device.hot_reset(&[])), [two]);
        // A group that it does not concern is no answer.
        let elsewhere = group(lone());
        assert_eq!(missing(device.hot_reset(&[&elsewhere, &member])), [two]);
        assert!(!recorder.calls().contains(&"VFIO_DEVICE_PCI_HOT_RESET"));
        assert!(card.is_set_up(), "nothing was reset");

        // The group will do, in no container.
        let unused = group(two);
        device.hot_reset(&[&unused, &elsewhere, &unused]).unwrap();
        assert!(!card.is_set_up());
        // And in another container, where it is in use.
        let (other, _) = match container.ioas() {
            Some(_) => own(),
            None => compat(),
        };
        let unused = unused.join(&other).unwrap();
        let second = unused.pci_device(two).unwrap();
        let second_card = Igb::new(&second);
        card.set_up();
        let held = second_card.registers().access().unwrap();
        let refused = device.hot_reset(&[&unused]).unwrap_err();
        assert!(matches!(refused, Error::AccessHeld), "{refused}");
        assert!(card.is_set_up());
        drop(held);
        device.hot_reset(&[&unused]).unwrap();
        assert!(!card.is_set_up() && !second_card.is_set_up());
        // The function of the other group may reset all of it as well.
        card.set_up();
        second.hot_reset(&[&member]).unwrap();
        assert!(!card.is_set_up());
        assert_eq!(missing(second.hot_reset(&[])), [one]);
        drop((card, second_card));
        second.try_close().unwrap();
        device.try_close().unwrap();
        unused.leave().unwrap();
        member.leave().unwrap();
    }
    assert_free(one);
    assert_free(two);
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_group_that_was_given_as_a_file_is_known_by_its_number() {
    let [one, two] = igb_pair();
    drop(cdev(two));
    let (container, _) = own();
    let (member, device) = open(one, &container);
    let number = Readiness::of(two).unwrap().group();
    let file = rustix::fs::open(
        format!("/dev/vfio/{}", number.unwrap()),
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let given = VfioGroup::from_fd(file.unwrap()).unwrap();
    assert_eq!(given.id(), number);
    device.hot_reset(&[&given]).unwrap();
    // Each by a handle of its own, and both at once.
    let given = given.join(&container).unwrap();
    let second = given.pci_device(two).unwrap();
    thread::scope(|threads| {
        for (device, other) in [(&device, &given), (&second, &member)] {
            threads.spawn(move || {
                for _ in 0..3 {
                    insistently(|| device.hot_reset(&[other]));
                }
            });
        }
    });
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_physical_function_is_not_reset_with_its_virtual_ones() {
    let token = VfToken::new([7; 16]);
    let virtual_one = VirtualFunction::new();
    let (container, _) = own();
    let member = group(igb()).join(&container).unwrap();
    let device = member.pci_device_with_token(igb(), token).unwrap();
    let card = Igb::new(&device);
    assert_eq!(missing(device.hot_reset(&[])), [virtual_one.address()]);
    // To the kernel a virtual function is in no slot and on no bus, but by itself.
    let virtual_group = group(virtual_one.address());
    let refused = device.hot_reset(&[&virtual_group]).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    assert!(refused.to_string().contains("virtual"), "{refused}");
    assert!(card.is_set_up(), "nothing was reset");
    drop(card);
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_card_is_reset_as_a_whole_and_all_that_is_open_of_it_is_known() {
    let [one, two] = card();
    for kind in KINDS {
        let (container, _) = kind();
        drop(cdev(two));
        let (member, first) = open(one, &container);
        let scope = first.hot_reset_scope().unwrap();
        assert_eq!((scope.functions().len(), scope.groups().len()), (2, 1));
        // The other is in the group, and bound to vfio-pci: nobody else has it.
        insistently(|| first.hot_reset(&[]));
        let second = member.pci_device(two).unwrap();
        assert_eq!(second.hot_reset_scope().unwrap(), scope);
        let bars = [&first, &second].map(|device| device.map_bar(BAR).unwrap());
        let held = bars[1].access().unwrap();
        let refused = first.hot_reset(&[]).unwrap_err();
        assert!(matches!(refused, Error::AccessHeld), "{refused}");
        drop(held);

        let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let refused = AtomicU64::new(0);
        thread::scope(|threads| {
            let _stop = Stop(&stop);
            for bar in &bars {
                threads.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match bar.read::<u32>(0) {
                            Ok(value) => {
                                assert_eq!(value & 0xffff, 0xed);
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(Error::Revoked { cause, .. }) => {
                                assert_eq!(cause, Revocation::Reset);
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            for _ in 0..4 {
                insistently(|| first.hot_reset(&[]));
                insistently(|| second.hot_reset(&[&member]));
                let before = answered.load(Ordering::Relaxed);
                let begin = Instant::now();
                while answered.load(Ordering::Relaxed) == before {
                    assert!(begin.elapsed() < LONG);
                    thread::yield_now();
                }
            }
        });
        assert_ne!(refused.into_inner(), 0);

        // Closed by one thread while it is reset by another: either waits for neither.
        drop(bars);
        let mut second = Some(second);
        thread::scope(|threads| {
            let resets = threads.spawn(|| {
                for _ in 0..4 {
                    insistently(|| first.hot_reset(&[]));
                }
            });
            let begin = Instant::now();
            for _ in 0..20 {
                let device = second.take().unwrap();
                second = Some(match device.try_close() {
                    Ok(()) => member.pci_device(two).unwrap(),
                    Err(refused) => {
                        let Error::StillHeld(holders) = refused.error() else {
                            panic!("{refused}")
                        };
                        assert_eq!(holders.resets, 1, "{refused}");
                        thread::sleep(Duration::from_millis(1));
                        refused.into_value()
                    }
                });
                assert!(begin.elapsed() < LONG);
            }
            resets.join().unwrap();
        });
        second.unwrap().try_close().unwrap();
        first.try_close().unwrap();
        member.leave().unwrap();
    }
    assert_free(one);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_card_works_again_after_a_hot_reset() {
    let [one, _] = card();
    for kind in KINDS {
        let (container, _) = kind();
        let (_member, device) = open(one, &container);
        let edu = examples::edu::Edu::new(&device).unwrap();
        let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
        let mapping = container.map(&memory, Access::ReadWrite).unwrap();
        for round in 0..2 {
            memory.write_bytes(0, &pattern(round)).unwrap();
            edu.fetch(mapping.iova(), BUFFER_LEN).unwrap();
            insistently(|| device.hot_reset(&[]));
            memory.write_bytes(0, &vec![0; BUFFER_LEN]).unwrap();
            device.config().unwrap().enable_bus_master().unwrap();
            edu.fetch(mapping.iova(), BUFFER_LEN).unwrap();
            memory.write_bytes(0, &pattern(round)).unwrap();
            edu.store(mapping.iova(), BUFFER_LEN).unwrap();
            assert!(tests::edu::contents(&memory) == vec![0; BUFFER_LEN]);
        }
        mapping.unmap().unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_cannot_be_reset_so_is_refused() {
    for kind in KINDS {
        let (container, _) = kind();
        for address in [lone(), pair()[0]] {
            let (_member, device) = open(address, &container);
            for refused in [device.hot_reset_scope().map(drop), device.hot_reset(&[])] {
                let refused = refused.unwrap_err();
                assert_eq!(refused.errno(), Some(Errno::NODEV));
                assert!(refused.to_string().contains("below a bridge"), "{refused}");
            }
        }
    }
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_device_that_somebody_else_has_open_as_well_is_reset_with_it() {
    let (container, _) = own();
    let (member, device) = open(igb(), &container);
    let twins = device_files();
    assert_eq!(twins.len(), 1);
    let again = member.pci_device(igb());
    assert!(matches!(again, Err(Error::DeviceOpen { .. })));
    let card = Igb::new(&device);
    insistently(|| device.hot_reset(&[]));
    assert!(!card.is_set_up());
    drop((card, twins));
    device.try_close().unwrap();
    member.leave().unwrap();
}
