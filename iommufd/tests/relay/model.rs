//! A host with an SMMU that caches whatever it may, for as long as it may.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use iommufd::smmuv3::relay::{Host, PageRequests, Place, RequestName, RequestedPage};
use iommufd::{PageResponse, Permissions};
use smmuv3_types::{
    Asid, Command, InputAddress, Invalidation, InvalidationLimits, NestedConfig, StreamId,
};

use crate::random::Random;
use crate::world::Memory;

/// What the host was asked for, and has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Enter(Dev),
    Leave(Dev),
    Invalidate(Vec<Invalidation>),
    Name(Dev, Option<StreamId>),
    Put(Dev, Place),
    Answer(u32, PageResponse),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dev(pub(crate) u32);

/// Addresses are of so many pages.
pub(crate) const PAGES: u64 = 8;

/// Something cached, with the time when it was.
type Cached<T> = (u64, T);

/// Where a device's access ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Aborted,
    Bypass,
    Fault,
    Page(u64),
}

/// What an access has used of caches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) outcome: Outcome,
    pub(crate) descriptor: Option<u64>,
    pub(crate) translation: Option<Cached<Asid>>,
    pub(crate) atc: Option<u64>,
}

#[derive(Debug)]
struct Plugged {
    name: Option<StreamId>,
    place: Place,
    descriptor: Option<Cached<[u64; 2]>>,
    atc: HashMap<u64, Cached<u64>>,
}

impl Default for Plugged {
    fn default() -> Self {
        Self {
            name: None,
            place: Place::Blocked,
            descriptor: None,
            atc: HashMap::new(),
        }
    }
}

/// Which calls fail: of 100, so many.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    pub(crate) invalidate: u64,
    pub(crate) put: u64,
    pub(crate) block: u64,
    pub(crate) name: u64,
    pub(crate) enter: u64,
    pub(crate) leave: u64,
}

pub(crate) struct Smmu {
    memory: Memory,
    limits: InvalidationLimits,
    devices: BTreeMap<Dev, Plugged>,
    /// The devices that cache nothing, and do not answer `CMD_ATC_INV`.
    pub(crate) without_ats: BTreeSet<Dev>,
    tlb: HashMap<(u16, u64), Cached<u64>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) failures: Failures,
    /// Overrides the failures: what to refuse.
    pub(crate) refuse: Option<fn(&Call) -> bool>,
    random: Random,
    answers: Rc<RefCell<Vec<(u32, PageResponse)>>>,
}

/// The host, of which the test has a handle, too.
#[derive(Clone)]
pub(crate) struct Model(pub(crate) Rc<RefCell<Smmu>>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
pub(crate) struct Refusal;

impl Model {
    pub(crate) fn new(memory: &Memory, limits: InvalidationLimits, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Smmu {
            memory: memory.clone(),
            limits,
            devices: BTreeMap::new(),
            without_ats: BTreeSet::new(),
            tlb: HashMap::new(),
            calls: Vec::new(),
            failures: Failures::default(),
            refuse: None,
            random: Random::new(seed),
            answers: Rc::default(),
        })))
    }

    /// What was done since this was asked last.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }

    /// The invalidations among them, all batches in one.
    pub(crate) fn invalidations(&self) -> Vec<Command> {
        let commands = |call| match call {
            Call::Invalidate(batch) => batch,
            _ => Vec::new(),
        };
        let batches = self.calls().into_iter().flat_map(commands);
        batches.map(|invalidation| invalidation.command()).collect()
    }

    pub(crate) fn refuse(&self, refuse: fn(&Call) -> bool) {
        self.0.borrow_mut().refuse = Some(refuse);
    }

    pub(crate) fn accept(&self) {
        self.0.borrow_mut().refuse = None;
    }

    pub(crate) fn place(&self, device: Dev) -> Place {
        let smmu = self.0.borrow();
        let plugged = smmu.devices.get(&device);
        plugged.map_or(Place::Blocked, |plugged| plugged.place)
    }

    pub(crate) fn name(&self, device: Dev) -> Option<StreamId> {
        self.0.borrow().devices.get(&device)?.name
    }

    /// Whether the device is behind the SMMU.
    pub(crate) fn has(&self, device: Dev) -> bool {
        self.0.borrow().devices.contains_key(&device)
    }

    /// A device accesses a page, and caches are filled.
    pub(crate) fn access(&self, device: Dev, page: u64) -> Used {
        self.0.borrow_mut().access(device, page)
    }

    pub(crate) fn all_access(&self) {
        self.0.borrow_mut().all_access();
    }

    /// A device asks for a page.
    pub(crate) fn asks(&self, device: Dev, id: u32, name: RequestName) -> Asked {
        Asked {
            device,
            id,
            name: Some(name),
            pages: vec![RequestedPage {
                substream: None,
                address: InputAddress::new(0x5000),
                permissions: Permissions::WRITE,
            }],
            answer: Cell::new(PageResponse::Invalid),
            answers: Rc::clone(&self.0.borrow().answers),
        }
    }

    pub(crate) fn answers(&self) -> Vec<(u32, PageResponse)> {
        self.0.borrow().answers.take()
    }
}

impl Smmu {
    fn plugged(&mut self, device: Dev) -> &mut Plugged {
        let plugged = self.devices.get_mut(&device);
        plugged.unwrap_or_else(|| panic!("{device:?} is not behind the SMMU"))
    }

    fn access(&mut self, device: Dev, page: u64) -> Used {
        let now = self.memory.tick();
        let mut used = Used {
            outcome: Outcome::Aborted,
            descriptor: None,
            translation: None,
            atc: None,
        };
        let Some(plugged) = self.devices.get_mut(&device) else {
            return used;
        };
        let ste = match plugged.place {
            Place::Blocked => return used,
            Place::Bypass => {
                used.outcome = Outcome::Bypass;
                return used;
            }
            Place::Translated(ste) => ste,
        };
        let NestedConfig::Translate(stage1) = ste.config() else {
            panic!("translated by {ste:?}");
        };
        if let Some((time, to)) = plugged.atc.get(&page) {
            used.outcome = Outcome::Page(*to);
            used.atc = Some(*time);
            return used;
        }
        let pointer = stage1.table().pointer().address().get();
        let (time, [first, table]) = *plugged.descriptor.get_or_insert_with(|| {
            let word = |index: u64| self.memory.word(pointer + 8 * index);
            (now, [word(0), word(1)])
        });
        used.descriptor = Some(time);
        if first >> 31 & 1 == 0 {
            return used;
        }
        let asid = (first >> 48) as u16;
        let walked = self.memory.word(table + 8 * page);
        let entry = self.tlb.get(&(asid, page)).copied().or_else(|| {
            (walked != 0).then(|| {
                self.tlb.insert((asid, page), (now, walked));
                (now, walked)
            })
        });
        let Some((time, to)) = entry else {
            used.outcome = Outcome::Fault;
            return used;
        };
        used.translation = Some((time, Asid::new(asid)));
        used.outcome = Outcome::Page(to);
        let has_ats = !self.without_ats.contains(&device);
        if stage1.has_full_ats() && self.limits.ats() && has_ats {
            plugged.atc.insert(page, (now, to));
        }
        used
    }

    /// Whatever can be cached is.
    fn all_access(&mut self) {
        let devices: Vec<_> = self.devices.keys().copied().collect();
        for device in devices {
            for page in 0..PAGES {
                self.access(device, page);
            }
        }
    }

    fn of(&mut self, stream: StreamId) -> (Dev, &mut Plugged) {
        let named = |(_, plugged): &(&Dev, &mut Plugged)| plugged.name == Some(stream);
        let found = self.devices.iter_mut().find(named);
        let (device, plugged) = found.unwrap_or_else(|| panic!("no device has stream {stream}"));
        (*device, plugged)
    }

    fn carry_out(&mut self, invalidation: &Invalidation) {
        assert!(self.limits.permit(invalidation), "{invalidation:?}");
        match invalidation.command() {
            Command::CfgiCd { stream, .. } | Command::CfgiCdAll { stream } => {
                self.of(stream).1.descriptor = None;
            }
            Command::TlbiNhAll { .. } | Command::TlbiNsnhAll => self.tlb.clear(),
            Command::TlbiNhAsid { asid, .. } => self.tlb.retain(|(of, _), _| *of != asid.get()),
            Command::TlbiNhVa {
                asid,
                address,
                range,
                ..
            } => {
                let bytes = range.map_or(4096, |range| range.bytes());
                self.tlb
                    .retain(|(of, page), _| *of != asid.get() || !covers(address, bytes, *page));
            }
            Command::TlbiNhVaa { address, range, .. } => {
                let bytes = range.map_or(4096, |range| range.bytes());
                self.tlb
                    .retain(|(_, page), _| !covers(address, bytes, *page));
            }
            Command::AtcInv {
                stream,
                address,
                span,
                ..
            } => {
                let (device, plugged) = self.of(stream);
                let Place::Translated(ste) = plugged.place else {
                    panic!("ATC_INV for {plugged:?}");
                };
                let NestedConfig::Translate(stage1) = ste.config() else {
                    panic!("translated by {ste:?}");
                };
                assert!(stage1.has_full_ats(), "the device would not answer");
                plugged
                    .atc
                    .retain(|page, _| !spans(address, span.size(), *page));
                assert!(!self.without_ats.contains(&device), "it never answers");
            }
            other => panic!("{other:?} was forwarded"),
        }
    }

    fn refuses(&mut self, call: &Call, of_100: u64) -> bool {
        match self.refuse {
            Some(refuse) => refuse(call),
            None => self.random.below(100) < of_100,
        }
    }
}

pub(crate) fn covers(address: InputAddress, bytes: u64, page: u64) -> bool {
    let page = page << 12;
    let end = address.get().saturating_add(bytes);
    page < end && address.get() < page + 4096
}

pub(crate) fn spans(address: InputAddress, size: u8, page: u64) -> bool {
    let shift = 12 + u32::from(size);
    shift >= 64 || address.get() >> shift == page << 12 >> shift
}

impl Host for Model {
    type Device = Dev;
    type Requests = Asked;
    type Error = Refusal;

    fn limits(&self) -> InvalidationLimits {
        self.0.borrow().limits
    }

    fn has_ats(&self, device: &Dev) -> bool {
        !self.0.borrow().without_ats.contains(device)
    }

    fn enter(&mut self, device: &mut Dev) -> Result<(), Refusal> {
        let mut smmu = self.0.borrow_mut();
        let call = Call::Enter(*device);
        let of_100 = smmu.failures.enter;
        if smmu.refuses(&call, of_100) {
            return Err(Refusal);
        }
        // One that could not leave comes again.
        let plugged = smmu.devices.entry(*device).or_default();
        assert_eq!((plugged.place, plugged.name), (Place::Blocked, None));
        smmu.calls.push(call);
        Ok(())
    }

    fn leave(&mut self, device: &mut Dev) -> Result<(), Refusal> {
        let mut smmu = self.0.borrow_mut();
        let plugged = smmu.plugged(*device);
        assert_eq!((plugged.place, plugged.name), (Place::Blocked, None));
        let call = Call::Leave(*device);
        let of_100 = smmu.failures.leave;
        if smmu.refuses(&call, of_100) {
            return Err(Refusal);
        }
        smmu.devices.remove(device);
        smmu.calls.push(call);
        Ok(())
    }

    fn invalidate(&mut self, commands: &[Invalidation]) -> Result<(), Refusal> {
        let mut smmu = self.0.borrow_mut();
        assert!(!commands.is_empty());
        // The devices are never at rest.
        smmu.all_access();
        let call = Call::Invalidate(commands.to_vec());
        let of_100 = smmu.failures.invalidate;
        let refused = smmu.refuses(&call, of_100);
        let done = match refused {
            true => smmu.random.below(commands.len() as u64) as usize,
            false => commands.len(),
        };
        for command in &commands[..done] {
            smmu.carry_out(command);
            smmu.all_access();
        }
        if refused {
            return Err(Refusal);
        }
        smmu.calls.push(call);
        Ok(())
    }

    fn name(&mut self, device: &mut Dev, stream: Option<StreamId>) -> Result<(), Refusal> {
        let mut smmu = self.0.borrow_mut();
        let call = Call::Name(*device, stream);
        let of_100 = smmu.failures.name;
        if smmu.refuses(&call, of_100) {
            return Err(Refusal);
        }
        let taken = smmu.devices.values().any(|other| other.name == stream);
        assert!(stream.is_none() || !taken, "{stream:?} is another's");
        let plugged = smmu.plugged(*device);
        assert!(!matches!(plugged.place, Place::Translated(_)));
        plugged.name = stream;
        smmu.calls.push(call);
        Ok(())
    }

    fn put(&mut self, device: &mut Dev, place: &Place) -> Result<(), Refusal> {
        let mut smmu = self.0.borrow_mut();
        smmu.all_access();
        let call = Call::Put(*device, *place);
        let of_100 = match place {
            Place::Blocked => smmu.failures.block,
            Place::Bypass | Place::Translated(_) => smmu.failures.put,
        };
        if smmu.refuses(&call, of_100) {
            return Err(Refusal);
        }
        let plugged = smmu.plugged(*device);
        if let Place::Translated(_) = place {
            assert!(plugged.name.is_some(), "translated without a number");
        }
        // An entry that does not change is not written, and nothing is forgotten.
        if plugged.place != *place {
            plugged.place = *place;
            plugged.descriptor = None;
            plugged.atc.clear();
        }
        smmu.calls.push(call);
        smmu.all_access();
        Ok(())
    }

    fn is_of(&self, device: &Dev, requests: &Asked) -> bool {
        *device == requests.device
    }

    fn answer(&mut self, requests: Asked, response: PageResponse) -> Result<(), Refusal> {
        let mut smmu = self.0.borrow_mut();
        let call = Call::Answer(requests.id, response);
        if smmu.refuses(&call, 0) {
            return Err(Refusal);
        }
        requests.answer.set(response);
        smmu.calls.push(call);
        Ok(())
    }
}

/// Page requests. Dropped, they are answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) device: Dev,
    pub(crate) id: u32,
    pub(crate) name: Option<RequestName>,
    pub(crate) pages: Vec<RequestedPage>,
    answer: Cell<PageResponse>,
    answers: Rc<RefCell<Vec<(u32, PageResponse)>>>,
}

impl PageRequests for Asked {
    fn name(&self) -> Option<RequestName> {
        self.name
    }

    fn pages(&self) -> impl Iterator<Item = RequestedPage> {
        self.pages.iter().copied()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let answer = (self.id, self.answer.get());
        self.answers.borrow_mut().push(answer);
    }
}
