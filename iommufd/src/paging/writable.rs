//! An address space under a table that takes no memory which devices may only read.

use crate::device::Device;
use crate::error::Result;
use crate::hw_info::{VendorInfo, VtdFlags};
use crate::ioas::Ioas;
use crate::paging::Options;

/// Keeps memory that devices may only read out of an address space.
///
/// # Invariants
/// The ledger of `ioas` refuses such memory once for this.
pub(super) struct WritableOnly {
    ioas: Ioas,
}

impl WritableOnly {
    /// For a table with these options, if it is one that takes no such memory: a nesting parent of a
    /// VT-d unit that is said to have erratum 772415.
    pub(super) fn of(ioas: &Ioas, device: &Device, options: Options) -> Result<Option<Self>> {
        if !options.contains(Options::NEST_PARENT) || !has_erratum(&device.known()?.vendor) {
            return Ok(None);
        }
        // In a child of a fork the lock may be held for ever.
        ioas.inner.context().check_process()?;
        ioas.inner.ledger().refuse_read_only()?;
        Ok(Some(Self { ioas: ioas.clone() }))
    }
}

fn has_erratum(vendor: &VendorInfo) -> bool {
    match vendor {
        VendorInfo::Vtd(vtd) => vtd.flags().contains(VtdFlags::NO_READ_ONLY_IN_NEST_PARENT),
        _ => false,
    }
}

impl Drop for WritableOnly {
    fn drop(&mut self) {
        let ioas = &self.ioas.inner;
        // As above.
        if ioas.context().check_process().is_ok() {
            ioas.ledger().permit_read_only();
        }
    }
}
