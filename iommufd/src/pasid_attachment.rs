//! One of a device's PASIDs attached to a page table.

use std::fmt;

use rustix::io::Errno;

use crate::attachment::Hold;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::format::NestsOnParent;
use crate::group::Who;
use crate::hwpt::HwPt;
use crate::nest_parent::NestParent;
use crate::nested::NestedHwPt;
use crate::pasid::Pasid;
use crate::pasids::AllocatedPasid;
use crate::target::{Target, target_of};

/// What a PASID can be attached to: a page table that was allocated for that.
///
/// Made of a [`HwPt`], a [`NestParent`] or a [`NestedHwPt`] that is nested on its parent itself.
/// Not of an address space: the tables that the kernel makes for one are never for PASIDs. Not of a
/// table that is nested through a virtual IOMMU: there the PASIDs are in the guest's tables.
///
/// Targets are equal if they are of the same page table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasidTarget(Target);

impl PasidTarget {
    fn of(table: impl Into<Target>) -> Self {
        Self(table.into())
    }
}

target_of!(PasidTarget, HwPt, Self::of);
target_of!(PasidTarget, NestParent, Self::of);
target_of!(PasidTarget, NestedHwPt<F>, Self::of, F);

impl From<&PasidTarget> for PasidTarget {
    fn from(target: &PasidTarget) -> Self {
        target.clone()
    }
}

impl From<PasidTarget> for Target {
    fn from(target: PasidTarget) -> Self {
        target.0
    }
}

/// One of a device's PASIDs attached to a page table: detached when dropped.
///
/// It holds the device and the table. While there is one, the device itself can be attached only to
/// a table that was allocated for PASIDs, too.
///
/// # System calls
/// The driver's: `VFIO_DEVICE_ATTACH_IOMMUFD_PT` and `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
///
/// Since Linux 6.15.
#[must_use = "dropping an attachment detaches the PASID"]
pub struct PasidAttachment {
    // The order matters: what was handed out is given back when it is detached.
    hold: Hold,
    pasid: Pasid,
    _allocated: Option<AllocatedPasid>,
}

impl PasidAttachment {
    /// Of a PASID that the caller has chosen.
    pub(crate) fn new(device: &Device, pasid: Pasid, target: PasidTarget) -> Result<Self> {
        Ok(Self {
            hold: hold(device, Who::Chosen(pasid), pasid, target)?,
            pasid,
            _allocated: None,
        })
    }

    /// Of a PASID that was handed out.
    pub(crate) fn of_allocated(
        allocated: AllocatedPasid,
        target: PasidTarget,
    ) -> Result<Self, Refused<AllocatedPasid>> {
        let pasid = allocated.pasid();
        match hold(allocated.device(), Who::Allocated(pasid), pasid, target) {
            Ok(hold) => Ok(Self {
                hold,
                pasid,
                _allocated: Some(allocated),
            }),
            Err(error) => Err(Refused::new(allocated, error)),
        }
    }

    /// Moves the PASID to `target`. DMA with it comes to the old or to the new table, never elsewhere;
    /// after an error it is where it was. (VT-d refuses DMA with it for a moment meanwhile.)
    ///
    /// So a VMM has the attachment in the struct of what uses the PASID, and moves it there:
    ///
    /// ```no_run
    /// use iommufd::{HwPt, PasidAttachment, Result};
    ///
    /// struct Queue {
    ///     attachment: PasidAttachment,
    ///     idle: HwPt,
    /// }
    ///
    /// impl Queue {
    ///     /// The queue works for another process, or for none.
    ///     fn serve(&mut self, process: Option<&HwPt>) -> Result<()> {
    ///         self.attachment.replace(process.unwrap_or(&self.idle))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::GroupShared`] if the same PASID of another device would, or may, move with it: use
    /// [`Group::replace_pasid`](crate::Group::replace_pasid); else as for [`Device::attach_pasid`].
    ///
    /// [`Error::GroupShared`]: crate::Error::GroupShared
    pub fn replace(&mut self, target: impl Into<PasidTarget>) -> Result<()> {
        self.hold.replace(&target.into().0)
    }

    /// Detaches the PASID: from now on the IOMMU refuses DMA with it, unless another device of the
    /// IOMMU group still has it attached.
    ///
    /// # Errors
    /// The kernel's refusal, with the attachment as it was; [`Error::Forked`].
    ///
    /// [`Error::Forked`]: crate::Error::Forked
    #[doc(alias = "VFIO_DEVICE_DETACH_PASID")]
    pub fn detach(mut self) -> Result<(), Refused<Self>> {
        match self.hold.undo() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.hold.device()
    }

    /// The PASID.
    #[must_use]
    pub fn pasid(&self) -> Pasid {
        self.pasid
    }

    /// What the PASID is attached to. `None` in a child of a fork.
    #[must_use]
    pub fn target(&self) -> Option<PasidTarget> {
        self.hold.target().map(PasidTarget)
    }
}

fn hold(device: &Device, who: Who, pasid: Pasid, target: PasidTarget) -> Result<Hold> {
    let bits = device.pasid_bits()?;
    if bits == 0 {
        // The kernel would say yes, and have nothing to do: such a device sends no PASID.
        return Err(Error::NoSuchPasid { pasid, bits });
    }
    Hold::new(device, who, target.0).map_err(|error| explained(error, pasid, bits))
}

/// The kernel's `EINVAL` has many causes, of which a PASID that is too large can be told. It is the
/// kernel that knows how large one may be: `bits` are rounded down.
fn explained(error: Error, pasid: Pasid, bits: u8) -> Error {
    let beyond = pasid.get().checked_shr(bits.into()).unwrap_or(0);
    match error.errno() {
        Some(Errno::INVAL) if beyond != 0 => Error::NoSuchPasid { pasid, bits },
        _ => error,
    }
}

impl fmt::Debug for PasidAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasidAttachment")
            .field("device", self.device())
            .field("pasid", &self.pasid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::KernelError;

    #[test]
    fn an_einval_for_a_pasid_that_is_too_large_is_told_as_that() {
        let error = |errno| KernelError::new("attach", errno, "for some reason").into();
        let is_told = |errno, pasid, bits| {
            let pasid = Pasid::new(pasid).unwrap();
            matches!(
                explained(error(errno), pasid, bits),
                Error::NoSuchPasid { .. }
            )
        };
        assert!(is_told(Errno::INVAL, 0x100, 8));
        assert!(!is_told(Errno::INVAL, 0xff, 8));
        assert!(!is_told(Errno::BUSY, 0x100, 8));
        // What no kernel answers.
        assert!(!is_told(Errno::INVAL, 0xf_ffff, 255));
    }
}
