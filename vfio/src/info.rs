//! What a device is, as the kernel tells.

mod zpci;

use bitflags::bitflags;
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

pub use self::zpci::{Zpci, ZpciFunction, ZpciGroup};
use crate::bound::Bound;
use crate::capability::{self, BrokenChain};
use crate::error::{Error, Result};
use crate::query::{malformed, query};

bitflags! {
    /// What kind of device it is, and what it can do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct DeviceFlags: u32 {
        /// It can be reset alone, by [`OpenDevice::reset`](crate::OpenDevice::reset).
        const RESET = sys::VFIO_DEVICE_FLAGS_RESET;
        /// A PCI function.
        const PCI = sys::VFIO_DEVICE_FLAGS_PCI;
        /// A platform device.
        const PLATFORM = sys::VFIO_DEVICE_FLAGS_PLATFORM;
        /// An ARM AMBA device.
        const AMBA = sys::VFIO_DEVICE_FLAGS_AMBA;
        /// An s390 channel device.
        const CCW = sys::VFIO_DEVICE_FLAGS_CCW;
        /// An s390 cryptographic adjunct processor.
        const AP = sys::VFIO_DEVICE_FLAGS_AP;
        /// A device on a Freescale Management Complex bus.
        const FSL_MC = sys::VFIO_DEVICE_FLAGS_FSL_MC;
        /// Capabilities follow the answer.
        const CAPS = sys::VFIO_DEVICE_FLAGS_CAPS;
        /// A device on an AMD CDX bus. Since Linux 6.4.
        const CDX = sys::VFIO_DEVICE_FLAGS_CDX;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

bitflags! {
    /// Which atomic operations the way to memory completes (PCI Express Base, "Device Capabilities
    /// 2 Register").
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct AtomicCompletion: u32 {
        /// 32-bit FetchAdd, Swap, and Compare And Swap.
        const BITS_32 = sys::VFIO_PCI_ATOMIC_COMP32;
        /// 64-bit FetchAdd, Swap, and Compare And Swap.
        const BITS_64 = sys::VFIO_PCI_ATOMIC_COMP64;
        /// 128-bit Compare And Swap.
        const BITS_128 = sys::VFIO_PCI_ATOMIC_COMP128;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// What a device is, and how many regions and kinds of interrupts it has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Kind and abilities.
    pub flags: DeviceFlags,
    /// How many region indexes there are; some may have no region.
    pub regions: u32,
    /// How many kinds of interrupts there are; some may have none.
    pub interrupts: u32,
    /// Which atomic operations of the device the root complex completes, if the kernel tells.
    /// Since Linux 6.5.
    pub atomics: Option<AtomicCompletion>,
    /// What s390 says of a PCI function.
    pub zpci: Zpci,
}

impl DeviceInfo {
    pub(crate) fn of(bound: &Bound) -> Result<Self> {
        let ioctl = &nr::DEVICE_GET_INFO;
        let answer = query(bound, ioctl, &sys::vfio_device_info::sized())?;
        let head = answer
            .head()
            .ok_or(malformed(ioctl.name(), "shorter than its own head"))?;
        Self::parse(answer.bytes(), &head).map_err(|reason| Error::BrokenChain {
            operation: ioctl.name(),
            reason,
        })
    }

    fn parse(answer: &[u8], head: &sys::vfio_device_info) -> Result<Self, BrokenChain> {
        let flags = DeviceFlags::from_bits_retain(head.flags);
        let mut info = Self {
            flags,
            regions: head.num_regions,
            interrupts: head.num_irqs,
            atomics: None,
            zpci: Zpci::default(),
        };
        // The kernel fills in the offset only along with the flag.
        if !flags.contains(DeviceFlags::CAPS) {
            return Ok(info);
        }
        for capability in capability::chain(answer, size_of_val(head), head.cap_offset)? {
            if u32::from(capability.id) == sys::VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP {
                let atomics: sys::vfio_device_info_cap_pci_atomic_comp = capability.read()?;
                info.atomics = Some(AtomicCompletion::from_bits_retain(atomics.flags));
            }
            info.zpci.take(&capability)?;
        }
        Ok(info)
    }
}

/// What an answer of these bytes says of a device.
#[cfg(fuzzing)]
pub(crate) fn answered(answer: &[u8]) -> Option<DeviceInfo> {
    let (head, _) = zerocopy::FromBytes::read_from_prefix(answer).ok()?;
    DeviceInfo::parse(answer, &head).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn head(flags: u32, cap_offset: u32) -> sys::vfio_device_info {
        let mut head = sys::vfio_device_info::sized();
        head.flags = flags;
        head.num_regions = 9;
        head.num_irqs = 5;
        head.cap_offset = cap_offset;
        head
    }

    #[test]
    fn atomics_are_read_from_the_chain() {
        let head = head(sys::VFIO_DEVICE_FLAGS_PCI | sys::VFIO_DEVICE_FLAGS_CAPS, 24);
        let header = sys::vfio_info_cap_header {
            id: 5,
            version: 1,
            next: 0,
        };
        let atomics = sys::vfio_device_info_cap_pci_atomic_comp {
            header,
            flags: 3,
            reserved: 0,
        };
        let answer = [head.as_bytes(), atomics.as_bytes()].concat();
        let info = DeviceInfo::parse(&answer, &head).unwrap();
        assert_eq!((info.regions, info.interrupts), (9, 5));
        assert_eq!(
            info.atomics,
            Some(AtomicCompletion::BITS_32 | AtomicCompletion::BITS_64)
        );
        assert_eq!(
            DeviceInfo::parse(&answer[..32], &head),
            Err(BrokenChain::Truncated)
        );
    }

    #[test]
    fn p12_whatever_the_kernel_answers_is_information_or_an_error() {
        let mut random = crate::random::Random::new(8);
        for _ in 0..50_000 {
            let mut answer = vec![0; 24];
            answer.extend(random.bytes(128));
            for place in (28..answer.len().saturating_sub(3)).step_by(8) {
                let next = 24 + 8 * random.below(16);
                answer[place..][..4].copy_from_slice(&(next as u32).to_le_bytes());
                answer[place - 4] = random.below(6) as u8;
                answer[place - 3] = 0;
            }
            let head = head(random.below(512) as u32, 8 * random.below(20) as u32);
            let Ok(info) = DeviceInfo::parse(&answer, &head) else {
                continue;
            };
            for string in [info.zpci.utility, info.zpci.path].into_iter().flatten() {
                assert!(string.len() <= answer.len());
            }
        }
    }

    #[test]
    fn an_offset_that_the_kernel_did_not_fill_in_is_not_read() {
        let head = head(sys::VFIO_DEVICE_FLAGS_PCI, 0xdead_beef);
        assert_eq!(
            DeviceInfo::parse(head.as_bytes(), &head).unwrap().atomics,
            None
        );
    }
}
