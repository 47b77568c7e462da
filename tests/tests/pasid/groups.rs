//! PASIDs of devices that share an IOMMU group, or may share one. The mock's devices each have a group of their own, so
//! what is tried here is what the SDK refuses, and what it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use iommufd::{Error, GroupId, GroupIdentity, HwPt, Ioas, Iommufd, PasidTarget, Target};
use parking_lot::Mutex;
use rustix::io::Errno;
use tests::fork::in_child;
use tests::ids;
use tests::mock::{MockDevice, MockOptions, abi};
use tests::observe::Recorder;
use tests::pasids::{pasid, table};
use tests::within::within;

const ONE: GroupIdentity = GroupIdentity::Group(GroupId::new(1));
const UNKNOWN: GroupIdentity = GroupIdentity::Unknown;

fn device(iommufd: &Iommufd, identity: GroupIdentity) -> MockDevice {
    let flags = abi::DEVICE_PASID;
    MockDevice::with(iommufd, MockOptions { identity, flags }).unwrap()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn siblings_share_what_a_pasid_is_attached_to() {
    let (iommufd, recorder) = Recorder::context();
    let (one, two) = (device(&iommufd, ONE), device(&iommufd, ONE));
    let ioas = Ioas::new(&iommufd).unwrap();
    let (here, there) = (table(&ioas, &one), table(&ioas, &one));
    let mut of_one = one.attach_pasid(pasid(5), &here).unwrap();
    let mut own = two.attach_pasid(pasid(6), &there).expect("another PASID");
    recorder.clear();
    let refused = two.attach_pasid(pasid(5), &there).unwrap_err();
    assert!(
        matches!(refused, Error::GroupAttachedElsewhere { .. }),
        "{refused}"
    );
    assert_eq!(recorder.count(), 0);
    let of_two = two.attach_pasid(pasid(5), &here).unwrap();

    // The other would move as well. A PASID that the sibling does not have attached moves alone.
    recorder.clear();
    let refused = of_one.replace(&there).unwrap_err();
    assert!(matches!(refused, Error::GroupShared { members: 2, .. }));
    assert_eq!(recorder.count(), 0);
    own.replace(&here).unwrap();
    of_two.detach().unwrap();
    of_one.replace(&there).unwrap();
    one.check_pasid(pasid(5), ids::of(&there)).unwrap();
    drop((of_one, own));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_of_several_devices_moves_by_the_group() {
    let (iommufd, recorder) = Recorder::context();
    let (one, two) = (device(&iommufd, ONE), device(&iommufd, ONE));
    let ioas = Ioas::new(&iommufd).unwrap();
    let (here, there) = (table(&ioas, &one), table(&ioas, &one));
    let unfit = HwPt::new(&ioas, &one).unwrap();
    let group = two.group();
    let nothing = group.replace_pasid(pasid(5), &there).unwrap_err();
    assert!(matches!(nothing, Error::NotAttached), "{nothing}");
    let own = one.attach(&here).unwrap();
    let other = two.attach_pasid(pasid(6), &here).unwrap();
    let attachments = [&one, &two].map(|device| device.attach_pasid(pasid(5), &here).unwrap());

    recorder.clear();
    let refused = group.replace_pasid(pasid(5), &unfit).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    let refused = group.replace_pasid(pasid(7), &there).unwrap_err();
    assert!(matches!(refused, Error::NotAttached), "{refused}");
    assert_eq!(recorder.count(), 0);
    group.replace_pasid(pasid(5), &there).unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_TEST_CMD"], "one atomic step");
    one.check_pasid(pasid(5), ids::of(&there)).unwrap();
    for attachment in &attachments {
        assert_eq!(attachment.target(), Some(PasidTarget::from(&there)));
    }
    // Neither the devices themselves nor another PASID went with it.
    assert_eq!(own.target(), Some(Target::from(&here)));
    assert_eq!(one.page_table(), ids::of(&here));
    assert_eq!(other.target(), Some(PasidTarget::from(&here)));
    two.check_pasid(pasid(6), ids::of(&here)).unwrap();
    drop((own, other));
    let here = here.try_destroy().unwrap_err();
    let busy = here.error().errno();
    assert_eq!(
        busy,
        Some(Errno::BUSY),
        "the mock's second device has a group of its own"
    );

    // A device of which nothing is known may be a sibling.
    let stranger = device(&iommufd, UNKNOWN);
    let of_stranger = stranger.attach(&ioas).unwrap();
    recorder.clear();
    let refused = group.replace_pasid(pasid(5), &there).unwrap_err();
    assert!(matches!(refused, Error::GroupShared { .. }), "{refused}");
    assert_eq!(recorder.count(), 0);
    drop((of_stranger, attachments));
    here.into_value().try_destroy().unwrap();
    there.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_group_with_a_pasid_attached_stays_with_tables_for_that() {
    let (iommufd, recorder) = Recorder::context();
    let (one, two) = (device(&iommufd, ONE), device(&iommufd, ONE));
    let ioas = Ioas::new(&iommufd).unwrap();
    let (fit, other) = (table(&ioas, &one), table(&ioas, &one));
    let unfit = HwPt::new(&ioas, &one).unwrap();
    let of_pasid = one.attach_pasid(pasid(5), &fit).unwrap();
    recorder.clear();
    for refused in [
        two.attach(&unfit).unwrap_err(),
        two.attach(&ioas).unwrap_err(),
    ] {
        assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    }
    assert_eq!(recorder.count(), 0);
    let attachments = [one.attach(&fit).unwrap(), two.attach(&fit).unwrap()];
    recorder.clear();
    let refused = two.group().replace(&unfit).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    assert_eq!(recorder.count(), 0);
    // The devices move, their PASIDs stay.
    two.group().replace(&other).unwrap();
    for attachment in &attachments {
        let target = attachment.target().unwrap();
        assert!(matches!(target, iommufd::Target::HwPt(now) if ids::of(&now) == ids::of(&other)));
    }
    one.check_pasid(pasid(5), ids::of(&fit)).unwrap();
    of_pasid.detach().unwrap();
    two.group().replace(&unfit).unwrap();
    let refused = one.attach_pasid(pasid(5), &fit).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    drop(attachments);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn pasids_of_devices_of_unknown_groups_are_attached_freely_and_moved_alone() {
    let (iommufd, recorder) = Recorder::context();
    let (one, two) = (device(&iommufd, UNKNOWN), device(&iommufd, UNKNOWN));
    let ioas = Ioas::new(&iommufd).unwrap();
    let (here, there) = (table(&ioas, &one), table(&ioas, &one));
    let unfit = HwPt::new(&ioas, &one).unwrap();
    let mut of_one = one.attach_pasid(pasid(5), &here).unwrap();
    // What the other has attached is no reason to refuse: it may be of another group. The kernel knows.
    let of_two = two.attach_pasid(pasid(5), &there).unwrap();
    let beside = device(&iommufd, UNKNOWN);
    let beside = beside.attach(&unfit).unwrap();
    recorder.clear();
    let refused = of_one.replace(&there).unwrap_err();
    assert!(matches!(refused, Error::GroupShared { members: 2, .. }));
    assert_eq!(recorder.count(), 0);
    of_two.detach().unwrap();
    of_one.replace(&there).unwrap();

    // A device of a known group may be its sibling, whatever of it is attached.
    let known = device(&iommufd, ONE);
    let mut of_known = known.attach_pasid(pasid(6), &here).unwrap();
    recorder.clear();
    of_one.replace(&here).unwrap_err();
    of_known.replace(&there).unwrap_err();
    assert_eq!(recorder.count(), 0);
    drop((of_one, beside));
    of_known.replace(&there).unwrap();
    of_known.detach().unwrap();
}

/// One may be the sibling of the other, and the kernel would move both.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn while_a_device_moves_none_is_attached_that_may_be_its_sibling() {
    for (mover, comer) in [(ONE, UNKNOWN), (UNKNOWN, ONE)] {
        within(60, move || {
            let iommufd = Iommufd::open().unwrap();
            let (mover, comer) = (device(&iommufd, mover), device(&iommufd, comer));
            let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
            let mut attachment = mover.attach(&here).unwrap();
            let (done, wait) = mpsc::channel();
            let moved = Arc::new(AtomicBool::new(false));
            let comes = {
                let (comer, here, moved) = (comer.clone(), here.clone(), Arc::clone(&moved));
                move || {
                    let attachment = comer.attach(&here).unwrap();
                    done.send(moved.load(Ordering::SeqCst)).unwrap();
                    attachment
                }
            };
            let (start, started) = mpsc::channel();
            let wait = Mutex::new(wait);
            mover.before_attach(move || {
                start.send(()).unwrap();
                // The move has been allowed, and is not done yet.
                let early = wait.lock().recv_timeout(Duration::from_millis(200));
                assert_eq!(early, Err(RecvTimeoutError::Timeout));
                moved.store(true, Ordering::SeqCst);
            });
            let comes = thread::spawn(move || {
                started.recv().unwrap();
                comes()
            });
            attachment.replace(&there).unwrap();
            drop(mover);
            let mut of_comer = comes.join().unwrap();
            // Now they are two, of which neither moves.
            of_comer.replace(&there).unwrap_err();
            attachment.replace(&here).unwrap_err();
            drop((attachment, of_comer));
        });
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn devices_of_other_groups_do_not_wait_for_each_other() {
    within(60, || {
        let iommufd = Iommufd::open().unwrap();
        let two = GroupIdentity::Group(GroupId::new(2));
        let (slow, quick) = (device(&iommufd, ONE), device(&iommufd, two));
        let ioas = Ioas::new(&iommufd).unwrap();
        let quick = Arc::new(quick);
        let hook = {
            let (quick, ioas) = (Arc::clone(&quick), ioas.clone());
            move || {
                let (quick, ioas) = (Arc::clone(&quick), ioas.clone());
                let attach = thread::spawn(move || quick.attach(&ioas).unwrap());
                attach.join().unwrap().detach().unwrap();
            }
        };
        slow.before_attach(hook);
        slow.attach(&ioas).unwrap().detach().unwrap();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_nobody_waits_for_a_lock_that_the_fork_has_left_held() {
    let iommufd = Iommufd::open().unwrap();
    let rig = device(&iommufd, ONE);
    let ioas = Ioas::new(&iommufd).unwrap();
    let fit = table(&ioas, &rig);
    let (looker, target) = (rig.clone(), fit.clone());
    rig.before_attach(move || {
        in_child(|| {
            assert_eq!(looker.group().attached(), 0);
            assert!(!looker.is_attached());
            let refused = looker.attach_pasid(pasid(1), &target).unwrap_err();
            assert!(matches!(refused, Error::Forked));
            drop(looker.clone());
        });
    });
    let attachment = rig.attach(&fit).unwrap();
    let of_pasid = rig.attach_pasid(pasid(1), &fit).unwrap();
    rig.before_attach(|| {});
    of_pasid.detach().unwrap();
    attachment.detach().unwrap();
}
