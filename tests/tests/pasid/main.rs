//! PASIDs: handed out, attached, moved and detached, what must go with what, and what is left behind.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, but for what they have in common"
)]

mod allocated;
mod ends;
mod faults;
mod groups;
mod hardware;
mod slots;
mod tables;

use std::sync::Arc;

use iommufd::{HwPt, Ioas, Iommufd};
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::pasids::{self, Table};

/// A device with PASIDs, and an address space.
struct Rig {
    device: MockDevice,
    ioas: Ioas,
    iommufd: Iommufd,
    recorder: Arc<Recorder>,
}

impl Rig {
    fn new() -> Self {
        let (iommufd, recorder) = Recorder::context();
        Self {
            device: MockDevice::with_pasids(&iommufd).unwrap(),
            ioas: Ioas::new(&iommufd).unwrap(),
            iommufd,
            recorder,
        }
    }

    /// A page table that is for PASIDs.
    fn table(&self) -> HwPt {
        pasids::table(&self.ioas, &self.device)
    }

    /// One table of each kind, for PASIDs or not.
    fn tables(&self, for_pasids: bool) -> Vec<Table> {
        pasids::tables(&self.ioas, &self.device, for_pasids)
    }
}
