//! The optional features of a device, `VFIO_DEVICE_FEATURE`: which it has. Each has a door of its
//! own; here is what they have in common.

use std::fmt;

use bitflags::bitflags;
use iommufd::KernelError;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Result};
use crate::ioctl::feature as funnel;
use crate::ioctl::feature::{Bare, Gets, Sets};

mod bus_master;
mod cause;
pub(crate) mod claims;
mod error;
mod zpci;

pub use bus_master::BusMaster;
pub use error::{FeatureError, Guarded};
pub use zpci::ZpciError;

/// An optional feature of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// The secret that users of virtual functions have to know:
    /// [`OpenDevice::set_vf_token`](crate::OpenDevice::set_vf_token). Of a PCI physical function with SR-IOV.
    /// Since Linux 5.7.
    #[doc(alias = "VFIO_DEVICE_FEATURE_PCI_VF_TOKEN")]
    VfToken,
    /// Migration: [`OpenDevice::migration`](crate::OpenDevice::migration). Since Linux 5.18.
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIGRATION")]
    Migration,
    /// The migration state, which goes with [`Migration`](Self::Migration). Since Linux 5.18.
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE")]
    MigrationState,
    /// Low power: [`OpenDevice::low_power`](crate::OpenDevice::low_power). Since Linux 6.1.
    #[doc(alias = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY")]
    LowPower,
    /// Low power until something wakes the device up:
    /// [`OpenDevice::low_power_until_woken`](crate::OpenDevice::low_power_until_woken). Since Linux 6.1.
    #[doc(alias = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP")]
    LowPowerWithWakeup,
    /// The end of low power. Since Linux 6.1.
    #[doc(alias = "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT")]
    LowPowerExit,
    /// A record of what the device writes: [`OpenDevice::log_dma`](crate::OpenDevice::log_dma). Since Linux
    /// 6.1.
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_LOGGING_START")]
    DmaLogging,
    /// The end of that record. Since Linux 6.1.
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP")]
    DmaLoggingStop,
    /// Reading that record. Since Linux 6.1.
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT")]
    DmaLoggingReport,
    /// How much data a migration will be:
    /// [`Migration::data_size`](crate::migration::Migration::data_size). Since Linux 6.2.
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIG_DATA_SIZE")]
    MigrationDataSize,
    /// Bus mastering of a device that has no configuration space for it:
    /// [`OpenDevice::set_bus_master`](crate::OpenDevice::set_bus_master). Since Linux 6.7.
    #[doc(alias = "VFIO_DEVICE_FEATURE_BUS_MASTER")]
    BusMaster,
    /// A dma-buf of a BAR: [`OpenDevice::export_bar`](crate::OpenDevice::export_bar). Since Linux 6.19.
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_BUF")]
    DmaBuf,
    /// Word of new initial data before the device is stopped:
    /// [`Migration::announce_new_initial_data`](crate::migration::Migration::announce_new_initial_data).
    /// Since Linux 7.2 at the latest.
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2")]
    PreCopyInfoV2,
    /// Errors that s390's firmware reports: [`OpenDevice::zpci_error`](crate::OpenDevice::zpci_error). Since
    /// Linux 7.3.
    #[doc(alias = "VFIO_DEVICE_FEATURE_ZPCI_ERROR")]
    ZpciError,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::VfToken,
        Self::Migration,
        Self::MigrationState,
        Self::LowPower,
        Self::LowPowerWithWakeup,
        Self::LowPowerExit,
        Self::DmaLogging,
        Self::DmaLoggingStop,
        Self::DmaLoggingReport,
        Self::MigrationDataSize,
        Self::BusMaster,
        Self::DmaBuf,
        Self::PreCopyInfoV2,
        Self::ZpciError,
    ];

    pub(crate) fn number(self) -> u32 {
        match self {
            Self::VfToken => sys::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
            Self::Migration => sys::VFIO_DEVICE_FEATURE_MIGRATION,
            Self::MigrationState => sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
            Self::LowPower => sys::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
            Self::LowPowerWithWakeup => sys::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
            Self::LowPowerExit => sys::VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
            Self::DmaLogging => sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
            Self::DmaLoggingStop => sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
            Self::DmaLoggingReport => sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
            Self::MigrationDataSize => sys::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
            Self::BusMaster => sys::VFIO_DEVICE_FEATURE_BUS_MASTER,
            Self::DmaBuf => sys::VFIO_DEVICE_FEATURE_DMA_BUF,
            Self::PreCopyInfoV2 => sys::VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
            Self::ZpciError => sys::VFIO_DEVICE_FEATURE_ZPCI_ERROR,
        }
    }

    /// Its name in C.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::VfToken => "VFIO_DEVICE_FEATURE_PCI_VF_TOKEN",
            Self::Migration => "VFIO_DEVICE_FEATURE_MIGRATION",
            Self::MigrationState => "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE",
            Self::LowPower => "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY",
            Self::LowPowerWithWakeup => "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP",
            Self::LowPowerExit => "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT",
            Self::DmaLogging => "VFIO_DEVICE_FEATURE_DMA_LOGGING_START",
            Self::DmaLoggingStop => "VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP",
            Self::DmaLoggingReport => "VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT",
            Self::MigrationDataSize => "VFIO_DEVICE_FEATURE_MIG_DATA_SIZE",
            Self::BusMaster => "VFIO_DEVICE_FEATURE_BUS_MASTER",
            Self::DmaBuf => "VFIO_DEVICE_FEATURE_DMA_BUF",
            Self::PreCopyInfoV2 => "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2",
            Self::ZpciError => "VFIO_DEVICE_FEATURE_ZPCI_ERROR",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VfToken => "VF token",
            Self::Migration => "migration",
            Self::MigrationState => "migration state",
            Self::LowPower => "low power",
            Self::LowPowerWithWakeup => "low power with wake-up",
            Self::LowPowerExit => "end of low power",
            Self::DmaLogging => "DMA logging",
            Self::DmaLoggingStop => "end of DMA logging",
            Self::DmaLoggingReport => "report of DMA logging",
            Self::MigrationDataSize => "migration data size",
            Self::BusMaster => "bus master control",
            Self::DmaBuf => "dma-buf of a BAR",
            Self::PreCopyInfoV2 => "word of new initial data",
            Self::ZpciError => "zPCI errors",
        })
    }
}

bitflags! {
    /// What can be done with a feature.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct FeatureAccess: u32 {
        /// It can be read.
        const GET = sys::VFIO_DEVICE_FEATURE_GET;
        /// It can be set.
        const SET = sys::VFIO_DEVICE_FEATURE_SET;
    }
}

/// Optional features.
impl OpenDevice {
    /// Whether the device, and the kernel, have a feature.
    ///
    /// The kernel is asked each time. Having it does not mean that it can be used now.
    ///
    /// # Errors
    /// `ENODEV`: the device is going away; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_PROBE")]
    pub fn has_feature(&self, feature: Feature) -> Result<bool> {
        self.bound().has_feature(feature, FeatureAccess::empty())
    }

    /// What can be done with a feature; nothing, if the device or the kernel has it not.
    ///
    /// ```no_run
    /// # fn example(device: &vfio::Device) -> vfio::Result<()> {
    /// use vfio::Feature;
    ///
    /// for feature in Feature::ALL {
    ///     println!("{feature}: {:?}", device.feature_access(feature)?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`has_feature`](Self::has_feature).
    #[doc(alias = "VFIO_DEVICE_FEATURE_PROBE")]
    pub fn feature_access(&self, feature: Feature) -> Result<FeatureAccess> {
        let mut all = FeatureAccess::empty();
        if !self.has_feature(feature)? {
            return Ok(all);
        }
        for access in [FeatureAccess::GET, FeatureAccess::SET] {
            all.set(access, self.bound().has_feature(feature, access)?);
        }
        Ok(all)
    }
}

impl Bound {
    fn has_feature(&self, feature: Feature, access: FeatureAccess) -> Result<bool> {
        match funnel::probe(self.fd()?, self.audience(), feature, access) {
            Ok(()) => Ok(true),
            // The feature is there, and not this access to it.
            Err(Errno::INVAL) if !access.is_empty() => Ok(false),
            // A device that has no states before it is stopped answers so, whatever it is asked.
            Err(Errno::INVAL) if feature == Feature::PreCopyInfoV2 => Ok(false),
            Err(errno) => match refusal(feature, errno) {
                Error::Feature(FeatureError::NotThere { .. }) => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Gets a feature.
    pub(crate) fn get_feature<T: Gets>(&self, data: &mut T) -> Result<()> {
        funnel::get(self.fd()?, self.audience(), data).map_err(|errno| refusal(T::FEATURE, errno))
    }

    /// Sets a feature.
    pub(crate) fn set_feature<T: Sets>(&self, data: &T) -> Result<()> {
        funnel::set(self.fd()?, self.audience(), data).map_err(|errno| refusal(T::FEATURE, errno))
    }

    /// Sets a feature that has no data.
    pub(crate) fn set_bare_feature(&self, bare: Bare) -> Result<()> {
        funnel::set_bare(self.fd()?, self.audience(), bare)
            .map_err(|errno| refusal(bare.feature(), errno))
    }
}

/// What the kernel's refusal of a feature means: that there is none, or that something else failed.
pub(crate) fn refusal(feature: Feature, errno: Errno) -> Error {
    let is_there = match errno {
        Errno::NOTTY => false,
        // A driver without dma-bufs answers so, where the kernel has them.
        Errno::OPNOTSUPP => feature != Feature::DmaBuf,
        _ => true,
    };
    if !is_there {
        return FeatureError::NotThere { feature }.into();
    }
    KernelError::new(feature.name(), errno, cause::of_feature(feature, errno)).into()
}

#[cfg(test)]
mod tests;
