//! A host with a remapping unit that caches whatever it may, for as long as it may.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use iommufd::vtd::relay::{Host, PageRequests, Place, RequestedPage};
use iommufd::{PageResponse, Permissions};
use vtd_types::{InputAddress, Invalidation, PageRequestGroup, Pasid};

use crate::random::Random;
use crate::world::Memory;

/// What the host was asked for, and has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Enter(Dev),
    Leave(Dev),
    Invalidate(Dev, Option<Pasid>, Vec<Invalidation>),
    Put(Dev, Option<Pasid>, Place),
    Answer(u32, PageResponse),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dev(pub(crate) u32);

/// Addresses are of so many pages.
pub(crate) const PAGES: u64 = 8;

/// Where a device's access ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Refused,
    Bypass,
    Fault,
    /// A page, by a translation that is cached since this time.
    Page(u64, u64),
}

/// A table that translates, with what is cached of it, in the unit or in the device.
#[derive(Debug)]
struct Space {
    place: Place,
    cached: HashMap<u64, (u64, u64)>,
}

#[derive(Debug, Default)]
struct Plugged {
    /// What is not here is blocked.
    spaces: BTreeMap<Option<Pasid>, Space>,
}

/// Which calls fail: of 100, so many.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    pub(crate) invalidate: u64,
    pub(crate) put: u64,
    pub(crate) block: u64,
    pub(crate) enter: u64,
    pub(crate) leave: u64,
}

pub(crate) struct Unit {
    memory: Memory,
    devices: BTreeMap<Dev, Plugged>,
    /// How many bits PASIDs have, of each device.
    pub(crate) pasid_bits: u8,
    pub(crate) calls: Vec<Call>,
    pub(crate) failures: Failures,
    /// Overrides the failures: what to refuse.
    pub(crate) refuse: Option<fn(&Call) -> bool>,
    random: Random,
    answers: Rc<RefCell<Vec<(u32, PageResponse)>>>,
}

/// The host, of which the test has a handle, too.
#[derive(Clone)]
pub(crate) struct Model(pub(crate) Rc<RefCell<Unit>>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
pub(crate) struct Refusal;

impl Model {
    pub(crate) fn new(memory: &Memory, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Unit {
            memory: memory.clone(),
            devices: BTreeMap::new(),
            pasid_bits: 20,
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

    pub(crate) fn refuse(&self, refuse: fn(&Call) -> bool) {
        self.0.borrow_mut().refuse = Some(refuse);
    }

    pub(crate) fn accept(&self) {
        self.0.borrow_mut().refuse = None;
    }

    pub(crate) fn place(&self, device: Dev, pasid: Option<Pasid>) -> Place {
        let unit = self.0.borrow();
        let space = unit
            .devices
            .get(&device)
            .and_then(|plugged| plugged.spaces.get(&pasid));
        space.map_or(Place::Blocked, |space| space.place)
    }

    /// How many PASIDs of a device are not blocked.
    pub(crate) fn pasids(&self, device: Dev) -> usize {
        let unit = self.0.borrow();
        let spaces = unit.devices[&device].spaces.keys();
        spaces.filter(|pasid| pasid.is_some()).count()
    }

    /// Whether the device is behind the unit.
    pub(crate) fn has(&self, device: Dev) -> bool {
        self.0.borrow().devices.contains_key(&device)
    }

    /// A device accesses a page, and caches are filled.
    pub(crate) fn access(&self, device: Dev, pasid: Option<Pasid>, page: u64) -> Outcome {
        self.0.borrow_mut().access(device, pasid, page)
    }

    pub(crate) fn all_access(&self) {
        self.0.borrow_mut().all_access();
    }

    /// A device asks for a page.
    pub(crate) fn asks(&self, device: Dev, id: u32, group: u16, pasid: Option<Pasid>) -> Asked {
        Asked {
            device,
            id,
            group: PageRequestGroup::new(group),
            pages: vec![RequestedPage {
                pasid,
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

impl Unit {
    fn plugged(&mut self, device: Dev) -> &mut Plugged {
        let plugged = self.devices.get_mut(&device);
        plugged.unwrap_or_else(|| panic!("{device:?} is not behind the unit"))
    }

    fn access(&mut self, device: Dev, pasid: Option<Pasid>, page: u64) -> Outcome {
        let now = self.memory.tick();
        let space = self
            .devices
            .get_mut(&device)
            .and_then(|plugged| plugged.spaces.get_mut(&pasid));
        let Some(space) = space else {
            return Outcome::Refused;
        };
        let entry = match space.place {
            Place::Blocked => panic!("nothing is remembered of what is blocked"),
            Place::Bypass => return Outcome::Bypass,
            Place::Translated(entry) => entry,
        };
        let walked = self.memory.word(entry.table().get() + 8 * page);
        let cached = space.cached.get(&page).copied().or_else(|| {
            (walked != 0).then(|| {
                space.cached.insert(page, (now, walked));
                (now, walked)
            })
        });
        match cached {
            Some((time, to)) => Outcome::Page(to, time),
            None => Outcome::Fault,
        }
    }

    /// Whatever can be cached is.
    fn all_access(&mut self) {
        let spaces: Vec<_> = self
            .devices
            .iter()
            .flat_map(|(device, plugged)| plugged.spaces.keys().map(|pasid| (*device, *pasid)))
            .collect();
        for (device, pasid) in spaces {
            for page in 0..PAGES {
                self.access(device, pasid, page);
            }
        }
    }

    fn refuses(&mut self, call: &Call, of_100: u64) -> bool {
        match self.refuse {
            Some(refuse) => refuse(call),
            None => self.random.below(100) < of_100,
        }
    }
}

/// Whether an invalidation is about a page.
pub(crate) fn covers(invalidation: &Invalidation, page: u64) -> bool {
    let first = invalidation.address().get() >> 12;
    invalidation.is_all() || (page >= first && page - first < invalidation.npages())
}

impl Host for Model {
    type Device = Dev;
    type Requests = Asked;
    type Error = Refusal;

    fn pasid_bits(&self, _: &Dev) -> u8 {
        self.0.borrow().pasid_bits
    }

    fn enter(&mut self, device: &mut Dev) -> Result<(), Refusal> {
        let mut unit = self.0.borrow_mut();
        let call = Call::Enter(*device);
        let of_100 = unit.failures.enter;
        if unit.refuses(&call, of_100) {
            return Err(Refusal);
        }
        assert!(!unit.devices.contains_key(device));
        unit.devices.insert(*device, Plugged::default());
        unit.calls.push(call);
        Ok(())
    }

    fn leave(&mut self, device: &mut Dev) -> Result<(), Refusal> {
        let mut unit = self.0.borrow_mut();
        assert!(unit.plugged(*device).spaces.is_empty(), "not blocked");
        let call = Call::Leave(*device);
        let of_100 = unit.failures.leave;
        if unit.refuses(&call, of_100) {
            return Err(Refusal);
        }
        unit.devices.remove(device);
        unit.calls.push(call);
        Ok(())
    }

    fn put(
        &mut self,
        device: &mut Dev,
        pasid: Option<Pasid>,
        place: &Place,
    ) -> Result<(), Refusal> {
        let mut unit = self.0.borrow_mut();
        assert_ne!(pasid, Some(Pasid::ZERO));
        let bits = unit.pasid_bits;
        assert!(pasid.is_none_or(|pasid| pasid.get() < 1 << bits));
        unit.all_access();
        let call = Call::Put(*device, pasid, *place);
        let of_100 = match place {
            Place::Blocked => unit.failures.block,
            Place::Bypass | Place::Translated(_) => unit.failures.put,
        };
        if unit.refuses(&call, of_100) {
            return Err(Refusal);
        }
        let spaces = &mut unit.plugged(*device).spaces;
        spaces.remove(&pasid);
        if *place != Place::Blocked {
            let space = Space {
                place: *place,
                cached: HashMap::new(),
            };
            spaces.insert(pasid, space);
        }
        unit.calls.push(call);
        unit.all_access();
        Ok(())
    }

    fn invalidate(
        &mut self,
        device: &mut Dev,
        pasid: Option<Pasid>,
        invalidations: &[Invalidation],
    ) -> Result<(), Refusal> {
        let mut unit = self.0.borrow_mut();
        assert!(!invalidations.is_empty());
        // The devices are never at rest.
        unit.all_access();
        let call = Call::Invalidate(*device, pasid, invalidations.to_vec());
        let of_100 = unit.failures.invalidate;
        let refused = unit.refuses(&call, of_100);
        let done = match refused {
            true => unit.random.below(invalidations.len() as u64) as usize,
            false => invalidations.len(),
        };
        for invalidation in &invalidations[..done] {
            let space = unit.plugged(*device).spaces.get_mut(&pasid);
            let space = space.unwrap_or_else(|| panic!("{pasid:?} is blocked"));
            assert!(matches!(space.place, Place::Translated(_)));
            space.cached.retain(|page, _| !covers(invalidation, *page));
            unit.all_access();
        }
        if refused {
            return Err(Refusal);
        }
        unit.calls.push(call);
        Ok(())
    }

    fn is_of(&self, device: &Dev, requests: &Asked) -> bool {
        *device == requests.device
    }

    fn answer(&mut self, requests: Asked, response: PageResponse) -> Result<(), Refusal> {
        let mut unit = self.0.borrow_mut();
        let call = Call::Answer(requests.id, response);
        if unit.refuses(&call, 0) {
            return Err(Refusal);
        }
        requests.answer.set(response);
        unit.calls.push(call);
        Ok(())
    }
}

/// Page requests. Dropped, they are answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) device: Dev,
    pub(crate) id: u32,
    pub(crate) group: Option<PageRequestGroup>,
    pub(crate) pages: Vec<RequestedPage>,
    answer: Cell<PageResponse>,
    answers: Rc<RefCell<Vec<(u32, PageResponse)>>>,
}

impl PageRequests for Asked {
    fn group(&self) -> Option<PageRequestGroup> {
        self.group
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
