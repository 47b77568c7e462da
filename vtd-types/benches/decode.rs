//! How long it takes to decode what is in the queues: `cargo bench -p vtd-types`.

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use vtd_types::{
    AddressMask, AddressType, Cap, Capabilities, ContextCacheScope, Descriptor, DescriptorFeatures,
    DescriptorWords, DeviceTlbRange, DomainId, Ecap, Fault, FaultReason, FaultRecord, Features,
    Gpa, HostAddressWidth, InputAddress, Invalidation, IotlbScope, NestedPasidEntry, PageSelection,
    Pasid, PasidCacheScope, PasidEntry, PasidTranslationType, RequestFault, RequestKind, SourceId,
    StatusWrite,
};

/// About as many as a guest writes before it waits.
const ENTRIES: usize = 1024;
const RUNS: u32 = 20_000;

fn main() {
    let features = DescriptorFeatures::SCALABLE
        .with_device_tlb(true)
        .with_max_address_mask(18);
    for (order, descriptors) in [
        ("as a driver orders them", driver()),
        ("in random order", mixed()),
    ] {
        let descriptors: Vec<DescriptorWords> =
            descriptors.iter().map(Descriptor::encode).collect();
        measure("a descriptor", order, descriptors.len(), || {
            for words in &descriptors {
                black_box(&Descriptor::decode(*black_box(words), &features));
            }
        });
        measure(
            "a descriptor, into an invalidation",
            order,
            descriptors.len(),
            || {
                for words in &descriptors {
                    let invalidation = Descriptor::decode(*black_box(words), &features)
                        .ok()
                        .and_then(|descriptor| Invalidation::from_descriptor(&descriptor).ok());
                    black_box(&invalidation);
                }
            },
        );
    }
    let faults = faults();
    measure("a fault record", "in random order", faults.len(), || {
        for record in &faults {
            black_box(&black_box(record).decode());
        }
    });
    if let Ok(features) = unit() {
        let entries = entries();
        let what = "a PASID table entry, into a nested table's";
        measure(what, "in random order", entries.len(), || {
            for entry in &entries {
                black_box(&NestedPasidEntry::from_entry(black_box(entry), &features));
            }
        });
    }
}

/// The best of several runs: what the machine does besides is not what is asked.
fn measure(what: &str, order: &str, entries: usize, run: impl Fn()) {
    let best = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or(Duration::ZERO);
    let each = best.as_secs_f64() * 1e9 / entries as f64;
    println!("decode {what}, {order}: {each:.2} ns");
}

/// What a driver writes: it unmaps a few ranges, has the device forget them and waits; now and then
/// it changes a PASID's entry.
fn driver() -> Vec<Descriptor> {
    let mut descriptors = Vec::with_capacity(ENTRIES);
    for round in 0.. {
        for number in 0..6 {
            descriptors.push(unmap(round << 16 | number << 12));
            descriptors.push(forget(round << 16 | number << 12));
        }
        descriptors.push(wait());
        if round % 8 == 7 {
            descriptors.extend([entry(round), all(round), wait()]);
        }
        if descriptors.len() >= ENTRIES {
            break;
        }
    }
    descriptors
}

/// All kinds that a guest writes, in an order that the processor cannot learn: the worst there is.
fn mixed() -> Vec<Descriptor> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    (0..ENTRIES)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % 16 {
                0..=5 => unmap(random),
                6 => all(random),
                7 => entry(random),
                8 => Descriptor::ContextCache(ContextCacheScope::Global),
                9 => Descriptor::Iotlb {
                    scope: IotlbScope::Domain(domain(random)),
                    drain_reads: true,
                    drain_writes: true,
                },
                10..=13 => forget(random),
                _ => wait(),
            }
        })
        .collect()
}

const SOURCE: SourceId = SourceId::new(0x18);

fn domain(number: u64) -> DomainId {
    DomainId::new((number >> 16 & 0xff) as u16)
}

fn unmap(address: u64) -> Descriptor {
    let mask = AddressMask::new((address >> 12 & 7) as u8).unwrap_or(AddressMask::PAGE);
    Descriptor::PasidIotlb {
        domain: domain(address),
        pasid: Pasid::ZERO,
        pages: Some(PageSelection::new(InputAddress::new(address), mask, true)),
    }
}

fn all(number: u64) -> Descriptor {
    Descriptor::PasidIotlb {
        domain: domain(number),
        pasid: Pasid::MAX,
        pages: None,
    }
}

fn forget(address: u64) -> Descriptor {
    let pages = (address >> 12 & 7) as u8;
    Descriptor::DeviceTlb {
        source: SOURCE,
        physical_function: SourceId::new(0),
        max_pending: 0,
        range: DeviceTlbRange::new(InputAddress::new(address), pages)
            .unwrap_or(DeviceTlbRange::ALL),
    }
}

fn entry(number: u64) -> Descriptor {
    Descriptor::PasidCache(PasidCacheScope::Pasid {
        domain: domain(number),
        pasid: Pasid::ZERO,
    })
}

fn wait() -> Descriptor {
    Descriptor::Wait {
        interrupt: false,
        status: Gpa::new(0x6000_0000).and_then(|address| StatusWrite::new(address, 2)),
        fence: false,
        drain_page_requests: false,
    }
}

fn faults() -> Vec<FaultRecord> {
    (0..ENTRIES as u64)
        .map(|number| {
            let reason = match number.wrapping_mul(0x9e37_79b9) >> 7 & 7 {
                0 => FaultReason::Spt2,
                1 => FaultReason::Srt2,
                2 => FaultReason::Sgn6,
                3 => FaultReason::Sgn1,
                _ => FaultReason::Sfs2,
            };
            Fault::Request(RequestFault {
                reason,
                source: SOURCE,
                pasid: Pasid::new((number & 0xff) as u32),
                address: InputAddress::new(number << 12),
                address_type: AddressType::Untranslated,
                kind: if number % 3 == 0 {
                    RequestKind::Write
                } else {
                    RequestKind::Read
                },
                execute: false,
                privileged: number % 5 == 0,
            })
            .encode()
        })
        .collect()
}

fn unit() -> Result<Features, vtd_types::Reserved> {
    let ecap = Ecap::default()
        .with_smts(true)
        .with_fsts(true)
        .with_pt(true)
        .with_srs(true);
    let capabilities = Capabilities {
        cap: Cap::default(),
        ecap,
    };
    Features::new(capabilities, HostAddressWidth::MAX)
}

fn entries() -> Vec<PasidEntry> {
    (0..ENTRIES as u64)
        .map(|number| {
            let pgtt = match number.wrapping_mul(0x9e37_79b9) >> 7 & 7 {
                0 => PasidTranslationType::PassThrough,
                _ => PasidTranslationType::FirstStage,
            };
            PasidEntry::from_words([1, 0, number << 12, 0, 0, 0, 0, 0])
                .with_pgtt(pgtt)
                .with_did(domain(number << 16))
                .with_sre(number % 5 == 0)
        })
        .collect()
}
