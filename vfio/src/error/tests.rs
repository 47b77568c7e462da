//! What errors say.

use iommufd::KernelError;
use rustix::io::Errno;

use super::*;

#[test]
fn a_device_that_is_not_ready_says_what_to_do() {
    let address = "00:04.0".parse().unwrap();
    let error = Error::NotReady {
        address,
        blockers: vec![Blocker::NoIommuGroup, Blocker::NoMsiIsolation],
    };
    let text = error.to_string();
    assert!(
        text.starts_with("0000:00:04.0 cannot be used yet:\n- no IOMMU"),
        "{text}"
    );
    assert!(text.contains("\n- interrupts are not isolated"), "{text}");
}

#[test]
fn an_error_of_the_kernel_keeps_its_errno() {
    let error = Error::from(KernelError::new(
        "VFIO_DEVICE_RESET",
        Errno::INVAL,
        "no reset",
    ));
    assert_eq!(error.errno(), Some(Errno::INVAL));
    assert_eq!(
        error.to_string(),
        format!("VFIO_DEVICE_RESET: {}: no reset", Errno::INVAL)
    );
    assert_eq!(Error::NotVfio.errno(), None);
}
