//! What the hardware remembers of a guest's tables, and forgets when the guest says so.
//!
//! That a change is not seen before it is invalidated is no rule of the architecture, but what this SMMU was seen to do:
//! QEMU keeps every translation that it has used, and every context descriptor. Only so do these tests show that it is
//! the invalidation that makes the difference.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use examples::guest::{AddressSpace, Memory, PAGE};
use iommufd::smmuv3::{Invalidation, StaleAsids, StreamId};
use iommufd::{Access, Error, Iova};
use rustix::io::Errno;
use smmuv3_types::{Asid, Granule, InputAddress, Ipa, Level, TlbiRange};
use tests::edu::pair;
use tests::refused;
use tests::smmu::{Guest, STREAM, VA, further, translate};

const OWN: Asid = Asid::new(1);
const OTHER: Asid = Asid::new(2);

/// A page that the guest moves to and fro, behind the back of the hardware.
struct Moving<'a> {
    guest: &'a Guest,
    space: &'a AddressSpace<'a>,
    pages: [Ipa; 2],
}

impl<'a> Moving<'a> {
    fn new(guest: &'a Guest, space: &'a AddressSpace<'a>) -> Self {
        let pages @ [first, _] = guest.pages();
        space.map(VA, first).unwrap();
        Self {
            guest,
            space,
            pages,
        }
    }

    /// Has the hardware learn where the page is, and moves it elsewhere: says where it was and is.
    #[track_caller]
    fn moved(&self) -> (Ipa, Ipa) {
        let [one, other] = self.pages;
        let old = self.seen().unwrap();
        let new = if old == one { other } else { one };
        self.space.map(VA, new).unwrap();
        assert_eq!(self.seen(), Some(old), "nothing was invalidated");
        (old, new)
    }

    /// Asserts that a command about the page is carried out that has this `place` in a batch, which takes so many calls.
    #[track_caller]
    fn is_seen_after(
        &self,
        here: Invalidation,
        mut batch: Vec<Invalidation>,
        place: usize,
        calls: usize,
    ) {
        let (_, new) = self.moved();
        batch[place] = here;
        let recorder = &self.guest.recorder;
        recorder.clear();
        self.guest.invalidate(&batch);
        assert_eq!(recorder.calls(), vec!["IOMMU_HWPT_INVALIDATE"; calls]);
        assert_eq!(self.seen(), Some(new), "command {place}");
    }

    /// Where the hardware finds the page.
    #[track_caller]
    fn seen(&self) -> Option<Ipa> {
        self.guest.lands(VA, &self.pages)
    }
}

/// A range of so many pages of 4 KiB, all of level 3.
fn pages(count: u8) -> TlbiRange {
    TlbiRange::new(Granule::Kib4, Some(Level::Level3), count - 1, 0).unwrap()
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_has_changed_is_seen_when_any_command_that_covers_it_was_passed_on() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let moving = Moving::new(&guest, &space);
    let _attachment = guest.enter(&space);
    let limits = guest.limits();
    let before = InputAddress::new(VA.get() - PAGE as u64);
    for command in [
        Invalidation::tlbi_nh_va(OWN, VA, true, None, limits).unwrap(),
        Invalidation::tlbi_nh_va(OWN, VA, false, None, limits).unwrap(),
        Invalidation::tlbi_nh_va(OWN, VA, true, Some(pages(1)), limits).unwrap(),
        Invalidation::tlbi_nh_va(OWN, before, true, Some(pages(2)), limits).unwrap(),
        Invalidation::tlbi_nh_vaa(VA, true, None, limits).unwrap(),
        Invalidation::tlbi_nh_vaa(before, false, Some(pages(2)), limits).unwrap(),
        Invalidation::tlbi_nh_asid(OWN, limits).unwrap(),
        Invalidation::tlbi_nh_all(),
        Invalidation::tlbi_nsnh_all(),
    ] {
        let (_, new) = moving.moved();
        guest.invalidate(&[command]);
        assert_eq!(moving.seen(), Some(new), "{command:?}");
    }
    guest.told_nothing();
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn commands_about_something_else_leave_it_unseen() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let moving = Moving::new(&guest, &space);
    let _attachment = guest.enter(&space);
    let limits = guest.limits();
    let next = further(VA, PAGE as u64);
    let (old, new) = moving.moved();
    for command in [
        Invalidation::tlbi_nh_asid(OTHER, limits).unwrap(),
        Invalidation::tlbi_nh_va(OTHER, VA, true, None, limits).unwrap(),
        Invalidation::tlbi_nh_va(OWN, next, true, None, limits).unwrap(),
        Invalidation::tlbi_nh_va(OWN, next, true, Some(pages(2)), limits).unwrap(),
        Invalidation::tlbi_nh_va(OTHER, VA, true, Some(pages(2)), limits).unwrap(),
        Invalidation::tlbi_nh_vaa(next, true, None, limits).unwrap(),
        Invalidation::cfgi_cd_all(STREAM),
    ] {
        guest.invalidate(&[command]);
        assert_eq!(moving.seen(), Some(old), "{command:?}");
    }
    guest.invalidate(&[Invalidation::tlbi_nh_asid(OWN, limits).unwrap()]);
    assert_eq!(moving.seen(), Some(new));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_range_ends_where_it_says() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let (old, new): ([Ipa; 5], [Ipa; 5]) = (guest.pages(), guest.pages());
    let at: [InputAddress; 5] = std::array::from_fn(|n| further(VA, (n * PAGE) as u64));
    for (at, page) in at.iter().zip(old) {
        space.map(*at, page).unwrap();
    }
    let _attachment = guest.enter(&space);
    let seen = || -> Vec<bool> {
        let page = |n: usize| guest.lands(at[n], &[old[n], new[n]]).unwrap();
        (0..5).map(|n| page(n) == new[n]).collect()
    };
    assert_eq!(seen(), [false; 5]);
    for (at, page) in at.iter().zip(new) {
        space.map(*at, page).unwrap();
    }
    assert_eq!(seen(), [false; 5]);
    let limits = guest.limits();
    let command = Invalidation::tlbi_nh_va(OWN, at[1], true, Some(pages(3)), limits);
    guest.invalidate(&[command.unwrap()]);
    assert_eq!(seen(), [false, true, true, true, false]);
    // (1 + 1) << 1 pages, of any level.
    let range = TlbiRange::new(Granule::Kib4, None, 1, 1);
    guest.invalidate(&[Invalidation::tlbi_nh_vaa(at[1], true, range, limits).unwrap()]);
    assert_eq!(seen(), [false, true, true, true, true]);
}

/// The table behind the descriptor has another ASID each time: nothing but the descriptor is stale.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_context_descriptor_is_read_again_when_its_stream_is_invalidated() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let limits = guest.limits();
    let first = guest.page();
    space.map(VA, first).unwrap();
    let _attachment = guest.enter(&space);
    let mut old = first;
    assert_eq!(guest.lands(VA, &[first]), Some(first));
    for (asid, command) in [
        (
            2,
            Invalidation::cfgi_cd(STREAM, None, true, limits).unwrap(),
        ),
        (
            3,
            Invalidation::cfgi_cd(STREAM, None, false, limits).unwrap(),
        ),
        (4, Invalidation::cfgi_cd_all(STREAM)),
    ] {
        let next = guest.space(asid);
        let new = guest.page();
        next.map(VA, new).unwrap();
        let context = next.context(Asid::new(asid)).unwrap();
        let at = space.descriptor();
        guest.memory.write(at, &context.to_bytes()).unwrap();
        assert_eq!(guest.lands(VA, &[old, new]), Some(old));
        guest.invalidate(&[command]);
        assert_eq!(guest.lands(VA, &[old, new]), Some(new), "{command:?}");
        old = new;
    }
}

/// As a guest does it: one table for another under the same ASID, in one batch.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn configuration_and_translations_are_invalidated_in_one_batch_in_their_order() {
    let guest = Guest::new();
    let (space, next) = (guest.space(OWN.get()), guest.space(OWN.get()));
    let pages @ [old, new] = guest.pages();
    space.map(VA, old).unwrap();
    next.map(VA, new).unwrap();
    let _attachment = guest.enter(&space);
    assert_eq!(guest.lands(VA, &pages), Some(old));
    let context = next.context(OWN).unwrap();
    let at = space.descriptor();
    guest.memory.write(at, &context.to_bytes()).unwrap();
    let asid = Invalidation::tlbi_nh_asid(OWN, guest.limits()).unwrap();
    guest.recorder.clear();
    guest.invalidate(&[Invalidation::cfgi_cd_all(STREAM), asid]);
    assert_eq!(guest.recorder.calls(), ["IOMMU_HWPT_INVALIDATE"]);
    assert_eq!(guest.lands(VA, &pages), Some(new));
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_batch_of_thousands_is_carried_out_to_its_last_command() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let moving = Moving::new(&guest, &space);
    let _attachment = guest.enter(&space);
    let limits = guest.limits();
    let elsewhere = |n: u64| {
        let at = further(VA, (1 + n) * PAGE as u64);
        Invalidation::tlbi_nh_va(OWN, at, true, None, limits).unwrap()
    };
    let here = Invalidation::tlbi_nh_va(OWN, VA, true, None, limits).unwrap();
    for place in [0, 62, 63, 4095] {
        let batch = (0..4096).map(elsewhere).collect();
        moving.is_seen_after(here, batch, place, 1);
    }
}

/// The driver has no room for very many, and the kernel warns if it is asked for that much.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn more_commands_than_the_driver_has_room_for_go_in_several_calls() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let moving = Moving::new(&guest, &space);
    let _attachment = guest.enter(&space);
    let limits = guest.limits();
    let here = Invalidation::tlbi_nh_va(OWN, VA, true, None, limits).unwrap();
    let nobodys = Invalidation::tlbi_nh_va(OWN, further(VA, 8 * PAGE as u64), true, None, limits);
    for place in [4095, 4096, 300_000] {
        moving.is_seen_after(here, vec![nobodys.unwrap(); 300_001], place, 74);
    }
    let mut batch = vec![here; 8193];
    batch[4100] = Invalidation::cfgi_cd_all(StreamId::new(STREAM.get() + 1));
    let refusal = guest.smmu.invalidate(&batch).unwrap_err();
    let Error::InvalidationRefused { done, refused, .. } = refusal else {
        panic!("{refusal}");
    };
    assert_eq!((done, refused), (4096, 4100));
}

/// The driver looks at each command, and issues them in batches of 63. The count that it answers is of those that it has
/// looked at. So what is told as done is only what was issued in any case.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn of_a_batch_with_a_refused_command_no_more_is_told_done_than_was() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let moving = Moving::new(&guest, &space);
    let _attachment = guest.enter(&space);
    let limits = guest.limits();
    let here = Invalidation::tlbi_nh_va(OWN, VA, true, None, limits).unwrap();
    let stranger = Invalidation::cfgi_cd_all(StreamId::new(STREAM.get() + 1));

    let (old, new) = moving.moved();
    let refusal = guest.smmu.invalidate(&[here, stranger]).unwrap_err();
    assert!(
        matches!(
            refusal,
            Error::InvalidationRefused {
                done: 0,
                refused: 1,
                ..
            }
        ),
        "{refusal}"
    );
    refused(Err::<(), _>(refusal), Errno::IO);
    assert_eq!(moving.seen(), Some(old), "it was looked at, and not issued");

    let mut batch = vec![here; 63];
    batch.extend([here, stranger, here]);
    let refusal = guest.smmu.invalidate(&batch).unwrap_err();
    assert!(
        matches!(
            refusal,
            Error::InvalidationRefused {
                done: 0,
                refused: 64,
                ..
            }
        ),
        "{refusal}"
    );
    assert_eq!(moving.seen(), Some(new), "the first 63 were issued");
}

/// Stage 2 is the kernel's: what it changes it invalidates itself, also what was derived from it for stage 1.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_the_vmm_changes_in_stage_2_the_guest_need_not_know() {
    let guest = Guest::new();
    let space = guest.space(OWN.get());
    let at = Ipa::new(0x5000_0000).unwrap();
    let iova = Iova::new(at.get());
    space.map(VA, at).unwrap();
    let _attachment = guest.enter(&space);
    let memories = [(); 2].map(|()| Memory::new(at, 1).unwrap());
    for memory in memories.iter().cycle().take(4) {
        let map = |access| guest.ioas.map_at(iova, memory.shared(), access).unwrap();
        let mapping = map(Access::ReadWrite);
        assert_eq!(guest.lands_in(memory, VA, &[at]), Some(at));
        mapping.unmap().unwrap();
        assert_eq!(guest.lands_in(memory, VA, &[at]), None);
        let mapping = map(Access::Read);
        assert_eq!(guest.lands_in(memory, VA, &[at]), None);
        mapping.unmap().unwrap();
    }
    // The guest's other translations are as they were.
    let own = guest.page();
    let next = further(VA, PAGE as u64);
    space.map(next, own).unwrap();
    assert_eq!(guest.lands(next, &[own]), Some(own));
    guest.told_nothing();
}

/// The kernel invalidates no ASID when a device moves: two tables with one ASID are one for the hardware.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn what_outlives_a_table_is_invalidated_if_whoever_moves_the_device_says_so() {
    let guest = Guest::new();
    let spaces = [guest.space(OWN.get()), guest.space(OWN.get())];
    let pages: [Ipa; 2] = guest.pages();
    for (space, page) in spaces.iter().zip(pages) {
        space.map(VA, page).unwrap();
    }
    let tables = spaces
        .each_ref()
        .map(|space| guest.table(&translate(space)));
    let to =
        |place: usize, stale: &StaleAsids| guest.vdevice.through(&tables[place], stale.clone());
    let seen = || guest.lands(VA, &pages).unwrap();
    let mut attachment = guest.enter(&spaces[0]);
    assert_eq!(seen(), pages[0]);

    for (stale, is_seen) in [
        (StaleAsids::GuestInvalidates, false),
        (StaleAsids::Invalidate(vec![OTHER]), false),
        (StaleAsids::Invalidate(vec![OTHER, OWN]), true),
        (StaleAsids::GuestInvalidates, false),
        (StaleAsids::InvalidateAll, true),
    ] {
        let old = seen();
        let place = usize::from(old == pages[0]);
        attachment.replace(to(place, &stale)).unwrap();
        assert_eq!(seen() == pages[place], is_seen, "{stale:?}");
        // Back to the table in whose place the hardware has the other's pages.
        if !is_seen {
            attachment
                .replace(to(1 - place, &StaleAsids::GuestInvalidates))
                .unwrap();
        }
    }

    // When the last device leaves the parent, the kernel (Linux 7.3) has all of it forgotten.
    let old = seen();
    let place = usize::from(old == pages[0]);
    attachment.detach().unwrap();
    let target = to(place, &StaleAsids::GuestInvalidates);
    let _attachment = guest.device.attach(target).unwrap();
    assert_eq!(seen(), pages[place]);
}

/// A guest is told apart from another by the VMID of its parent table, which no command of its own can name.
#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn a_guest_invalidates_nothing_of_another_guest() {
    let guest = Guest::new();
    let [one, other] = pair();
    let neighbour = Guest::with(one, 16);
    let _whole_group = neighbour.knows(other, StreamId::new(0x43));
    let (space, theirs) = (guest.space(OWN.get()), neighbour.space(OWN.get()));
    let (moving, other) = (
        Moving::new(&guest, &space),
        Moving::new(&neighbour, &theirs),
    );
    let _attachments = (guest.enter(&space), neighbour.enter(&theirs));
    let (_, new) = moving.moved();
    let (old, _) = other.moved();
    guest.invalidate(&[Invalidation::tlbi_nsnh_all(), Invalidation::tlbi_nh_all()]);
    assert_eq!((moving.seen(), other.seen()), (Some(new), Some(old)));
}
