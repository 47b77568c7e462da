//! Why the kernel refuses to bind a device.

use iommufd::KernelError;
use iommufd_sys::ioctl::{Linux, vfio as nr};
use rustix::io::Errno;

use crate::cause;
use crate::error::Error;

/// The reason of a bind that was refused, with a token or without.
pub(crate) fn reason(errno: Errno, token: bool) -> Error {
    let error = cause::refusal(nr::DEVICE_BIND_IOMMUFD.describe(), errno);
    match (errno, token) {
        (Errno::ACCESS, false) => Error::VfTokenNeeded { error },
        (Errno::ACCESS, true) => Error::VfTokenWrong { error },
        _ => error.into(),
    }
}

/// The reason of a bind with a token that was refused by `EINVAL`, as `probe` tells: the answer to
/// the same with a token that cannot be read.
pub(crate) fn reason_by_probe(probe: Result<(), Errno>) -> Error {
    let ioctl = nr::DEVICE_BIND_IOMMUFD.describe();
    match probe {
        // Tokens are known, the file is not bound, and something else is wrong.
        Err(Errno::FAULT) => KernelError::new(
            ioctl.name,
            Errno::INVAL,
            "a VF token where none is asked for (no physical or virtual function, or a virtual one \
             whose physical function no VFIO driver has), somebody else has the device open and \
             bound, or its DMA is not coherent with the CPU's caches",
        )
        .into(),
        // What is not known is refused before the file is looked at, and in the same way.
        Err(Errno::INVAL) => Error::NoVfTokens { since: SINCE },
        // Not now.
        Err(errno) => cause::refusal(ioctl, errno).into(),
        Ok(()) => cause::refusal(ioctl, Errno::INVAL).into(),
    }
}

/// Since when a bind takes a token.
const SINCE: Linux = Linux {
    major: 6,
    minor: 17,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_missing_is_told_from_one_that_is_wrong() {
        let missing = reason(Errno::ACCESS, false);
        assert!(matches!(missing, Error::VfTokenNeeded { .. }), "{missing}");
        let wrong = reason(Errno::ACCESS, true);
        assert!(matches!(wrong, Error::VfTokenWrong { .. }), "{wrong}");
        for error in [missing, wrong] {
            assert_eq!(error.errno(), Some(Errno::ACCESS), "{error}");
        }
        let other = reason(Errno::BUSY, true);
        assert!(matches!(other, Error::Iommufd(_)), "{other}");
    }

    #[test]
    fn a_kernel_that_knows_no_tokens_is_told_from_a_device_that_wants_none() {
        let unknown = reason_by_probe(Err(Errno::INVAL));
        assert!(matches!(unknown, Error::NoVfTokens { .. }), "{unknown}");
        let unwanted = reason_by_probe(Err(Errno::FAULT));
        assert_eq!(unwanted.errno(), Some(Errno::INVAL));
        assert!(
            unwanted.to_string().contains("none is asked for"),
            "{unwanted}"
        );
        let later = reason_by_probe(Err(Errno::BUSY));
        assert_eq!(later.errno(), Some(Errno::BUSY));
    }
}
