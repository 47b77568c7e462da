//! How virtual IOMMUs are made, and how they go.

use iommufd::{Error, HwPt, Viommu};
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::mock::{self, abi};
use tests::raw::{self, nested};
use tests::{ids, refused};

use super::Fixture;
use crate::past;

pub(super) fn viommu_auto_destroy(fixture: Fixture) {
    let devices = mock::devices();
    // The SDK destroys what it has made.
    let witness = raw::witness(&fixture.iommufd);
    let count = usize::from(fixture.guest.is_some());
    drop(fixture);
    assert_eq!(raw::objects(&witness), 0);
    assert_eq!(mock::devices(), devices - count);

    // The kernel does, leaves first, when the last file is closed that belongs to the context.
    let ioas = raw::ioas_alloc(&witness).unwrap();
    let mut events = None;
    if count > 0 {
        let made = mock::mock_domain(&witness, ioas, 0).unwrap();
        let dev = made.out_idev_id;
        let parent = raw::nest_parent_alloc(&witness, dev, ioas).unwrap();
        let viommu = raw::viommu_alloc(&witness, abi::TYPE_SELFTEST, dev, parent).unwrap();
        let table = past::table(&witness, dev, viommu, |_| ()).unwrap();
        nested::vdevice_alloc(&witness, viommu, dev, 1).unwrap();
        mock::mock_domain_replace(&witness, made.out_stdev_id, table).unwrap();
        let mut arg = sys::iommu_veventq_alloc::sized();
        arg.viommu_id = viommu;
        arg.type_ = abi::VEVENTQ_TYPE_SELFTEST;
        arg.veventq_depth = 1;
        let (_, file) = nested::veventq_alloc(&witness, &mut arg).unwrap();
        events = Some(file);
    }
    assert_eq!(mock::devices(), devices);
    drop(witness);
    if let Some(file) = events {
        assert_eq!(mock::devices(), devices, "the queue's file keeps it all");
        drop(file);
    }
    assert_eq!(mock::devices(), devices - count);
}

pub(super) fn viommu_negative_tests(fixture: Fixture) {
    let fd = &fixture.iommufd;
    let ioas = ids::of(&fixture.ioas);
    let alloc = |flags, kind, dev, parent| {
        let mut arg = sys::iommu_viommu_alloc::sized();
        arg.flags = flags;
        arg.type_ = kind;
        arg.dev_id = dev;
        arg.hwpt_id = parent;
        nested::viommu_alloc(fd, &mut arg, &mut [])
    };
    let before = raw::objects(fd);
    // What no kernel has is refused before anything is looked for.
    for (flags, kind) in [
        (1, abi::TYPE_SELFTEST),
        (1 << 31, abi::TYPE_SELFTEST),
        (0, 0),
    ] {
        assert_eq!(alloc(flags, kind, 0, 0), Err(Errno::OPNOTSUPP));
    }
    for dev in [0, 9999, ioas] {
        let answer = alloc(0, abi::TYPE_SELFTEST, dev, ioas);
        assert_eq!(answer, Err(Errno::NOENT), "{dev}");
        // So is everything that would be made of one.
        let table = past::table(fd, dev, ioas, |_| ());
        assert_eq!(table, Err(Errno::NOENT), "{dev}");
    }
    let Some(guest) = &fixture.guest else {
        assert_eq!(raw::objects(fd), before);
        return;
    };
    let dev = guest.device.id();
    for kind in [1, 2, abi::TYPE_SELFTEST - 1, u32::MAX] {
        assert_eq!(
            alloc(0, kind, dev, ids::of(&guest.parent)),
            Err(Errno::OPNOTSUPP)
        );
    }
    // No table; and tables that are none to be a parent.
    let table = guest.table();
    for parent in [0, 9999, ioas, dev, guest.id(), ids::of(&table)] {
        let answer = alloc(0, abi::TYPE_SELFTEST, dev, parent);
        assert_eq!(answer, Err(Errno::NOENT), "{parent}");
    }
    table.try_destroy().unwrap();
    let plain = HwPt::new(&fixture.ioas, &guest.device).unwrap();
    let answer = alloc(0, abi::TYPE_SELFTEST, dev, ids::of(&plain));
    assert_eq!(answer, Err(Errno::INVAL));
    plain.try_destroy().unwrap();
    let stranger = mock::mock_domain(fd, ioas, 0).unwrap();
    let answer = alloc(0, abi::TYPE_SELFTEST, dev, stranger.out_hwpt_id);
    assert_eq!(answer, Err(Errno::INVAL), "the kernel's own table");
    raw::destroy(fd, stranger.out_stdev_id).unwrap();
    assert_eq!(raw::objects(fd), before);

    // Tables that are nested through it take no option but those for page requests and PASIDs, and need data.
    for flags in [
        sys::IOMMU_HWPT_ALLOC_NEST_PARENT,
        sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
        1 << 31,
    ] {
        let answer = past::table(fd, dev, guest.id(), |arg| arg.flags = flags);
        assert_eq!(answer, Err(Errno::OPNOTSUPP), "{flags:#x}");
    }
    let answer = past::table_with(fd, dev, guest.id(), &[], |_| ());
    assert_eq!(answer, Err(Errno::OPNOTSUPP));
    let answer = past::table(fd, dev, guest.id(), |arg| arg.data_type = 1);
    assert_eq!(answer, Err(Errno::OPNOTSUPP));
    assert_eq!(raw::objects(fd), before);

    // What something is made of stays. The SDK does not even ask.
    let busy = |id| assert_eq!(raw::destroy(fd, id), Err(Errno::BUSY));
    busy(ids::of(&guest.parent));
    busy(dev);
    let table = guest.table();
    busy(guest.id());
    let refusal = guest.viommu.clone().try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    let refusal = guest.parent.clone().try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    table.try_destroy().unwrap();
    // What is not there cannot be named to the SDK; a kind that this IOMMU has not can.
    let of_nobody = Viommu::<OfNobody>::with_data(&guest.parent, &guest.device, []);
    refused(of_nobody, Errno::OPNOTSUPP);
}

/// A kind of virtual IOMMU that the mock has not.
type OfNobody = mock::nesting::Unusual<1, 0>;
