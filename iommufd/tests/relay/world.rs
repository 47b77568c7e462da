//! What the guest and the host share: the guest's memory, and the time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use iommufd::smmuv3::relay::{GuestMemory, Unreadable};
use smmuv3_types::Ipa;

/// The guest's memory, from address 0 on. It knows what was there before.
#[derive(Clone)]
pub(crate) struct Memory(Rc<RefCell<Inner>>);

struct Inner {
    /// Every access takes time, so that any two can be told apart.
    now: u64,
    bytes: Vec<u8>,
    /// What is no memory.
    holes: Vec<Range<u64>>,
    /// The versions of each 64 bytes, with the time from which on they were there.
    versions: HashMap<u64, Vec<(u64, [u8; 64])>>,
    /// When an address was last read by the relay.
    reads: HashMap<u64, u64>,
    count: usize,
}

impl Memory {
    pub(crate) const SIZE: u64 = 0x8000;

    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            now: 1,
            bytes: vec![0; Self::SIZE as usize],
            holes: Vec::new(),
            versions: HashMap::new(),
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
        let now = self.tick();
        let mut inner = self.0.borrow_mut();
        let at = address as usize;
        inner.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let block = address & !63;
        let version = inner.bytes[block as usize..][..64].try_into().unwrap();
        inner
            .versions
            .entry(block)
            .or_default()
            .push((now, version));
    }

    pub(crate) fn write_words(&self, address: u64, words: &[u64]) {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(address, &bytes);
    }

    /// What was at these 64 bytes at `since` or at any time after.
    pub(crate) fn versions(&self, block: u64, since: u64) -> Vec<[u8; 64]> {
        let inner = self.0.borrow();
        let versions = inner.versions.get(&block).cloned().unwrap_or_default();
        let first = versions
            .iter()
            .rposition(|(time, _)| *time <= since)
            .map_or_else(|| vec![[0; 64]], |_| Vec::new());
        let from = versions
            .iter()
            .rposition(|(time, _)| *time <= since)
            .unwrap_or(0);
        first
            .into_iter()
            .chain(versions[from..].iter().map(|(_, version)| *version))
            .collect()
    }

    /// What is there, as the hardware reads it. Where there is nothing it is 0.
    pub(crate) fn word(&self, address: u64) -> u64 {
        let inner = self.0.borrow();
        let bytes = inner.bytes.get(address as usize..).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word))
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
    fn read(&self, address: Ipa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let address = address.get();
        assert!(matches!(bytes.len(), 8 | 16 | 64));
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
