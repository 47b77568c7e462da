//! Tests: what the kernel is given, byte by byte, and what it is not.

use std::cell::RefCell;
use std::rc::Rc;

use iommufd::Iova;
use iommufd_sys::ioctl::vfio as nr;
use rustix::io::Errno;

use super::*;
use crate::FeatureError;
use crate::ioctl::script::{answering, device};

const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;

/// What a report asks for: address, length, and size of a page.
type Reports = Rc<RefCell<Vec<(u64, u64, u64)>>>;

/// A kernel whose device records by pages of 4 KiB, and has written the `dirty` ones, by number; it
/// fails at the report number `fails_at`.
fn kernel(dirty: &[u64], fails_at: Option<usize>) -> (Reports, Rc<RefCell<Vec<u32>>>, impl Drop) {
    let (reports, others) = (Reports::default(), Rc::new(RefCell::new(Vec::new())));
    let (noted, other) = (Rc::clone(&reports), Rc::clone(&others));
    let dirty = dirty.to_vec();
    let until = answering(move |mut asked| {
        assert_eq!(asked.ioctl, nr::DEVICE_FEATURE.describe());
        let flags = asked.u32(4);
        if flags != 8 | GET {
            other.borrow_mut().push(flags);
            return Ok(0);
        }
        assert_eq!(asked.arg.len(), 40);
        let (iova, length, page) = (asked.u64(8), asked.u64(16), asked.u64(24));
        noted.borrow_mut().push((iova, length, page));
        let bits = length.div_ceil(page);
        let bitmap = asked.data(32, usize::try_from(bits.div_ceil(64) * 8).unwrap());
        for written in dirty.iter().map(|number| number << 12) {
            if (iova..iova + length).contains(&written) {
                let bit = usize::try_from((written - iova) / page).unwrap();
                bitmap[bit / 8] |= 1 << (bit % 8);
            }
        }
        match fails_at == Some(noted.borrow().len()) {
            true => Err(Errno::IO),
            false => Ok(0),
        }
    });
    (reports, others, until)
}

fn range(start: u64, len: u64) -> IovaRange {
    IovaRange::with_len(Iova::new(start), len).unwrap()
}

fn runs(bitmap: &DirtyBitmap) -> Vec<String> {
    bitmap.runs().map(|run| run.to_string()).collect()
}

#[test]
fn a_start_has_the_ranges_by_address_and_a_stop_has_nothing() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&asked);
    let _kernel = answering(move |mut asked| {
        let flags = asked.u32(4);
        log.borrow_mut().push((asked.u32(0), flags));
        if flags == 6 | SET {
            assert_eq!((asked.u64(8), asked.u32(16), asked.u32(20)), (0x2000, 2, 0));
            let ranges: Vec<u64> = asked
                .data(24, 32)
                .as_chunks()
                .0
                .iter()
                .map(|word| u64::from_ne_bytes(*word))
                .collect();
            assert_eq!(ranges, [0x4000, 0x2000, 0x10_0000, 0x4000]);
            // It records by larger pages.
            asked.set(8, &0x1_0000_u64.to_ne_bytes());
        }
        Ok(0)
    });
    let granule = Granule::new(0x2000).unwrap();
    let ranges = [range(0x10_0000, 0x4000), range(0x4000, 0x2000)];
    let device = device();
    let log = device.log_dma(granule, &ranges).unwrap();
    assert_eq!(log.page().bytes(), 0x1_0000);
    assert_eq!(log.ranges(), [ranges[1], ranges[0]]);
    assert_eq!(device.holders().features, 1);
    log.stop().unwrap();
    assert_eq!(*asked.borrow(), [(32, 6 | SET), (8, 7 | SET)]);
    assert_eq!(device.holders().features, 0);
}

#[test]
fn what_is_wrong_is_refused_before_the_kernel_is_asked() {
    let _kernel = answering(|_| panic!("the kernel was asked"));
    let device = device();
    let overlapping = [range(0, 0x2000), range(0x1000, 0x2000)];
    let refused = device.log_dma(Granule::KIB_4, &overlapping);
    assert!(matches!(
        refused,
        Err(Error::Feature(FeatureError::RangesOverlap(..)))
    ));
    assert_eq!(device.holders().features, 0);
}

#[test]
fn a_report_is_of_what_is_recorded_in_the_bitmaps_range() {
    let (reports, others, _kernel) = kernel(&[0, 4, 5, 0x102], None);
    let ranges = [range(0x4000, 0x4000), range(0x10_0000, 0x4000)];
    let log = device().log_dma(Granule::KIB_4, &ranges).unwrap();
    let mut bitmap = DirtyBitmap::new(range(0, 1 << 30), Granule::KIB_4).unwrap();
    bitmap.mark_dirty(range(0x9000, 1));
    let log = log.read_and_clear(&mut bitmap).unwrap();
    assert_eq!(
        *reports.borrow(),
        [(0x4000, 0x4000, 0x1000), (0x10_0000, 0x4000, 0x1000)]
    );
    assert_eq!(
        runs(&bitmap),
        ["0x4000..=0x5fff", "0x9000..=0x9fff", "0x102000..=0x102fff"]
    );
    // By larger pages, where they divide what is recorded.
    let mut bitmap = DirtyBitmap::new(range(0, 1 << 20), Granule::new(1 << 16).unwrap()).unwrap();
    let log = log.read_and_clear(&mut bitmap).unwrap();
    assert_eq!(reports.borrow()[2..], [(0x4000, 0x4000, 0x4000)]);
    assert_eq!(runs(&bitmap), ["0x0..=0xffff"]);
    drop(log);
    assert_eq!(*others.borrow(), [6 | SET, 7 | SET]);
}

#[test]
fn a_record_that_is_lost_makes_everything_dirty_and_ends() {
    let (reports, others, _kernel) = kernel(&[4], Some(2));
    let ranges = [range(0x4000, 0x4000), range(0x10_0000, 0x4000)];
    let device = device();
    let log = device.log_dma(Granule::KIB_4, &ranges).unwrap();
    let mut bitmap = DirtyBitmap::new(range(0, 0x10_2000), Granule::KIB_4).unwrap();
    let failed = log.read_and_clear(&mut bitmap).unwrap_err();
    let LogReadFailed::Lost(lost) = failed else {
        panic!("the device was asked: {failed}");
    };
    assert_eq!(lost.error().errno(), Some(Errno::IO));
    assert!(lost.to_string().contains("has to be taken for dirty"));
    assert_eq!(reports.borrow().len(), 2);
    assert_eq!(
        runs(&bitmap),
        ["0x4000..=0x7fff", "0x100000..=0x101fff"],
        "what it covers of all that was recorded"
    );
    assert_eq!(lost.ranges(), ranges);
    let mut other = DirtyBitmap::new(range(0x10_3000, 0x10_0000), Granule::KIB_4).unwrap();
    lost.mark_dirty(&mut other);
    assert_eq!(runs(&other), ["0x103000..=0x103fff"]);
    // It was ended, and another can begin.
    assert_eq!(*others.borrow(), [6 | SET, 7 | SET]);
    drop(device.log_dma(Granule::KIB_4, &ranges).unwrap());
}

#[test]
fn a_stop_that_is_refused_gives_the_log_back() {
    let refuse = Rc::new(RefCell::new(Some(Errno::IO)));
    let answer = Rc::clone(&refuse);
    let _kernel = answering(move |asked| match asked.u32(4) {
        flags if flags == 7 | SET => answer.borrow_mut().take().map_or(Ok(0), Err),
        _ => Ok(0),
    });
    let device = device();
    let ram = [range(0, 1 << 20)];
    let log = device.log_dma(Granule::KIB_4, &ram).unwrap();
    let refused = log.stop().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::IO));
    assert!(device.log_dma(Granule::KIB_4, &ram).is_err());
    refused.into_value().stop().unwrap();
    device
        .log_dma(Granule::KIB_4, &ram)
        .unwrap()
        .stop()
        .unwrap();
}

#[test]
fn pages_without_a_size_are_no_answer() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&asked);
    let _kernel = answering(move |mut asked| {
        log.borrow_mut().push(asked.u32(4));
        if asked.u32(4) == 6 | SET {
            asked.set(8, &3_u64.to_ne_bytes());
        }
        Ok(0)
    });
    let error = device()
        .log_dma(Granule::KIB_4, &[range(0, 1 << 20)])
        .unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }));
    assert_eq!(*asked.borrow(), [6 | SET, 7 | SET], "what began was ended");
}
