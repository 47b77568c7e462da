//! The chains of capabilities that the kernel appends to its answers.
//!
//! An answer is bytes: nothing in it is trusted to be in bounds, aligned, or free of cycles.

use iommufd_sys::vfio::vfio_info_cap_header;
use zerocopy::FromBytes;

/// More than any kernel sends: there are half a dozen kinds, and an answer has each once.
const LONGEST: usize = 64;

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenChain {
    /// A capability begins within the fixed part of the answer, or ends outside of the answer.
    #[error("a capability lies outside of the answer")]
    OutOfBounds,
    /// A capability begins where none of its fields would be aligned.
    #[error("a capability is not aligned")]
    Misaligned,
    /// A capability comes after itself.
    #[error("the chain of capabilities is a cycle")]
    Cycle,
    /// More capabilities than any answer has.
    #[error("the chain of capabilities does not end")]
    TooLong,
    /// A capability is shorter than its own fields say, or than its kind is.
    #[error("a capability is cut short")]
    Truncated,
}

/// One capability: what it is, and the bytes from its header to the end of the answer (how long
/// it is only its kind can say).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capability<'a> {
    pub(crate) id: u16,
    bytes: &'a [u8],
}

impl Capability<'_> {
    /// The capability as its struct, which begins with the header.
    pub(crate) fn read<T: FromBytes>(&self) -> Result<T, BrokenChain> {
        T::read_from_prefix(self.bytes)
            .map(|(value, _)| value)
            .map_err(|_| BrokenChain::Truncated)
    }

    /// The `count` elements that follow a head of `T`.
    pub(crate) fn array<T: FromBytes, E: FromBytes>(
        &self,
        count: u32,
    ) -> Result<Vec<E>, BrokenChain> {
        let count = usize::try_from(count).map_err(|_| BrokenChain::Truncated)?;
        let mut rest = self
            .bytes
            .get(size_of::<T>()..)
            .ok_or(BrokenChain::Truncated)?;
        // Before anything is allocated: the answer must have room for as many as it claims.
        if size_of::<E>()
            .checked_mul(count)
            .is_none_or(|bytes| bytes > rest.len())
        {
            return Err(BrokenChain::Truncated);
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            let (element, after) = E::read_from_prefix(rest).map_err(|_| BrokenChain::Truncated)?;
            elements.push(element);
            rest = after;
        }
        Ok(elements)
    }
}

/// The capabilities of `answer`, whose fixed part is `head` bytes; `first` is where the fixed part
/// says the chain begins, 0 if there is none.
pub(crate) fn chain(
    answer: &[u8],
    head: usize,
    first: u32,
) -> Result<Vec<Capability<'_>>, BrokenChain> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    let mut next = first;
    while next != 0 {
        if seen.contains(&next) {
            return Err(BrokenChain::Cycle);
        }
        if seen.len() == LONGEST {
            return Err(BrokenChain::TooLong);
        }
        seen.push(next);
        let offset = usize::try_from(next).map_err(|_| BrokenChain::OutOfBounds)?;
        if offset < head {
            return Err(BrokenChain::OutOfBounds);
        }
        if !offset.is_multiple_of(align_of::<vfio_info_cap_header>()) {
            return Err(BrokenChain::Misaligned);
        }
        let bytes = answer.get(offset..).ok_or(BrokenChain::OutOfBounds)?;
        let (header, _) =
            vfio_info_cap_header::read_from_prefix(bytes).map_err(|_| BrokenChain::OutOfBounds)?;
        found.push(Capability {
            id: header.id,
            bytes,
        });
        next = header.next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iommufd_sys::vfio::{
        vfio_region_info, vfio_region_info_cap_sparse_mmap, vfio_region_info_cap_type,
        vfio_region_sparse_mmap_area,
    };
    use zerocopy::IntoBytes;

    const HEAD: usize = size_of::<vfio_region_info>();

    fn header(answer: &mut [u8], offset: usize, id: u16, next: u32) {
        let header = vfio_info_cap_header {
            id,
            version: 1,
            next,
        };
        answer[offset..offset + 8].copy_from_slice(header.as_bytes());
    }

    #[test]
    fn no_chain_is_no_capability() {
        assert_eq!(chain(&[0; HEAD], HEAD, 0), Ok(Vec::new()));
    }

    #[test]
    fn a_chain_is_followed_in_its_own_order() {
        let mut answer = [0; HEAD + 48];
        header(&mut answer, HEAD + 16, 2, 32);
        header(&mut answer, HEAD, 1, 0);
        answer[HEAD + 24] = 9;
        let found = chain(&answer, HEAD, (HEAD + 16) as u32).unwrap();
        assert_eq!(found.iter().map(|cap| cap.id).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(
            found[0].read::<vfio_region_info_cap_type>().unwrap().type_,
            9
        );
    }

    #[test]
    fn p12_a_cycle_ends() {
        let mut answer = [0; HEAD + 32];
        header(&mut answer, HEAD, 1, (HEAD + 16) as u32);
        header(&mut answer, HEAD + 16, 1, HEAD as u32);
        assert_eq!(chain(&answer, HEAD, HEAD as u32), Err(BrokenChain::Cycle));
        header(&mut answer, HEAD, 1, HEAD as u32);
        assert_eq!(chain(&answer, HEAD, HEAD as u32), Err(BrokenChain::Cycle));
    }

    #[test]
    fn p12_offsets_outside_and_between_are_refused() {
        let answer = [0; HEAD + 16];
        let end = answer.len() as u32;
        for first in [4, HEAD as u32 - 4, end - 4, end, !3] {
            assert_eq!(
                chain(&answer, HEAD, first),
                Err(BrokenChain::OutOfBounds),
                "{first}"
            );
        }
        assert_eq!(
            chain(&answer, HEAD, HEAD as u32 + 2),
            Err(BrokenChain::Misaligned)
        );
    }

    #[test]
    fn a_list_is_as_long_as_the_answer_has_room_for() {
        type Head = vfio_region_info_cap_sparse_mmap;
        type Area = vfio_region_sparse_mmap_area;
        let mut answer = [0; HEAD + 16 + 2 * 16];
        header(&mut answer, HEAD, 1, 0);
        answer[HEAD + 16..][..16].copy_from_slice(
            Area {
                offset: 0x1000,
                size: 0x2000,
            }
            .as_bytes(),
        );
        let found = chain(&answer, HEAD, HEAD as u32).unwrap();
        let areas = found[0].array::<Head, Area>(2).unwrap();
        assert_eq!(
            (areas[0].offset, areas[0].size, areas[1].size),
            (0x1000, 0x2000, 0)
        );
        for count in [3, u32::MAX] {
            assert!(matches!(
                found[0].array::<Head, Area>(count),
                Err(BrokenChain::Truncated)
            ));
        }
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        let mut answer = vec![0; HEAD + 8 * 100];
        for offset in (HEAD..answer.len() - 8).step_by(8) {
            header(&mut answer, offset, 1, offset as u32 + 8);
        }
        assert_eq!(chain(&answer, HEAD, HEAD as u32), Err(BrokenChain::TooLong));
    }

    #[test]
    fn p12_every_short_hostile_answer_ends_in_an_answer() {
        // All chains of two headers over small offsets, in an answer of every length.
        for len in HEAD..HEAD + 24 {
            for first in 0..64 {
                for next in 0..64 {
                    let mut answer = vec![0; len];
                    for offset in (HEAD..len.saturating_sub(8)).step_by(8) {
                        header(&mut answer, offset, 1, next);
                    }
                    if let Ok(found) = chain(&answer, HEAD, first) {
                        assert!(found.len() <= len / 4);
                    }
                }
            }
        }
    }
}
