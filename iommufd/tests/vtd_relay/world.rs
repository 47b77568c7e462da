//! What the guest and the host share: the guest's memory, and the time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use iommufd::vtd::relay::{GuestMemory, Unreadable};
use vtd_types::Gpa;

/// The guest's memory, from address 0 on.
#[derive(Clone)]
pub(crate) struct Memory(Rc<RefCell<Inner>>);

struct Inner {
    /// Every access takes time, so that any two can be told apart.
    now: u64,
    bytes: Vec<u8>,
    /// What is no memory.
    holes: Vec<Range<u64>>,
    /// When an address was last read by the relay.
    reads: HashMap<u64, u64>,
    count: usize,
}

impl Memory {
    pub(crate) const SIZE: u64 = 0x4_0000;

    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            now: 1,
            bytes: vec![0; Self::SIZE as usize],
            holes: Vec::new(),
            reads: HashMap::new(),
            count: 0,
        })))
    }

    /// The time, which goes on.
    pub(crate) fn tick(&self) -> u64 {
        let mut inner = self.0.borrow_mut();
        inner.now += 1;
        inner.now
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.tick();
        let at = address as usize;
        self.0.borrow_mut().bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn write_words(&self, address: u64, words: &[u64]) {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(address, &bytes);
    }

    /// What is there, as the hardware reads it. Where there is nothing it is 0.
    pub(crate) fn word(&self, address: u64) -> u64 {
        let inner = self.0.borrow();
        let bytes = inner.bytes.get(address as usize..).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word))
    }

    pub(crate) fn words<const N: usize>(&self, address: u64) -> [u64; N] {
        std::array::from_fn(|index| self.word(address + 8 * index as u64))
    }

    pub(crate) fn last_read(&self, address: u64) -> u64 {
        self.0.borrow().reads[&address]
    }

    /// How often the relay has read.
    pub(crate) fn reads(&self) -> usize {
        self.0.borrow().count
    }

    pub(crate) fn hole(&self, range: Range<u64>) {
        self.0.borrow_mut().holes.push(range);
    }

    pub(crate) fn no_holes(&self) {
        self.0.borrow_mut().holes.clear();
    }
}

impl GuestMemory for Memory {
    fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let address = address.get();
        assert!(matches!(bytes.len(), 8 | 16 | 32 | 64 | 4096));
        assert_eq!(address % bytes.len() as u64, 0);
        let now = self.tick();
        let mut inner = self.0.borrow_mut();
        inner.count += 1;
        let end = address + bytes.len() as u64;
        let in_hole = |hole: &Range<u64>| address < hole.end && hole.start < end;
        if end > Self::SIZE || inner.holes.iter().any(in_hole) {
            return Err(Unreadable);
        }
        inner.reads.insert(address, now);
        bytes.copy_from_slice(&inner.bytes[address as usize..end as usize]);
        Ok(())
    }
}
