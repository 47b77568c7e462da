//! Translation tables in a memory of the test's.

use std::cell::Cell;
use std::collections::HashMap;

use smmuv3_types::{
    Access, AddressSize, Asid, Cd, CdConfig, CdTable, Context, ContextPointer, Features, Geometry,
    IdRegisters, InputAddress, InputSize, Ipa, LeafDescriptor, Level, Mair, Stage1,
    TableDescriptor, Translation, WalkFault, WalkStep,
};

pub(crate) fn ipa(address: u64) -> Ipa {
    Ipa::new(address).unwrap()
}

/// The context of a descriptor with a tree of this shape, on an SMMU of 52 bits.
pub(crate) fn context(
    geometry: Geometry,
    output: AddressSize,
    change: impl FnOnce(Cd) -> Cd,
) -> Context {
    context_with(geometry, output, AddressSize::Bits52, change)
}

/// As [`context`], on an SMMU of this output size.
pub(crate) fn context_with(
    geometry: Geometry,
    output: AddressSize,
    smmu: AddressSize,
    change: impl FnOnce(Cd) -> Cd,
) -> Context {
    let mut registers = IdRegisters::default();
    registers.idr0 = registers
        .idr0
        .with_s1p(true)
        .with_ttf_aarch64(true)
        .with_httu(smmuv3_types::TableUpdate::Dirty);
    registers.idr3 = registers
        .idr3
        .with_stt(true)
        .with_had(true)
        .with_epan(true)
        .with_e0pd(true);
    registers.idr5 = registers
        .idr5
        .with_gran4k(true)
        .with_gran16k(true)
        .with_gran64k(true)
        .with_oas(smmu)
        .with_vax(InputSize::Bits52);
    let features = Features::new(registers).unwrap();
    let cd = Cd::stage1(
        Asid::new(1),
        geometry,
        ipa(0x8_0000),
        output,
        Mair::new(0xff),
    )
    .unwrap();
    let stage1 = Stage1::new(CdTable::single(ContextPointer::new(ipa(0)).unwrap()));
    match change(cd).decode(&features, &stage1) {
        Ok(CdConfig::Vmsa64(context)) => context,
        other => panic!("{other:?}"),
    }
}

/// A memory that is 0 where nothing was written.
#[derive(Default)]
pub(crate) struct Memory {
    words: HashMap<u64, [u8; 8]>,
    tables: u64,
    /// What was read last.
    pub(crate) last: Cell<Ipa>,
}

impl Memory {
    pub(crate) fn write(&mut self, context: &Context, address: u64, bits: u64) {
        let bytes = if context.big_endian {
            bits.to_be_bytes()
        } else {
            bits.to_le_bytes()
        };
        self.words.insert(address, bytes);
    }

    fn read(&self, context: &Context, address: u64) -> u64 {
        let bytes = self.words.get(&address).copied().unwrap_or_default();
        if context.big_endian {
            u64::from_be_bytes(bytes)
        } else {
            u64::from_le_bytes(bytes)
        }
    }

    /// Where the descriptor of this level is for an address, with tables made on the way. Worked
    /// out from the manual's figures, not by the crate's own walk.
    fn descriptor(&mut self, context: &Context, input: u64, level: Level) -> u64 {
        let tree = if input >> 55 & 1 == 1 {
            context.high.unwrap()
        } else {
            context.low.unwrap()
        };
        let granule = tree.geometry.granule();
        let size = 1_u64 << granule.page_bits();
        let mut table = tree.table.get();
        for &at in Level::ALL.iter().filter(|l| **l >= tree.geometry.start()) {
            let shift = granule.span_bits(at);
            let input = input & ((1 << tree.geometry.input_bits()) - 1);
            let entry = table + (input >> shift) % (size / 8) * 8;
            if at == level {
                return entry;
            }
            let present = self.read(context, entry);
            table = if present == 0 {
                self.tables += 1;
                let table = ipa(0x100_0000 + self.tables * size);
                let descriptor = TableDescriptor::new(granule, at, table).unwrap();
                self.write(context, entry, descriptor.words()[0]);
                table.get()
            } else {
                TableDescriptor::from_words([present])
                    .table(granule, context.wide)
                    .get()
            };
        }
        panic!("no {level:?} in {tree:?}");
    }

    /// Maps an address by a block or page of this level.
    pub(crate) fn map(
        &mut self,
        context: &Context,
        input: u64,
        level: Level,
        leaf: LeafDescriptor,
    ) {
        let entry = self.descriptor(context, input, level);
        self.write(context, entry, leaf.words()[0]);
    }

    /// Changes the table descriptor of this level.
    pub(crate) fn limit(
        &mut self,
        context: &Context,
        input: u64,
        level: Level,
        change: impl FnOnce(TableDescriptor) -> TableDescriptor,
    ) {
        let entry = self.descriptor(context, input, level);
        let table = TableDescriptor::from_words([self.read(context, entry)]);
        self.write(context, entry, change(table).words()[0]);
    }
}

/// Walks the tables in `memory`.
pub(crate) fn translate(
    context: &Context,
    memory: &Memory,
    input: u64,
    access: Access,
) -> Result<Translation, WalkFault> {
    let mut walk = context.walk(InputAddress::new(input), access)?;
    loop {
        memory.last.set(walk.address());
        let bytes = memory.words.get(&walk.address().get());
        match walk.resume(bytes.copied().unwrap_or_default())? {
            WalkStep::Read(next) => walk = next,
            WalkStep::Done(translation) => return Ok(translation),
        }
    }
}
