//! The guest's side of a VT-d: what its operating system writes into its memory, and into the
//! registers of its unit.
//!
//! In earnest the guest does this, and a VMM only reads it.

use std::cell::Cell;

use iommufd::vtd::relay::{GuestMemory, Host, NotFlushed, Unreadable};
use smmuv3_types::Ipa;
use vtd_types::{
    Descriptor, DescriptorWidth, DomainId, FirstStageLeaf, FirstStageTable, Gcmd, Gpa, Gsts,
    InputAddress, Iqa, Level, Pasid, PasidDirectoryEntry, PasidEntry, PasidTranslationType, Rtaddr,
    ScalableContextEntry, ScalableRootEntry, SourceId, StatusWrite, TableMode,
};

use crate::guest::{self, Memory};
use crate::virtual_vtd::{Ram, Unit, register};

/// What a wait writes when it is complete.
const DONE: u32 = 2;
/// How many descriptors fit into the page of the queue.
const DESCRIPTORS: u64 = 128;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of the guest's memory.
    #[error(transparent)]
    Memory(#[from] guest::Error),
    /// A table cannot be there.
    #[error(transparent)]
    Entry(#[from] vtd_types::BadPagingEntry),
    /// The unit stands still.
    #[error(transparent)]
    NotFlushed(#[from] NotFlushed),
    /// The unit has stopped at a descriptor, or has not done what it was told to.
    #[error("the unit does not do as it is told: FSTS_REG is {0:#x}")]
    Refused(u32),
}

/// Memory, by the addresses of a VT-d.
#[derive(Debug)]
pub struct GuestRam(pub Memory);

impl GuestRam {
    /// A page that nobody uses yet, all zero.
    ///
    /// # Errors
    /// There is none left.
    pub fn page(&self) -> Result<Gpa, Error> {
        let page = self.0.page()?;
        Ok(Gpa::new(page.get()).ok_or(guest::Error::NoMemory(page))?)
    }

    /// Writes the words of a structure.
    ///
    /// # Errors
    /// There is no memory.
    pub fn put(&self, at: Gpa, words: &[u64]) -> Result<(), Error> {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Ok(self
            .0
            .write(ipa(at).ok_or(guest::Error::OutOfMemory)?, &bytes)?)
    }

    fn word(&self, at: Gpa) -> Result<u64, Error> {
        let at = ipa(at).ok_or(guest::Error::OutOfMemory)?;
        Ok(u64::from_le_bytes(self.0.read(at)?))
    }
}

/// Both are the guest's physical addresses, of 52 bits.
fn ipa(address: Gpa) -> Option<Ipa> {
    Ipa::new(address.get())
}

impl GuestMemory for GuestRam {
    fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let place = address.get().checked_sub(self.0.start().get());
        let place = place.and_then(|place| usize::try_from(place).ok());
        let read = self.0.shared().read_bytes(place.ok_or(Unreadable)?, bytes);
        read.map_err(|_| Unreadable)
    }
}

impl Ram for GuestRam {
    fn write(&self, address: Gpa, bytes: &[u8]) -> Result<(), Unreadable> {
        let written = self.0.write(ipa(address).ok_or(Unreadable)?, bytes);
        written.map_err(|_| Unreadable)
    }
}

/// The driver of the guest's unit, with one device on bus 0.
#[derive(Debug)]
pub struct Driver {
    device: SourceId,
    contexts: Gpa,
    directory: Gpa,
    entries: Gpa,
    queue: Gpa,
    status: Gpa,
    tail: Cell<u64>,
}

impl Driver {
    /// Makes tables in which the device has PASIDs, of which none has an entry yet, and a queue.
    /// `device` is one of the first 16 of its bus.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new(ram: &GuestRam, device: SourceId) -> Result<Self, Error> {
        let [contexts, directory, entries] = [ram.page()?, ram.page()?, ram.page()?];
        let driver = Self {
            device,
            contexts,
            directory,
            entries,
            queue: ram.page()?,
            status: ram.page()?,
            tail: Cell::new(0),
        };
        // PASIDs 0 to 63.
        let entry = PasidDirectoryEntry::default().with_p(true);
        ram.put(driver.directory, &entry.with_smptblptr(entries).words())?;
        let context = ScalableContextEntry::default()
            .with_p(true)
            .with_paside(true)
            .with_pasiddirptr(driver.directory);
        let at = offset(driver.contexts, u64::from(driver.device.get() & 0x7f) * 32);
        ram.put(at, &context.words())?;
        Ok(driver)
    }

    /// Tells the unit of its tables, and has it translate.
    ///
    /// # Errors
    /// The unit does not.
    pub fn start<H: Host>(&self, unit: &mut Unit<H>, ram: &GuestRam) -> Result<(), Error> {
        let root = ram.page()?;
        let entry = ScalableRootEntry::default().with_lp(true);
        ram.put(root, &entry.with_lctp(self.contexts).words())?;
        let iqa = Iqa::from_bits(0)
            .with_iqa(self.queue)
            .with_dw(DescriptorWidth::Bits256);
        let rtaddr = Rtaddr::from_bits(0)
            .with_rta(root)
            .with_ttm(TableMode::Scalable);
        write(unit, register::IQT, 0, ram)?;
        write(unit, register::IQA, iqa.bits(), ram)?;
        write(unit, register::RTADDR, rtaddr.bits(), ram)?;
        let queue = Gcmd::default().with_qie(true);
        self.command(unit, queue, ram)?;
        self.command(unit, queue.with_srtp(true), ram)?;
        self.command(unit, queue.with_te(true), ram)
    }

    /// Writes the entry of a PASID, of the first 64, and says so.
    ///
    /// # Errors
    /// The unit stops.
    pub fn enter<H: Host>(
        &self,
        unit: &mut Unit<H>,
        pasid: Pasid,
        entry: &PasidEntry,
        ram: &GuestRam,
    ) -> Result<(), Error> {
        let at = offset(self.entries, u64::from(pasid.get()) * 64);
        ram.put(at, &entry.words())?;
        let changed = vtd_types::PasidCacheScope::Global;
        self.submit(unit, &[Descriptor::PasidCache(changed)], ram)
    }

    /// Submits these, and waits until they are done.
    ///
    /// # Errors
    /// The unit stops at one of them.
    pub fn submit<H: Host>(
        &self,
        unit: &mut Unit<H>,
        descriptors: &[Descriptor],
        ram: &GuestRam,
    ) -> Result<(), Error> {
        ram.put(self.status, &[0])?;
        let wait = Descriptor::Wait {
            interrupt: true,
            status: StatusWrite::new(self.status, DONE),
            fence: false,
            drain_page_requests: false,
        };
        for descriptor in descriptors.iter().chain([&wait]) {
            let at = offset(self.queue, self.tail.get() * 32);
            ram.put(at, &descriptor.encode().words())?;
            self.tail.set((self.tail.get() + 1) % DESCRIPTORS);
        }
        write(unit, register::IQT, self.tail.get() * 32, ram)?;
        match ram.word(self.status)? == u64::from(DONE) {
            true => Ok(()),
            false => Err(Error::Refused(unit.read(register::FSTS))),
        }
    }

    fn command<H: Host>(
        &self,
        unit: &mut Unit<H>,
        gcmd: Gcmd,
        ram: &GuestRam,
    ) -> Result<(), Error> {
        unit.write(register::GCMD, gcmd.bits(), ram)?;
        let status = Gsts::from_bits(unit.read(register::GSTS));
        let is = (status.tes(), status.qies());
        match is == (gcmd.te(), gcmd.qie()) && (!gcmd.srtp() || status.rtps()) {
            true => Ok(()),
            false => Err(Error::Refused(unit.read(register::FSTS))),
        }
    }
}

/// Page tables of the first stage: four levels.
#[derive(Debug)]
pub struct AddressSpace {
    root: Gpa,
    domain: DomainId,
}

impl AddressSpace {
    /// An empty one, with this tag in the TLBs.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new(ram: &GuestRam, domain: DomainId) -> Result<Self, Error> {
        let root = ram.page()?;
        Ok(Self { root, domain })
    }

    /// The entry of a PASID that has this address space.
    #[must_use]
    pub fn entry(&self) -> PasidEntry {
        PasidEntry::default()
            .with_p(true)
            .with_pgtt(PasidTranslationType::FirstStage)
            .with_did(self.domain)
            .with_fsptptr(self.root)
    }

    /// Maps the page at `from` to the one at `to`.
    ///
    /// # Errors
    /// There is no memory left for a table.
    pub fn map(&self, from: InputAddress, to: Gpa, ram: &GuestRam) -> Result<(), Error> {
        let mut table = self.root;
        for (level, shift) in [
            (Level::Level4, 39),
            (Level::Level3, 30),
            (Level::Level2, 21),
        ] {
            let at = place(table, from, shift);
            let entry = FirstStageTable::from_words([ram.word(at)?]);
            table = if entry.p() {
                entry.addr()
            } else {
                let below = ram.page()?;
                let entry = FirstStageTable::new(level, below)?
                    .with_us(true)
                    .with_rw(true);
                ram.put(at, &entry.words())?;
                below
            };
        }
        let leaf = FirstStageLeaf::new(Level::Level1, to)?
            .with_us(true)
            .with_rw(true);
        ram.put(place(table, from, 12), &leaf.words())
    }
}

/// The entry for an address in a table.
fn place(table: Gpa, address: InputAddress, shift: u32) -> Gpa {
    offset(table, (address.get() >> shift & 0x1ff) * 8)
}

/// An address in a page.
fn offset(page: Gpa, bytes: u64) -> Gpa {
    // Pages are not at the end of all addresses.
    Gpa::new(page.get() + bytes).unwrap_or(page)
}

/// Writes a register of 64 bits.
fn write<H: Host>(
    unit: &mut Unit<H>,
    at: u64,
    value: u64,
    ram: &GuestRam,
) -> Result<(), NotFlushed> {
    unit.write(at, value as u32, ram)?;
    unit.write(at + 4, (value >> 32) as u32, ram)
}
