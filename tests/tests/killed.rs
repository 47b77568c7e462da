//! A process that is killed leaves nothing behind: the kernel detaches, unmaps and unbinds.

use examples::edu::BUFFER_LEN;
use iommufd::{Access, DmaBuffer};
use tests::edu::Rig;
use tests::victim::killed_in;
use vfio::RegionIndex;

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_killed_process_leaves_the_device_usable() {
    for _ in 0..3 {
        killed_in(|here| {
            let rig = Rig::new();
            let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
            let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
            let registers = rig.device.map_bar(RegionIndex::BAR0).unwrap();
            // A transfer to memory, which is under way when the end comes.
            registers.write(0x80, 0x4_0000_u64).unwrap();
            registers.write(0x88, mapping.iova().get()).unwrap();
            registers.write(0x90, BUFFER_LEN as u64).unwrap();
            registers.store_release(0x98, 0b011_u64).unwrap();
            here();
        });
        let rig = Rig::new();
        let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
        let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
        assert!(rig.reaches(mapping.iova(), &memory));
    }
}
