//! Hardware information, asked for with a buffer of any length.

// UNSAFETY: tells the kernel the address of a buffer.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::os::fd::AsFd;

use iommufd_sys::ioctl::{SizedArg, iommufd as nr};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

/// What the kernel answers, besides the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HwInfo {
    /// The type of the data.
    pub kind: u32,
    /// How long the kernel's own data is.
    pub len: u32,
    /// How many bits a PASID has.
    pub pasid_bits: u8,
    /// What the kernel can do with the IOMMU.
    pub capabilities: u64,
}

/// Asks for the hardware behind the device `dev`, for data of the type `kind` if `flags` say so.
///
/// # Errors
/// The kernel's.
pub fn hw_info(
    fd: &impl AsFd,
    dev: u32,
    flags: u32,
    kind: u32,
    data: &mut [u8],
) -> Result<HwInfo, Errno> {
    let mut arg = sys::iommu_hw_info::sized();
    arg.flags = flags;
    arg.dev_id = dev;
    arg.in_data_type = kind;
    arg.data_len = u32::try_from(data.len()).unwrap();
    arg.data_uptr = data.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes at most `data_len` bytes to `data_uptr`, the exclusively borrowed slice.
    unsafe { super::issue(fd.as_fd(), &nr::GET_HW_INFO, &mut arg) }?;
    Ok(HwInfo {
        kind: arg.out_data_type(),
        len: arg.data_len,
        pasid_bits: arg.out_max_pasid_log2,
        capabilities: arg.out_capabilities,
    })
}
