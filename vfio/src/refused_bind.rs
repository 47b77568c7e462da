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
    use crate::cdev::Cdev;
    use crate::ioctl::script;
    use crate::vf_token::VfToken;
    use std::os::fd::{AsFd, AsRawFd};

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

    const TOKEN: VfToken = VfToken::new(*b"0123456789abcdef");

    #[test]
    fn a_token_is_behind_its_address_and_none_where_none_was_given() {
        let iommufd = script::iommufd();
        let number = iommufd.as_fd().as_raw_fd().cast_unsigned();
        for token in [None, Some(TOKEN)] {
            let _kernel = script::answering(move |mut ask| {
                assert_eq!(ask.ioctl, nr::DEVICE_BIND_IOMMUFD.describe());
                assert_eq!((ask.arg.len(), ask.u32(0)), (24, 24));
                assert_eq!((ask.u32(8), ask.u32(12)), (number, 0));
                match token {
                    Some(token) => {
                        assert_eq!(ask.u32(4), 1);
                        assert_eq!(ask.data(16, 16), token.bytes());
                    }
                    None => assert_eq!((ask.u32(4), ask.u64(16)), (0, 0)),
                }
                Err(Errno::ACCESS)
            });
            let cdev = Cdev::of_nothing(script::file());
            let failed = match token {
                Some(token) => cdev.bind_with_token(&iommufd, token),
                None => cdev.bind(&iommufd),
            };
            assert!(failed.unwrap_err().into_cdev().is_some());
        }
    }

    #[test]
    fn what_a_token_was_refused_for_is_asked_once_more() {
        let older = script::answering(|ask| {
            let is_bind = ask.ioctl == nr::DEVICE_BIND_IOMMUFD.describe();
            assert!(!is_bind || ask.u32(4) == 1);
            Err(Errno::INVAL)
        });
        let cdev = Cdev::of_nothing(script::file());
        let failed = cdev.bind_with_token(&script::iommufd(), TOKEN).unwrap_err();
        assert!(
            matches!(failed.error(), Error::NoVfTokens { .. }),
            "{failed}"
        );
        assert!(failed.to_string().contains("6.17"), "{failed}");

        let cdev = failed.into_cdev().unwrap();
        drop(older);
        let newer = script::answering(|ask| match ask.u64(16) {
            // Where no process has memory.
            0xffff_ffff_ffff_f000 => Err(Errno::FAULT),
            _ => Err(Errno::INVAL),
        });
        let failed = cdev.bind_with_token(&script::iommufd(), TOKEN).unwrap_err();
        assert_eq!(failed.error().errno(), Some(Errno::INVAL), "{failed}");
        assert!(matches!(failed.error(), Error::Iommufd(_)), "{failed}");

        // Of a file that somebody has bound meanwhile the kernel looks at no token.
        let cdev = failed.into_cdev().unwrap();
        drop(newer);
        let _kernel = script::answering(|ask| match ask.ioctl {
            bind if bind == nr::DEVICE_BIND_IOMMUFD.describe() => Err(Errno::INVAL),
            _ => Ok(0),
        });
        let failed = cdev.bind_with_token(&script::iommufd(), TOKEN).unwrap_err();
        assert!(matches!(failed.error(), Error::AlreadyBound), "{failed}");
    }
}
