//! The whole way of a request through an emulated remapping unit, from the number of its requester
//! to its output, and of a guest's descriptors through its queue, with all structures in memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the test's own constants"
)]

use std::collections::HashMap;

use vtd_types::{
    Access, AddressType, BadDescriptor, BadOffset, Cap, Capabilities, Descriptor, DescriptorWords,
    DomainId, Ecap, Fault, FaultReason, Features, FirstStageLeaf, FirstStageStep, FirstStageTable,
    Gpa, HostAddressWidth, InputAddress, Invalidation, Iqa, Level, NotForwardedReason, Pasid,
    PasidConfig, PasidDirectoryEntry, PasidEntry, PasidTranslationType, QueueError, QueueOffset,
    RequestFault, RequestKind, Rights, RootLookup, RootTable, Rtaddr, ScalableContextEntry,
    ScalableRootEntry, SourceId, TableMode, TableScope,
};

struct Unit {
    features: Features,
    rtaddr: Rtaddr,
    memory: HashMap<u64, u8>,
}

impl Unit {
    fn write(&mut self, address: u64, bytes: &[u8]) {
        self.memory.extend((address..).zip(bytes.iter().copied()));
    }

    fn read<const N: usize>(&self, address: Gpa) -> [u8; N] {
        let mut bytes = [0; N];
        for (byte, address) in bytes.iter_mut().zip(address.get()..) {
            *byte = self.memory.get(&address).copied().unwrap_or(0);
        }
        bytes
    }

    fn translate(
        &self,
        source: SourceId,
        pasid: Option<Pasid>,
        input: u64,
        rights: Rights,
    ) -> Result<u64, FaultReason> {
        let table = RootTable::from_register(self.rtaddr, &self.features).unwrap();
        let RootLookup::Scalable(lookup) = table.locate(source) else {
            panic!("scalable mode");
        };
        let root = ScalableRootEntry::from_bytes(&self.read(lookup.address()));
        let context = lookup.resolve(root).map_err(|bad| bad.scalable_reason())?;
        let directory = ScalableContextEntry::from_bytes(&self.read(context))
            .decode(&self.features)
            .map_err(|bad| bad.reason())?;
        let lookup = directory.locate(pasid).map_err(|bad| bad.reason())?;
        let leaf = PasidDirectoryEntry::from_bytes(&self.read(lookup.address()));
        let entry = lookup.resolve(leaf).map_err(|bad| bad.reason())?;
        let translation = PasidEntry::from_bytes(&self.read(entry))
            .decode(&self.features)
            .map_err(|bad| bad.reason())?;
        let stage = match translation.config {
            PasidConfig::FirstStage(stage) => stage,
            PasidConfig::PassThrough => return Ok(input),
            other => panic!("{other:?}"),
        };
        let access = Access {
            rights,
            privileged: false,
        };
        let mut walk = stage
            .walk(InputAddress::new(input), access)
            .map_err(|fault| fault.reason())?;
        loop {
            let read = self.read(walk.address());
            match walk.resume(read).map_err(|fault| fault.reason())? {
                FirstStageStep::Read(next) => walk = next,
                FirstStageStep::Done(done) => return Ok(done.output.get()),
            }
        }
    }
}

fn gpa(address: u64) -> Gpa {
    Gpa::new(address).unwrap()
}

fn pasid(number: u32) -> Pasid {
    Pasid::new(number).unwrap()
}

const SOURCE: SourceId = SourceId::new(0x018a);

/// The device 01:11.2 has PASIDs, of which 65 has a first stage; without one its requests pass
/// through.
fn unit() -> Unit {
    let ecap = Ecap::default()
        .with_smts(true)
        .with_fsts(true)
        .with_pt(true)
        .with_pasid(true)
        .with_pss(19);
    let capabilities = Capabilities {
        cap: Cap::default(),
        ecap,
    };
    let width = HostAddressWidth::new(40).unwrap();
    let mut unit = Unit {
        features: Features::new(capabilities, width).unwrap(),
        rtaddr: Rtaddr::default()
            .with_rta(gpa(0x4000_0000))
            .with_ttm(TableMode::Scalable),
        memory: HashMap::new(),
    };
    let root = ScalableRootEntry::default()
        .with_up(true)
        .with_uctp(gpa(0x4100_0000));
    unit.write(0x4000_0010, &root.to_bytes());
    let context = ScalableContextEntry::default()
        .with_p(true)
        .with_paside(true)
        .with_pasiddirptr(gpa(0x4200_0000));
    // 0x8a: entry 10 of the upper table.
    unit.write(0x4100_0140, &context.to_bytes());
    let directory = PasidDirectoryEntry::default().with_p(true);
    let lower = directory.with_smptblptr(gpa(0x4300_0000));
    unit.write(0x4200_0000, &lower.to_bytes());
    let upper = directory.with_smptblptr(gpa(0x4310_0000));
    unit.write(0x4200_0008, &upper.to_bytes());
    let through = PasidEntry::default()
        .with_p(true)
        .with_pgtt(PasidTranslationType::PassThrough);
    unit.write(0x4300_0000, &through.to_bytes());
    let entry = PasidEntry::default()
        .with_p(true)
        .with_pgtt(PasidTranslationType::FirstStage)
        .with_did(DomainId::new(3))
        .with_fsptptr(gpa(0x4400_0000));
    unit.write(0x4310_0040, &entry.to_bytes());
    // 0x1_2345_6789: index 0 of level 4, 4 of level 3, 0x11a of level 2.
    let table = FirstStageTable::new(Level::Level4, gpa(0x4500_0000)).unwrap();
    unit.write(0x4400_0000, &table.to_bytes());
    let table = FirstStageTable::new(Level::Level3, gpa(0x4600_0000)).unwrap();
    unit.write(0x4500_0020, &table.to_bytes());
    let page = FirstStageLeaf::new(Level::Level2, gpa(0x8_0000_0000))
        .unwrap()
        .with_us(true);
    unit.write(0x4600_0000 + 0x11a * 8, &page.to_bytes());
    unit
}

#[test]
fn a_request_goes_all_the_way() {
    let unit = unit();
    // The low 21 bits are those of the input.
    assert_eq!(
        unit.translate(SOURCE, Some(pasid(65)), 0x1_2345_6789, Rights::READ),
        Ok(0x8_0005_6789)
    );
    assert_eq!(
        unit.translate(SOURCE, None, 0x1234, Rights::WRITE),
        Ok(0x1234)
    );
}

#[test]
fn each_step_has_its_own_fault() {
    let unit = unit();
    let fault = |source, number, input, rights| {
        let pasid = Some(pasid(number));
        unit.translate(source, pasid, input, rights).unwrap_err()
    };
    let read = |source, number, input| fault(source, number, input, Rights::READ);
    // Another bus; a device of the lower half; another function.
    assert_eq!(read(SourceId::new(0x028a), 65, 0), FaultReason::Srt2);
    assert_eq!(read(SourceId::new(0x010a), 65, 0), FaultReason::Srt2);
    assert_eq!(read(SourceId::new(0x018b), 65, 0), FaultReason::Sct2);
    // The directory has 13 bits of PASIDs.
    assert_eq!(read(SOURCE, 1 << 13, 0), FaultReason::Sct7);
    assert_eq!(read(SOURCE, 128, 0), FaultReason::Spd2);
    assert_eq!(read(SOURCE, 66, 0), FaultReason::Spt2);
    assert_eq!(read(SOURCE, 65, 1 << 47), FaultReason::Sgn1);
    assert_eq!(read(SOURCE, 65, 0x1_2365_6789), FaultReason::Sfs2);
    assert_eq!(
        fault(SOURCE, 65, 0x1_2345_6789, Rights::WRITE),
        FaultReason::Sgn6
    );
    // What the guest is told of the last.
    let record = Fault::Request(RequestFault {
        reason: FaultReason::Sgn6,
        source: SOURCE,
        pasid: Some(pasid(65)),
        address: InputAddress::new(0x1_2345_6789),
        address_type: AddressType::Untranslated,
        kind: RequestKind::Write,
        execute: false,
        privileged: false,
    })
    .encode();
    assert_eq!(
        record.words(),
        [
            0x1_2345_6000,
            1 << 63 | 65 << 40 | 0x85 << 32 | 1 << 31 | 0x18a
        ]
    );
}

#[test]
fn a_queue_is_read_up_to_what_is_invalid() {
    let mut unit = unit();
    let iqa = Iqa::from_bits(0x5000_0800);
    let ring = iqa.ring(unit.features.width());
    let queue: [[u64; 4]; 4] = [
        // PASID cache of domain 3; PASID 65 of it, 8 pages; a wait.
        [0x0000_0000_0003_0007, 0, 0, 0],
        [0x0000_0041_0003_0036, 0x1_2345_8003, 0, 0],
        [0x0000_0001_0000_0025, 0x6000_0000, 0, 0],
        // A bit in the last word.
        [0x0000_0041_0003_0026, 0, 0, 1],
    ];
    // The last entry of the page, and then the first.
    for (n, words) in (127..).zip(queue) {
        let bytes = DescriptorWords::from(words).to_bytes();
        unit.write(0x5000_0000 + n % 128 * 32, &bytes);
    }
    let (head, tail) = (127 * 32, 3 * 32);
    let indices = ring.indices(QueueOffset::from_bits(head), QueueOffset::from_bits(tail));
    let mut indices = indices.unwrap();
    assert_eq!(indices.len(), 4);
    let features = unit.features.descriptors(TableMode::Scalable);

    let mut forwarded = Vec::new();
    let mut emulated = Vec::new();
    let error = loop {
        let words = DescriptorWords::from_bytes(&unit.read(indices.first().unwrap()));
        let descriptor = match Descriptor::decode(words, &features) {
            Ok(descriptor) => descriptor,
            Err(error) => break error,
        };
        match Invalidation::from_descriptor(&descriptor) {
            Ok(invalidation) => forwarded.push((descriptor.tables().unwrap(), invalidation)),
            Err(refused) => {
                assert_eq!(refused.reason(), NotForwardedReason::Emulated);
                emulated.push(descriptor.kind().name());
            }
        }
        indices.consume();
    };
    // The head stays at the descriptor that is invalid.
    assert!(matches!(error, BadDescriptor::Reserved { word: 3, .. }));
    assert_eq!(error.error(), QueueError::Reserved);
    assert_eq!((indices.head().bits(), indices.len()), (2 * 32, 1));
    assert_eq!(emulated, ["pc_inv_dsc", "inv_wait_dsc"]);
    let [(scope, invalidation)] = forwarded.try_into().unwrap();
    let domain = DomainId::new(3);
    let pasid = pasid(65);
    assert_eq!(scope, TableScope::Pasid { domain, pasid });
    assert_eq!(invalidation.address().get(), 0x1_2345_8000);
    assert_eq!((invalidation.npages(), invalidation.leaf()), (8, false));

    let misaligned = QueueOffset::from_bits(0x30);
    let bad = ring.indices(misaligned, misaligned).unwrap_err();
    assert_eq!(bad, BadOffset::Misaligned(0x30));
    assert_eq!(bad.error(), QueueError::TailMisaligned);
}
