//! Devices that somebody else has bound, as a launcher does for a sandboxed program.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(unsafe_code, reason = "the test answers for what was bound")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use iommufd::{Access, DmaBuffer, GroupIdentity, HwPt, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::edu::{assert_free, cdev, lone};
use tests::mtty::Mtty;
use tests::observe::Recorder;
use tests::raw;
use vfio::{AnyDevice, Device, Error, PreBound, Readiness, RegionIndex, Revocation};

/// What a launcher gives away: the context, the device's file and its id.
struct Launched {
    context: OwnedFd,
    file: OwnedFd,
    id: u32,
}

impl Launched {
    fn new(node: &Path) -> Self {
        let context = raw::open();
        let file = File::options().read(true).write(true).open(node).unwrap();
        let id = raw::vfio_bind(&file, &context).unwrap();
        Self {
            context,
            file: file.into(),
            id,
        }
    }

    fn edu() -> Self {
        drop(cdev(lone()));
        Self::new(&node())
    }
}

fn node() -> PathBuf {
    let readiness = Readiness::of(lone()).unwrap();
    readiness.cdev().unwrap().to_owned()
}

/// Takes over what the test itself has bound.
fn adopt(device: PreBound, iommufd: &Iommufd) -> AnyDevice {
    // SAFETY: the test has bound it to this context, under its id, and does nothing with it any more.
    unsafe { device.adopt(iommufd) }.unwrap()
}

fn translated(device: AnyDevice) -> Device {
    device.as_device().unwrap().clone()
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_that_a_launcher_has_bound_is_used_as_any_other() {
    let launched = Launched::edu();
    let iommufd = Iommufd::from_fd(launched.context).unwrap();
    let device = PreBound::from_fd(launched.file, launched.id).unwrap();
    assert_eq!(device.address(), Some(lone()));
    let device = translated(adopt(device, &iommufd));
    assert!(matches!(
        device.iommu().group().identity(),
        GroupIdentity::Group(_)
    ));

    let ioas = Ioas::new(&iommufd).unwrap();
    let table = HwPt::new(&ioas, device.iommu()).unwrap();
    let attachment = device.attach(&table).unwrap();
    let memory = DmaBuffer::new(2 * 4096).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    let edu = examples::edu::Edu::new(&device).unwrap();
    memory.write(0, 0x5eed_u64).unwrap();
    edu.fetch(mapping.iova(), 8).unwrap();
    edu.store(mapping.iova().checked_add(4096).unwrap(), 8)
        .unwrap();
    assert_eq!(memory.load_acquire::<u64>(4096).unwrap(), 0x5eed);
    drop(edu);
    device.config().unwrap().disable_bus_master().unwrap();
    attachment.detach().unwrap();
    device.try_close().unwrap();
    assert_free(lone());
    drop((mapping, table));
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_the_launcher_had_attached_and_enabled_is_let_go_of() {
    let launched = Launched::edu();
    let ioas = raw::ioas_alloc(&launched.context).unwrap();
    raw::vfio_attach(&launched.file, ioas).unwrap();
    assert_eq!(raw::destroy(&launched.context, ioas), Err(Errno::BUSY));
    raw::vfio_enable_msi(&launched.file).unwrap();

    let iommufd = Iommufd::from_fd(launched.context).unwrap();
    let device = PreBound::from_fd(launched.file, launched.id).unwrap();
    let device = translated(adopt(device, &iommufd));
    raw::destroy(&iommufd, ioas).unwrap();
    assert!(!device.holders().attached);
    // Interrupts that are enabled could not be enabled so.
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    device.msi(1).unwrap().disable().unwrap();
    attachment.detach().unwrap();
    device.try_close().unwrap();
    assert_free(lone());
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_mediated_device_is_adopted_as_one() {
    let mtty = Mtty::new();
    let launched = Launched::new(&mtty.node());
    let (iommufd, recorder) = Recorder::context_of(launched.context);
    let device = PreBound::from_fd(launched.file, launched.id).unwrap();
    let AnyDevice::Mediated(device) = adopt(device, &iommufd) else {
        panic!("it is a mediated device")
    };
    // It can record what it writes, and is told to do so no more.
    assert!(
        recorder
            .answers()
            .contains(&("VFIO_DEVICE_FEATURE", Ok(())))
    );
    let ioas = Ioas::new(&iommufd).unwrap();
    device.attach(&ioas).unwrap().detach().unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_is_not_bound_or_has_another_id_is_given_back_as_it_was() {
    drop(cdev(lone()));
    let file = File::options().read(true).write(true).open(node()).unwrap();
    let refused = PreBound::from_fd(file.into(), 1).unwrap_err();
    assert!(matches!(refused.error(), Error::NotBound), "{refused}");
    drop(refused);
    let refused = PreBound::from_fd(raw::open(), 1).unwrap_err();
    assert!(matches!(refused.error(), Error::NotVfio), "{refused}");

    let launched = Launched::edu();
    let (witness, id) = (raw::witness(&launched.context), launched.id);
    let (iommufd, recorder) = Recorder::context_of(launched.context);
    let ioas = raw::ioas_alloc(&witness).unwrap();
    raw::vfio_attach(&launched.file, ioas).unwrap();
    let twin = launched.file.try_clone().unwrap();
    let device = PreBound::from_fd(launched.file, ioas).unwrap();
    recorder.clear();
    // SAFETY: it is not: the id is another object's. It is found out before anything is done by it.
    let refused = unsafe { device.adopt(&iommufd) }.unwrap_err();
    assert!(matches!(refused.error(), Error::WrongId), "{refused}");
    assert_eq!(recorder.calls(), ["IOMMU_GET_HW_INFO"]);
    let device = refused.into_value();
    rustix::io::fcntl_getfd(device.as_fd()).unwrap();
    drop(device);
    assert_eq!(raw::destroy(&witness, ioas), Err(Errno::BUSY), "attached");
    let device = PreBound::from_fd(twin, id).unwrap();
    translated(adopt(device, &iommufd)).try_close().unwrap();
    raw::destroy(&witness, ioas).unwrap();
    assert_free(lone());
}

/// Where configuration space is in the file of a PCI function, and in that the command register.
const COMMAND: u64 = (7 << 40) + 4;

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn registers_that_the_launcher_has_left_switched_off_are_revoked_until_they_are_on() {
    let launched = Launched::edu();
    assert_eq!(rustix::io::pwrite(&launched.file, &[0], COMMAND), Ok(1));
    raw::vfio_low_power(&launched.file).unwrap();

    let iommufd = Iommufd::from_fd(launched.context).unwrap();
    let device = PreBound::from_fd(launched.file, launched.id).unwrap();
    let device = translated(adopt(device, &iommufd));
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let off = registers.read::<u32>(0);
    let cause = Revocation::MemoryDecode;
    assert!(matches!(off, Err(Error::Revoked { cause: found, .. }) if found == cause));
    device.config().unwrap().enable_memory_decode().unwrap();
    assert_eq!(registers.read::<u32>(0).unwrap() & 0xff, 0xed);
    // Low power is over, too: it can be entered, and left.
    device.low_power().unwrap().exit().unwrap();
    registers.read::<u32>(0).unwrap();
    drop(registers);
    device.try_close().unwrap();
    assert_free(lone());
}
