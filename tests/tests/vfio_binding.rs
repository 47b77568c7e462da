//! Giving functions to VFIO and back, making virtual functions, and what there is on the machine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{Access, Iommufd};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::edu::{cdev, device, igb, lone, pair};
use tests::fork::{Link, become_nobody, beside, in_child};
use tests::groups::{device_files, group, own};
use tests::memory::Living;
use tests::mtty::Mtty;
use tests::victim::killed_in;
use vfio::{
    Blocker, Cdev, DriverName, Error, Former, IommuGroup, IommuGroupType, IommuKind, IommuUnit,
    PciAddress, PciFunction, Pending, Readiness, RegionIndex, ReservedKind, ResetMethod, Sriov,
    Takeover, VfioNode, Waited,
};

/// For what will be done.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what must not be done meanwhile.
const MEANWHILE: Duration = Duration::from_millis(300);

fn name(text: &str) -> DriverName {
    text.parse().unwrap()
}

/// The function that the kernel's own driver has.
fn rng() -> PciAddress {
    let functions = PciFunction::all().unwrap();
    let rng = functions.iter().find(|function| {
        function
            .ids
            .is_some_and(|ids| ids.to_string() == "1af4:1044")
    });
    rng.expect("the machine has a virtio-rng").address
}

/// The driver that the function has, and the one that it may have.
fn state(address: PciAddress) -> (Option<String>, Option<String>) {
    let function = PciFunction::at(address).unwrap();
    (function.driver.clone(), function.driver_override().unwrap())
}

fn with(driver: &str) -> Option<String> {
    Some(driver.to_owned())
}

/// Waits for a change that nothing holds up.
fn done<T: Send + 'static>(change: Pending<T>) -> vfio::Result<T> {
    Ok(change.wait(PATIENCE)?.done().expect("nobody is in the way"))
}

/// Takes the function with a kernel driver for VFIO.
fn taken() -> Takeover {
    done(Takeover::begin(rng(), &DriverName::vfio_pci()).unwrap()).unwrap()
}

fn node(address: PciAddress) -> PathBuf {
    PciFunction::at(address).unwrap().node().unwrap()
}

fn open(address: PciAddress) -> File {
    File::options()
        .read(true)
        .write(true)
        .open(node(address))
        .unwrap()
}

#[track_caller]
fn is_in_use_here<T>(answer: vfio::Result<T>) {
    match answer {
        Err(Error::InUseHere { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("this process will wait for itself"),
    }
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_function_is_taken_from_its_driver_and_given_back() {
    let address = rng();
    let before = Readiness::of(address).unwrap();
    assert!(
        matches!(before.blockers(), [Blocker::OtherDriver { driver, .. }] if driver == "virtio-pci"),
        "{before}"
    );
    assert!(matches!(
        Cdev::open_pci(address),
        Err(Error::NotReady { .. })
    ));

    let takeover = taken();
    assert_eq!(takeover.address(), address);
    assert_eq!(takeover.driver(), &DriverName::vfio_pci());
    let former = Former::new(Some(name("virtio-pci")), None);
    assert_eq!(takeover.former(), &former);
    assert_eq!(state(address), (with("vfio-pci"), with("vfio-pci")));
    let after = Readiness::of(address).unwrap();
    assert!(after.is_ready(), "{after}");
    device(address).try_close().unwrap();

    done(takeover.give_back().unwrap()).unwrap();
    assert_eq!(state(address), (with("virtio-pci"), None));
    // Once more changes nothing, and neither does a note that another process might have kept.
    done(takeover.give_back().unwrap()).unwrap();
    let note = Takeover::recorded(address, DriverName::vfio_pci(), former);
    assert_eq!(note, takeover);
    done(note.give_back().unwrap()).unwrap();
    assert_eq!(state(address), (with("virtio-pci"), None));
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_function_that_vfio_has_already_stays_there() {
    let first = taken();
    let address = first.address();
    let opened = cdev(address);
    // Nothing is changed, so nobody is in the way.
    let second = done(Takeover::begin(address, &DriverName::vfio_pci()).unwrap()).unwrap();
    drop(opened);
    assert_eq!(second.former().driver, Some(DriverName::vfio_pci()));
    done(second.give_back().unwrap()).unwrap();
    assert_eq!(state(address).0, with("vfio-pci"));
    // To drop what says where it came from is no way of giving it back.
    let note = first.clone();
    drop(first);
    assert_eq!(state(address).0, with("vfio-pci"));
    done(note.give_back().unwrap()).unwrap();
    assert_eq!(state(address).0, with("virtio-pci"));
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn what_this_process_holds_open_is_not_taken_away() {
    let takeover = taken();
    let address = takeover.address();
    let iommufd = Iommufd::open().unwrap();

    let cdev = cdev(address);
    is_in_use_here(takeover.give_back());
    let device = cdev.bind(&iommufd).unwrap();
    is_in_use_here(takeover.give_back());
    is_in_use_here(Takeover::begin(address, &name("virtio-pci")));
    // Whatever was made of it.
    let region = device.region(RegionIndex::CONFIG).unwrap();
    let regions = device.regions().unwrap();
    let bar = regions
        .iter()
        .find_map(|info| device.map_bar(info.index).ok())
        .expect("it has a BAR that can be mapped");
    drop(device);
    is_in_use_here(takeover.give_back());
    drop(region);
    is_in_use_here(takeover.give_back());
    drop(bar);

    // Or by a file of which this crate knows nothing.
    let file = open(address);
    is_in_use_here(takeover.give_back());
    drop(file);

    // Or by way of its group, under a name that might be any device's.
    let member = group(address).join(&own().0).unwrap();
    let device = member.device(&address.to_string()).unwrap();
    is_in_use_here(takeover.give_back());
    device.try_close().unwrap();
    member.leave().unwrap();
    assert_eq!(state(address), (with("vfio-pci"), with("vfio-pci")));
    done(takeover.give_back().unwrap()).unwrap();
}

/// Before Linux 6.18 it does not say.
#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn of_a_duplicate_of_its_file_the_kernel_says_which_device_it_is() {
    let takeover = taken();
    let address = takeover.address();
    let member = group(address).join(&own().0).unwrap();
    let device = member.device(&address.to_string()).unwrap();
    let twins = device_files();
    device.try_close().unwrap();
    let says = twins.iter().all(|twin| {
        let info = format!("/proc/self/fdinfo/{}", twin.as_raw_fd());
        let info = fs::read_to_string(info).unwrap();
        info.contains(&address.to_string())
    });
    // Who is not told would wait for himself.
    if says {
        is_in_use_here(takeover.give_back());
    }
    drop((twins, member));
    assert_eq!(state(address), (with("vfio-pci"), with("vfio-pci")));
    done(takeover.give_back().unwrap()).unwrap();
    assert!(says);
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_container_whose_groups_device_was_given_back_takes_it_again() {
    let takeover = taken();
    let address = takeover.address();
    let (container, recorder) = own();
    // Its device is not open, so nobody is waited for.
    let stale = group(address).join(&container).unwrap();
    let living = Living::new();
    let map = || container.map_at(page(1), living.memory(PAGE), Access::Read);
    let guard = map().unwrap();
    done(takeover.give_back().unwrap()).unwrap();
    assert_eq!(living.count(), 1);

    let takeover = taken();
    let member = group(address).join(&container).unwrap();
    assert_eq!(living.count(), 0, "it went with the last group");
    let device = member.pci_device(address).unwrap();
    let mapping = map().unwrap();
    drop((stale, guard));
    assert_eq!(container.mapped().mappings, 1);
    mapping.unmap().unwrap();
    drop(map().unwrap());
    device.try_close().unwrap();
    drop(member);
    assert_eq!((recorder.refusals(), living.count()), (Vec::new(), 0));
    done(takeover.give_back().unwrap()).unwrap();
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_child_of_a_fork_has_what_its_parent_has_open() {
    let takeover = taken();
    let mut device = Some(device(takeover.address()));
    in_child(|| {
        is_in_use_here(takeover.give_back());
        // What it drops was never its own to close.
        drop(device.take());
    });
    is_in_use_here(takeover.give_back());
    device.unwrap().try_close().unwrap();
    done(takeover.give_back().unwrap()).unwrap();
}

/// Waits for a change that a child of this process holds up, `process`, and then has it let go.
fn held_up<T: Send + 'static>(change: Pending<T>, link: &mut Link, process: i32) -> T {
    let Waited::StillWaiting(change) = change.wait(MEANWHILE).unwrap() else {
        panic!("nobody was waited for")
    };
    let process = u32::try_from(process).unwrap();
    let users: Vec<u32> = change.users().iter().map(|user| user.process).collect();
    assert_eq!(users, [process]);
    let words = change.to_string();
    assert!(words.contains(&format!("process {process} (")), "{words}");
    let Waited::StillWaiting(change) = change.wait(MEANWHILE).unwrap() else {
        panic!("nobody was waited for")
    };
    link.meet();
    done(change).unwrap()
}

/// Opens the function, and holds it until the parent says so.
fn hold(address: PciAddress, link: &mut Link) {
    let file = open(address);
    link.meet();
    link.meet();
    drop(file);
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn another_process_is_waited_for_as_long_as_one_wants() {
    let takeover = taken();
    let address = takeover.address();
    beside(
        |link| hold(address, link),
        |link, process| {
            link.meet();
            let users = PciFunction::at(address).unwrap().users();
            assert_eq!(users.len(), 1, "{users:?}");
            let change = takeover.give_back().unwrap();
            // Whoever looks at the machine meanwhile is not held up.
            while state(address).0.is_some() {
                thread::sleep(Duration::from_millis(5));
            }
            let begin = Instant::now();
            PciFunction::all().unwrap();
            IommuGroup::all().unwrap();
            let readiness = Readiness::of(address).unwrap();
            assert!(!readiness.is_ready(), "{readiness}");
            assert!(begin.elapsed() < PATIENCE / 2 && !change.is_over());
            // Whatever becomes of this process, no driver of VFIO's will come by itself.
            assert_eq!(state(address), (None, None));
            held_up(change, link, process);
        },
    );
    assert_eq!(state(address), (with("virtio-pci"), None));
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_change_that_nobody_waits_for_is_made_all_the_same() {
    let takeover = taken();
    let address = takeover.address();
    beside(
        |link| hold(address, link),
        |link, _| {
            link.meet();
            let change = takeover.give_back().unwrap();
            let waited = change.wait(MEANWHILE).unwrap();
            assert!(matches!(waited, Waited::StillWaiting(_)));
            drop(waited);
            link.meet();
        },
    );
    let begin = Instant::now();
    while state(address).0 != with("virtio-pci") {
        assert!(begin.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_process_that_is_killed_meanwhile_ends_with_the_wait_and_another_goes_on() {
    let takeover = taken();
    let address = takeover.address();
    let (mut from_child, mut to_holder) = std::io::pipe().unwrap();
    let (mut from_holder, mut to_child) = std::io::pipe().unwrap();
    let released = AtomicBool::new(false);
    thread::scope(|scope| {
        // It opens the function after the fork, so that the child has not got it, too.
        scope.spawn(|| {
            from_child.read_exact(&mut [0]).unwrap();
            let file = open(address);
            to_child.write_all(b"!").unwrap();
            from_child.read_exact(&mut [0]).unwrap();
            // The child is being killed.
            thread::sleep(4 * MEANWHILE);
            released.store(true, Ordering::SeqCst);
            drop(file);
        });
        killed_in(|here| {
            to_holder.write_all(b"!").unwrap();
            from_holder.read_exact(&mut [0]).unwrap();
            let change = takeover.give_back().unwrap();
            let waited = change.wait(MEANWHILE).unwrap();
            assert!(matches!(waited, Waited::StillWaiting(_)));
            to_holder.write_all(b"!").unwrap();
            here();
        });
        // Killed or not, it was there until then.
        assert!(released.load(Ordering::SeqCst));
    });
    // What it would have done after that was not done. It can be done by somebody else.
    assert_eq!(state(address), (None, None));
    done(takeover.give_back().unwrap()).unwrap();
    assert_eq!(state(address), (with("virtio-pci"), None));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_driver_that_does_not_take_the_function_leaves_it_where_it_was() {
    let edu = lone();
    drop(cdev(edu));
    let before = state(edu);
    assert_eq!(before.0, with("vfio-pci"));
    let refused = done(Takeover::begin(edu, &name("virtio-pci")).unwrap()).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NODEV), "{refused}");
    let Error::Rebind(refused) = refused else {
        panic!("{refused}")
    };
    assert_eq!((refused.address, refused.rollback.is_none()), (edu, true));
    assert_eq!(state(edu), before);
    device(edu).try_close().unwrap();

    // A bridge is not taken by VFIO, and has its own driver again.
    let functions = PciFunction::all().unwrap();
    let bridge = functions
        .iter()
        .find(|function| function.class.is_some_and(vfio::PciClass::is_bridge))
        .unwrap();
    assert_eq!(bridge.driver.as_deref(), Some("pcieport"));
    let readiness = Readiness::of(bridge.address).unwrap();
    assert_eq!(readiness.blockers(), [Blocker::Bridge]);
    let refused = Takeover::begin(bridge.address, &DriverName::vfio_pci()).unwrap();
    let refused = done(refused).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL), "{refused}");
    assert_eq!(state(bridge.address), (with("pcieport"), None));
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn a_driver_that_is_not_vfios_does_not_keep_what_it_takes() {
    let takeover = taken();
    let address = takeover.address();
    let refused = done(Takeover::begin(address, &name("virtio-pci")).unwrap()).unwrap_err();
    assert!(matches!(refused, Error::NotVfioDriver { .. }), "{refused}");
    assert_eq!(state(address), (with("vfio-pci"), with("vfio-pci")));
    // Another has it by now: it is not taken from that one.
    let stranger = Takeover::recorded(address, name("other-vfio-pci"), Former::default());
    let refused = done(stranger.give_back().unwrap()).unwrap_err();
    assert!(matches!(refused, Error::DriverChanged { .. }), "{refused}");
    // A former driver that does not take it leaves it with VFIO.
    let wrong = Former::new(Some(name("pcieport")), None);
    let wrong = Takeover::recorded(address, DriverName::vfio_pci(), wrong);
    let refused = done(wrong.give_back().unwrap()).unwrap_err();
    assert!(matches!(refused, Error::Rebind(_)), "{refused}");
    assert_eq!(state(address), (with("vfio-pci"), with("vfio-pci")));
    done(takeover.give_back().unwrap()).unwrap();
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn wrong_names_are_told_apart() {
    let nowhere = PciAddress::new(0, 0xfe, 0, 0).unwrap();
    let begin = |address, driver| Takeover::begin(address, &name(driver)).unwrap_err();
    assert!(matches!(
        begin(nowhere, "vfio-pci"),
        Error::NoSuchDevice { .. }
    ));
    let error = begin(rng(), "no-such-driver");
    assert!(matches!(error, Error::NoSuchDriver { .. }), "{error}");
    assert!(error.to_string().contains("modprobe"), "{error}");
    assert_eq!(state(rng()), (with("virtio-pci"), None));
    assert!(matches!(Sriov::of(lone()), Err(Error::NoSriov { .. })));
    assert!(matches!(
        Sriov::of(nowhere),
        Err(Error::NoSuchDevice { .. })
    ));
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn without_root_nothing_is_changed() {
    let address = rng();
    in_child(|| {
        become_nobody(1 << 20);
        let change = Takeover::begin(address, &DriverName::vfio_pci()).unwrap();
        let refused = done(change).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::ACCESS), "{refused}");
        assert!(refused.to_string().contains("this takes root"), "{refused}");
        let two = NonZeroU16::new(2).unwrap();
        let refused = done(Sriov::of(igb()).unwrap().enable(two).unwrap()).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::ACCESS), "{refused}");
    });
    assert_eq!(state(address), (with("virtio-pci"), None));
}

/// Lets `vfio-pci` make virtual functions.
struct Allowed;

const ENABLE_SRIOV: &str = "/sys/module/vfio_pci/parameters/enable_sriov";

impl Allowed {
    fn new() -> Self {
        fs::write(ENABLE_SRIOV, "Y").unwrap();
        Self
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        fs::write(ENABLE_SRIOV, "N").unwrap();
    }
}

#[test]
#[ignore = "needs the lab's igb: cargo lab test"]
fn virtual_functions_are_made_and_removed() {
    let physical = igb();
    drop(cdev(physical));
    let card = Sriov::of(physical).unwrap();
    assert_eq!((card.address(), card.total()), (physical, 8));
    let count = |count| NonZeroU16::new(count).unwrap();
    assert!(matches!(
        card.enable(count(9)),
        Err(Error::TooManyVirtualFunctions { total: 8, .. })
    ));
    let refused = done(card.enable(count(2)).unwrap()).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOENT), "{refused}");
    assert!(refused.to_string().contains("enable_sriov"), "{refused}");
    assert_eq!(card.functions().unwrap(), []);

    let allowed = Allowed::new();
    let made = done(card.enable(count(2)).unwrap()).unwrap();
    assert_eq!(made.len(), 2);
    assert_eq!(card.functions().unwrap(), made);
    assert!(matches!(
        card.enable(count(2)),
        Err(Error::VirtualFunctionsExist { count: 2, .. })
    ));
    for address in &made {
        let readiness = Readiness::of(*address).unwrap();
        let function = readiness.function();
        assert_eq!(function.physical_function, Some(physical));
        assert_eq!(function.driver.as_deref(), Some("vfio-pci"));
        assert!(readiness.is_ready() && readiness.needs_vf_token());
        assert!(
            readiness.to_string().contains("bound with a VF token"),
            "{readiness}"
        );
    }
    assert!(!Readiness::of(physical).unwrap().needs_vf_token());

    // The file alone holds the function.
    let held = cdev(made[0]);
    is_in_use_here(card.disable());
    // The physical function takes its virtual ones with it.
    let all = Takeover::recorded(physical, DriverName::vfio_pci(), Former::default());
    is_in_use_here(all.give_back());
    drop(held);

    beside(
        |link| hold(made[1], link),
        |link, process| {
            link.meet();
            let change = card.disable().unwrap();
            held_up(change, link, process);
        },
    );
    assert_eq!(card.functions().unwrap(), []);
    assert!(matches!(
        Readiness::of(made[0]),
        Err(Error::NoSuchDevice { .. })
    ));
    done(card.disable().unwrap()).unwrap();
    drop(allowed);
    device(physical).try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's igb: cargo lab test"]
fn who_drives_the_physical_function_makes_its_virtual_ones() {
    let physical = igb();
    let driver = device(physical);
    let card = Sriov::of(physical).unwrap();
    let _allowed = Allowed::new();
    let count = NonZeroU16::new(card.total()).unwrap();
    let made = done(card.enable(count).unwrap()).unwrap();
    assert_eq!(made.len(), 8);
    let groups: Vec<_> = made
        .iter()
        .map(|address| PciFunction::at(*address).unwrap().group.unwrap())
        .collect();
    assert!((1..groups.len()).all(|number| !groups[..number].contains(&groups[number])));
    // Only the virtual ones go: it does not matter who has the physical one.
    done(card.disable().unwrap()).unwrap();
    assert_eq!(card.functions().unwrap(), []);
    driver.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_machine_is_told_as_it_is() {
    drop((cdev(lone()), cdev(igb()), cdev(pair()[0])));
    let functions = PciFunction::all().unwrap();
    let of = |address| {
        let found = functions
            .iter()
            .find(|function| function.address == address);
        found.unwrap()
    };
    assert!(functions.is_sorted_by_key(|function| function.address));

    let card = of(igb());
    assert_eq!(card.ids.unwrap().to_string(), "8086:10c9");
    assert_eq!(card.class.unwrap().to_string(), "0200.00");
    assert_eq!(card.total_virtual_functions, Some(8));
    assert!(card.reset_methods.contains(&ResetMethod::Flr), "{card:?}");
    assert!(card.vfio.is_some() && card.iommu.is_some());
    assert_eq!(of(lone()).reset_methods, []);
    assert_eq!(of(lone()), &PciFunction::at(lone()).unwrap());

    let groups = IommuGroup::all().unwrap();
    let group = groups
        .iter()
        .find(|group| Some(group.id) == of(pair()[1]).group)
        .unwrap();
    let members: Vec<&str> = group.devices.iter().map(|device| &*device.name).collect();
    assert_eq!(members, pair().map(|address| address.to_string()));
    assert_eq!(IommuGroup::of(group.id).unwrap(), *group);
    assert!(matches!(
        group.kind,
        IommuGroupType::Dma | IommuGroupType::DmaFlushQueue
    ));
    let msi = group
        .reserved
        .iter()
        .find(|region| region.kind == ReservedKind::Msi);
    assert_eq!(msi.unwrap().range.start(), tests::edu::INTERRUPTS);

    let kind = match cfg!(target_arch = "aarch64") {
        true => IommuKind::SmmuV3,
        false => IommuKind::VtD,
    };
    let units = IommuUnit::all().unwrap();
    let unit = units
        .iter()
        .find(|unit| Some(&unit.name) == card.iommu.as_ref())
        .unwrap();
    assert_eq!(unit.kind, kind);
    assert!(unit.devices >= 5, "{unit:?}");

    let mtty = Mtty::new();
    let nodes = VfioNode::all().unwrap();
    let node = nodes
        .iter()
        .find(|node| node.address() == Some(lone()))
        .unwrap();
    assert_eq!(node.bus.as_deref(), Some("pci"));
    assert_eq!(node.driver.as_deref(), Some("vfio-pci"));
    assert_eq!((node.group, node.is_noiommu()), (of(lone()).group, false));
    drop(Cdev::open(node.path.as_ref().unwrap()).unwrap());
    let mediated = nodes
        .iter()
        .find(|node| node.bus.as_deref() == Some("mdev"));
    assert!(mediated.unwrap().path.is_some());
    drop(mtty);
}
