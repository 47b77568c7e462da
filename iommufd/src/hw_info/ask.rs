//! Asking for hardware information: of no type in particular, or of exactly one.

use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::ioctl::{Linux, SizedArg};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use super::{Capabilities, HwInfoType};
use crate::context::Iommufd;
use crate::error::{Error, Result};
use crate::funnel;

/// Longer than any vendor's structure of today; a longer one is asked for once again.
const USUAL: usize = 64;

/// As much as is believed of a kernel's structure, in bytes.
const LONGEST: usize = 1 << 16;

/// What the kernel has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: Option<HwInfoType>,
    pub(super) data: Vec<u8>,
    pub(super) capabilities: Capabilities,
    pub(super) pasid_bits: u8,
}

/// What the kernel is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// What it likes, as every kernel can be asked.
    Anything,
    /// By type, but what it likes: every kernel that can be asked by type has an answer.
    AnythingByType,
    /// This type.
    Type(HwInfoType),
}

/// Asks for no type in particular.
pub(super) fn any_type(iommufd: &Iommufd, device: u32) -> Result<Answer> {
    ask(iommufd, device, Question::Anything)
}

/// Asks for the type `kind`, and takes no other.
pub(super) fn exactly(iommufd: &Iommufd, device: u32, kind: HwInfoType) -> Result<Answer> {
    exactly_of(kind, |question| ask(iommufd, device, question))
}

fn ask(iommufd: &Iommufd, device: u32, question: Question) -> Result<Answer> {
    let context = iommufd.context();
    whole(|arg, data| {
        arg.dev_id = device;
        question.put(arg);
        context.checked(&nr::GET_HW_INFO, &mut context.notices(), |fd| {
            funnel::hw_info(fd, arg, data)
        })
    })
}

impl Question {
    fn put(self, arg: &mut sys::iommu_hw_info) {
        (arg.flags, arg.in_data_type) = match self {
            Self::Anything => (0, sys::IOMMU_HW_INFO_TYPE_DEFAULT),
            Self::AnythingByType => (
                sys::IOMMU_HW_INFO_FLAG_INPUT_TYPE,
                sys::IOMMU_HW_INFO_TYPE_DEFAULT,
            ),
            Self::Type(kind) => (sys::IOMMU_HW_INFO_FLAG_INPUT_TYPE, kind.get()),
        };
    }
}

/// Makes one question of as many ioctls as it takes to have the whole answer.
fn whole(mut call: impl FnMut(&mut sys::iommu_hw_info, &mut [u8]) -> Result<()>) -> Result<Answer> {
    let mut room = USUAL;
    loop {
        let mut data = vec![0; room];
        let mut arg = sys::iommu_hw_info::sized();
        call(&mut arg, &mut data)?;
        // The kernel answers how much it has, not how much it has given.
        let kernel_has = arg.data_len as usize;
        if (room + 1..=LONGEST).contains(&kernel_has) {
            room = kernel_has;
            continue;
        }
        data.truncate(kernel_has);
        return Ok(Answer {
            kind: HwInfoType::new(arg.out_data_type()),
            data,
            capabilities: Capabilities::from_bits_retain(arg.out_capabilities),
            pasid_bits: arg.out_max_pasid_log2,
        });
    }
}

/// Asks for one type, and finds out what an `EOPNOTSUPP` means.
fn exactly_of(kind: HwInfoType, mut ask: impl FnMut(Question) -> Result<Answer>) -> Result<Answer> {
    match ask(Question::Type(kind)) {
        Ok(answer) if answer.kind == Some(kind) => return Ok(answer),
        // The driver of an IOMMU that describes nothing does not even look at the type.
        Ok(_) => return Err(Error::HwInfoNotOffered { kind }),
        Err(error) if !is_unsupported(&error) => return Err(error),
        Err(_) => {}
    }
    // Either the kernel cannot be asked by type, or it has not got this one.
    match ask(Question::AnythingByType) {
        Ok(_) => return Err(Error::HwInfoNotOffered { kind }),
        Err(error) if !is_unsupported(&error) => return Err(error),
        Err(_) => {}
    }
    // Behind a device that no IOMMU translates there is no information at all.
    ask(Question::Anything)?;
    Err(Error::Unsupported {
        feature: "hardware information by type (IOMMU_HW_INFO_FLAG_INPUT_TYPE)",
        since: Linux {
            major: 6,
            minor: 17,
        },
    })
}

fn is_unsupported(error: &Error) -> bool {
    error.errno() == Some(Errno::OPNOTSUPP)
}

/// Plays a kernel that answers every question with `arg`, and with as much of `bytes` as there is room for.
#[cfg(fuzzing)]
pub(super) fn answered(answer: sys::iommu_hw_info, bytes: &[u8]) -> Result<Answer> {
    whole(|arg, data| {
        let len = data.len().min(bytes.len());
        data[..len].copy_from_slice(&bytes[..len]);
        *arg = answer;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::error::KernelError;

    fn refusal(errno: Errno) -> Error {
        KernelError::new("IOMMU_GET_HW_INFO", errno, "as the test has it").into()
    }

    fn answer(kind: u32) -> Answer {
        Answer {
            kind: HwInfoType::new(kind),
            data: Vec::new(),
            capabilities: Capabilities::empty(),
            pasid_bits: 0,
        }
    }

    /// Asks for SMMUv3 of a kernel that answers as `kernel` does, and says what it was asked.
    fn asked(kernel: impl Fn(Question) -> Result<Answer>) -> (Result<Answer>, usize) {
        let mut count = 0;
        let result = exactly_of(HwInfoType::SMMUV3, |question| {
            count += 1;
            kernel(question)
        });
        (result, count)
    }

    #[test]
    fn the_question_is_put_as_the_kernel_reads_it() {
        let put = |question: Question| {
            let mut arg = sys::iommu_hw_info::sized();
            question.put(&mut arg);
            arg.as_bytes().to_vec()
        };
        let mut expected = vec![0; 40];
        expected[0] = 40;
        assert_eq!(put(Question::Anything), expected);
        expected[4] = 1;
        assert_eq!(put(Question::AnythingByType), expected);
        expected[24..28].copy_from_slice(&[3, 0, 0, 0]);
        let tegra = Question::Type(HwInfoType::TEGRA241_CMDQV);
        assert_eq!(put(tegra), expected);
    }

    #[test]
    fn the_type_that_was_asked_for_is_taken() {
        let (result, count) = asked(|_| Ok(answer(2)));
        assert_eq!(result.unwrap(), answer(2));
        assert_eq!(count, 1);
    }

    #[test]
    fn another_type_than_the_one_asked_for_is_not_taken() {
        for other in [0, 1, u32::MAX] {
            let (result, _) = asked(|_| Ok(answer(other)));
            assert!(matches!(
                result,
                Err(Error::HwInfoNotOffered {
                    kind: HwInfoType::SMMUV3
                })
            ));
        }
    }

    #[test]
    fn a_type_that_is_not_offered_is_told_from_an_older_kernel() {
        let (result, count) = asked(|question| match question {
            Question::Type(_) => Err(refusal(Errno::OPNOTSUPP)),
            _ => Ok(answer(1)),
        });
        assert!(matches!(result, Err(Error::HwInfoNotOffered { .. })));
        assert_eq!(count, 2);

        let (result, count) = asked(|question| match question {
            Question::Anything => Ok(answer(1)),
            _ => Err(refusal(Errno::OPNOTSUPP)),
        });
        let Err(Error::Unsupported { since, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!((since.major, since.minor), (6, 17));
        assert_eq!(count, 3);
    }

    #[test]
    fn a_device_without_an_iommu_is_told_from_an_older_kernel() {
        let (result, _) = asked(|_| Err(refusal(Errno::OPNOTSUPP)));
        assert!(matches!(result, Err(Error::Kernel(_))), "{result:?}");
    }

    #[test]
    fn any_other_refusal_is_what_it_is() {
        for at in 1..=3 {
            let mut count = 0;
            let result = exactly_of(HwInfoType::SMMUV3, |_| {
                count += 1;
                Err(refusal(if count == at {
                    Errno::NOENT
                } else {
                    Errno::OPNOTSUPP
                }))
            });
            assert_eq!(result.unwrap_err().errno(), Some(Errno::NOENT));
            assert_eq!(count, at);
        }
    }

    /// Lets a kernel answer with `has` bytes of a description, as it says.
    fn described(has: u32) -> (Answer, Vec<usize>) {
        let mut rooms = Vec::new();
        let answer = whole(|arg, data| {
            rooms.push(data.len());
            data.fill(7);
            arg.data_len = has;
            arg.in_data_type = 1;
            arg.out_max_pasid_log2 = 0xff;
            arg.out_capabilities = u64::MAX;
            Ok(())
        });
        (answer.unwrap(), rooms)
    }

    #[test]
    fn a_description_is_cut_to_what_the_kernel_has() {
        for has in [0, 1, 24, 64] {
            let (answer, rooms) = described(has);
            assert_eq!(answer.data, vec![7; has as usize]);
            assert_eq!(rooms, [64]);
        }
    }

    #[test]
    fn a_long_description_is_asked_for_again() {
        let (answer, rooms) = described(65);
        assert_eq!(answer.data.len(), 65);
        assert_eq!(rooms, [64, 65]);
        assert_eq!(answer.pasid_bits, 0xff);
        assert_eq!(answer.capabilities.bits(), u64::MAX);
    }

    #[test]
    fn a_description_without_end_is_not_believed() {
        for has in [LONGEST as u32 + 1, u32::MAX] {
            let (answer, rooms) = described(has);
            assert_eq!(answer.data.len(), 64);
            assert_eq!(rooms, [64]);
        }
    }

    #[test]
    fn a_description_that_grows_at_every_question_has_an_end() {
        let mut has = 64;
        let answer = whole(|arg, _| {
            has += 1000;
            arg.data_len = has;
            Ok(())
        });
        assert!(answer.unwrap().data.len() <= LONGEST);
    }
}
