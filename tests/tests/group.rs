//! IOMMU groups, as the SDK keeps them. The kernel's mock devices each have a group of their own, so what is tried here
//! are the SDK's refusals: what the kernel does to siblings takes hardware that has them.

use iommufd::{Error, GroupId, GroupIdentity, Ioas, Iommufd};
use tests::mock::MockDevice;
use tests::observe::Recorder;

const ONE: GroupIdentity = GroupIdentity::Group(GroupId::new(1));
const TWO: GroupIdentity = GroupIdentity::Group(GroupId::new(2));

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn siblings_are_attached_to_the_same_or_the_kernel_is_not_asked() {
    let (iommufd, recorder) = Recorder::context();
    let one = MockDevice::in_group(&iommufd, ONE).unwrap();
    let two = MockDevice::in_group(&iommufd, ONE).unwrap();
    let other = MockDevice::in_group(&iommufd, TWO).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let attachment = one.attach(&here).unwrap();
    recorder.clear();
    let error = two.attach(&there).unwrap_err();
    assert!(
        matches!(error, Error::GroupAttachedElsewhere { group, .. } if group == GroupId::new(1)),
        "{error}"
    );
    assert_eq!(recorder.count(), 0);
    let sibling = two.attach(&here).unwrap();
    assert_eq!(one.group().attached(), 2);
    let _elsewhere = other.attach(&there).unwrap();
    assert_eq!(other.group().attached(), 1);

    drop((attachment, sibling));
    let _moved = two.attach(&there).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_replace_that_would_move_a_sibling_is_refused_before_the_ioctl() {
    let (iommufd, recorder) = Recorder::context();
    let one = MockDevice::in_group(&iommufd, ONE).unwrap();
    let two = MockDevice::in_group(&iommufd, ONE).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let mut attachment = one.attach(&here).unwrap();
    let sibling = two.attach(&here).unwrap();
    recorder.clear();
    let refusal = attachment.replace(&there).unwrap_err();
    assert!(matches!(refusal, Error::GroupShared { members: 2, .. }));
    assert_eq!(recorder.count(), 0);

    sibling.detach().unwrap();
    attachment.replace(&there).unwrap();
    assert!(attachment.target().is_some());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_group_moves_with_one_ioctl_and_every_attachment_says_so() {
    let (iommufd, recorder) = Recorder::context();
    let one = MockDevice::in_group(&iommufd, ONE).unwrap();
    let two = MockDevice::in_group(&iommufd, ONE).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let nothing = one.group().replace(&there).unwrap_err();
    assert!(matches!(nothing, Error::NotAttached));
    let attachments = [one.attach(&here).unwrap(), two.attach(&here).unwrap()];
    let ranges = there.iova_ranges().unwrap();
    recorder.clear();
    two.group().replace(&there).unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_TEST_CMD"]);
    assert!(!ranges.is_current());
    for attachment in &attachments {
        let target = attachment.target().unwrap();
        assert_eq!(tests::ids::of(target.ioas()), tests::ids::of(&there));
    }
    here.try_destroy()
        .expect_err("the mock's second device has not moved, as it has a group of its own");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn devices_of_unknown_groups_may_be_siblings() {
    let (iommufd, recorder) = Recorder::context();
    let one = MockDevice::in_group(&iommufd, GroupIdentity::Unknown).unwrap();
    let two = MockDevice::in_group(&iommufd, GroupIdentity::Unknown).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    // Alone, it can be moved; and two may well be attached to different targets.
    let mut attachment = one.attach(&here).unwrap();
    attachment.replace(&there).unwrap();
    let other = two.attach(&here).unwrap();
    recorder.clear();
    let refusal = attachment.replace(&here).unwrap_err();
    assert!(matches!(refusal, Error::GroupShared { members: 2, .. }));
    let error = one.group().replace(&here).unwrap_err();
    assert!(matches!(error, Error::GroupShared { members: 2, .. }));
    assert_eq!(recorder.count(), 0);
    drop(other);
    attachment.replace(&here).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_of_a_known_group_may_have_a_sibling_of_which_nothing_is_known() {
    let (iommufd, recorder) = Recorder::context();
    let known = MockDevice::in_group(&iommufd, ONE).unwrap();
    let alone = MockDevice::in_group(&iommufd, GroupIdentity::Alone).unwrap();
    let unknown = MockDevice::in_group(&iommufd, GroupIdentity::Unknown).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let mut of_known = known.attach(&here).unwrap();
    let mut of_alone = alone.attach(&here).unwrap();
    let mut of_unknown = unknown.attach(&here).unwrap();
    recorder.clear();
    of_known.replace(&there).unwrap_err();
    of_unknown.replace(&there).unwrap_err();
    assert_eq!(recorder.count(), 0);
    of_alone.replace(&there).expect("it is alone");
    drop(of_known);
    of_unknown.replace(&there).unwrap();
    drop(of_unknown);
    let mut of_known = known.attach(&here).unwrap();
    of_known.replace(&there).unwrap();
    of_known.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_group_is_forgotten_with_its_last_device() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    for _ in 0..3 {
        let device = MockDevice::in_group(&iommufd, ONE).unwrap();
        assert_eq!(device.group().attached(), 0);
        assert_eq!(device.group().identity(), ONE);
        let attachment = device.attach(&ioas).unwrap();
        drop(device);
        assert_eq!(attachment.device().group().attached(), 1);
        drop(attachment);
    }
    ioas.try_destroy().unwrap();
}

/// Which of them the kernel refers to nobody knows.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_of_an_unknown_group_is_not_closed_before_what_may_be_its_siblings_are_detached() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let [one, two, three] =
        [(); 3].map(|()| MockDevice::in_group(&iommufd, GroupIdentity::Unknown).unwrap());
    let attachments = [&one, &two, &three].map(|device| device.attach(&ioas).unwrap());
    let [first, second, third] = attachments;
    first.detach().unwrap();
    second.detach().unwrap();
    let bound = tests::raw::objects(&iommufd);
    for device in [one, two] {
        let refused = device.into_device().try_close().unwrap_err();
        assert!(
            matches!(refused.error(), Error::LeadsGroup { members: 1, .. }),
            "{refused}"
        );
    }
    // They were dropped, and stay bound.
    assert_eq!(tests::raw::objects(&iommufd), bound);
    third.detach().unwrap();
    three.into_device().try_close().unwrap();
    drop(ioas);
    assert_eq!(tests::raw::objects(&iommufd), 0);
}
