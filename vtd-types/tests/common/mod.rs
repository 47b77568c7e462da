//! Translation tables in a memory of the test's.

use std::collections::HashMap;

use vtd_types::{Capabilities, Features, Gpa, HostAddressWidth};

pub(crate) fn gpa(address: u64) -> Gpa {
    Gpa::new(address).unwrap()
}

/// What these capabilities offer, with addresses of 46 bits.
pub(crate) fn features(capabilities: Capabilities) -> Features {
    Features::new(capabilities, HostAddressWidth::new(46).unwrap()).unwrap()
}

/// A memory that is 0 where nothing was written.
#[derive(Default)]
pub(crate) struct Memory {
    words: HashMap<u64, u64>,
    tables: u64,
}

impl Memory {
    pub(crate) fn write(&mut self, address: u64, entry: u64) {
        self.words.insert(address, entry);
    }

    pub(crate) fn read(&self, address: Gpa) -> [u8; 8] {
        let entry = self.words.get(&address.get()).copied().unwrap_or_default();
        entry.to_le_bytes()
    }

    /// Where the entry of this level is for an address, with tables made on the way that have these
    /// flags. Worked out from the figures, not by the crate's own walk.
    pub(crate) fn entry(
        &mut self,
        root: u64,
        levels: u32,
        input: u64,
        level: u32,
        flags: u64,
    ) -> u64 {
        let mut table = root;
        for at in (level..=levels).rev() {
            let entry = table + (input >> (12 + 9 * (at - 1))) % 512 * 8;
            if at == level {
                return entry;
            }
            let present = self.words.get(&entry).copied().unwrap_or_default();
            table = if present == 0 {
                self.tables += 1;
                let table = 0x100_0000 + self.tables * 4096;
                self.write(entry, table | flags);
                table
            } else {
                present & 0x000f_ffff_ffff_f000
            };
        }
        panic!("no level {level} of {levels}");
    }
}
