//! Arguments carry their size, and are bytes.

use iommufd_sys::ioctl::{ArgszArg, SizedArg, write_size};
use iommufd_sys::iommufd::{iommu_hw_info, iommu_hwpt_alloc};
use iommufd_sys::vfio::{vfio_bitmap, vfio_device_bind_iommufd, vfio_eeh_pe_op, vfio_irq_set};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

#[test]
fn sized_is_zero_but_for_its_size() {
    let arg = iommu_hwpt_alloc::sized();
    assert_eq!(arg.size, 48);
    assert!(arg.as_bytes()[4..].iter().all(|&byte| byte == 0));

    let arg = vfio_device_bind_iommufd::sized();
    assert_eq!(arg.argsz, 24);
    assert!(arg.as_bytes()[4..].iter().all(|&byte| byte == 0));
}

#[test]
fn size_is_set_again() {
    let mut arg = iommu_hwpt_alloc::sized();
    arg.dev_id = 7;
    arg.size = 0;
    arg.set_size();
    assert_eq!((arg.size, arg.dev_id), (48, 7));

    let mut arg = vfio_device_bind_iommufd::new_zeroed();
    arg.set_argsz();
    assert_eq!(arg.argsz, 24);
}

#[test]
fn an_implementation_cannot_lie_to_write_size() {
    #[derive(
        zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
    )]
    #[repr(C)]
    struct Liar {
        size: u32,
        more: u32,
    }
    impl SizedArg for Liar {
        fn set_size(&mut self) {
            self.size = 4096;
        }
    }

    let mut arg = Liar { size: 0, more: 5 };
    arg.set_size();
    assert_eq!(arg.size, 4096);
    write_size(&mut arg);
    assert_eq!((arg.size, arg.more), (8, 5));
}

#[test]
fn the_head_of_a_longer_argument_counts_itself_alone() {
    assert_eq!(vfio_irq_set::sized().argsz, 20);
}

#[test]
fn padding_is_a_field_and_zero() {
    let arg = vfio_eeh_pe_op::sized();
    assert_eq!(arg.__bindgen_padding_0, [0; 4]);
    assert_eq!(arg.as_bytes().len(), 40);
}

#[test]
fn both_names_of_a_union_read_one_field() {
    let mut bytes = [0; 40];
    bytes[24] = 2;
    let info = iommu_hw_info::read_from_bytes(&bytes).unwrap();
    assert_eq!((info.in_data_type, info.out_data_type()), (2, 2));
}

#[test]
fn a_struct_with_a_pointer_can_still_be_zeroed() {
    assert!(vfio_bitmap::new_zeroed().data.is_null());
}
