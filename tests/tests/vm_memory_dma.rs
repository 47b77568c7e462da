//! A real device reaches the memory of a guest at the guest's own addresses.

use iommufd::Access;
use iommufd::vm_memory::{GuestDma, GuestRange};
use rustix::fs::MemfdFlags;
use tests::edu::{Rig, pattern};
use tests::guest_memory::{BLOCK, anonymous, block_size, file, in_file, iova, memory};
use vm_memory::{Bytes, GuestAddress};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_copies_within_the_memory_of_a_guest() {
    const PAGE: usize = 4096;
    let rig = Rig::new();
    let range = GuestRange::with_len(GuestAddress(4 << 30), 2 << 20).unwrap();
    let backing = file(2 << 20, MemfdFlags::empty());
    for region in [anonymous(range), in_file(range, backing)] {
        let memory = memory(vec![region]);
        let dma = GuestDma::new(&rig.ioas, block_size());
        dma.add_memory(&memory, Access::ReadWrite).unwrap();
        // From the end of one block to that of another.
        let from = GuestAddress(range.start().0 + BLOCK - PAGE as u64);
        let to = GuestAddress(range.start().0 + 5 * BLOCK - PAGE as u64);
        memory.write_slice(&pattern(3), from).unwrap();
        rig.edu.fetch(iova(from), PAGE).unwrap();
        rig.edu.store(iova(to), PAGE).unwrap();
        let mut copy = vec![0; PAGE];
        memory.read_slice(&mut copy, to).unwrap();
        assert_eq!(copy, pattern(3));
        // What is unmapped, it does not reach.
        dma.unmap_block(to).unwrap();
        memory.write_slice(&[9; PAGE], to).unwrap();
        rig.edu.store(iova(to), PAGE).unwrap();
        memory.read_slice(&mut copy, to).unwrap();
        assert_eq!(copy, [9; PAGE]);
        dma.unmap_all().unwrap();
    }
}
