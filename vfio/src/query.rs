//! Asking for an answer whose size only the kernel knows.

use iommufd_sys::ioctl::Ioctl;

use crate::bound::Bound;
use crate::buffer::AlignedBytes;
use crate::error::{Error, Result};
use crate::ioctl::PointerFree;

/// The first call tells the size, the second has the room; one more in case it grew meanwhile.
const ROUNDS: usize = 4;

/// No device has this much to say; a kernel that claims more is not believed.
const LONGEST: usize = 1 << 20;

/// Asks `question` with as much room as the answer needs.
pub(crate) fn query<T: PointerFree>(
    bound: &Bound,
    ioctl: &Ioctl<T>,
    question: &T,
) -> Result<AlignedBytes> {
    negotiate(ioctl.name(), size_of::<T>(), |room| {
        let mut answer = AlignedBytes::zeroed(room);
        answer
            .put(0, question)
            .ok_or(malformed(ioctl.name(), "shorter than its own head"))?;
        bound.sized(ioctl, &mut answer)?;
        Ok(answer)
    })
}

/// Calls `ask` with more and more room, until the answer says that it fitted.
pub(crate) fn negotiate(
    operation: &'static str,
    first: usize,
    mut ask: impl FnMut(usize) -> Result<AlignedBytes>,
) -> Result<AlignedBytes> {
    let mut room = first;
    for _ in 0..ROUNDS {
        let answer = ask(room)?;
        let needed = usize::try_from(answer.argsz()).unwrap_or(usize::MAX);
        if needed <= answer.bytes().len() {
            return Ok(answer);
        }
        if needed > LONGEST {
            return Err(malformed(operation, "longer than any answer can be"));
        }
        room = needed;
    }
    Err(malformed(operation, "longer at every call"))
}

pub(crate) fn malformed(source_of: &'static str, reason: &'static str) -> Error {
    Error::Malformed { source_of, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that answers that it needs `needed[n]` bytes at the n-th call.
    fn with(needed: &[u32]) -> (Result<AlignedBytes>, Vec<usize>) {
        let mut rooms = Vec::new();
        let answer = negotiate("TEST", 24, |room| {
            let mut answer = AlignedBytes::zeroed(room);
            answer
                .put(0, needed.get(rooms.len()).or(needed.last()).unwrap())
                .unwrap();
            rooms.push(room);
            Ok(answer)
        });
        (answer, rooms)
    }

    #[test]
    fn the_room_follows_what_the_kernel_needs() {
        let (answer, rooms) = with(&[24]);
        assert_eq!((answer.unwrap().bytes().len(), &*rooms), (24, &[24][..]));
        let (answer, rooms) = with(&[100]);
        assert_eq!(
            (answer.unwrap().bytes().len(), &*rooms),
            (104, &[24, 100][..])
        );
        // A kernel that needs less than it was given, or says nothing, has answered.
        assert!(with(&[0]).0.is_ok());
    }

    #[test]
    fn a_kernel_that_never_has_enough_is_left_alone() {
        let (answer, rooms) = with(&[100, 200, 300, 400, 500]);
        assert!(matches!(answer, Err(Error::Malformed { .. })));
        assert_eq!(rooms.len(), ROUNDS);
        assert!(matches!(with(&[u32::MAX]).0, Err(Error::Malformed { .. })));
    }
}
