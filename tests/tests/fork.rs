//! A child of a fork has copies of the handles, and none of the objects.

use iommufd::{Access, DmaBuffer, DmaMemory, Error, HwPt, Ioas, Iommufd};
use tests::at::{PAGE, page};
use tests::fork::in_child;
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice};
use tests::observe::Recorder;

fn forked(error: &Error) -> bool {
    matches!(error, Error::Forked)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_every_call_is_refused_and_no_ioctl_is_made() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let other = Ioas::new(&iommufd).unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let mut attachment = device.attach(&hwpt).unwrap();
    let shared = DmaBuffer::new(PAGE).unwrap().share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    let spare = MockDevice::new(&iommufd).unwrap();
    let file = tests::file::memfd(PAGE);
    recorder.clear();
    in_child(|| {
        assert!(forked(&iommufd.check_process().unwrap_err()));
        assert!(forked(&Ioas::new(&iommufd).unwrap_err()));
        assert!(forked(&ioas.iova_ranges().unwrap_err()));
        assert!(forked(&ioas.allow_iovas(&[]).unwrap_err()));
        assert!(forked(&ioas.map(&shared, Access::Read).unwrap_err()));
        let range = iommufd::FileRange::new(&file, 0..PAGE as u64);
        assert!(forked(&ioas.map_file(range, Access::Read).unwrap_err()));
        assert!(forked(&ioas.unmap_all().unwrap_err()));
        // It cannot tell, as it cannot look: the ledger may be locked by a thread that is not here.
        assert_eq!(ioas.mapped(), iommufd::Mapped::default());
        assert!(forked(&ioas.unmap_range(mapping.range()).unwrap_err()));
        assert!(forked(&HwPt::new(&ioas, &device).unwrap_err()));
        assert!(forked(&device.hw_info().unwrap_err()));
        assert!(forked(&spare.attach(&ioas).unwrap_err()));
        assert!(forked(&device.group().replace(&ioas).unwrap_err()));
        assert!(forked(&MockDevice::new(&iommufd).unwrap_err()));
        assert!(forked(&attachment.replace(&ioas).unwrap_err()));
        let refusal = attachment.detach().unwrap_err();
        assert!(forked(refusal.error()));
        let refusal = mapping.unmap().unwrap_err();
        assert!(forked(refusal.error()));
        let refusal = hwpt.try_destroy().unwrap_err();
        let refused = refusal.error();
        assert!(forked(refused) || matches!(refused, Error::InUse { .. }));
        assert!(forked(other.try_destroy().unwrap_err().error()));
        assert_eq!(recorder.count(), 0);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_that_drops_everything_takes_nothing_from_its_parent() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let attachment = device.attach(&hwpt).unwrap();
    let living = Living::new();
    let memory = living.filled(PAGE, 0x77);
    let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let everything = (iommufd, device, ioas, hwpt, attachment, memory, mapping);
    recorder.clear();
    let mut everything = Some(everything);
    in_child(|| {
        drop(everything.take());
        assert_eq!(recorder.count(), 0);
        assert_eq!(recorder.refusals(), []);
    });
    let (iommufd, device, ioas, hwpt, attachment, memory, mapping) = everything.take().unwrap();
    device.check_map(page(0), memory.bytes()).unwrap();
    let mut seen = [0; PAGE];
    MockAccess::new(&ioas)
        .unwrap()
        .read(page(0), &mut seen)
        .unwrap();
    assert_eq!(seen, [0x77; PAGE]);
    assert_eq!(living.count(), 1);
    mapping.unmap().unwrap();
    attachment.detach().unwrap();
    hwpt.try_destroy().unwrap();
    ioas.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_memory_that_a_child_inherits_is_its_own_to_let_go_of() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas.map(living.filled(PAGE, 1), Access::Read).unwrap();
    let mut inherited = Some((mapping, ioas));
    in_child(|| {
        let (mapping, ioas) = inherited.take().unwrap();
        drop(mapping);
        drop(ioas);
        let leaks = iommufd.leaks();
        assert_eq!((leaks.objects, leaks.mappings), (0, 0), "nothing to tell");
    });
    assert_eq!(living.count(), 1);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_opens_a_context_of_its_own() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    in_child(|| {
        let own = Iommufd::open().unwrap();
        let device = MockDevice::new(&own).unwrap();
        let own_ioas = Ioas::new(&own).unwrap();
        let attachment = device.attach(&own_ioas).unwrap();
        let living = Living::new();
        let mapping = own_ioas
            .map_at(page(0), living.memory(PAGE), Access::Read)
            .unwrap();
        mapping.unmap().unwrap();
        attachment.detach().unwrap();
        assert_eq!(living.count(), 0);
        let mixed = device.attach(&ioas).unwrap_err();
        assert!(matches!(mixed, Error::ForeignContext { .. }));
        // A child of the child is a stranger to both.
        in_child(|| {
            assert!(forked(&Ioas::new(&own).unwrap_err()));
            assert!(forked(&Ioas::new(&iommufd).unwrap_err()));
            Iommufd::open().unwrap();
        });
        Ioas::new(&own).unwrap();
    });
    Ioas::new(&iommufd).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_context_that_the_child_takes_over_by_its_file_is_the_childs() {
    // The kernel's context is shared, but what the child makes in it through a handle of its own is its own.
    let iommufd = Iommufd::open().unwrap();
    let mut fd = Some(tests::raw::witness(&iommufd));
    in_child(|| {
        let own = Iommufd::from_fd(fd.take().unwrap()).unwrap();
        let ioas = Ioas::new(&own).unwrap();
        ioas.try_destroy().unwrap();
    });
    assert_eq!(tests::raw::objects(&iommufd), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_in_a_file_is_used_in_the_process_that_made_it() {
    let mut shared = Some(DmaBuffer::memfd(PAGE).unwrap().share());
    let mut owned = Some(DmaBuffer::memfd(PAGE).unwrap());
    in_child(|| {
        let (shared, owned) = (shared.take().unwrap(), owned.take().unwrap());
        assert!(matches!(shared.read::<u64>(0), Err(Error::Forked)));
        assert!(matches!(shared.write(0, 1_u64), Err(Error::Forked)));
        assert!(matches!(shared.read_bytes(0, &mut [0]), Err(Error::Forked)));
        assert!(matches!(shared.write_bytes(0, &[1]), Err(Error::Forked)));
        let slice = std::panic::catch_unwind(|| owned[0]);
        assert!(slice.is_err(), "the slice would be of the parent's pages");
        // What the child drops is not in the way of what it makes then.
        drop((shared, owned));
        assert!(vec![0_u8; 64 * PAGE].iter().all(|&byte| byte == 0));
    });
    let (shared, mut owned) = (shared.unwrap(), owned.unwrap());
    shared.write(0, 1_u64).unwrap();
    owned[0] = 1;
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_maps_no_buffer_whose_pages_are_its_parents() {
    let mut given = Some((
        DmaBuffer::memfd(PAGE).unwrap(),
        DmaBuffer::new(PAGE).unwrap(),
    ));
    in_child(|| {
        // The context is the child's own: it is the memory that is not.
        let (own, recorder) = Recorder::context();
        let ioas = Ioas::new(&own).unwrap();
        recorder.clear();
        let (theirs, copied) = given.take().unwrap();
        let (theirs, copied) = (theirs.share(), copied.share());
        for access in [Access::Read, Access::Write, Access::ReadWrite] {
            let refused = ioas.map_at(page(0), &theirs, access);
            assert!(forked(&refused.unwrap_err()));
        }
        assert!(forked(&ioas.map(&theirs, Access::ReadWrite).unwrap_err()));
        assert_eq!(recorder.count(), 0, "the kernel was not asked");
        assert_eq!(ioas.mapped(), iommufd::Mapped::default());
        // Pages that the fork has copied are the child's to share.
        let mapping = ioas.map_at(page(0), &copied, Access::ReadWrite).unwrap();
        let access = MockAccess::new(&ioas).unwrap();
        access.write(page(0), &[0xee; 16]).unwrap();
        drop(access);
        mapping.unmap().unwrap();
    });
    let (theirs, copied) = given.take().unwrap();
    assert_eq!(
        (theirs[0], copied[0]),
        (0, 0),
        "the child's device wrote here"
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_grandchild_maps_no_buffer_of_the_child() {
    in_child(|| {
        let shared = DmaBuffer::memfd(PAGE).unwrap().share();
        let map = || {
            let own = Iommufd::open().unwrap();
            let ioas = Ioas::new(&own).unwrap();
            ioas.map(&shared, Access::ReadWrite)?.unmap()?;
            Ok::<_, Error>(())
        };
        in_child(|| assert!(forked(&map().unwrap_err())));
        map().unwrap();
    });
}
