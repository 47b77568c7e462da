//! What can go wrong with guest memory.

use std::fmt::{self, Write as _};

use ::vm_memory::GuestAddress;
use rustix::io::Errno;

use super::range::GuestRange;
use crate::error::{Error, Refused};
use crate::map::Access;

/// Why guest memory could not be mapped or unmapped, and what of it is now mapped and what is not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestDmaError {
    /// The region's memory is somebody else's, who may unmap it: see
    /// [`GuestRegion::new_unowned`](super::GuestRegion::new_unowned).
    #[error("the guest's memory at {range} is in a mapping that is not its own")]
    #[non_exhaustive]
    Unowned {
        /// The region.
        range: GuestRange,
    },

    /// The region is not mapped in this process with the permissions that the devices were to
    /// have.
    #[error("the guest's memory at {range} is not mapped for {access:?}")]
    #[non_exhaustive]
    Protected {
        /// The region.
        range: GuestRange,
        /// What devices were to do.
        access: Access,
    },

    /// There is guest memory at these addresses already. Nothing was mapped.
    #[error("the guest's memory at {range} overlaps that at {other}")]
    #[non_exhaustive]
    Overlap {
        /// What was to be added.
        range: GuestRange,
        /// What is there.
        other: GuestRange,
    },

    /// No region begins there. Nothing was done.
    #[error("no region of the guest's memory begins at {:#x}", .start.0)]
    #[non_exhaustive]
    NoRegion {
        /// The address.
        start: GuestAddress,
    },

    /// There is no guest memory at the address. Nothing was done.
    #[error("there is no memory of the guest's at {:#x}", .at.0)]
    #[non_exhaustive]
    NoMemory {
        /// The address.
        at: GuestAddress,
    },

    /// Another thread is mapping or unmapping this. Nothing was done; try again when it has done.
    #[error("the guest's memory at {range} is being mapped or unmapped")]
    #[non_exhaustive]
    Busy {
        /// The region, or the block.
        range: GuestRange,
    },

    /// The block is mapped already.
    #[error("the block {block} is mapped already")]
    #[non_exhaustive]
    Mapped {
        /// The block.
        block: GuestRange,
    },

    /// The block is not mapped.
    #[error("the block {block} is not mapped")]
    #[non_exhaustive]
    NotMapped {
        /// The block.
        block: GuestRange,
    },

    /// A block could not be mapped, and so nothing of the call is: what it had mapped before was
    /// unmapped again, and its regions were not added. But for `left`.
    #[error("the block {block} could not be mapped: {reason}{}", also("still mapped", .left))]
    #[non_exhaustive]
    MapRefused {
        /// The block.
        block: GuestRange,
        /// Why not.
        reason: Error,
        /// The blocks of the call that could not be unmapped again: they are mapped, and their
        /// regions are there. All others of the call are not mapped.
        left: Vec<BlockError>,
    },

    /// A block could not be unmapped, and so all of the call is mapped as before: what it had
    /// unmapped was mapped again. But for `missing`.
    #[error("the block {block} could not be unmapped: {reason}{}", also("not mapped any more", .missing))]
    #[non_exhaustive]
    UnmapRefused {
        /// The block.
        block: GuestRange,
        /// Why not.
        reason: Error,
        /// The blocks of the call that could not be mapped again: devices do not reach them any
        /// more, though their region is there. All others are mapped as before.
        missing: Vec<BlockError>,
    },

    /// Not all could be unmapped. What is not named here is.
    #[error("not all of the guest's memory could be unmapped{}", also("still mapped", .blocks))]
    #[non_exhaustive]
    StillMapped {
        /// What is mapped still.
        blocks: Vec<BlockError>,
    },

    /// It was not about guest memory.
    #[error(transparent)]
    Iommufd(#[from] Error),
}

impl GuestDmaError {
    /// The errno that the kernel answered, if it was the kernel that refused: as [`Error::errno`] of
    /// the reason, which for several blocks is that of the first.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::MapRefused { reason, .. } | Self::UnmapRefused { reason, .. } => reason.errno(),
            Self::StillMapped { blocks } => blocks.first()?.reason.errno(),
            Self::Iommufd(error) => error.errno(),
            Self::Unowned { .. }
            | Self::Protected { .. }
            | Self::Overlap { .. }
            | Self::NoRegion { .. }
            | Self::NoMemory { .. }
            | Self::Busy { .. }
            | Self::Mapped { .. }
            | Self::NotMapped { .. } => None,
        }
    }
}

/// `?` in a function that returns [`GuestDmaError`] drops the value, as any early return would.
impl<T> From<Refused<T, Self>> for GuestDmaError {
    fn from(refused: Refused<T, Self>) -> Self {
        refused.into_error()
    }
}

/// `?` in a function that returns [`GuestDmaError`] drops the value, as any early return would.
impl<T> From<Refused<T>> for GuestDmaError {
    fn from(refused: Refused<T>) -> Self {
        refused.into_error().into()
    }
}

/// A block that could not be mapped, or unmapped, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlockError {
    /// The block.
    pub block: GuestRange,
    /// Why not.
    pub reason: Error,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.block, self.reason)
    }
}

/// The blocks that are not as they should be, if there are any: the first, and how many others.
fn also(state: &str, blocks: &[BlockError]) -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    if let Some((first, others)) = blocks.split_first() {
        write!(text, "; {state}: {first}").ok();
        if !others.is_empty() {
            write!(text, " and {} others", others.len()).ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::KernelError;

    #[test]
    fn what_is_not_as_it_should_be_is_said() {
        let block = |page: u64| GuestRange::with_len(GuestAddress(page << 12), 4096).unwrap();
        let failed = |page| BlockError {
            block: block(page),
            reason: Error::Forked,
        };
        let text = |missing: Vec<BlockError>| {
            let error = GuestDmaError::UnmapRefused {
                block: block(1),
                reason: Error::NotAttached,
                missing,
            };
            error.to_string()
        };
        let alone = text(Vec::new());
        assert!(alone.starts_with("the block 0x1000..=0x1fff could not be unmapped: "));
        assert!(!alone.contains("any more"));
        let one = text(vec![failed(2)]);
        assert!(
            one.contains("; not mapped any more: 0x2000..=0x2fff ("),
            "{one}"
        );
        assert!(!one.contains("others"));
        assert!(text(vec![failed(2), failed(3), failed(4)]).ends_with(" and 2 others"));
    }

    fn kernel(errno: Errno) -> Error {
        KernelError::new("IOMMU_IOAS_UNMAP", errno, "it is told once").into()
    }

    fn errors(reason: fn() -> Error) -> [GuestDmaError; 4] {
        let block = GuestRange::with_len(GuestAddress(0), 4096).unwrap();
        [
            GuestDmaError::MapRefused {
                block,
                reason: reason(),
                left: Vec::new(),
            },
            GuestDmaError::UnmapRefused {
                block,
                reason: reason(),
                missing: Vec::new(),
            },
            GuestDmaError::StillMapped {
                blocks: vec![BlockError {
                    block,
                    reason: reason(),
                }],
            },
            reason().into(),
        ]
    }

    #[test]
    fn a_chain_of_errors_tells_the_reason_once() {
        for error in errors(|| kernel(Errno::BUSY)) {
            let mut told = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                told.push_str(&error.to_string());
                source = error.source();
            }
            assert_eq!(told.matches("it is told once").count(), 1, "{told}");
        }
    }

    #[test]
    fn the_errno_is_that_of_the_reason() {
        for error in errors(|| kernel(Errno::BUSY)) {
            assert_eq!(error.errno(), Some(Errno::BUSY), "{error}");
        }
        for error in errors(|| Error::Forked) {
            assert_eq!(error.errno(), None, "{error}");
        }
        let at = GuestAddress(0);
        assert_eq!(GuestDmaError::NoMemory { at }.errno(), None);
    }

    #[test]
    fn a_refusal_becomes_its_reason() {
        fn guest() -> Result<(), GuestDmaError> {
            let start = GuestAddress(1);
            Ok(Err(Refused::<_, GuestDmaError>::new(
                (),
                GuestDmaError::NoRegion { start },
            ))?)
        }
        fn mapping() -> Result<(), GuestDmaError> {
            Ok(Err(Refused::<_, Error>::new((), Error::NotTracked))?)
        }
        assert!(matches!(guest(), Err(GuestDmaError::NoRegion { start }) if start.0 == 1));
        assert!(matches!(
            mapping(),
            Err(GuestDmaError::Iommufd(Error::NotTracked))
        ));
    }
}
