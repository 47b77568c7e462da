//! Random guests over random hosts: after a wait, nothing is used that the specification says must
//! be gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use iommufd::vtd::relay::{Place, Port, Stop};
use vtd_types::{
    ContextCacheScope, Descriptor, DescriptorWords, DomainId, FirstStageLevels, Invalidation,
    IotlbScope, Iqa, PasidCacheScope, PasidEntry, QueueOffset, Rtaddr, ScalableContextEntry,
    SourceId, TableMode,
};

use crate::guest::{
    Guest, PASID_BITS, QUEUE, ROOT, cc_inv, context, domain, entry, features, first_stage, iotlb,
    off, offered, on, page_table, pasid, pass_through, pc_inv, piotlb, piotlb_pages, scalable,
    source, translated, wait, with_directory,
};
use crate::model::{Dev, Failures, Outcome, PAGES, covers};
use crate::random::Random;

const DEVICES: u32 = 4;
const SLOTS: u32 = 6;
const DIRECTORIES: u64 = 3;
const TABLES: u64 = 3;
const DOMAINS: [u16; 3] = [1, 2, 5];
/// One of each piece of a table, and two of one. 0 is for requests without a PASID.
const PASIDS: [u32; 5] = [0, 1, 63, 64, 200];

/// What a device's context entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    None,
    Directory { index: u64, pasids: bool },
}

/// What an entry of a PASID table says.
type Meaning = Option<(Place, DomainId)>;

/// What was somewhere, from when on until when.
#[derive(Debug, Clone)]
struct History<T>(Vec<(u64, T)>);

impl<T: Copy + PartialEq> History<T> {
    fn note(&mut self, now: u64, value: T) {
        if self.0.last().is_none_or(|(_, last)| *last != value) {
            self.0.push((now, value));
        }
    }

    /// What was there, with when it began and when it ended.
    fn all(&self) -> impl Iterator<Item = (u64, u64, T)> + '_ {
        let ends = self.0.iter().skip(1).map(|(time, _)| *time);
        let ends = ends.chain([u64::MAX]);
        self.0
            .iter()
            .zip(ends)
            .map(|((start, value), end)| (*start, end, *value))
    }
}

/// From when on an entry must have been looked at: of this domain, or all.
type Forgotten = Vec<(u64, Option<DomainId>)>;

#[derive(Default)]
struct Required {
    contexts: HashMap<SourceId, u64>,
    entries: HashMap<(SourceId, u32), Forgotten>,
    translations: HashMap<(DomainId, u32, u64), u64>,
}

impl Required {
    /// The guest's descriptor, which was there at `time`, is complete.
    fn complete(&mut self, time: u64, descriptor: &Descriptor) {
        for number in 0..SLOTS {
            let source = source(number);
            if let Descriptor::ContextCache(scope) = *descriptor
                && match scope {
                    ContextCacheScope::Global | ContextCacheScope::Domain(_) => true,
                    ContextCacheScope::Device {
                        source: of,
                        functions,
                        ..
                    } => functions.matches(of, source),
                }
            {
                self.anew(source, time);
            }
            if let Descriptor::PasidCache(scope) = *descriptor {
                for number in PASIDS {
                    let of = match scope {
                        PasidCacheScope::Global => None,
                        PasidCacheScope::Domain(domain) => Some(domain),
                        PasidCacheScope::Pasid { domain, pasid: of } if of == pasid(number) => {
                            Some(domain)
                        }
                        PasidCacheScope::Pasid { .. } => continue,
                    };
                    let forgotten = self.entries.entry((source, number)).or_default();
                    forgotten.push((time, of));
                }
            }
        }
        let Ok(invalidation) = Invalidation::from_descriptor(descriptor) else {
            return;
        };
        let scope = descriptor.tables().unwrap();
        for domain in DOMAINS.map(DomainId::new) {
            for number in PASIDS {
                for page in 0..PAGES {
                    if scope.contains(source(0), domain, pasid(number))
                        && covers(&invalidation, page)
                    {
                        self.translations.insert((domain, number, page), time);
                    }
                }
            }
        }
    }

    /// All of a device's entries were looked at since.
    fn anew(&mut self, source: SourceId, time: u64) {
        self.contexts.insert(source, time);
        for number in PASIDS {
            self.entries.insert((source, number), vec![(time, None)]);
        }
    }
}

struct Run {
    guest: Guest,
    random: Random,
    ports: HashMap<u32, Port>,
    contexts: HashMap<SourceId, History<Context>>,
    entries: HashMap<(u64, u32), History<Meaning>>,
    required: Required,
    /// What the queue has consumed since the last wait, with when it was read.
    consumed: Vec<(u64, Descriptor)>,
    enabled: bool,
    waits: usize,
    uses: usize,
}

impl Run {
    fn new(seed: u64, failures: Failures) -> Self {
        let guest = Guest::with(offered(), seed);
        guest.model.0.borrow_mut().failures = failures;
        let none = History(vec![(0, Context::None)]);
        let slots = (0..SLOTS).map(|number| (source(number), none.clone()));
        let nothing = History(vec![(0, None)]);
        let entries = (0..DIRECTORIES)
            .flat_map(|index| PASIDS.map(|number| ((index, number), nothing.clone())));
        Self {
            contexts: slots.collect(),
            entries: entries.collect(),
            guest,
            random: Random::new(!seed),
            ports: HashMap::new(),
            required: Required::default(),
            consumed: Vec::new(),
            enabled: false,
            waits: 0,
            uses: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(18) {
            0..=3 => self.change_entry(),
            4 => self.change_context(),
            5 | 6 => self.change_page(),
            7..=11 => self.push(),
            12..=14 => self.run_queue(),
            15 => self.guest.model.all_access(),
            16 => match self.random.below(6) {
                0 => self.change_registers(),
                _ => self.move_a_device(),
            },
            _ => self.plug_or_unplug(),
        }
    }

    fn change_entry(&mut self) {
        let index = self.random.below(DIRECTORIES);
        let number = self.random.pick(&PASIDS);
        let domain = self.random.pick(&DOMAINS);
        let table = self.random.below(TABLES);
        let written = match self.random.below(12) {
            0 | 1 => PasidEntry::default(),
            2 => pass_through(domain),
            3 => first_stage(table, domain).with_sre(true),
            4 => first_stage(table, domain).with_fspm(FirstStageLevels::Five),
            5 => first_stage(table, domain).with_p(false),
            6 => first_stage(table, domain).with_pgsnp(true),
            7 => PasidEntry::from_words([(); 8].map(|()| self.random.next())),
            _ => first_stage(table, domain),
        };
        self.guest.write_entry(index, number, &written);
        let meaning = translated_by(&written).map(|place| (place, written.did()));
        let now = self.guest.memory.tick();
        let history = self.entries.get_mut(&(index, number)).unwrap();
        history.note(now, meaning);
    }

    fn change_context(&mut self) {
        let number = self.random.below(SLOTS.into()) as u32;
        let index = self.random.below(DIRECTORIES);
        let pasids = self.random.chance(80);
        let (written, meaning) = match self.random.below(5) {
            0 => (ScalableContextEntry::default(), Context::None),
            // RID_PRIV was not offered.
            1 => (with_directory(index).with_rid_priv(true), Context::None),
            _ => (
                with_directory(index).with_paside(pasids),
                Context::Directory { index, pasids },
            ),
        };
        self.guest.write_context(number, &written);
        let now = self.guest.memory.tick();
        let history = self.contexts.get_mut(&source(number)).unwrap();
        history.note(now, meaning);
    }

    fn change_page(&mut self) {
        let table = self.random.below(TABLES);
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
        let descriptor = self.descriptor();
        self.guest.push(descriptor);
    }

    fn descriptor(&mut self) -> DescriptorWords {
        let random = &mut self.random;
        let slot = random.below(SLOTS.into()) as u32;
        let number = random.pick(&PASIDS);
        let of = random.pick(&DOMAINS);
        let page = random.below(PAGES);
        let mask = random.below(4) as u8;
        let descriptor = match random.below(20) {
            0..=4 => pc_inv(of, number),
            5 => Descriptor::PasidCache(PasidCacheScope::Domain(domain(of))),
            6 => Descriptor::PasidCache(PasidCacheScope::Global),
            7 | 8 => cc_inv(slot),
            9 => Descriptor::ContextCache(ContextCacheScope::Global),
            10 => piotlb(of, number),
            11 | 12 => piotlb_pages(of, number, page, mask),
            13 => iotlb(IotlbScope::Domain(domain(of))),
            14 => iotlb(IotlbScope::Global),
            15 => return DescriptorWords::from_words([(); 4].map(|()| random.next())),
            _ => wait(),
        };
        descriptor.encode()
    }

    fn run_queue(&mut self) {
        self.guest.model.all_access();
        let before = self.guest.head.bytes();
        let reads = self.guest.memory.reads();
        let most = 1 + self.random.below(40) as usize;
        let ran = self.guest.run(most);
        // For each unit of work no more than an entry, with what leads there; and what was begun.
        let begun = 4 * (SLOTS as usize + 64);
        assert!(self.guest.memory.reads() - reads <= 4 * most + begun);

        let descriptors = features().descriptors(TableMode::Scalable);
        let mut completed = 0;
        let mut at = before;
        while at != self.guest.head.bytes() {
            let address = QUEUE + u64::from(at);
            let words: [u64; 4] = self.guest.memory.words(address);
            let descriptor = Descriptor::decode(words, &descriptors).unwrap();
            let time = self.guest.memory.last_read(address);
            if let Descriptor::Wait { .. } = descriptor {
                completed += 1;
                for (time, descriptor) in self.consumed.drain(..) {
                    self.required.complete(time, &descriptor);
                }
            } else {
                self.consumed.push((time, descriptor));
            }
            at = self.guest.after(at);
        }
        assert_eq!(completed, ran.signals.len());
        self.waits += completed;
        match ran.stop {
            Stop::Invalid(_) => {
                // At that very descriptor.
                let address = QUEUE + u64::from(at);
                let words: [u64; 4] = self.guest.memory.words(address);
                assert!(Descriptor::decode(words, &descriptors).is_err());
                assert_eq!(self.guest.run(most).stop, Stop::Idle, "before it is known");
                assert_eq!(self.guest.head.bytes(), at);
                self.guest.clear_error();
                // The guest puts something else there.
                let harmless = piotlb(0x7777, 0).encode().to_bytes();
                self.guest.memory.write(address, &harmless);
            }
            Stop::Unreadable | Stop::Offset(_) | Stop::Width => panic!("{:?}", ran.stop),
            Stop::Idle | Stop::More | Stop::NotFlushed(_) => {}
        }
        // With nothing stuck, and all of it complete, what is used now is what may be used.
        if completed != 0 {
            let stuck = |port| PASIDS.iter().any(|number| self.is_stuck(port, *number));
            assert!(!self.ports.values().any(stuck));
            self.check();
        }
    }

    fn is_stuck(&self, port: &Port, number: u32) -> bool {
        let name = (number != 0).then(|| pasid(number));
        self.guest.relay.place(port, name).is_none()
    }

    fn change_registers(&mut self) {
        let now = self.guest.memory.tick();
        let again = self.enabled && self.random.chance(50);
        self.enabled = again || !self.enabled;
        let set = if self.enabled { on() } else { off() };
        self.guest.gcmd(set.with_srtp(again));
        if again {
            // With the root table, all translations.
            for of in DOMAINS.map(domain) {
                for number in PASIDS {
                    let pages = (0..PAGES).map(|page| ((of, number, page), now));
                    self.required.translations.extend(pages);
                }
            }
        }
        if self.enabled {
            for number in 0..SLOTS {
                self.required.anew(source(number), now);
            }
        }
        self.check();
    }

    fn move_a_device(&mut self) {
        let device = self.random.below(DEVICES.into()) as u32;
        let number = match self.random.chance(20) {
            true => None,
            false => Some(source(self.random.below(SLOTS.into()) as u32)),
        };
        let Some(port) = self.ports.get(&device) else {
            return;
        };
        let now = self.guest.memory.tick();
        let was = self.guest.relay.source(port);
        let moved = self.guest.relay.assign(port, number, &self.guest.memory);
        let is = self.guest.relay.source(port);
        if moved.is_ok() {
            assert_eq!(is, number);
        }
        if is != was
            && let Some(is) = is
        {
            self.required.anew(is, now);
        }
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
                let number = self.random.below(u64::from(SLOTS) + 1) as u32;
                let number = (number < SLOTS).then(|| source(number));
                let memory = &self.guest.memory;
                match self.guest.relay.plug(Dev(device), number, memory) {
                    Ok(port) => {
                        entry.insert(port);
                        if let Some(number) = number {
                            self.required.anew(number, now);
                        }
                    }
                    Err(refused) => assert_eq!(refused.into_value(), Dev(device)),
                }
            }
        }
        self.check();
    }

    /// Every address space is where the guest's tables say, or said when they could last be looked
    /// at; and uses nothing that was cached before it had to go.
    fn check(&mut self) {
        let _reports = self.guest.relay.take_reports();
        let may_fail = {
            let failures = self.guest.model.0.borrow().failures;
            failures.put + failures.block + failures.invalidate != 0
        };
        for device in 0..DEVICES {
            for number in PASIDS {
                let Some(port) = self.ports.get(&device) else {
                    continue;
                };
                let source = self.guest.relay.source(port);
                let name = (number != 0).then(|| pasid(number));
                let place = self.guest.model.place(Dev(device), name);
                let Some(told) = self.guest.relay.place(port, name) else {
                    // The host does not block it: no wait completes.
                    assert!(may_fail);
                    continue;
                };
                assert_eq!(told, place);
                let allowed = self.allowed(source, number);
                let here = |(of, _): &&(Place, Meaning)| *of == place;
                let blocked = may_fail && place == Place::Blocked;
                assert!(
                    blocked || allowed.iter().any(|it| here(&it)),
                    "{place:?} of {source:?} {number}: {allowed:?}"
                );
                let domains: Vec<_> = allowed
                    .iter()
                    .filter(here)
                    .filter_map(|(_, meaning)| meaning.map(|(_, domain)| domain))
                    .collect();
                self.check_uses(device, number, place, &domains);
            }
        }
    }

    /// Where requests may go by now.
    fn allowed(&self, source: Option<SourceId>, number: u32) -> Vec<(Place, Meaning)> {
        if !self.enabled {
            return vec![(
                if number == 0 {
                    Place::Bypass
                } else {
                    Place::Blocked
                },
                None,
            )];
        }
        let Some(source) = source else {
            return vec![(Place::Blocked, None)];
        };
        let since = self.required.contexts.get(&source).copied().unwrap_or(0);
        let mut allowed = Vec::new();
        for (_, end, context) in self.contexts[&source].all() {
            if end <= since {
                continue;
            }
            match context {
                Context::Directory { index, pasids } if pasids || number == 0 => {
                    allowed.extend(self.entries_allowed(source, number, index));
                }
                _ => allowed.push((Place::Blocked, None)),
            }
        }
        allowed
    }

    fn entries_allowed(
        &self,
        source: SourceId,
        number: u32,
        directory: u64,
    ) -> Vec<(Place, Meaning)> {
        let nothing = Vec::new();
        let forgotten = self.required.entries.get(&(source, number));
        let forgotten = forgotten.unwrap_or(&nothing);
        let is_gone = |end: u64, meaning: Meaning| {
            forgotten.iter().any(|(time, of)| {
                let of_another = match (of, meaning) {
                    (Some(of), Some((_, domain))) => *of != domain,
                    // What is not there is of every domain.
                    _ => false,
                };
                end <= *time && !of_another
            })
        };
        self.entries[&(directory, number)]
            .all()
            .filter(|(_, end, meaning)| !is_gone(*end, *meaning))
            .map(|(_, _, meaning)| (meaning.map_or(Place::Blocked, |(place, _)| place), meaning))
            .collect()
    }

    fn check_uses(&mut self, device: u32, number: u32, place: Place, domains: &[DomainId]) {
        let name = (number != 0).then(|| pasid(number));
        for page in 0..PAGES {
            let Outcome::Page(_, time) = self.guest.model.access(Dev(device), name, page) else {
                continue;
            };
            self.uses += 1;
            // By one of the domains that it may have it is not stale.
            let fresh = |domain: &&DomainId| {
                let required = &self.required.translations;
                let since = required.get(&(**domain, number, page)).copied();
                time >= since.unwrap_or(0) && time >= self.first_seen(number, place, **domain)
            };
            assert!(
                domains.iter().any(|domain| fresh(&domain)),
                "a translation of {time} for {device} {number}"
            );
        }
    }

    /// When something could first be cached by that tag.
    fn first_seen(&self, number: u32, place: Place, domain: DomainId) -> u64 {
        let histories = (0..DIRECTORIES).map(|index| &self.entries[&(index, number)]);
        let seen = histories.flat_map(History::all);
        seen.filter(|(_, _, meaning)| *meaning == Some((place, domain)))
            .map(|(start, _, _)| start)
            .min()
            .unwrap()
    }
}

/// Where an entry puts requests, if it is valid: as the specification says, by the features of the
/// guest's unit.
fn translated_by(entry: &PasidEntry) -> Option<Place> {
    let [first, second, third, rest @ ..] = entry.words();
    let width = !((1 << 46) - 1);
    // SSEE, SSADE, 11:10; 22:16, PGSNP and memory types; ERE, NXE, SMEP, EAFE, 11:8.
    let reserved = first & (0xe20 | width) != 0
        || second & 0xffff_ffff_ff7f_0000 != 0
        || third & (0xfe2 | width) != 0
        || rest.iter().any(|word| *word != 0);
    if first & 1 == 0 || reserved {
        return None;
    }
    match first >> 6 & 7 {
        1 if third >> 2 & 3 < 2 => Some(translated(entry)),
        4 => Some(Place::Bypass),
        _ => None,
    }
}

fn runs(seeds: std::ops::Range<u64>, failures: Failures) -> usize {
    let (mut uses, mut waits) = (0, 0);
    for seed in seeds {
        let mut run = Run::new(seed, failures);
        for _ in 0..700 {
            run.step();
        }
        uses += run.uses;
        waits += run.waits;
    }
    assert!(uses > 10_000, "{uses}");
    waits
}

#[test]
fn nothing_stale_is_used_after_a_wait() {
    let waits = runs(0..60, Failures::default());
    assert!(waits > 1000, "{waits}");
}

const REFUSALS: Failures = Failures {
    invalidate: 15,
    put: 20,
    block: 10,
    enter: 10,
    leave: 10,
};

#[test]
fn nothing_stale_is_used_on_a_host_that_refuses() {
    let failures = REFUSALS;
    let waits = runs(200..240, failures);
    assert!(waits > 200, "{waits}");
    let failures = Failures {
        block: 70,
        ..failures
    };
    let waits = runs(300..340, failures);
    assert!(waits > 100, "{waits}");
    let failures = Failures {
        invalidate: 40,
        ..Failures::default()
    };
    let waits = runs(400..440, failures);
    assert!(waits > 100, "{waits}");
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
    let mut guest = Guest::with(offered(), seed);
    let _ports = [0, 1, 2].map(|number| guest.plug(number, Some(number)));
    let mut rtaddr = scalable();
    while !is_over() {
        match random.below(9) {
            0 => {
                let gcmd = on().with_te(random.chance(80)).with_srtp(random.chance(50));
                guest.relay.write_gcmd(gcmd, rtaddr, &guest.memory);
            }
            1 => {
                let address = random.pick(&[ROOT, context(0), entry(0, 0), page_table(0)]);
                let address = address + 8 * random.below(512);
                guest
                    .memory
                    .write_words(address, &[random.next() & random.next()]);
            }
            2 => {
                let whole = Rtaddr::from_bits(random.next());
                rtaddr = random.pick(&[scalable(), scalable(), Rtaddr::from_bits(ROOT), whole]);
            }
            3 => {
                let anything = QueueOffset::from_bits(random.next());
                let likely = QueueOffset::from_bits(random.below(128) << 5);
                guest.tail = random.pick(&[anything, likely, likely]);
            }
            4 => guest.status = guest.status.after_write(random.next() as u32),
            5 => {
                let width = random.below(2) << 11;
                guest.iqa = Iqa::from_bits(QUEUE | width | random.below(3));
            }
            _ => {
                let first = random.next() & !0xe0f | random.below(0x10);
                let address = QUEUE + 16 * random.below(256);
                guest
                    .memory
                    .write_words(address, &[first, random.next(), 0, 0]);
            }
        }
        let reads = guest.memory.reads();
        let most = random.below(50) as usize;
        let ran = guest.run(most);
        let all = 1 << (PASID_BITS - 6);
        assert!(guest.memory.reads() - reads <= 4 * most + 3 * 4 * (1 + all));
        assert!(ran.signals.len() <= most.max(1));
        while guest.relay.take_fault().is_some() {}
        let _reports = guest.relay.take_reports();
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
    let mut run = Run::new(seed, failures);
    while !is_over() {
        run.step();
    }
}
