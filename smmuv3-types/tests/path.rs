//! The whole way of a transaction through an emulated SMMU: from the number of its stream to its
//! output, with all structures in memory.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use std::collections::HashMap;

use smmuv3_types::{
    Access, AddressSize, Asid, BadCd, BadSte, BadStreamId, Cd, CdConfig, CdLookup, CdTable,
    CdTableFormat, ContextPointer, EventKind, FaultKind, Features, Geometry, Granule, IdRegisters,
    InputAddress, Ipa, L1ContextDescriptor, L1StreamDescriptor, LeafDescriptor, Level, Mair,
    NestedSte, NoContext, Rights, Stage1, Ste, SteConfig, StreamId, StreamLookup, StreamTable,
    StrtabBase, StrtabBaseCfg, SubstreamBits, SubstreamId, TableDescriptor, WalkFault, WalkStep,
};

/// What comes of a transaction that does not get through.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Silent,
    BadStreamId(BadStreamId),
    BadSte(BadSte),
    NoContext(NoContext),
    BadCd(BadCd),
    Fault(WalkFault),
}

impl Event {
    fn kind(&self) -> Option<EventKind> {
        match self {
            Self::Silent => None,
            Self::BadStreamId(bad) => Some(bad.event_kind()),
            Self::BadSte(bad) => Some(bad.event_kind()),
            Self::NoContext(none) => Some(none.event_kind()),
            Self::BadCd(bad) => Some(bad.event_kind()),
            Self::Fault(fault) => Some(fault.event_kind()),
        }
    }
}

struct Smmu {
    features: Features,
    base: StrtabBase,
    cfg: StrtabBaseCfg,
    memory: HashMap<u64, u8>,
}

impl Smmu {
    fn write(&mut self, address: u64, bytes: &[u8]) {
        self.memory.extend((address..).zip(bytes.iter().copied()));
    }

    fn read<const N: usize>(&self, address: Ipa) -> [u8; N] {
        let mut bytes = [0; N];
        for (byte, address) in bytes.iter_mut().zip(address.get()..) {
            *byte = self.memory.get(&address).copied().unwrap_or(0);
        }
        bytes
    }

    fn translate(&self, stream: u32, substream: Option<u32>, input: u64) -> Result<u64, Event> {
        let table = StreamTable::from_registers(self.base, self.cfg, &self.features);
        let entry = match table
            .locate(StreamId::new(stream))
            .map_err(Event::BadStreamId)?
        {
            StreamLookup::Entry(entry) => entry,
            StreamLookup::Descriptor(lookup) => {
                let read = L1StreamDescriptor::from_bytes(&self.read(lookup.address()));
                lookup.resolve(read).map_err(Event::BadStreamId)?
            }
        };
        let ste = Ste::from_bytes(&self.read(entry));
        let stage1 = match ste.decode(&self.features).map_err(Event::BadSte)? {
            SteConfig::Bypass => return Ok(input),
            SteConfig::Stage1(stage1) => stage1,
            _ => return Err(Event::Silent),
        };
        let substream = substream.map(|number| SubstreamId::new(number).unwrap());
        let cd = match stage1.locate(substream).map_err(Event::NoContext)? {
            CdLookup::Bypass => return Ok(input),
            CdLookup::Context(cd) => cd,
            CdLookup::Descriptor(lookup) => {
                let read = L1ContextDescriptor::from_bytes(&self.read(lookup.address()));
                lookup
                    .resolve(read, &self.features)
                    .map_err(Event::NoContext)?
            }
        };
        let cd = Cd::from_bytes(&self.read(cd.address()));
        let CdConfig::Vmsa64(context) = cd.decode(&self.features, &stage1).map_err(Event::BadCd)?
        else {
            return Err(Event::Silent);
        };
        let access = Access {
            rights: Rights::READ,
            privileged: false,
        };
        let mut walk = context
            .walk(InputAddress::new(input), access)
            .map_err(Event::Fault)?;
        loop {
            let read = self.read(walk.address());
            match walk.resume(read).map_err(Event::Fault)? {
                WalkStep::Read(next) => walk = next,
                WalkStep::Done(done) => return Ok(done.output.get()),
            }
        }
    }
}

fn ipa(address: u64) -> Ipa {
    Ipa::new(address).unwrap()
}

/// Stream 0x0142 has substreams, of which 65 is mapped; 0x0143 bypasses.
fn smmu() -> Smmu {
    let idr0 = 1 << 27 | 1 << 26 | 1 << 24 | 2 << 21 | 1 << 19 | 1 << 12 | 2 << 2 | 1 << 1;
    let registers = IdRegisters::from_bits([idr0, 8 << 6 | 16, 0, 0, 0, 0x74], 0, 1);
    let mut smmu = Smmu {
        features: Features::new(registers).unwrap(),
        base: StrtabBase::default().with_addr(ipa(0x4000_0000)),
        cfg: StrtabBaseCfg::from_bits(1 << 16 | 8 << 6 | 16),
        memory: HashMap::new(),
    };
    let array = L1StreamDescriptor::default()
        .with_l2_ptr(ipa(0x4100_0000))
        .with_span(9);
    smmu.write(0x4000_0008, &array.to_bytes());
    let contexts = CdTable::new(
        ContextPointer::new(ipa(0x4200_0000)).unwrap(),
        CdTableFormat::TwoLevel4K,
        SubstreamBits::new(8).unwrap(),
    )
    .unwrap();
    let ste = NestedSte::translate(Stage1::new(contexts)).ste();
    smmu.write(0x4100_0000 + 0x42 * 64, &ste.to_bytes());
    let bypass = NestedSte::bypass().ste();
    smmu.write(0x4100_0000 + 0x43 * 64, &bypass.to_bytes());
    let leaf = L1ContextDescriptor::default()
        .with_v(true)
        .with_l2_ptr(ipa(0x4300_0000));
    smmu.write(0x4200_0008, &leaf.to_bytes());
    let cd = Cd::stage1(
        Asid::new(1),
        Geometry::new(Granule::Kib4, 39).unwrap(),
        ipa(0x4400_0000),
        AddressSize::Bits44,
        Mair::default().with(0, Mair::WRITE_BACK),
    )
    .unwrap();
    smmu.write(0x4300_0040, &cd.to_bytes());
    // 0x1_2345_6789: index 4 of level 1, 0x11a of level 2.
    let table = TableDescriptor::new(Granule::Kib4, Level::Level1, ipa(0x4500_0000)).unwrap();
    smmu.write(0x4400_0020, &table.to_bytes());
    let block = LeafDescriptor::new(Granule::Kib4, Level::Level2, ipa(0x8_0000_0000))
        .unwrap()
        .with_unprivileged(true)
        .with_af(true);
    smmu.write(0x4500_0000 + 0x11a * 8, &block.to_bytes());
    smmu
}

#[test]
fn a_transaction_goes_all_the_way() {
    let smmu = smmu();
    // The low 21 bits are those of the input.
    assert_eq!(
        smmu.translate(0x142, Some(65), 0x1_2345_6789),
        Ok(0x8_0005_6789)
    );
    assert_eq!(smmu.translate(0x143, None, 0x1234), Ok(0x1234));
}

#[test]
fn each_step_has_its_own_event() {
    let smmu = smmu();
    assert!(matches!(
        smmu.translate(0x1_0000, None, 0),
        Err(Event::BadStreamId(BadStreamId::BeyondTable { .. }))
    ));
    assert!(matches!(
        smmu.translate(0x242, None, 0),
        Err(Event::BadStreamId(BadStreamId::NoArray { .. }))
    ));
    assert_eq!(
        smmu.translate(0x144, None, 0),
        Err(Event::BadSte(BadSte::Invalid))
    );
    assert_eq!(
        smmu.translate(0x142, None, 0),
        Err(Event::NoContext(NoContext::StreamDisabled(None)))
    );
    for beyond in [63, 128, 256] {
        assert_eq!(
            smmu.translate(0x142, Some(beyond), 0),
            Err(Event::NoContext(NoContext::BadSubstreamId(
                SubstreamId::new(beyond).unwrap()
            )))
        );
    }
    assert_eq!(
        smmu.translate(0x142, Some(64), 0),
        Err(Event::BadCd(BadCd::Invalid))
    );
    assert_eq!(
        smmu.translate(0x142, Some(65), 0x1_2365_6789),
        Err(Event::Fault(WalkFault {
            kind: FaultKind::Translation,
            level: Level::Level2
        }))
    );
}

#[test]
fn each_event_is_of_the_kind_that_the_document_names() {
    let smmu = smmu();
    let aborted = |stream, substream, address| {
        let event = smmu.translate(stream, substream, address).unwrap_err();
        event.kind().map(EventKind::name)
    };
    assert_eq!(aborted(0x1_0000, None, 0), Some("C_BAD_STREAMID"));
    assert_eq!(aborted(0x242, None, 0), Some("C_BAD_STREAMID"));
    assert_eq!(aborted(0x144, None, 0), Some("C_BAD_STE"));
    assert_eq!(aborted(0x142, None, 0), Some("F_STREAM_DISABLED"));
    assert_eq!(aborted(0x142, Some(63), 0), Some("C_BAD_SUBSTREAMID"));
    assert_eq!(aborted(0x142, Some(64), 0), Some("C_BAD_CD"));
    assert_eq!(
        aborted(0x142, Some(65), 0x1_2365_6789),
        Some("F_TRANSLATION")
    );
}
