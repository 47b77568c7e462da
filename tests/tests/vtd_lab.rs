//! Options of page tables, as the driver of a real kind of IOMMU has them: the lab's VT-d, which neither nests nor records.

use iommufd::{HwPt, Ioas, Iommufd, Leaks, NestParent, VendorInfo};
use rustix::io::Errno;
use tests::edu::{bind, lone};
use tests::{raw, refused};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_the_iommu_has_not_is_refused_and_nothing_else_is() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let iommu = device.iommu();
    let VendorInfo::Vtd(vtd) = iommu.hw_info().unwrap().vendor else {
        panic!("the lab has a VT-d");
    };
    assert!(!vtd.nested_translation());
    let ioas = Ioas::new(&iommufd).unwrap();
    let before = raw::objects(&iommufd);
    refused(NestParent::new(&ioas, iommu), Errno::OPNOTSUPP);
    let recorded = HwPt::builder(&ioas, iommu).dirty_tracking(true);
    refused(recorded.allocate(), Errno::OPNOTSUPP);
    assert_eq!(raw::objects(&iommufd), before);

    for pasid in [false, true] {
        let table = HwPt::builder(&ioas, iommu).pasid(pasid).allocate().unwrap();
        device.attach(&table).unwrap().detach().unwrap();
        table.try_destroy().unwrap();
    }
    assert_eq!(raw::objects(&iommufd), before);
    assert_eq!(iommufd.leaks(), Leaks::default());
}
