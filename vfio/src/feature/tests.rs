//! Tests: what the kernel is given, byte by byte.

use std::cell::RefCell;
use std::rc::Rc;

use iommufd_sys::ioctl::vfio as nr;

use super::*;
use crate::VfToken;
use crate::ioctl::script::{Asked, answering, device};

const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

/// A kernel that answers all features so, and notes the arguments' bytes.
#[must_use]
fn kernel(
    mut answer: impl FnMut(&mut Asked<'_>) -> Result<(), Errno> + 'static,
) -> (Rc<RefCell<Vec<Vec<u8>>>>, impl Drop) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&log);
    let until = answering(move |mut asked| {
        assert_eq!(asked.ioctl, nr::DEVICE_FEATURE.describe());
        noted.borrow_mut().push(asked.arg.to_vec());
        answer(&mut asked).map(|()| 0)
    });
    (log, until)
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn not_there(error: &Error) -> Option<Feature> {
    match error {
        Error::Feature(FeatureError::NotThere { feature }) => Some(*feature),
        _ => None,
    }
}

#[test]
fn features_are_numbered_as_the_kernel_does() {
    let numbers = Feature::ALL.map(Feature::number);
    assert!(numbers.into_iter().eq(0..14));
}

#[test]
fn a_probe_asks_for_the_feature_and_then_for_each_access_to_it() {
    let (log, _kernel) = kernel(|asked| match asked.u32(4) & GET {
        0 => Ok(()),
        _ => Err(Errno::INVAL),
    });
    let access = device().feature_access(Feature::BusMaster).unwrap();
    assert_eq!(access, FeatureAccess::SET);
    let asked = [10 | PROBE, 10 | PROBE | GET, 10 | PROBE | SET];
    assert_eq!(*log.borrow(), asked.map(|flags| words(&[8, flags])));
}

#[test]
fn what_is_not_there_is_told_apart_from_what_has_failed() {
    for (errno, has) in [
        (None, Some(true)),
        (Some(Errno::NOTTY), Some(false)),
        // The feature itself is never refused so, except where it is.
        (Some(Errno::INVAL), None),
        (Some(Errno::NODEV), None),
        (Some(Errno::IO), None),
    ] {
        let (_, _kernel) = kernel(move |_| errno.map_or(Ok(()), Err));
        let device = device();
        let answer = device.has_feature(Feature::Migration);
        assert_eq!(answer.as_ref().ok().copied(), has, "{answer:?}");
        if has.is_none() {
            assert_eq!(answer.unwrap_err().errno(), errno);
        }
        let early = device.has_feature(Feature::PreCopyInfoV2).ok();
        let unknown = matches!(errno, Some(Errno::INVAL | Errno::NOTTY));
        assert_eq!(early == Some(false), unknown, "{errno:?}");
    }
}

/// So the kernel answers of a driver that exports no BARs, whatever it is asked about them.
#[test]
fn a_driver_without_dma_bufs_has_not_that_feature() {
    let (_, _kernel) = kernel(|_| Err(Errno::OPNOTSUPP));
    let device = device();
    assert!(!device.has_feature(Feature::DmaBuf).unwrap());
    let access = device.feature_access(Feature::DmaBuf).unwrap();
    assert!(access.is_empty());
    // Of no other feature that is an answer.
    assert!(device.has_feature(Feature::Migration).is_err());
}

/// What failed once is asked again, and what was not there may be there.
#[test]
fn nothing_is_remembered_of_a_probe() {
    let mut answers = vec![
        Ok(()),
        Err(Errno::NOTTY),
        Err(Errno::NODEV),
        Err(Errno::NOTTY),
    ];
    let (log, _kernel) = kernel(move |_| answers.pop().unwrap());
    let device = device();
    let has = || device.has_feature(Feature::DmaLogging);
    assert!(!has().unwrap());
    assert_eq!(has().unwrap_err().errno(), Some(Errno::NODEV));
    assert!(!has().unwrap());
    assert!(has().unwrap());
    assert_eq!(log.borrow().len(), 4);
}

#[test]
fn a_bus_master_is_one_number() {
    let (log, _kernel) = kernel(|_| Ok(()));
    let device = device();
    device.set_bus_master(BusMaster::On).unwrap();
    device.set_bus_master(BusMaster::Off).unwrap();
    assert_eq!(*log.borrow(), [1, 0].map(|op| words(&[12, 10 | SET, op])));
}

#[test]
fn a_token_is_sixteen_bytes_as_they_are_written() {
    let (log, _kernel) = kernel(|_| Ok(()));
    let token: VfToken = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
    device().set_vf_token(&token).unwrap();
    let asked = log.borrow();
    assert_eq!(asked[0][..8], words(&[24, SET]));
    assert_eq!(asked[0][8..], token.bytes());
    assert_eq!(asked[0][8..12], [0, 0x11, 0x22, 0x33]);
}

#[test]
fn an_error_of_s390s_is_what_the_kernel_writes_or_none() {
    let (log, _kernel) = kernel(|asked| {
        assert_eq!(asked.arg.len(), 16);
        asked.data(8, 32).fill(0x5a);
        Ok(())
    });
    let error = device().zpci_error().unwrap().unwrap();
    assert!(error.bytes()[..32].iter().all(|byte| *byte == 0x5a));
    assert!(error.bytes()[32..].iter().all(|byte| *byte == 0));
    assert_eq!(log.borrow()[0][..8], words(&[16, 13 | GET]));

    let (_, _kernel) = kernel(|_| Err(Errno::NOMSG));
    assert_eq!(device().zpci_error().unwrap(), None);
    let (_, _kernel) = kernel(|_| Err(Errno::NOTTY));
    let error = device().zpci_error().unwrap_err();
    assert_eq!(not_there(&error), Some(Feature::ZpciError));
}

#[test]
fn an_answer_that_is_no_success_of_a_feature_is_none() {
    let _kernel = answering(|_| Ok(7));
    let error = device().set_bus_master(BusMaster::On).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::PROTO));
}
