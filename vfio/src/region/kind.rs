//! Regions that are specific to their driver, found by what they are.

use iommufd_sys::vfio as sys;

use crate::device::OpenDevice;
use crate::error::Result;
use crate::region::{RegionIndex, RegionInfo};

/// What a region is that no specification of its bus knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RegionKind {
    /// The kind; with bit 31 set, the low 16 bits are a PCI vendor identifier, who defines the rest.
    pub kind: u32,
    /// The kind within that.
    pub subkind: u32,
}

impl RegionKind {
    /// The `OpRegion` of an Intel graphics device.
    #[doc(alias = "VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION")]
    pub const IGD_OPREGION: Self =
        Self::of_vendor(0x8086, sys::VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION);
    /// The configuration space of the host bridge beside an Intel graphics device.
    #[doc(alias = "VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG")]
    pub const IGD_HOST_BRIDGE: Self =
        Self::of_vendor(0x8086, sys::VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG);
    /// The configuration space of the ISA bridge beside an Intel graphics device.
    #[doc(alias = "VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG")]
    pub const IGD_ISA_BRIDGE: Self =
        Self::of_vendor(0x8086, sys::VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG);
    /// What the display of a virtual graphics device says of itself. Since Linux 4.20.
    #[doc(alias = "VFIO_REGION_SUBTYPE_GFX_EDID")]
    pub const DISPLAY_EDID: Self =
        Self::new(sys::VFIO_REGION_TYPE_GFX, sys::VFIO_REGION_SUBTYPE_GFX_EDID);
    /// Asynchronous commands to an s390 channel device. Since Linux 5.2.
    #[doc(alias = "VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD")]
    pub const CCW_ASYNC_COMMAND: Self = Self::new(
        sys::VFIO_REGION_TYPE_CCW,
        sys::VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD,
    );
    /// The subchannel information of an s390 channel device. Since Linux 5.8.
    #[doc(alias = "VFIO_REGION_SUBTYPE_CCW_SCHIB")]
    pub const CCW_SCHIB: Self = Self::new(
        sys::VFIO_REGION_TYPE_CCW,
        sys::VFIO_REGION_SUBTYPE_CCW_SCHIB,
    );
    /// The channel reports of an s390 channel device. Since Linux 5.8.
    #[doc(alias = "VFIO_REGION_SUBTYPE_CCW_CRW")]
    pub const CCW_CRW: Self =
        Self::new(sys::VFIO_REGION_TYPE_CCW, sys::VFIO_REGION_SUBTYPE_CCW_CRW);

    /// The kind with these numbers.
    #[must_use]
    pub const fn new(kind: u32, subkind: u32) -> Self {
        Self { kind, subkind }
    }

    /// The kind to which a PCI vendor has given this number.
    #[must_use]
    pub const fn of_vendor(vendor: u16, subkind: u32) -> Self {
        // A wider number, not a narrower one.
        Self::new(
            sys::VFIO_REGION_TYPE_PCI_VENDOR_TYPE | vendor as u32,
            subkind,
        )
    }

    /// The PCI vendor who has defined it, if one has.
    #[must_use]
    pub fn vendor(self) -> Option<u16> {
        let vendors = self.kind & sys::VFIO_REGION_TYPE_PCI_VENDOR_TYPE != 0;
        let vendor = u16::try_from(self.kind & sys::VFIO_REGION_TYPE_PCI_VENDOR_MASK);
        vendor.ok().filter(|_| vendors)
    }
}

impl OpenDevice {
    /// The first region of this kind, if the device has one: where such a region is differs from
    /// kernel to kernel.
    ///
    /// # Errors
    /// As for [`info`](Self::info).
    ///
    /// ```no_run
    /// # fn example(device: &vfio::Device) -> vfio::Result<()> {
    /// use vfio::RegionKind;
    ///
    /// if let Some(edid) = device.find_region(RegionKind::DISPLAY_EDID)? {
    ///     let edid = device.region(edid)?;
    ///     println!("an EDID of up to {} bytes", edid.read::<u32>(4)?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "VFIO_REGION_INFO_CAP_TYPE")]
    pub fn find_region(&self, kind: RegionKind) -> Result<Option<RegionIndex>> {
        let is = |region: &RegionInfo| region.kind == Some(kind);
        let mut regions = self.regions()?.into_iter();
        Ok(regions.find(is).map(|region| region.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_have_kinds_of_their_own() {
        assert_eq!(RegionKind::IGD_OPREGION, RegionKind::new(0x8000_8086, 1));
        assert_eq!(RegionKind::IGD_OPREGION.vendor(), Some(0x8086));
        assert_eq!(RegionKind::DISPLAY_EDID, RegionKind::new(1, 1));
        assert_eq!(RegionKind::DISPLAY_EDID.vendor(), None);
        assert_eq!(RegionKind::of_vendor(u16::MAX, 0).vendor(), Some(u16::MAX));
    }
}
