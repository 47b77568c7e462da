//! The guest's side of nested translation: memory with an operating system's tables in it, for the
//! IOMMU to walk.
//!
//! In earnest a guest writes these tables, and a VMM only reads what tells it where they are.

use std::cell::Cell;
use std::sync::Arc;

use iommufd::{DmaBuffer, SharedBuffer};
use smmuv3_types::{
    AddressSize, Asid, Cacheability, Cd, CdTable, ContextPointer, Geometry, Granule, InputAddress,
    Ipa, LeafDescriptor, Level, Mair, NestedSte, Shareability, Stage1, Ste, TableDescriptor,
};

/// The size of a page, and of a table.
pub const PAGE: usize = 4096;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such memory.
    #[error("the guest has no memory at {0}")]
    NoMemory(Ipa),
    /// All pages are in use.
    #[error("the guest is out of memory")]
    OutOfMemory,
    /// The memory cannot be accessed.
    #[error(transparent)]
    Access(#[from] iommufd::Error),
    /// There is no such descriptor.
    #[error(transparent)]
    Descriptor(#[from] smmuv3_types::BadDescriptor),
    /// There is no such shape of a tree of tables.
    #[error(transparent)]
    Geometry(#[from] smmuv3_types::BadGeometry),
    /// The tables cannot be there.
    #[error(transparent)]
    Root(#[from] smmuv3_types::BadRoot),
}

/// A guest's memory, by guest physical address.
#[derive(Debug)]
pub struct Memory {
    bytes: Arc<SharedBuffer>,
    start: Ipa,
    /// Where the pages begin that nobody uses.
    free: Cell<usize>,
}

impl Memory {
    /// So many pages of memory from `start` on, all zero.
    ///
    /// # Errors
    /// The host is out of memory.
    pub fn new(start: Ipa, pages: usize) -> Result<Self, Error> {
        let bytes = pages.checked_mul(PAGE).ok_or(Error::OutOfMemory)?;
        Ok(Self {
            bytes: DmaBuffer::new(bytes)?.share(),
            start,
            free: Cell::new(0),
        })
    }

    /// The memory itself, for an address space.
    pub fn shared(&self) -> &Arc<SharedBuffer> {
        &self.bytes
    }

    /// Where it begins.
    pub fn start(&self) -> Ipa {
        self.start
    }

    /// A page that nobody uses yet.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn page(&self) -> Result<Ipa, Error> {
        let page = self.free.get();
        let end = page + PAGE;
        if end > self.bytes.len() {
            return Err(Error::OutOfMemory);
        }
        self.free.set(end);
        let page = u64::try_from(page).ok();
        page.and_then(|page| self.start.checked_add(page))
            .ok_or(Error::OutOfMemory)
    }

    /// Reads what is at `at`.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn read<const N: usize>(&self, at: Ipa) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.bytes.read_bytes(self.place(at)?, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes `bytes` at `at`.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn write(&self, at: Ipa, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.bytes.write_bytes(self.place(at)?, bytes)?)
    }

    fn place(&self, at: Ipa) -> Result<usize, Error> {
        let place = at.get().checked_sub(self.start.get());
        place
            .and_then(|place| usize::try_from(place).ok())
            .filter(|place| *place < self.bytes.len())
            .ok_or(Error::NoMemory(at))
    }
}

/// An address space that the guest gives a device: translation tables of 4 KiB pages, and the
/// context descriptor that says where they are.
#[derive(Debug)]
pub struct AddressSpace<'a> {
    memory: &'a Memory,
    geometry: Geometry,
    root: Ipa,
    descriptor: Ipa,
}

impl<'a> AddressSpace<'a> {
    /// An empty one, with this tag in the TLBs.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(memory: &'a Memory, asid: Asid) -> Result<Self, Error> {
        let space = Self {
            memory,
            geometry: Geometry::new(Granule::Kib4, 48)?,
            root: memory.page()?,
            descriptor: memory.page()?,
        };
        memory.write(space.descriptor, &space.context(asid)?.to_bytes())?;
        Ok(space)
    }

    /// A context descriptor for its tables.
    ///
    /// # Errors
    /// [`Error::Root`].
    pub fn context(&self, asid: Asid) -> Result<Cd, Error> {
        let mair = Mair::default().with(0, Mair::WRITE_BACK);
        let output = AddressSize::Bits44;
        Ok(Cd::stage1(asid, self.geometry, self.root, output, mair)?)
    }

    /// Where its first table is.
    pub fn root(&self) -> Ipa {
        self.root
    }

    /// Where the context descriptor is.
    pub fn descriptor(&self) -> Ipa {
        self.descriptor
    }

    /// The stream table entry of a device that has this address space.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn entry(&self) -> Result<Ste, Error> {
        Ok(NestedSte::translate(self.stage1()?).ste())
    }

    /// What such an entry says of stage 1.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn stage1(&self) -> Result<Stage1, Error> {
        let pointer =
            ContextPointer::new(self.descriptor).ok_or(Error::NoMemory(self.descriptor))?;
        Ok(Stage1::new(CdTable::single(pointer))
            .with_cacheability(Cacheability::WriteBack, Cacheability::WriteBack)
            .with_shareability(Shareability::Inner))
    }

    /// Maps the page at `from` to the one at `to`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Descriptor`].
    pub fn map(&self, from: InputAddress, to: Ipa) -> Result<(), Error> {
        self.set(from, Self::page(to)?)
    }

    /// The descriptor of a page at `to` that devices may read and write, of this address space only.
    ///
    /// # Errors
    /// [`Error::Descriptor`].
    pub fn page(to: Ipa) -> Result<LeafDescriptor, Error> {
        Ok(LeafDescriptor::new(Granule::Kib4, Level::Level3, to)?
            .with_unprivileged(true)
            .with_sh(Shareability::Inner)
            .with_ng(true)
            .with_af(true))
    }

    /// Makes `leaf` the descriptor of the page at `from`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn set(&self, from: InputAddress, leaf: LeafDescriptor) -> Result<(), Error> {
        let mut table = self.root;
        for level in [Level::Level0, Level::Level1, Level::Level2] {
            let at = self.place(table, level, from)?;
            let descriptor = TableDescriptor::from_bytes(&self.memory.read(at)?);
            table = if descriptor.valid() {
                descriptor.table(Granule::Kib4, false)
            } else {
                let below = self.memory.page()?;
                let descriptor = TableDescriptor::new(Granule::Kib4, level, below)?;
                self.memory.write(at, &descriptor.to_bytes())?;
                below
            };
        }
        let at = self.place(table, Level::Level3, from)?;
        self.memory.write(at, &leaf.to_bytes())
    }

    fn place(&self, table: Ipa, level: Level, from: InputAddress) -> Result<Ipa, Error> {
        let offset = self.geometry.index(level, from) * 8;
        table.checked_add(offset).ok_or(Error::NoMemory(table))
    }
}
