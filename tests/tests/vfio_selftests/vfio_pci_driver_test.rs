//! Program `vfio_pci_driver_test`: a driver in user space, whose device copies memory and raises interrupts.

use examples::edu::BUFFER_LEN;
use iommufd::{DmaBuffer, Iova, SharedBuffer};
use std::sync::Arc;
use tests::edu::{contents, lone, memory_with, pattern};
use tests::memcpy::Copier;

use crate::modes::{Mapping, Mode, Opened};

per_variant! {
    Mode [vfio_type1v2_iommu, iommufd_compat_type1, iommufd_compat_type1v2, iommufd]:
        init_remove, memcpy_success, memcpy_from_unmapped_iova, memcpy_to_unmapped_iova, send_msi,
        mix_and_match, memcpy_storm
}

const BASE: Iova = Iova::new(0x1_4000_0000);
/// Where nothing is mapped.
const UNMAPPED: Iova = Iova::new(0x1_8000_0000);
/// Of the source, and of the target.
const LEN: usize = 2 * BUFFER_LEN;

/// A driver, and memory for its device: a source and a target.
struct Fixture {
    copier: Copier,
    memory: Arc<SharedBuffer>,
    _mapping: Mapping,
    mode: Mode,
    _device: Opened,
}

impl Fixture {
    fn new(mode: Mode) -> Self {
        let device = mode.open(lone());
        let memory = memory_with(&[0; 2 * LEN]);
        Self {
            copier: Copier::new(&device).unwrap(),
            _mapping: mode.map_at(BASE, &memory).unwrap(),
            memory,
            mode,
            _device: device,
        }
    }

    /// Fills source and target.
    fn fill(&self, source: u8, target: u8) {
        for (at, seed) in [(0, source), (LEN, target)] {
            for page in 0..LEN / BUFFER_LEN {
                // Each page has bytes of its own.
                let bytes = pattern(seed.wrapping_add(page as u8));
                self.memory
                    .write_bytes(at + page * BUFFER_LEN, &bytes)
                    .unwrap();
            }
        }
    }

    fn halves(&self) -> (Vec<u8>, Vec<u8>) {
        let mut source = contents(&self.memory);
        let target = source.split_off(LEN);
        (source, target)
    }

    fn copies(&self, seed: u8) {
        self.fill(seed, seed.wrapping_add(100));
        self.copier.copy(BASE, at(BASE, LEN), LEN).unwrap();
        let (source, target) = self.halves();
        assert_eq!(source, target);
        assert!(!self.copier.has_interrupt());
    }

    /// What was mapped once, and is no more, does not come into the target.
    fn copies_nothing_from_unmapped(&self) {
        let secret = memory_with(&pattern(77));
        self.mode.map_at(UNMAPPED, &secret).unwrap().unmap();
        self.fill(1, 2);
        let target = at(BASE, LEN);
        self.copier.copy(UNMAPPED, target, BUFFER_LEN).unwrap();
        let (_, got) = self.halves();
        let same = got
            .iter()
            .zip(pattern(77))
            .filter(|(got, secret)| *got == secret);
        assert!(same.count() < BUFFER_LEN / 8, "it has what it cannot read");
        assert!(DmaBuffer::reclaim(secret).is_ok());
    }

    /// What was mapped once, and is no more, stays as it is.
    fn copies_nothing_to_unmapped(&self) {
        let untouched = memory_with(&pattern(88));
        self.mode.map_at(UNMAPPED, &untouched).unwrap().unmap();
        self.fill(1, 2);
        self.copier.copy(BASE, UNMAPPED, BUFFER_LEN).unwrap();
        assert_eq!(contents(&untouched), pattern(88));
        assert!(DmaBuffer::reclaim(untouched).is_ok());
    }

    fn interrupts(&self) {
        for _ in 0..3 {
            self.copier.send_msi().unwrap();
            assert!(!self.copier.has_interrupt(), "it comes once");
        }
    }
}

fn at(base: Iova, offset: usize) -> Iova {
    base.checked_add(offset as u64).unwrap()
}

fn init_remove(mode: Mode) {
    let device = mode.open(lone());
    for _ in 0..3 {
        let copier = Copier::new(&device).unwrap();
        // There is one at a time: the interrupt is taken.
        drop(Copier::new(&device).unwrap_err());
        copier.send_msi().unwrap();
    }
}

fn memcpy_success(mode: Mode) {
    let fixture = Fixture::new(mode);
    fixture.copies(1);
    // At any byte, and of any length.
    fixture.fill(3, 4);
    let (_, before) = fixture.halves();
    let len = BUFFER_LEN + 5;
    let target = at(BASE, LEN + 11);
    fixture.copier.copy(at(BASE, 7), target, len).unwrap();
    let (source, target) = fixture.halves();
    assert_eq!(target[11..11 + len], source[7..7 + len]);
    assert_eq!(target[..11], before[..11]);
    assert_eq!(target[11 + len..], before[11 + len..]);
}

fn memcpy_from_unmapped_iova(mode: Mode) {
    let fixture = Fixture::new(mode);
    fixture.copies_nothing_from_unmapped();
    fixture.copies(5);
}

fn memcpy_to_unmapped_iova(mode: Mode) {
    let fixture = Fixture::new(mode);
    fixture.copies_nothing_to_unmapped();
    fixture.copies(6);
}

fn send_msi(mode: Mode) {
    Fixture::new(mode).interrupts();
}

fn mix_and_match(mode: Mode) {
    let fixture = Fixture::new(mode);
    for round in 0..3 {
        fixture.copies(round);
        fixture.interrupts();
        fixture.copies_nothing_from_unmapped();
        fixture.copies(round + 10);
        fixture.copies_nothing_to_unmapped();
        fixture.interrupts();
    }
}

fn memcpy_storm(mode: Mode) {
    const PAGES: usize = 24;
    let device = mode.open(lone());
    let copier = Copier::new(&device).unwrap();
    let memory = memory_with(&[0; PAGES * BUFFER_LEN]);
    memory.write_bytes(0, &pattern(9)).unwrap();
    let mapping = mode.map_at(BASE, &memory).unwrap();
    // One after another, each page from the one before.
    let all = (PAGES - 1) * BUFFER_LEN;
    copier.copy(BASE, at(BASE, BUFFER_LEN), all).unwrap();
    for page in contents(&memory).chunks(BUFFER_LEN) {
        assert_eq!(page, pattern(9));
    }
    mapping.unmap();
}
