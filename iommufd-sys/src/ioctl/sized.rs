//! Arguments that begin with their own size.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::iommufd::*;
use crate::vfio::*;

/// An argument of an iommufd ioctl: its first field is `size: u32`, the bytes of it that the caller knows.
///
/// The kernel reads and writes that many bytes, whatever it was compiled with: it takes what is missing as zero, and
/// refuses (`E2BIG`) what it does not know unless it is zero.
///
/// Any type of plain bytes may implement this; unsafe code that hands one to the kernel sets the size with
/// [`write_size`], which no implementation can replace.
pub trait SizedArg: FromBytes + IntoBytes + KnownLayout + Immutable + Sized {
    /// All zero but for `size`.
    fn sized() -> Self {
        zeroed_with_size()
    }

    /// Sets `size` to the size of the struct.
    fn set_size(&mut self) {
        write_size(self);
    }
}

/// An argument of a VFIO ioctl: its first field is `argsz: u32`, the bytes of the struct and of what follows it.
///
/// A struct with a flexible array, or with capabilities behind it, is the head of a larger buffer: the caller of such an
/// ioctl sets `argsz` to the size of the whole.
pub trait ArgszArg: FromBytes + IntoBytes + KnownLayout + Immutable + Sized {
    /// All zero but for `argsz`, which is the size of the struct alone.
    fn sized() -> Self {
        zeroed_with_size()
    }

    /// Sets `argsz` to the size of the struct alone.
    fn set_argsz(&mut self) {
        write_size(self);
    }
}

fn zeroed_with_size<T: FromBytes + IntoBytes>() -> T {
    let mut arg = T::new_zeroed();
    write_size(&mut arg);
    arg
}

/// Sets the first 32 bits of `arg` to its size in bytes.
///
/// After this the kernel neither reads nor writes outside `arg` itself, and any bytes that it writes there are a valid
/// `T`. (What pointers inside `arg` reach is another matter.)
pub fn write_size<T: FromBytes + IntoBytes>(arg: &mut T) {
    const { assert!(size_of::<T>() >= size_of::<u32>() && size_of::<T>() <= u32::MAX as usize) };
    if let Some(first) = arg.as_mut_bytes().first_chunk_mut() {
        *first = (size_of::<T>() as u32).to_ne_bytes();
    }
}

macro_rules! first_field {
    ($trait:ident, $field:ident: $($arg:ident)+) => {
        $(
            impl $trait for $arg {}
            const _: () = assert!(core::mem::offset_of!($arg, $field) == 0);
            // A reference of the wrong type does not compile.
            const _: fn(&$arg) -> &u32 = |arg| &arg.$field;
        )+
    };
}

first_field! { SizedArg, size:
    iommu_destroy
    iommu_fault_alloc
    iommu_hw_info
    iommu_hw_queue_alloc
    iommu_hwpt_alloc
    iommu_hwpt_get_dirty_bitmap
    iommu_hwpt_invalidate
    iommu_hwpt_set_dirty_tracking
    iommu_ioas_alloc
    iommu_ioas_allow_iovas
    iommu_ioas_change_process
    iommu_ioas_copy
    iommu_ioas_iova_ranges
    iommu_ioas_map
    iommu_ioas_map_file
    iommu_ioas_noiommu_get_pa
    iommu_ioas_unmap
    iommu_option
    iommu_vdevice_alloc
    iommu_veventq_alloc
    iommu_vfio_ioas
    iommu_viommu_alloc
}

first_field! { ArgszArg, argsz:
    vfio_device_attach_iommufd_pt
    vfio_device_bind_iommufd
    vfio_device_detach_iommufd_pt
    vfio_device_feature
    vfio_device_gfx_plane_info
    vfio_device_info
    vfio_device_ioeventfd
    vfio_eeh_pe_op
    vfio_group_status
    vfio_iommu_spapr_register_memory
    vfio_iommu_spapr_tce_create
    vfio_iommu_spapr_tce_info
    vfio_iommu_spapr_tce_remove
    vfio_iommu_type1_dirty_bitmap
    vfio_iommu_type1_dma_map
    vfio_iommu_type1_dma_unmap
    vfio_iommu_type1_info
    vfio_irq_info
    vfio_irq_set
    vfio_pci_hot_reset
    vfio_pci_hot_reset_info
    vfio_precopy_info
    vfio_region_info
}
