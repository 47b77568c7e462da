//! A process that is killed leaves nothing behind: the kernel detaches, unmaps and unbinds.

use examples::edu::BUFFER_LEN;
use iommufd::{Access, DmaBuffer};
use tests::edu::{Rig, Unheard};
use tests::victim::killed_in;

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_killed_process_leaves_the_device_usable() {
    for _ in 0..3 {
        killed_in(|here| {
            let rig = Rig::new();
            let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
            let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
            // A transfer to memory, which is under way when the end comes.
            Unheard::new(&rig.device).start_store(mapping.iova(), BUFFER_LEN);
            here();
        });
        let rig = Rig::new();
        let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
        let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
        assert!(rig.reaches(mapping.iova(), &memory));
    }
}
