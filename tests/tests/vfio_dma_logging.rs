//! DMA logging: the kernel's sample `mtty`, which takes part in it and has never written anything.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use iommufd::{DirtyBitmap, Granule, Iommufd, Iova, IovaRange};
use tests::mtty::Mtty;
use vfio::{Error, Feature, FeatureError, Guarded, LogReadFailed, MediatedDevice};

fn device(mtty: &Mtty) -> MediatedDevice {
    mtty.cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap()
}

fn range(start: u64, len: u64) -> IovaRange {
    IovaRange::with_len(Iova::new(start), len).unwrap()
}

/// The driver says that nothing was written; what the kernel does with the bitmap is all there.
#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_report_sets_bits_and_clears_none() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let ranges = [range(0x10_0000, 0x20_0000), range(1 << 40, 100 << 30)];
    let mut log = device.log_dma(Granule::KIB_4, &ranges).unwrap();
    assert_eq!(log.page(), Granule::KIB_4);
    assert_eq!(log.ranges(), ranges);
    for granule in [1 << 12, 1 << 21, 1 << 10] {
        for covered in [range(0, 0x100_0000), range(1 << 40, 1 << 30)] {
            let granule = Granule::new(granule).unwrap();
            let mut bitmap = DirtyBitmap::new(covered, granule).unwrap();
            bitmap.mark_dirty(range(covered.start().get(), 1));
            log = log.read_and_clear(&mut bitmap).unwrap();
            assert_eq!(bitmap.count(), 1, "{granule} {covered}");
        }
    }
    // More than is asked for at once.
    let mut bitmap = DirtyBitmap::new(ranges[1], Granule::new(1 << 21).unwrap()).unwrap();
    log = log.read_and_clear(&mut bitmap).unwrap();
    assert_eq!(bitmap.count(), 0);
    log.stop().unwrap();
}

/// This driver would take a second start.
#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn there_is_one_record_at_a_time_and_then_another() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let ram = [range(0, 1 << 30)];
    let log = device.log_dma(Granule::KIB_4, &ram).unwrap();
    let second = device.log_dma(Granule::KIB_4, &ram);
    assert!(matches!(
        second,
        Err(Error::Feature(FeatureError::Taken(Guarded::DmaLogging)))
    ));
    let refused = device.clone().try_close().unwrap_err();
    assert!(
        refused.to_string().contains("1 feature in use"),
        "{refused}"
    );
    drop(refused);
    drop(log);
    device
        .log_dma(Granule::KIB_4, &ram)
        .unwrap()
        .stop()
        .unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_bitmap_with_a_part_of_a_page_is_refused_with_the_log_as_it_was() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let log = device
        .log_dma(Granule::KIB_4, &[range(0, 1 << 20)])
        .unwrap();
    let mut bitmap = DirtyBitmap::new(range(0x800, 0x1000), Granule::new(256).unwrap()).unwrap();
    let failed = log.read_and_clear(&mut bitmap).unwrap_err();
    let LogReadFailed::Refused(refused) = failed else {
        panic!("the device was asked: {failed}");
    };
    assert_eq!(bitmap.count(), 0);
    refused.into_value().stop().unwrap();
}

/// The most ranges that the kernel takes for certain, on each of its page sizes.
#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn as_many_ranges_as_are_promised_are_taken() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let ranges: Vec<_> = (0..257_u64).map(|at| range(at << 32, 1 << 20)).collect();
    device
        .log_dma(Granule::KIB_4, &ranges[..256])
        .unwrap()
        .stop()
        .unwrap();
    let refused = device.log_dma(Granule::KIB_4, &ranges);
    assert!(matches!(
        refused,
        Err(Error::Feature(FeatureError::TooManyRanges {
            ranges: 257,
            most: 256,
            ..
        }))
    ));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_that_records_nothing_says_so() {
    let device = tests::edu::device(tests::edu::lone());
    assert!(!device.has_feature(Feature::DmaLogging).unwrap());
    let refused = device.log_dma(Granule::KIB_4, &[range(0, 1 << 20)]);
    assert!(matches!(
        refused,
        Err(Error::Feature(FeatureError::NotThere {
            feature: Feature::DmaLogging,
            ..
        }))
    ));
    // And not because of anything that it left behind.
    let migration = device.migration();
    assert!(matches!(
        migration,
        Err(Error::Feature(FeatureError::NotThere {
            feature: Feature::Migration,
            ..
        }))
    ));
    device.try_close().unwrap();
}
