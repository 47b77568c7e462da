//! Fails with E0423: a page table's id is made up, for a driver to attach its device to.

use iommufd::driver::PageTableId;

fn case(id: PageTableId) -> u32 {
    #[cfg(feature = "misuse")]
    let id = PageTableId(id.get() + 1);
    id.get()
}

fn main() {
    let _checked = case;
}
