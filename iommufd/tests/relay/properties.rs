//! Random guests over random hosts: after a `CMD_SYNC`, nothing is used that the architecture says
//! must be gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use iommufd::smmuv3::relay::{Place, Port, Stop};
use smmuv3_types::{
    Asid, AtcSpan, CmdqProd, Command, CommandWords, Cr0, Features, Gbpa, Granule, InputAddress,
    InvalidationLimits, Ipa, NestedConfig, Reduced, Ste, StreamConfig, StreamId, StreamRange,
    StrtabBase, StrtabBaseCfg, SubstreamId, TlbiRange,
};

use crate::guest::{
    Guest, QUEUE, TABLE, VMID, cfgi_cd_all, cfgi_ste, descriptor, entry, limits, nh_all, nh_asid,
    off, offered, on, stage1, stream, sync, with_ats,
};
use crate::model::{Dev, Failures, PAGES, covers, spans};
use crate::random::Random;

const DEVICES: u32 = 5;
const STREAMS: u64 = 8;
const ASIDS: [u16; 4] = [1, 2, 3, 0x1ff];

/// From when on what is cached may be used.
#[derive(Default)]
struct Required {
    entry: HashMap<StreamId, u64>,
    descriptor: HashMap<StreamId, u64>,
    translation: HashMap<(u16, u64), u64>,
    atc: HashMap<(StreamId, u64), u64>,
}

impl Required {
    /// The guest's command, which was there at `time`, is complete.
    fn complete(&mut self, time: u64, command: &Command) {
        let all = || (0..STREAMS as u32 * 2).map(stream);
        let entries: Vec<_> = match *command {
            Command::CfgiSte { stream, .. } => vec![stream],
            Command::CfgiSteRange(range) => all().filter(|of| range.contains(*of)).collect(),
            Command::CfgiAll => all().collect(),
            _ => Vec::new(),
        };
        for stream in entries {
            self.entry.insert(stream, time);
            self.descriptor.insert(stream, time);
        }
        for page in 0..PAGES {
            for asid in ASIDS {
                let gone = match *command {
                    Command::TlbiNhAll { .. } | Command::TlbiNsnhAll => true,
                    Command::TlbiNhAsid { asid: of, .. } => of == Asid::new(asid),
                    Command::TlbiNhVa {
                        asid: of,
                        address,
                        range,
                        ..
                    } => of == Asid::new(asid) && covers(address, bytes(range), page),
                    Command::TlbiNhVaa { address, range, .. } => {
                        covers(address, bytes(range), page)
                    }
                    _ => false,
                };
                if gone {
                    self.translation.insert((asid, page), time);
                }
            }
            if let Command::AtcInv {
                stream,
                address,
                span,
                ..
            } = *command
                && spans(address, span.size(), page)
            {
                self.atc.insert((stream, page), time);
            }
        }
        if let Command::CfgiCd { stream, .. } | Command::CfgiCdAll { stream } = *command {
            self.descriptor.insert(stream, time);
        }
    }
}

fn bytes(range: Option<TlbiRange>) -> u64 {
    range.map_or(4096, |range| range.bytes())
}

struct Run {
    guest: Guest,
    random: Random,
    ports: HashMap<u32, Port>,
    required: Required,
    /// What the queue has consumed since the last `CMD_SYNC`, with when it was read.
    consumed: Vec<(u64, Command)>,
    /// When the device got its number, or the SMMU was turned on: the entry was read after.
    named: HashMap<u32, u64>,
    gbpa: Gbpa,
    enabled: bool,
    syncs: usize,
    uses: usize,
}

impl Run {
    fn new(seed: u64, limits: InvalidationLimits, failures: Failures) -> Self {
        let guest = Guest::with(offered(), limits, seed);
        {
            let mut smmu = guest.model.0.borrow_mut();
            smmu.failures = failures;
            smmu.without_ats.insert(Dev(DEVICES - 1));
        }
        Self {
            guest,
            random: Random::new(!seed),
            ports: HashMap::new(),
            required: Required::default(),
            consumed: Vec::new(),
            named: HashMap::new(),
            gbpa: Gbpa::default(),
            enabled: false,
            syncs: 0,
            uses: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0 | 1 => self.change_entry(),
            2 => self.change_descriptor(),
            3 | 4 => self.change_page(),
            5..=9 => self.push(),
            10..=12 => self.run_queue(),
            13 => self.guest.model.all_access(),
            14 => match self.random.below(6) {
                0 => self.change_registers(),
                _ => self.move_a_device(),
            },
            _ => self.plug_or_unplug(),
        }
    }

    fn change_entry(&mut self) {
        let number = self.random.below(STREAMS) as u32;
        let index = self.random.below(4);
        let ste = match self.random.below(10) {
            0 => Ste::from_words([0; 8]),
            1 => Ste::valid(StreamConfig::Abort),
            2 => Ste::valid(StreamConfig::Bypass),
            3 => Ste::valid(StreamConfig::Nested),
            4 => Ste::from_words([(); 8].map(|()| self.random.next())),
            5 | 6 => with_ats(stage1(index)),
            _ => stage1(index),
        };
        // A random entry may point out of memory: the hardware would abort there.
        let pointer = ste.s1_context_ptr().get();
        let outside = ste.config() == Ok(StreamConfig::Stage1) && pointer > descriptor(8);
        let ste = match outside {
            true => ste.with_s1_context_ptr(Ipa::new(descriptor(index)).unwrap()),
            false => ste,
        };
        self.guest.write_ste(number, &ste);
    }

    fn change_descriptor(&mut self) {
        let index = self.random.below(4);
        if self.random.chance(20) {
            self.guest.memory.write_words(descriptor(index), &[0, 0]);
        } else {
            let asid = self.random.pick(&ASIDS);
            let table = self.random.below(3);
            self.guest.write_descriptor(index, asid, table);
        }
    }

    fn change_page(&mut self) {
        let table = self.random.below(3);
        let page = self.random.below(PAGES);
        let to = match self.random.chance(20) {
            true => 0,
            false => self.random.next() | 1,
        };
        self.guest.write_page(table, page, to);
    }

    fn push(&mut self) {
        if self.guest.room() == 0 {
            return;
        }
        let command = self.command();
        self.guest.push(command);
    }

    fn command(&mut self) -> CommandWords {
        let random = &mut self.random;
        let number = random.below(STREAMS + 2) as u32;
        let address = InputAddress::new(random.below(PAGES + 1) << 12);
        let asid = Asid::new(random.pick(&ASIDS));
        let leaf = random.chance(50);
        let range = match random.below(3) {
            0 => None,
            _ => TlbiRange::new(
                Granule::Kib4,
                None,
                random.below(32) as u8,
                random.below(3) as u8,
            ),
        };
        let vmid = VMID;
        let substream = SubstreamId::new(0).unwrap();
        let stream = stream(number);
        let command = match random.below(20) {
            0 | 1 => cfgi_ste(number),
            2 => Command::CfgiAll,
            3 => Command::CfgiSteRange(StreamRange::new(stream, random.below(4) as u8).unwrap()),
            4 | 5 => Command::CfgiCd {
                stream,
                substream,
                leaf,
            },
            6 => cfgi_cd_all(number),
            7 => nh_all(),
            8 => Command::TlbiNsnhAll,
            9 => nh_asid(asid.get()),
            10 => Command::TlbiNhVa {
                vmid,
                asid,
                address,
                leaf,
                range,
            },
            11 => Command::TlbiNhVaa {
                vmid,
                address,
                leaf,
                range,
            },
            12 | 13 => Command::AtcInv {
                stream,
                substream: None,
                global: false,
                address,
                span: random.pick(&[AtcSpan::PAGE, AtcSpan::ALL, AtcSpan::new(2).unwrap()]),
            },
            14 => return CommandWords::from_words([random.next(), random.next()]),
            _ => sync(),
        };
        command.encode()
    }

    fn run_queue(&mut self) {
        self.guest.model.all_access();
        let before = self.guest.cons;
        let reads = self.guest.memory.reads();
        let most = 1 + self.random.below(24) as usize;
        let ran = self.guest.run(most);
        // A command and, where the table is linear, an entry; and the one that is too much.
        let all = usize::try_from(DEVICES).unwrap();
        assert!(self.guest.memory.reads() - reads <= most + all + 2);

        let mut completed = 0;
        let mut indices = self.guest.cons.index(self.guest.size());
        let end = indices;
        indices = before.index(self.guest.size());
        while indices != end {
            let address = QUEUE + 16 * u64::from(indices.position());
            let words = [
                self.guest.memory.word(address),
                self.guest.memory.word(address + 8),
            ];
            let features = Features::new(offered()).unwrap();
            let command = Command::decode(words, &features).unwrap();
            let time = self.guest.memory.last_read(address);
            if let Command::Sync(_) = command {
                completed += 1;
                for (time, command) in self.consumed.drain(..) {
                    self.required.complete(time, &command);
                }
            } else {
                self.consumed.push((time, command));
            }
            indices = indices.next();
        }
        assert_eq!(completed, ran.signals.len());
        self.syncs += completed;
        match ran.stop {
            Stop::Illegal(_) => {
                // At that very command.
                let address = QUEUE + 16 * u64::from(end.position());
                let words = [
                    self.guest.memory.word(address),
                    self.guest.memory.word(address + 8),
                ];
                let features = Features::new(offered()).unwrap();
                assert!(Command::decode(words, &features).is_err());
                assert_eq!(self.guest.run(most).stop, Stop::Idle, "before it is known");
                assert_eq!(self.guest.cons.index(self.guest.size()), end);
                self.guest.acknowledge();
                // The guest puts something else there.
                let harmless = Command::PrefetchConfig {
                    stream: stream(0),
                    substream: None,
                };
                let bytes = harmless.encode().to_bytes();
                self.guest.memory.write(address, &bytes);
            }
            Stop::Unreadable => panic!("all of it is memory"),
            Stop::Idle | Stop::More | Stop::NotFlushed(_) => {}
        }
        // With nothing stuck, and all of it complete, what is used now is what may be used.
        if completed != 0 {
            self.check();
        }
    }

    fn change_registers(&mut self) {
        let memory = &self.guest.memory;
        match self.random.below(3) {
            0 => {
                self.gbpa = Gbpa::default().with_abort(self.random.chance(50));
                self.guest.relay.set_gbpa(self.gbpa);
            }
            _ => {
                let now = memory.tick();
                self.enabled = !self.enabled;
                let cr0 = if self.enabled { on() } else { off() };
                self.guest.cr0(cr0);
                if self.enabled {
                    for device in self.ports.keys() {
                        self.named.insert(*device, now);
                    }
                }
            }
        }
        self.check();
    }

    fn move_a_device(&mut self) {
        let device = self.random.below(DEVICES.into()) as u32;
        let number = match self.random.chance(20) {
            true => None,
            false => Some(stream(self.random.below(STREAMS) as u32)),
        };
        let Some(port) = self.ports.get(&device) else {
            return;
        };
        let now = self.guest.memory.tick();
        let was = self.guest.relay.stream(port);
        let moved = self.guest.relay.assign(port, number, &self.guest.memory);
        let is = self.guest.relay.stream(port);
        if moved.is_ok() {
            assert_eq!(is, number);
        }
        if is != was {
            self.named.insert(device, now);
        }
        assert_eq!(self.guest.model.name(Dev(device)), is);
        self.check();
    }

    fn plug_or_unplug(&mut self) {
        let device = self.random.below(DEVICES.into()) as u32;
        let now = self.guest.memory.tick();
        match self.ports.entry(device) {
            Entry::Occupied(entry) => {
                let port = entry.remove();
                match self.guest.relay.unplug(port) {
                    Ok(Dev(given)) => {
                        assert_eq!(given, device);
                        assert!(!self.guest.model.has(Dev(device)));
                    }
                    Err(refused) => {
                        self.ports.insert(device, refused.into_value());
                    }
                }
            }
            Entry::Vacant(entry) => {
                let number = self.random.below(STREAMS + 1) as u32;
                let number = (u64::from(number) < STREAMS).then(|| stream(number));
                let memory = &self.guest.memory;
                match self.guest.relay.plug(Dev(device), number, memory) {
                    Ok(port) => {
                        entry.insert(port);
                        self.named.insert(device, now);
                    }
                    Err(refused) => assert_eq!(refused.into_value(), Dev(device)),
                }
            }
        }
        self.check();
    }

    /// Every device is where the guest's tables say, or said when they could last be looked at; and
    /// uses nothing that was cached before it had to go.
    fn check(&mut self) {
        let _reports = self.guest.relay.take_reports();
        let may_fail = {
            let failures = self.guest.model.0.borrow().failures;
            failures.put + failures.block + failures.invalidate + failures.name != 0
        };
        for device in 0..DEVICES {
            let Some(port) = self.ports.get(&device) else {
                continue;
            };
            let place = self.guest.model.place(Dev(device));
            let number = self.guest.relay.stream(port);
            let Some(told) = self.guest.relay.place(port) else {
                // The host does not block it: no SYNC completes.
                assert!(may_fail);
                continue;
            };
            assert_eq!(told, place);
            let allowed = self.places(device, number);
            let blocked = may_fail && place == Place::Blocked;
            assert!(
                blocked || allowed.contains(&place),
                "{place:?}: {allowed:?}"
            );
            self.check_uses(device, number);
        }
    }

    fn places(&self, device: u32, number: Option<StreamId>) -> Vec<Place> {
        if !self.enabled {
            return vec![match self.gbpa.abort() {
                true => Place::Blocked,
                false => Place::Bypass,
            }];
        }
        let Some(number) = number else {
            return vec![Place::Blocked];
        };
        let since = self.required.entry.get(&number).copied().unwrap_or(0);
        let since = since.max(self.named[&device]);
        let features = Features::new(offered()).unwrap();
        let place = |bytes: [u8; 64]| match Ste::from_bytes(&bytes).reduce(&features) {
            Reduced::AbortWithBadSte(_) => Place::Blocked,
            Reduced::Install(nested) => match nested.config() {
                NestedConfig::Invalid | NestedConfig::Abort => Place::Blocked,
                NestedConfig::Bypass => Place::Bypass,
                NestedConfig::Translate(_) => Place::Translated(nested),
            },
        };
        let versions = self.guest.memory.versions(entry(number), since);
        versions.into_iter().map(place).collect()
    }

    fn check_uses(&mut self, device: u32, number: Option<StreamId>) {
        for page in 0..PAGES {
            let used = self.guest.model.access(Dev(device), page);
            self.uses += 1;
            if let Some(time) = used.descriptor {
                let stream = number.unwrap();
                let since = self.required.descriptor.get(&stream).copied();
                assert!(time >= since.unwrap_or(0), "a descriptor of {time}");
            }
            if let Some((time, asid)) = used.translation {
                let since = self.required.translation.get(&(asid.get(), page)).copied();
                assert!(time >= since.unwrap_or(0), "a translation of {time}");
            }
            if let Some(time) = used.atc {
                let since = self.required.atc.get(&(number.unwrap(), page)).copied();
                assert!(time >= since.unwrap_or(0), "in the device since {time}");
            }
        }
    }
}

fn runs(seeds: std::ops::Range<u64>, limits: InvalidationLimits, failures: Failures) -> usize {
    let (mut uses, mut syncs) = (0, 0);
    for seed in seeds {
        let mut run = Run::new(seed, limits, failures);
        for _ in 0..600 {
            run.step();
        }
        uses += run.uses;
        syncs += run.syncs;
    }
    assert!(uses > 10000, "{uses}");
    syncs
}

#[test]
fn nothing_stale_is_used_after_a_sync() {
    let syncs = runs(0..60, limits(), Failures::default());
    assert!(syncs > 1000, "{syncs}");
}

#[test]
fn nothing_stale_is_used_on_a_host_that_has_less_than_the_guest_was_told() {
    let lesser = InvalidationLimits::NONE;
    let syncs = runs(100..130, lesser.with_ats(true), Failures::default())
        + runs(130..160, lesser.with_asid16(true), Failures::default());
    assert!(syncs > 1000, "{syncs}");
}

const REFUSALS: Failures = Failures {
    invalidate: 15,
    put: 20,
    block: 10,
    name: 10,
    enter: 10,
    leave: 10,
};

#[test]
fn nothing_stale_is_used_on_a_host_that_refuses() {
    let failures = REFUSALS;
    let syncs = runs(200..260, limits(), failures);
    assert!(syncs > 200, "{syncs}");
    let failures = Failures {
        block: 70,
        ..failures
    };
    let syncs = runs(300..340, limits(), failures);
    assert!(syncs > 100, "{syncs}");
    let failures = Failures {
        invalidate: 30,
        ..Failures::default()
    };
    let syncs = runs(400..500, limits(), failures);
    assert!(syncs > 100, "{syncs}");
}

#[test]
fn whatever_a_guest_writes_is_bounded_and_harms_nobody() {
    let mut random = Random::new(1);
    for seed in 0..200 {
        let mut steps = 0..200;
        writes_anything(&mut random, seed, || steps.next().is_none());
    }
}

/// A guest that writes anything anywhere, until it is over.
fn writes_anything(random: &mut Random, seed: u64, mut is_over: impl FnMut() -> bool) {
    let mut guest = Guest::with(offered(), limits(), seed);
    let _ports = [0, 1, 2].map(|number| guest.plug(number, Some(number)));
    while !is_over() {
        match random.below(8) {
            0 => guest.cr0(Cr0::from_bits(random.next() as u32)),
            1 => {
                let address = TABLE + 8 * random.below(128);
                guest.memory.write_words(address, &[random.next()]);
            }
            2 => {
                let base = StrtabBase::from_bits(random.next());
                let cfg = StrtabBaseCfg::from_bits(random.next() as u32);
                let _counts = guest.relay.set_stream_table(base, cfg);
            }
            3 => guest.prod = CmdqProd::from_bits(random.next() as u32),
            4 => {
                let _ended = guest.errors.write_gerrorn(random.next() as u32);
            }
            _ => {
                let first = random.next() & !0xff | random.below(0x50);
                let address = QUEUE + 16 * random.below(32);
                guest.memory.write_words(address, &[first, random.next()]);
            }
        }
        let reads = guest.memory.reads();
        let most = random.below(50) as usize;
        let ran = guest.run(most);
        assert!(guest.memory.reads() - reads <= 2 * most + 8);
        assert!(ran.signals.len() <= most.max(1));
        while guest.relay.take_event().is_some() {}
        assert!(guest.relay.take_reports().is_empty());
    }
}

/// For the fuzzer: what a guest writes that its input chooses is bounded, and harms nobody.
#[cfg(fuzzing)]
pub(crate) fn a_guest_writes_anything(is_over: impl FnMut() -> bool) {
    writes_anything(&mut Random::new(u64::MAX), 0, is_over);
}

/// For the fuzzer: nothing stale is used, on a host that refuses now and then, or never.
#[cfg(fuzzing)]
pub(crate) fn a_guest_is_obeyed(seed: u64, refuses: bool, mut is_over: impl FnMut() -> bool) {
    let failures = match refuses {
        false => Failures::default(),
        true => REFUSALS,
    };
    let mut run = Run::new(seed, limits(), failures);
    while !is_over() {
        run.step();
    }
}
