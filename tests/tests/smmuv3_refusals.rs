//! What Linux's SMMUv3 driver refuses, asked past the SDK; and what becomes of the same in the SDK: an error that names
//! it, or nothing that could be written.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::os::fd::OwnedFd;

use examples::guest::AddressSpace;
use iommufd::smmuv3::{EventRecord, Invalidation, Smmuv3, StaleAsids};
use iommufd::{Error, HwPt, NestedHwPt, NestedHwPtBuilder, Pasid, VDevice, VEventQueue, Viommu};
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use smmuv3_types::{
    AtcSpan, Command, Granule, Ipa, NestedConfig, NestedSte, NotForwardedReason, RefusedSte,
    StreamId, StreamRange, SubstreamId, TlbiRange, Vmid,
};
use tests::edu::{bind, cdev, lone, pair};
use tests::observe::Recorder;
use tests::smmu::{Guest, STREAM, VA, translate};
use tests::{ids, raw, refused};

/// The words of an entry that translates, as the kernel takes them.
fn words(space: &AddressSpace<'_>) -> [u64; 2] {
    translate(space).words()
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Asks for a table nested in the object `host`, by any data whatever.
fn nested(guest: &Guest, host: u32, flags: u32, data_type: u32, data: &[u8]) -> Result<u32, Errno> {
    let mut arg = sys::iommu_hwpt_alloc::sized();
    arg.flags = flags;
    arg.dev_id = ids::of(guest.device.iommu());
    arg.pt_id = host;
    arg.data_type = data_type;
    raw::nested::hwpt_alloc(&guest.iommufd, &mut arg, data)
}

/// Asks for these invalidations of the object `host`; says how many are told as done.
fn invalidate(guest: &Guest, host: u32, commands: &[[u64; 2]]) -> (Result<(), Errno>, u32) {
    let mut arg = sys::iommu_hwpt_invalidate::sized();
    arg.hwpt_id = host;
    arg.data_type = sys::IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
    arg.entry_len = 16;
    arg.entry_num = commands.len().try_into().unwrap();
    let answer = raw::nested::invalidate(&guest.iommufd, &mut arg, &bytes(commands.as_flattened()));
    (answer, arg.entry_num)
}

/// A guest, and the file of its device.
fn guest_and_file() -> (Guest, OwnedFd) {
    let (iommufd, recorder) = Recorder::context();
    let cdev = cdev(lone());
    let file = raw::witness(&cdev);
    let device = cdev.bind(&iommufd).unwrap();
    (Guest::of(device, recorder, 16), file)
}

/// The kernel lets a device without a number come to an entry that does not translate. The SDK has no way to any.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_without_a_number_comes_to_no_entry_that_translates() {
    let (guest, file) = guest_and_file();
    let table = guest.table(&translate(&guest.space(1)));
    let bypass = guest.table(&NestedSte::bypass());
    let number = guest.vdevice;
    number.try_destroy().unwrap();
    assert_eq!(raw::vfio_attach(&file, ids::of(&table)), Err(Errno::NOENT));
    assert_eq!(raw::vfio_attach(&file, ids::of(&bypass)), Ok(()));
}

/// The kernel attaches the group, so it asks for the numbers of all.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_device_is_not_attached_while_another_of_its_group_has_no_number() {
    let [one, other] = pair();
    let guest = Guest::with(one, 16);
    let table = guest.table(&translate(&guest.space(1)));
    let attach = || {
        let stale = StaleAsids::GuestInvalidates;
        guest.vdevice.attach(&table, stale)
    };
    refused(attach(), Errno::NOENT);
    let (_sibling, number) = guest.knows(other, StreamId::new(0x43));
    let attachment = attach().unwrap();
    attachment.detach().unwrap();
    drop(number);
    refused(attach(), Errno::NOENT);
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn an_entry_with_what_is_not_the_guests_is_not_made() {
    const MEV: u64 = 1 << 19;
    const EATS_OF_ONE_STAGE: u64 = 0b10 << 28;
    const STALL: u64 = 1 << 27;
    let guest = Guest::new();
    let [first, second] = words(&guest.space(1));
    let nested_config = first | 0b111 << 1;
    let too_many = 21 << 59;
    let host = ids::of(&guest.smmu);
    let kind = sys::IOMMU_HWPT_DATA_ARM_SMMUV3;
    let before = raw::objects(&guest.iommufd);
    let ask = |words: [u64; 2]| {
        nested(&guest, host, 0, kind, &bytes(&words))
            .map(|id| raw::destroy(&guest.iommufd, id).unwrap())
    };
    let bits = |word, bits| RefusedSte::Bits { word, bits };
    for (words, why, errno) in [
        ([first, second | MEV], bits(1, MEV), Errno::IO),
        ([first | 1 << 52, second], bits(0, 1 << 52), Errno::IO),
        ([first, second | 1 << 25], bits(1, 1 << 25), Errno::IO),
        ([nested_config, second], RefusedSte::Config(7), Errno::IO),
        (
            [first & !0b1110 | 0b110 << 1, second],
            RefusedSte::Config(6),
            Errno::IO,
        ),
        (
            [first & !0b1110 | 1 << 1, second],
            RefusedSte::Config(1),
            Errno::IO,
        ),
        (
            [first, second | EATS_OF_ONE_STAGE],
            RefusedSte::Ats(2),
            Errno::IO,
        ),
    ] {
        assert_eq!(ask(words), Err(errno), "{words:x?}");
        assert_eq!(NestedSte::from_words(words), Err(why));
    }
    // The kernel does not look at how many substreams there are: it is the hardware that cannot have so many.
    let many = [first | too_many, second];
    assert_eq!(ask(many), Ok(()));
    assert_eq!(NestedSte::from_words(many), Err(RefusedSte::Substreams(21)));
    // What is not valid may say anything, and is nothing.
    let invalid = [first & !1, second | MEV];
    assert_eq!(ask(invalid), Ok(()));
    assert_eq!(NestedSte::from_words(invalid), Ok(NestedSte::invalid()));
    assert_eq!(NestedSte::invalid().config(), NestedConfig::Invalid);
    for words in [
        [first, second],
        [first, second | STALL],
        [first, second | 1 << 28],
    ] {
        assert_eq!(ask(words), Ok(()));
        let entry = NestedSte::from_words(words).unwrap();
        assert_eq!(entry.words(), words);
        guest.table(&entry).try_destroy().unwrap();
    }
    assert_eq!(raw::objects(&guest.iommufd), before);
}

/// By type: a table of SMMUv3's is made of a `NestedSte` in a `Viommu`, and the length is that of the type.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_nested_table_is_of_an_entry_on_a_virtual_smmu_and_of_nothing_else() {
    let guest = Guest::new();
    let space = guest.space(1);
    let entry = translate(&space);
    let data = bytes(&entry.words());
    let (smmu, parent) = (ids::of(&guest.smmu), ids::of(&guest.parent));
    let kind = sys::IOMMU_HWPT_DATA_ARM_SMMUV3;
    let before = raw::objects(&guest.iommufd);
    let ask = |host, flags, kind, data: &[u8]| nested(&guest, host, flags, kind, data);
    assert_eq!(ask(parent, 0, kind, &data), Err(Errno::OPNOTSUPP));
    let none = sys::IOMMU_HWPT_DATA_NONE;
    assert_eq!(ask(smmu, 0, none, &[]), Err(Errno::OPNOTSUPP));
    assert_eq!(
        ask(smmu, 0, sys::IOMMU_HWPT_DATA_VTD_S1, &data),
        Err(Errno::INVAL)
    );
    for len in [0, 8, 15, 17, 24] {
        let mut data = data.clone();
        data.resize(len, 0);
        assert_eq!(ask(smmu, 0, kind, &data), Err(Errno::INVAL), "{len} bytes");
    }
    let flag = sys::IOMMU_HWPT_ALLOC_PASID;
    assert_eq!(ask(smmu, flag, kind, &data), Err(Errno::OPNOTSUPP));
    // That can be asked for, as another IOMMU may have it.
    let device = guest.device.iommu();
    let with_pasids: NestedHwPtBuilder<'_, Smmuv3> =
        NestedHwPt::builder(&guest.smmu, device, &entry);
    refused(with_pasids.pasid(true).allocate(), Errno::OPNOTSUPP);
    assert_eq!(raw::objects(&guest.iommufd), before);
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_command_that_the_kernel_does_not_take_is_not_made_or_named() {
    let guest = Guest::new();
    let smmu = ids::of(&guest.smmu);
    let limits = guest.limits();
    let vmid = Vmid::new(0);
    let zero = Ipa::new(0).unwrap();
    let all_streams = StreamRange::new(StreamId::new(0), 8).unwrap();
    let good = Invalidation::tlbi_nh_all().words();
    for command in [
        Command::CfgiAll,
        Command::CfgiSte {
            stream: STREAM,
            leaf: true,
        },
        Command::CfgiSteRange(all_streams),
        Command::TlbiS2Ipa {
            vmid,
            address: zero,
            leaf: true,
            range: None,
        },
        Command::TlbiS12Vmall { vmid },
    ] {
        let words = command.encode().words();
        assert_eq!(
            invalidate(&guest, smmu, &[words]),
            (Err(Errno::IO), 0),
            "{command:?}"
        );
        let refusal = Invalidation::from_command(&command, limits).unwrap_err();
        assert_eq!(refusal.reason(), NotForwardedReason::Emulated);
        let batch = [good, good, words, good];
        assert_eq!(invalidate(&guest, smmu, &batch), (Err(Errno::IO), 2));
    }

    // A bit that no command has: there is no way to set it.
    let odd = [0x10 | 1 << 9, 0];
    assert_eq!(invalidate(&guest, smmu, &[odd]), (Err(Errno::IO), 0));
}

/// It is not made for this one; and what was made for another is not sent.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_command_of_another_smmus_is_not_sent() {
    let guest = Guest::new();
    let smmu = ids::of(&guest.smmu);
    let limits = guest.limits();
    assert!(!limits.ats() && !limits.substreams() && !limits.ds());
    let another = limits.with_ats(true).with_substreams(true).with_ds(true);
    let one = SubstreamId::new(1);
    let far = TlbiRange::new(Granule::Kib4, None, 0, 33);
    let commands = |limits| {
        [
            Invalidation::atc_inv(STREAM, None, VA, AtcSpan::ALL, limits),
            Invalidation::cfgi_cd(STREAM, one, true, limits),
            Invalidation::tlbi_nh_vaa(VA, true, far, limits),
        ]
    };
    let reasons = [
        NotForwardedReason::Ats,
        NotForwardedReason::Substream,
        NotForwardedReason::Scale,
    ];
    for ((here, there), why) in commands(limits).iter().zip(commands(&another)).zip(reasons) {
        assert_eq!(here.map_err(|refused| refused.reason()), Err(why));
        let command = there.unwrap();
        assert_eq!(
            invalidate(&guest, smmu, &[command.words()]),
            (Err(Errno::IO), 0),
            "{command:?}"
        );
        guest.recorder.clear();
        let refusal = guest
            .smmu
            .invalidate(&[Invalidation::tlbi_nh_all(), command]);
        assert!(
            matches!(refusal, Err(Error::InvalidationNotThere { index: 1, .. })),
            "{refusal:?}"
        );
        assert_eq!(guest.recorder.count(), 0);
    }
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_command_about_a_stream_that_is_not_the_guests_is_refused_and_named() {
    let guest = Guest::new();
    let stranger = Invalidation::cfgi_cd_all(StreamId::new(0x43));
    let own = Invalidation::cfgi_cd_all(STREAM);
    let smmu = ids::of(&guest.smmu);
    assert_eq!(
        invalidate(&guest, smmu, &[stranger.words()]),
        (Err(Errno::IO), 0)
    );
    let refusal = guest.smmu.invalidate(&[own, own, stranger]).unwrap_err();
    assert!(
        matches!(refusal, Error::InvalidationRefused { refused: 2, .. }),
        "{refusal}"
    );
    refused(Err::<(), _>(refusal), Errno::IO);
    guest.invalidate(&[own]);
    guest.vdevice.try_destroy().unwrap();
    refused(guest.smmu.invalidate(&[own]), Errno::IO);
}

/// The header has it as a probe.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn no_commands_at_all_are_no_call() {
    let guest = Guest::new();
    let smmu = ids::of(&guest.smmu);
    assert_eq!(invalidate(&guest, smmu, &[]), (Err(Errno::INVAL), 0));
    guest.recorder.clear();
    guest.invalidate(&[]);
    assert_eq!(guest.recorder.count(), 0);
}

/// By type: a table of this format has no `invalidate`.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_nested_table_is_not_what_takes_commands() {
    let guest = Guest::new();
    let table = guest.table(&NestedSte::bypass());
    let good = [Invalidation::tlbi_nh_all().words()];
    assert_eq!(
        invalidate(&guest, ids::of(&table), &good).0,
        Err(Errno::OPNOTSUPP)
    );
    assert_eq!(invalidate(&guest, ids::of(&guest.smmu), &good), (Ok(()), 1));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_there_is_once_is_not_made_twice() {
    let guest = Guest::new();
    let device = guest.device.iommu();
    let (smmu, own) = (ids::of(&guest.smmu), ids::of(device));
    let before = raw::objects(&guest.iommufd);
    let again = raw::nested::vdevice_alloc(&guest.iommufd, smmu, own, 0x43);
    assert_eq!(again, Err(Errno::EXIST));
    guest.recorder.clear();
    let again = VDevice::new(&guest.smmu, device, StreamId::new(0x43));
    assert!(matches!(again, Err(Error::HasVDevice)), "{again:?}");
    assert_eq!(guest.recorder.count(), 0);
    refused(
        VEventQueue::<EventRecord>::new(&guest.smmu, 16),
        Errno::EXIST,
    );

    // The number that another device has.
    let [one, _] = pair();
    let other = bind(one, &guest.iommufd);
    refused(
        VDevice::new(&guest.smmu, other.iommu(), STREAM),
        Errno::EXIST,
    );
    drop(other);

    // Virtual SMMUs there can be many of.
    let second = Viommu::<Smmuv3>::new(&guest.parent, device).unwrap();
    let _events = VEventQueue::<EventRecord>::new(&second, 16).unwrap();
    assert_eq!(raw::objects(&guest.iommufd), before + 2);
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_is_in_use_is_not_destroyed() {
    let guest = Guest::new();
    let attachment = guest.enter(&guest.space(1));
    let (parent, number) = (ids::of(&guest.parent), ids::of(&guest.vdevice));
    assert_eq!(raw::destroy(&guest.iommufd, parent), Err(Errno::BUSY));
    let Guest {
        vdevice,
        parent,
        iommufd,
        recorder,
        ..
    } = guest;
    recorder.clear();
    let in_use = |error: &Error| matches!(error, Error::InUse { .. });
    let kept = parent.try_destroy().unwrap_err();
    assert!(in_use(kept.error()), "{kept}");
    let kept = vdevice.try_destroy().unwrap_err();
    assert!(in_use(kept.error()), "{kept}");
    assert_eq!(recorder.count(), 0);
    attachment.detach().unwrap();
    kept.into_value().try_destroy().unwrap();
    assert_eq!(raw::destroy(&iommufd, number), Err(Errno::NOENT));
}

/// The kernel alone would do it, and the guest's device would go on under a number that nobody knows.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn the_kernel_itself_destroys_the_number_of_an_attached_device() {
    let guest = Guest::new();
    let space = guest.space(1);
    let page = guest.page();
    space.map(VA, page).unwrap();
    let attachment = guest.enter(&space);
    let number = ids::of(&guest.vdevice);
    assert_eq!(raw::destroy(&guest.iommufd, number), Ok(()));
    assert_eq!(guest.lands(VA, &[page]), Some(page));
    refused(
        guest.smmu.invalidate(&[Invalidation::cfgi_cd_all(STREAM)]),
        Errno::IO,
    );
    attachment.detach().unwrap();
}

/// Beside a guest's tables the PASIDs are the guest's: in its context descriptors.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn no_pasid_is_attached_beside_a_guests_tables() {
    let (guest, file) = guest_and_file();
    let table = HwPt::builder(&guest.ioas, guest.device.iommu()).pasid(true);
    let table = table.allocate().unwrap();
    let _attachment = guest.enter(&guest.space(1));
    let answer = raw::vfio_attach_pasid(&file, 5, ids::of(&table));
    assert_eq!(answer, Err(Errno::INVAL));
    guest.recorder.clear();
    let refusal = guest.device.attach_pasid(Pasid::new(5).unwrap(), &table);
    assert!(
        matches!(
            refusal,
            Err(Error::NotForPasids { .. } | Error::NoSuchPasid { .. })
        ),
        "{refusal:?}"
    );
    assert!(
        !guest
            .recorder
            .calls()
            .contains(&"VFIO_DEVICE_ATTACH_IOMMUFD_PT")
    );
}
