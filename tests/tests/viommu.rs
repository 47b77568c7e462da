//! Virtual IOMMUs, and the page that some show.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::cell::RefCell;
use std::sync::Arc;

use iommufd::format::{ShowsPage, ViommuKind};
use iommufd::{Error, Ioas, Iommufd, Leaks, NestParent, NestedHwPt, VDevice, Viommu, ViommuPage};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use tests::fork::{beside, in_child};
use tests::guest::Guest;
use tests::mock::MockDevice;
use tests::mock::nesting::{
    Astray, CONFIG, Loopback, MockViommu, MockViommuWithPage, Unusual, VirtualNumber,
};
use tests::{ids, raw, refused};

/// What the page begins with.
const WORD: u32 = 0x1234_5678;

/// A virtual IOMMU of a kind that is told a word, and has a page.
fn with_page<V: ViommuKind<Data = Loopback>>(guest: &Guest, in_data: u32) -> Viommu<V> {
    let data = Loopback {
        in_data,
        ..Loopback::default()
    };
    Viommu::with_data(&guest.parent, &guest.device, data).unwrap()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_page_of_a_virtual_iommu_is_read_and_written() {
    let guest = Guest::new();
    let viommu = with_page::<MockViommuWithPage>(&guest, WORD);
    assert_eq!(viommu.data().out_data, WORD);
    let page = viommu.map_page().unwrap();
    assert_eq!(page.len() as u64, viommu.data().out_mmap_length);
    assert!(!page.is_empty());
    assert_eq!(page.bytes().len(), page.len());
    assert_eq!(page.read::<u32>(0).unwrap(), WORD);
    page.write(4, 0x55_u32).unwrap();
    assert_eq!(page.read::<u64>(0).unwrap(), 0x55_1234_5678);
    page.store_release(page.len() - 8, u64::MAX).unwrap();
    assert_eq!(page.load_acquire::<u8>(page.len() - 1).unwrap(), 0xff);
    assert!(matches!(
        page.read::<u32>(page.len()),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        page.write(usize::MAX, 0_u8),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(page.read::<u64>(4), Err(Error::Misaligned { .. })));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn each_virtual_iommu_has_a_page_of_its_own() {
    let guest = Guest::new();
    let [one, two] = [1, 2].map(|word| with_page::<MockViommuWithPage>(&guest, word));
    let pages = [&one, &two, &one, &two].map(|viommu| viommu.map_page().unwrap());
    let words = |pages: &[ViommuPage]| -> Vec<u32> {
        let words = pages.iter().map(|page| page.read(0));
        words.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(words(&pages), [1, 2, 1, 2]);
    // Mapped twice, it is the same.
    pages[0].write(0, 3_u32).unwrap();
    assert_eq!(words(&pages), [3, 2, 3, 2]);
    let [first, _, again, _] = pages;
    drop(first);
    assert_eq!(again.read::<u32>(0).unwrap(), 3);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_is_kept_past_everything_else() {
    let guest = Guest::new();
    let viommu = with_page::<MockViommuWithPage>(&guest, WORD);
    let pages = [viommu.map_page().unwrap(), viommu.map_page().unwrap()];
    let refusal = viommu.try_destroy().unwrap_err();
    assert!(matches!(
        refusal.error(),
        Error::InUse {
            object: "virtual IOMMU",
            holders: 2,
            ..
        }
    ));
    drop(refusal.into_value());
    let (recorder, witness) = (Arc::clone(&guest.recorder), raw::witness(&guest.iommufd));
    drop(guest);
    let [first, second] = pages;
    recorder.clear();
    drop(first);
    assert_eq!(recorder.count(), 0);
    assert_eq!(second.read::<u32>(0).unwrap(), WORD);
    assert!(raw::objects(&witness) > 0);
    drop(second);
    assert!(recorder.answers().iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(raw::objects(&witness), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_that_somebody_else_has_mapped_keeps_the_virtual_iommu() {
    let guest = Guest::new();
    let viommu = with_page::<MockViommuWithPage>(&guest, WORD);
    let location = MockViommuWithPage::page(viommu.data());
    let stranger =
        raw::nested::map(&guest.iommufd, location, ProtFlags::READ, MapFlags::SHARED).unwrap();
    let refusal = viommu.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let viommu = refusal.into_value();
    assert_eq!(viommu.data().out_data, WORD, "as it was");
    drop(viommu.map_page().unwrap());
    drop(stranger);
    viommu.try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_of_a_fork_has_the_page_mapped_and_does_not_use_it() {
    let guest = Guest::new();
    let viommu = with_page::<MockViommuWithPage>(&guest, WORD);
    let mut pages = Some([viommu.map_page().unwrap(), viommu.map_page().unwrap()]);
    guest.recorder.clear();
    in_child(|| {
        let [page, dropped] = pages.take().unwrap();
        let forked = |error: &Error| assert!(matches!(error, Error::Forked), "{error}");
        forked(&page.read::<u32>(0).unwrap_err());
        forked(&page.write(0, 0_u32).unwrap_err());
        forked(&page.load_acquire::<u32>(0).unwrap_err());
        forked(&page.store_release(0, 0_u32).unwrap_err());
        forked(&viommu.map_page().unwrap_err());
        drop(dropped);
        assert_eq!(guest.recorder.count(), 0);
    });
    // What was mapped in the child has gone with it.
    for page in pages.unwrap() {
        assert_eq!(page.read::<u32>(0).unwrap(), WORD);
    }
    viommu.try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_of_a_fork_keeps_the_virtual_iommu_as_long_as_it_has_the_page_mapped() {
    let guest = Guest::new();
    let viommu = with_page::<MockViommuWithPage>(&guest, WORD);
    let page = RefCell::new(Some(viommu.map_page().unwrap()));
    beside(
        |link| {
            link.meet();
            link.meet();
            drop(page.take());
            link.meet();
        },
        |link, _| {
            link.meet();
            drop(page.take());
            let refusal = viommu.try_destroy().unwrap_err();
            assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
            link.meet();
            link.meet();
            refusal.into_value().try_destroy().unwrap();
        },
    );
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

fn astray<const OFFSET: u64, const LESS: u64>(guest: &Guest) -> iommufd::Result<ViommuPage> {
    with_page::<Astray<OFFSET, LESS>>(guest, WORD).map_page()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_that_is_not_where_the_kind_says_is_refused() {
    const PAGE: u64 = 4096;
    let guest = Guest::new();
    // In the middle of a page nothing would be aligned, though the kernel would map all of it.
    refused(astray::<1, 1>(&guest), Errno::NXIO);
    refused(astray::<4, 4>(&guest), Errno::NXIO);
    refused(astray::<8, 8>(&guest), Errno::NXIO);
    // A part of it, more than it, somewhere else.
    refused(astray::<0, PAGE>(&guest), Errno::NXIO);
    refused(astray::<PAGE, PAGE>(&guest), Errno::NXIO);
    refused(astray::<0, { u64::MAX - PAGE + 1 }>(&guest), Errno::NXIO);
    refused(astray::<{ 1 << 40 }, 0>(&guest), Errno::NXIO);
    let nothing = astray::<0, { 2 * PAGE }>(&guest).unwrap_err();
    assert!(matches!(nothing, Error::Empty { .. }), "{nothing}");
    // No more than there can be.
    astray::<0, { 3 * PAGE }>(&guest).unwrap_err();
    astray::<{ u64::MAX - PAGE + 1 }, 0>(&guest).unwrap_err();
    // Not to the last byte, it is still aligned.
    let page = astray::<0, 1>(&guest).unwrap();
    assert_eq!(page.len() as u64, 2 * PAGE - 1);
    assert_eq!(page.read::<u32>(0).unwrap(), WORD);
    assert!(page.read::<u64>(page.len() - 7).is_err());
    drop(page);
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn everything_that_is_made_of_a_virtual_iommu_keeps_it() {
    let guest = Guest::new();
    let Guest {
        device, recorder, ..
    } = &guest;
    let viommu = with_page::<MockViommuWithPage>(&guest, WORD);
    let number = VirtualNumber(1);
    let mut made: Vec<Box<dyn Send>> = vec![
        Box::new(NestedHwPt::new(&viommu, device, &CONFIG).unwrap()),
        Box::new(VDevice::new(&viommu, device, number).unwrap()),
        Box::new(iommufd::VEventQueue::new(&viommu, 1).unwrap()),
        Box::new(viommu.map_page().unwrap()),
        Box::new(
            NestedHwPt::builder(&viommu, device, &CONFIG)
                .allocate()
                .unwrap(),
        ),
        Box::new(viommu.clone()),
    ];
    let mut viommu = viommu;
    while !made.is_empty() {
        recorder.clear();
        let refusal = viommu.try_destroy().unwrap_err();
        let count = made.len();
        assert!(
            matches!(refusal.error(), Error::InUse { holders, .. } if *holders == count),
            "{refusal}: {count}"
        );
        assert_eq!(recorder.count(), 0);
        viommu = refusal.into_value();
        made.pop();
    }
    viommu.try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_the_driver_does_not_have_is_refused_and_leaves_nothing() {
    const MOCK: u32 = MockViommu::TYPE;
    fn made<const TYPE: u32, const WORDS: usize>(guest: &Guest) -> iommufd::Result<[u32; WORDS]> {
        let data = [WORD; WORDS];
        let made = Viommu::<Unusual<TYPE, WORDS>>::with_data(&guest.parent, &guest.device, data);
        made.map(|viommu| *viommu.data())
    }
    let guest = Guest::new();
    let before = raw::objects(&guest.iommufd);
    refused(made::<0, 0>(&guest), Errno::OPNOTSUPP);
    refused(made::<1, 0>(&guest), Errno::OPNOTSUPP);
    refused(made::<{ u32::MAX }, 6>(&guest), Errno::OPNOTSUPP);
    // Less than the type's first data had, and more than it has now.
    refused(made::<MOCK, 1>(&guest), Errno::INVAL);
    refused(made::<MOCK, 7>(&guest), Errno::INVAL);
    assert_eq!(made::<MOCK, 0>(&guest).unwrap(), [0_u32; 0]);
    assert_eq!(made::<MOCK, 2>(&guest).unwrap(), [WORD, WORD]);
    assert_eq!(raw::objects(&guest.iommufd), before);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn many_virtual_iommus_of_one_parent() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let viommus: Vec<_> = (0..32)
        .map(|_| Viommu::<MockViommu>::new(&parent, &device).unwrap())
        .collect();
    let mut all: Vec<_> = viommus.iter().map(ids::of).collect();
    all.dedup();
    assert_eq!(all.len(), 32);
    drop((parent, ioas));
    drop(viommus);
    drop(device);
    assert_eq!(raw::objects(&iommufd), 0);
}
