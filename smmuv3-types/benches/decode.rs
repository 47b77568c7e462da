//! How long it takes to decode what is in the queues: `cargo bench -p smmuv3-types`.

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use smmuv3_types::{
    AccessAttributes, Asid, AtcSpan, BadFeatures, Command, CommandWords, Event, EventRecord, Fault,
    Features, Granule, IdRegisters, Idr0, Idr1, Idr3, InputAddress, Invalidation,
    InvalidationLimits, Level, Requester, StreamId, SubstreamId, SyncSignal, TlbiRange, Vmid,
};

/// About as many as a guest writes before it waits.
const ENTRIES: usize = 1024;
const RUNS: u32 = 20_000;

fn main() -> Result<(), BadFeatures> {
    let features = Features::new(IdRegisters {
        idr0: Idr0::default()
            .with_s1p(true)
            .with_asid16(true)
            .with_ats(true),
        idr1: Idr1::default().with_ssidsize(16),
        idr3: Idr3::default().with_ril(true),
        ..IdRegisters::default()
    })?;
    let limits = InvalidationLimits::NONE
        .with_ril(true)
        .with_asid16(true)
        .with_ats(true)
        .with_substreams(true);
    for (order, commands) in [
        ("as a driver orders them", driver()),
        ("in random order", mixed()),
    ] {
        let commands: Vec<CommandWords> = commands.iter().map(Command::encode).collect();
        measure("a command", order, commands.len(), || {
            for words in &commands {
                black_box(&Command::decode(*black_box(words), &features));
            }
        });
        measure(
            "a command, into an invalidation",
            order,
            commands.len(),
            || {
                for words in &commands {
                    let invalidation = Command::decode(*black_box(words), &features)
                        .ok()
                        .and_then(|command| Invalidation::from_command(&command, &limits).ok());
                    black_box(&invalidation);
                }
            },
        );
    }
    let events = events();
    measure("an event", "in random order", events.len(), || {
        for record in &events {
            black_box(&black_box(record).decode());
        }
    });
    Ok(())
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
/// it ends an address space.
fn driver() -> Vec<Command> {
    let mut commands = Vec::with_capacity(ENTRIES);
    for round in 0.. {
        for number in 0..6 {
            commands.push(unmap(round << 16 | number << 12));
        }
        commands.push(Command::Sync(SyncSignal::None));
        for number in 0..6 {
            commands.push(forget(round << 16 | number << 12));
        }
        commands.push(Command::Sync(SyncSignal::None));
        if round % 8 == 7 {
            commands.extend([cd(), asid(round), Command::Sync(SyncSignal::None)]);
        }
        if commands.len() >= ENTRIES {
            break;
        }
    }
    commands
}

/// All kinds that a guest writes, in an order that the processor cannot learn: the worst there is.
fn mixed() -> Vec<Command> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    (0..ENTRIES)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % 16 {
                0..=4 => unmap(random),
                5 | 6 => Command::TlbiNhVa {
                    vmid: Vmid::new(0),
                    asid: Asid::new(1),
                    address: InputAddress::new(random),
                    leaf: false,
                    range: None,
                },
                7 => asid(random),
                8 => cd(),
                9 => Command::CfgiSte {
                    stream: STREAM,
                    leaf: true,
                },
                10..=12 => forget(random),
                13 => Command::TlbiNhAll { vmid: Vmid::new(0) },
                _ => Command::Sync(SyncSignal::None),
            }
        })
        .collect()
}

const STREAM: StreamId = StreamId::new(0x18);

fn unmap(address: u64) -> Command {
    let pages = (address >> 12 & 31) as u8;
    Command::TlbiNhVa {
        vmid: Vmid::new(0),
        asid: Asid::new((address >> 16 & 0xff) as u16),
        address: InputAddress::new(address),
        leaf: true,
        range: TlbiRange::new(Granule::Kib4, Some(Level::Level3), pages, 0),
    }
}

fn forget(address: u64) -> Command {
    Command::AtcInv {
        stream: STREAM,
        substream: SubstreamId::new((address >> 16 & 0xff) as u32),
        global: false,
        address: InputAddress::new(address),
        span: AtcSpan::PAGE,
    }
}

fn cd() -> Command {
    Command::CfgiCd {
        stream: STREAM,
        substream: SubstreamId::MAX,
        leaf: true,
    }
}

fn asid(number: u64) -> Command {
    Command::TlbiNhAsid {
        vmid: Vmid::new(0),
        asid: Asid::new((number & 0xff) as u16),
    }
}

fn events() -> Vec<EventRecord> {
    let requester = Requester {
        stream: STREAM,
        substream: None,
    };
    (0..ENTRIES as u64)
        .map(|number| {
            let fault = Fault {
                requester,
                stalled: None,
                access: AccessAttributes {
                    read: number % 3 == 0,
                    instruction: false,
                    privileged: number % 5 == 0,
                },
                address: InputAddress::new(number << 12),
                stage2: None,
            };
            match number.wrapping_mul(0x9e37_79b9) >> 7 & 7 {
                0 => Event::BadCd(requester),
                1 => Event::BadSte(requester),
                2 => Event::Access(fault),
                3 => Event::Permission {
                    fault,
                    table_access: None,
                },
                _ => Event::Translation(fault),
            }
            .encode()
        })
        .collect()
}
