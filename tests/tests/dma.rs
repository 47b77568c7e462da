//! Real DMA: a device behind an IOMMU reaches what is mapped for it, and nothing else.

use std::fs::File;
use std::mem;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use examples::edu::BUFFER_LEN;
use iommufd::{Access, DmaBuffer, DmaSlice, FileRange, HugePage, HwPt, Ioas, Iova};
use tests::edu::{INTERRUPTS, Rig, Unheard, contents, memory_with, pattern};

/// Above 4 GiB, where an address that is cut to 32 bits would show.
const HIGH: Iova = Iova::new(0x12_3456_7000);

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_copies_memory_out_and_back() {
    let rig = Rig::new();
    let memory = DmaBuffer::new(2 * BUFFER_LEN).unwrap().share();
    let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
    rig.copies_through(&memory, mapping.iova());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn an_address_above_4_gib_is_the_address_that_was_asked_for() {
    let rig = Rig::new();
    let memory = DmaBuffer::new(2 * BUFFER_LEN).unwrap().share();
    let mapping = rig.ioas.map_at(HIGH, &memory, Access::ReadWrite).unwrap();
    assert_eq!(mapping.iova(), HIGH);
    rig.copies_through(&memory, HIGH);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_transfer_crosses_pages_at_any_byte() {
    let rig = Rig::new();
    let memory = memory_with(&[0; 2 * BUFFER_LEN]);
    let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
    rig.load(&pattern(3));
    let middle = BUFFER_LEN as u64 - 5;
    rig.edu
        .store(mapping.iova().checked_add(middle).unwrap(), 11)
        .unwrap();
    let seen = contents(&memory);
    assert_eq!(seen[BUFFER_LEN - 5..BUFFER_LEN + 6], pattern(3)[..11]);
    assert!(seen[..BUFFER_LEN - 5].iter().all(|&byte| byte == 0));
    assert!(seen[BUFFER_LEN + 6..].iter().all(|&byte| byte == 0));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn memory_of_every_kind_is_reached() {
    let rig = Rig::new();
    let kinds = [
        DmaBuffer::new(2 * BUFFER_LEN).unwrap(),
        DmaBuffer::huge(2 * BUFFER_LEN, HugePage::Size2M).unwrap(),
        DmaBuffer::memfd(2 * BUFFER_LEN).unwrap(),
        DmaBuffer::memfd_huge(2 * BUFFER_LEN, HugePage::Size2M).unwrap(),
    ];
    for buffer in kinds {
        let memory = buffer.share();
        let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
        rig.copies_through(&memory, mapping.iova());
    }
    let by_file = rig
        .recorder
        .calls()
        .iter()
        .filter(|&&name| name == "IOMMU_IOAS_MAP_FILE")
        .count();
    assert_eq!(by_file, 2, "memory in a file is mapped by file");
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_foreign_memfd_is_read_and_written_by_the_device() {
    let rig = Rig::new();
    let fd = rustix::fs::memfd_create("foreign", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(fd);
    file.set_len(3 * BUFFER_LEN as u64).unwrap();
    file.write_all_at(&pattern(9), BUFFER_LEN as u64).unwrap();
    let part = FileRange::new(&file, BUFFER_LEN as u64..3 * BUFFER_LEN as u64);
    let mapping = rig.ioas.map_file_at(HIGH, part, Access::ReadWrite).unwrap();

    rig.edu.fetch(mapping.iova(), BUFFER_LEN).unwrap();
    let second = HIGH.checked_add(BUFFER_LEN as u64).unwrap();
    rig.edu.store(second, BUFFER_LEN).unwrap();
    let mut copy = vec![0; BUFFER_LEN];
    file.read_exact_at(&mut copy, 2 * BUFFER_LEN as u64)
        .unwrap();
    assert_eq!(copy, pattern(9));
    file.read_exact_at(&mut copy, 0).unwrap();
    assert!(
        copy.iter().all(|&byte| byte == 0),
        "outside of the part nothing changed"
    );
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn memory_mapped_to_be_read_is_not_written() {
    let rig = Rig::new();
    rig.load(&pattern(1));
    let memory = memory_with(&pattern(2));
    let mapping = rig.ioas.map(&memory, Access::Read).unwrap();
    rig.edu.store(mapping.iova(), BUFFER_LEN).unwrap();
    assert_eq!(contents(&memory), pattern(2));
    rig.edu.fetch(mapping.iova(), BUFFER_LEN).unwrap();
    assert_eq!(rig.contents(), pattern(2));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn only_the_mapped_part_of_memory_is_reached() {
    let rig = Rig::new();
    let memory = memory_with(&[0; 3 * BUFFER_LEN]);
    let middle = DmaSlice::new(&memory, BUFFER_LEN..2 * BUFFER_LEN).unwrap();
    let mapping = rig.ioas.map_at(HIGH, middle, Access::ReadWrite).unwrap();
    assert_eq!(mapping.len(), BUFFER_LEN as u64);
    rig.load(&pattern(5));
    for offset in [0, 2 * BUFFER_LEN] {
        let around = HIGH.get() + offset as u64 - BUFFER_LEN as u64;
        rig.edu.store(Iova::new(around), BUFFER_LEN).unwrap();
    }
    rig.edu.store(HIGH, BUFFER_LEN).unwrap();
    let seen = contents(&memory);
    assert!(seen[..BUFFER_LEN].iter().all(|&byte| byte == 0));
    assert_eq!(seen[BUFFER_LEN..2 * BUFFER_LEN], pattern(5));
    assert!(seen[2 * BUFFER_LEN..].iter().all(|&byte| byte == 0));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn after_an_unmap_the_device_is_blocked_in_both_directions() {
    let rig = Rig::new();
    let memory = memory_with(&pattern(4));
    let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
    let iova = mapping.iova();
    rig.load(&pattern(6));
    mapping.unmap().unwrap();

    rig.edu.store(iova, BUFFER_LEN).unwrap();
    assert_eq!(contents(&memory), pattern(4));
    rig.edu.fetch(iova, BUFFER_LEN).unwrap();
    let device_has = rig.contents();
    let leaked = device_has
        .iter()
        .zip(pattern(4))
        .filter(|&(&has, secret)| has == secret);
    assert!(
        leaked.count() < BUFFER_LEN / 8,
        "the device has what it could not read"
    );
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn an_unmap_under_a_running_transfer_is_final_when_it_returns() {
    let rig = Rig::new();
    rig.load(&pattern(8));
    let edu = Unheard::new(&rig.device);
    for wait in [0, 50, 95, 99, 100, 101, 105] {
        let memory = memory_with(&pattern(1));
        let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
        edu.start_store(mapping.iova(), BUFFER_LEN);
        thread::sleep(Duration::from_millis(wait));
        mapping.unmap().unwrap();
        // From here on nothing may change, whenever the transfer comes.
        memory.write_bytes(0, &pattern(2)).unwrap();
        edu.wait_until_idle();
        assert_eq!(contents(&memory), pattern(2), "unmapped after {wait} ms");
        DmaBuffer::reclaim(memory).unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
#[expect(clippy::mem_forget, reason = "what it is about")]
fn a_forgotten_mapping_goes_on_and_its_memory_lives() {
    let rig = Rig::new();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
    let iova = mapping.iova();
    mem::forget(mapping);
    assert!(rig.reaches(iova, &memory));
    let memory = DmaBuffer::reclaim(memory).unwrap_err().into_value();
    assert!(rig.ioas.unmap_all().unwrap() >= BUFFER_LEN as u64);
    assert!(!rig.reaches(iova, &memory));
    DmaBuffer::reclaim(memory).unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_detached_device_reaches_nothing() {
    let Rig {
        edu,
        attachment,
        device,
        ioas,
        ..
    } = Rig::new();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    assert!(tests::edu::reaches(&edu, mapping.iova(), &memory));
    attachment.detach().unwrap();
    assert!(!Unheard::new(&device).reaches(mapping.iova(), &memory));
    let _attachment = device.attach(&ioas).unwrap();
    assert!(tests::edu::reaches(&edu, mapping.iova(), &memory));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_replace_moves_the_device_to_the_other_address_space() {
    let Rig {
        edu,
        mut attachment,
        device,
        ioas,
        iommufd,
        ..
    } = Rig::new();
    let (here, there) = (
        Ioas::new(&iommufd).unwrap(),
        DmaBuffer::new(BUFFER_LEN).unwrap().share(),
    );
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let _old = ioas.map_at(HIGH, &memory, Access::ReadWrite).unwrap();
    let _new = here.map_at(HIGH, &there, Access::ReadWrite).unwrap();

    let table = HwPt::new(&here, device.iommu()).unwrap();
    attachment.replace(&table).unwrap();
    assert!(tests::edu::reaches(&edu, HIGH, &there));
    assert!(!tests::edu::reaches(&edu, HIGH, &memory));
    attachment.replace(&ioas).unwrap();
    assert!(tests::edu::reaches(&edu, HIGH, &memory));
    assert!(!tests::edu::reaches(&edu, HIGH, &there));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn reserved_addresses_of_a_real_iommu_are_refused_and_left_out() {
    let rig = Rig::new();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let window = iommufd::IovaRange::with_len(INTERRUPTS, BUFFER_LEN as u64).unwrap();
    assert!(!rig.ioas.iova_ranges().unwrap().contains(window));
    let refused = rig.ioas.map_at(INTERRUPTS, &memory, Access::ReadWrite);
    tests::refused(refused, rustix::io::Errno::INVAL);
    DmaBuffer::reclaim(memory).unwrap();
}
