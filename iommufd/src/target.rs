//! What a device can be attached to.

use std::fmt;
use std::sync::Arc;

use crate::context::Iommufd;
use crate::device::{Device, PageTableId};
use crate::error::{Error, KernelError, Result};
use crate::format::{Format, NestsOnParent};
use crate::hwpt::HwPt;
use crate::ioas::Ioas;
use crate::nest_parent::NestParent;
use crate::nested::{NestedHwPt, NestedTable};
use crate::object::equal_by;
use crate::paging::Options;
use crate::vdevice::VDeviceInner;

/// What a device can be attached to.
///
/// Targets are equal if they are of the same address space or page table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An address space; the kernel finds or makes a page table for it.
    Ioas(Ioas),
    /// A page table.
    HwPt(HwPt),
    /// A page table in which others can be nested: DMA is by guest physical address.
    NestParent(NestParent),
    /// A guest's page table: made by [`VDevice::through`](crate::VDevice::through), or of a table
    /// that is nested on its parent itself.
    Nested(Nested),
}

/// A guest's page table, with the virtual device under whose number it translates, if it is nested
/// through a virtual IOMMU, and does translate.
///
/// Equal to another of the same page table, by whatever number: the devices of a group have one
/// table, and a number each.
#[derive(Clone)]
pub struct Nested {
    table: Arc<NestedTable>,
    vdevice: Option<Arc<VDeviceInner>>,
    settle: Option<Arc<dyn Settle>>,
}

/// What is done when a device has come to a guest's table.
pub(crate) trait Settle: Send + Sync {
    fn settle(&self) -> Result<()>;
}

equal_by!(table: Nested);

impl fmt::Debug for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nested")
            .field("id", &self.table.id())
            .field("vdevice", &self.vdevice)
            .finish()
    }
}

impl Target {
    /// The address space that the device will see.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        match self {
            Self::Ioas(ioas) => ioas,
            Self::HwPt(hwpt) => hwpt.ioas(),
            Self::NestParent(parent) => parent.ioas(),
            Self::Nested(nested) => nested.table.ioas(),
        }
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.ioas().iommufd()
    }

    pub(crate) fn page_table_id(&self) -> PageTableId {
        PageTableId::new(match self {
            Self::Ioas(ioas) => ioas.inner.id(),
            Self::HwPt(hwpt) => hwpt.table.id(),
            Self::NestParent(parent) => parent.table.id(),
            Self::Nested(nested) => nested.table.id(),
        })
    }

    /// The nested table, by way of the virtual device if there is one.
    pub(crate) fn through(
        table: &Arc<NestedTable>,
        vdevice: Option<&Arc<VDeviceInner>>,
        settle: Option<Arc<dyn Settle>>,
    ) -> Self {
        Self::Nested(Nested {
            table: Arc::clone(table),
            vdevice: vdevice.map(Arc::clone),
            settle,
        })
    }

    /// A nested table that translates nothing, so that no virtual device has to say by which number.
    pub(crate) fn unnumbered<F: Format>(nested: &NestedHwPt<F>) -> Self {
        Self::through(nested.table(), None, None)
    }

    /// Does what is to be done when a device has come.
    pub(crate) fn settle(&self) -> Result<()> {
        match self {
            Self::Nested(Nested {
                settle: Some(settle),
                ..
            }) => settle.settle().map_err(|cause| Error::StaleTranslations {
                cause: Box::new(cause),
            }),
            _ => Ok(()),
        }
    }

    /// Whether it is a guest's table, which can ask for what an IOMMU has not.
    pub(crate) fn is_nested(&self) -> bool {
        matches!(self, Self::Nested(_))
    }

    /// Refuses a device behind an IOMMU that has not what a guest's table asks for.
    pub(crate) fn fits(&self, device: &Device) -> Result<()> {
        match self {
            Self::Nested(nested) => nested.table.fits(device),
            _ => Ok(()),
        }
    }

    /// Refuses a virtual device that is another device's, or behind another virtual IOMMU than the
    /// table.
    pub(crate) fn check_for(&self, device: u32) -> Result<()> {
        let Self::Nested(Nested {
            table,
            vdevice: Some(vdevice),
            ..
        }) = self
        else {
            return Ok(());
        };
        if vdevice.device().id() != device {
            return Err(Error::ForeignVDevice { what: "device" });
        }
        if !table.is_through(vdevice.viommu()) {
            return Err(Error::ForeignVDevice {
                what: "virtual IOMMU",
            });
        }
        Ok(())
    }

    /// The error of an attach that was `refused`.
    ///
    /// Attaching an address space for the first time pins all that is mapped in it. In a page table
    /// it is pinned already.
    pub(crate) fn attach_error(&self, refused: KernelError) -> Error {
        match self {
            Self::Ioas(ioas) => ioas.inner.pin_error(refused.into()),
            _ => refused.into(),
        }
    }

    /// The virtual device, taken out.
    pub(crate) fn take_vdevice(&mut self) -> Option<Arc<VDeviceInner>> {
        match self {
            Self::Nested(nested) => nested.vdevice.take(),
            _ => None,
        }
    }

    /// Whether it may be attached to a PASID, or beside one. What the kernel makes for an address
    /// space is not for that.
    pub(crate) fn is_for_pasids(&self) -> bool {
        let options = match self {
            Self::Ioas(_) => Options::empty(),
            Self::HwPt(hwpt) => hwpt.table.options(),
            Self::NestParent(parent) => parent.table.options(),
            Self::Nested(nested) => nested.table.options(),
        };
        options.contains(Options::PASID)
    }

    /// A table that is nested on its parent: no virtual device says by which number.
    fn on_parent<F: NestsOnParent>(nested: NestedHwPt<F>) -> Self {
        Self::unnumbered(&nested)
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

/// Lets a handle, owned or lent, be a target: what `make` makes of it.
macro_rules! target_of {
    ($target:ident, $handle:ty, $make:expr $(, $format:ident)?) => {
        impl $(<$format: NestsOnParent>)? From<$handle> for $target {
            fn from(handle: $handle) -> Self {
                $make(handle)
            }
        }

        impl $(<$format: NestsOnParent>)? From<&$handle> for $target {
            fn from(handle: &$handle) -> Self {
                Self::from(handle.clone())
            }
        }
    };
}
pub(crate) use target_of;

target_of!(Target, Ioas, Self::Ioas);
target_of!(Target, HwPt, Self::HwPt);
target_of!(Target, NestParent, Self::NestParent);
target_of!(Target, NestedHwPt<F>, Self::on_parent, F);
