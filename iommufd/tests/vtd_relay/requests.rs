//! Page requests, and the guest's answers.

use iommufd::vtd::relay::{ForGuest, Place, Report, RequestedPage};
use iommufd::{PageResponse, Permissions};
use vtd_types::{
    Descriptor, InputAddress, PageMessage, PageRequest, PageRequestGroup, PageRequestRecord,
    PageResponse as Answer, Pasid, PasidEntry,
};

use crate::guest::{
    Guest, cc_inv, first_stage, off, pasid, pass_through, pc_inv, piotlb, source, wait,
    with_directory,
};
use crate::model::{Call, Dev, Refusal};

const INVALID: PageResponse = PageResponse::Invalid;
const SUCCESS: PageResponse = PageResponse::Success;

fn answer_with(number: u32, pasid: Option<Pasid>, group: u16, response: Answer) -> Descriptor {
    Descriptor::PageGroupResponse {
        source: source(number),
        pasid,
        group: PageRequestGroup::new(group).unwrap(),
        response,
    }
}

pub(crate) fn answer(number: u32, pasid: Option<Pasid>, group: u16) -> Descriptor {
    answer_with(number, pasid, group, Answer::Success)
}

fn ask(guest: &mut Guest, device: u32, id: u32, group: u16, of: Option<Pasid>) -> ForGuest {
    let asked = guest.model.asks(Dev(device), id, group, of);
    guest.relay.page_requests(asked)
}

fn records(told: ForGuest) -> Vec<PageRequestRecord> {
    match told {
        ForGuest::Requests(records) => records,
        ForGuest::Nothing => panic!("the guest is told nothing"),
    }
}

/// Devices 0 and 1, of which each has PASID 5.
fn guest() -> Guest {
    let (mut guest, _ports) = Guest::with_devices(&[first_stage(0, 2), first_stage(0, 3)]);
    for number in [0, 1] {
        guest.write_entry(number, 5, &first_stage(1, 4));
    }
    guest.carries_out(&[pc_inv(4, 5)]);
    guest
}

#[test]
fn a_group_is_told_with_all_that_is_known() {
    let mut guest = guest();
    let mut asked = guest.model.asks(Dev(1), 1, 0x1ab, Some(pasid(5)));
    let page = |address, permissions| RequestedPage {
        pasid: Some(pasid(5)),
        address: InputAddress::new(address),
        permissions,
    };
    asked.pages = vec![
        page(0x7fff_0000_1000, Permissions::READ),
        page(0x2000, Permissions::WRITE | Permissions::PRIVILEGED),
        page(
            0x3000,
            Permissions::READ | Permissions::WRITE | Permissions::EXEC,
        ),
    ];
    let told = records(guest.relay.page_requests(asked));
    let request = |address, last, read, write, execute, privileged| {
        PageMessage::Request(PageRequest {
            source: source(1),
            pasid: Some(pasid(5)),
            group: PageRequestGroup::new(0x1ab).unwrap(),
            last,
            address: InputAddress::new(address),
            read,
            write,
            execute,
            privileged,
        })
    };
    let decoded: Vec<_> = told.iter().map(|record| record.decode().unwrap()).collect();
    assert_eq!(
        decoded,
        [
            request(0x7fff_0000_1000, false, true, false, false, false),
            request(0x2000, false, false, true, false, true),
            request(0x3000, true, true, true, true, false),
        ]
    );
    assert_eq!(guest.model.answers(), []);
}

#[test]
fn each_group_is_answered_once_and_by_its_own_answer() {
    let mut guest = guest();
    let five = Some(pasid(5));
    for (device, id, group, of) in [(0, 1, 1, None), (0, 2, 2, five), (1, 3, 2, five)] {
        assert_eq!(records(ask(&mut guest, device, id, group, of)).len(), 1);
    }
    guest.carries_out(&[
        answer(0, five, 1),
        answer(0, None, 2),
        answer(0, Some(pasid(6)), 2),
        answer(2, five, 2),
        answer(0, five, 3),
    ]);
    assert_eq!(guest.model.answers(), [], "these are for nobody");
    let calls = guest.carries_out(&[answer(1, five, 2), answer(1, five, 2)]);
    assert_eq!(calls, [Call::Answer(3, SUCCESS)]);
    let no = answer_with(0, five, 2, Answer::InvalidRequest);
    let never = answer_with(0, None, 1, Answer::Failure);
    assert_eq!(
        guest.carries_out(&[no, never, no]),
        [Call::Answer(2, INVALID), Call::Answer(1, INVALID)]
    );
    assert_eq!(
        guest.model.answers(),
        [(3, SUCCESS), (2, INVALID), (1, INVALID)]
    );
}

#[test]
fn what_was_invalidated_before_is_forgotten_before_the_device_asks_again() {
    let mut guest = guest();
    let _told = ask(&mut guest, 0, 1, 1, Some(pasid(5)));
    let calls = guest.carries_out(&[piotlb(4, 5), answer(0, Some(pasid(5)), 1)]);
    assert!(
        matches!(
            calls[..],
            [
                Call::Invalidate(Dev(0), ..),
                Call::Invalidate(Dev(1), ..),
                Call::Answer(1, SUCCESS)
            ]
        ),
        "{calls:?}"
    );
}

#[test]
fn pasid_0_is_asked_for_where_requests_without_are() {
    let mut guest = guest();
    let zero = Some(Pasid::ZERO);
    let told = records(ask(&mut guest, 0, 1, 1, zero));
    let Ok(PageMessage::Request(request)) = told[0].decode() else {
        panic!("{told:?}");
    };
    assert_eq!(request.pasid, zero);
    guest.carries_out(&[answer(0, None, 1)]);
    assert_eq!(guest.model.answers(), [], "it has another name");
    guest.carries_out(&[answer(0, zero, 1)]);
    assert_eq!(guest.model.answers(), [(1, SUCCESS)]);
}

#[test]
fn what_leaves_its_tables_is_answered_and_nothing_else() {
    let mut guest = guest();
    let five = Some(pasid(5));
    for (device, id, group, of) in [(0, 1, 1, None), (0, 2, 2, five), (1, 3, 3, five)] {
        let _told = ask(&mut guest, device, id, group, of);
    }
    guest.write_entry(0, 5, &PasidEntry::default());
    guest.carries_out(&[pc_inv(4, 5)]);
    assert_eq!(guest.model.answers(), [(2, INVALID)]);
    guest.carries_out(&[answer(0, five, 2)]);
    guest.write_entry(0, 0, &pass_through(2));
    guest.carries_out(&[pc_inv(2, 0)]);
    assert_eq!(guest.model.answers(), [(1, INVALID)]);
    guest.gcmd(off());
    assert_eq!(guest.model.answers(), [(3, INVALID)]);
}

#[test]
fn nobody_is_told_of_what_the_guest_could_not_answer() {
    let mut guest = guest();
    assert_eq!(ask(&mut guest, 7, 1, 1, None), ForGuest::Nothing);
    assert_eq!(ask(&mut guest, 0, 2, 1, Some(pasid(6))), ForGuest::Nothing);
    assert_eq!(ask(&mut guest, 0, 3, 512, None), ForGuest::Nothing);
    let mut nothing = guest.model.asks(Dev(0), 4, 1, None);
    nothing.pages.clear();
    assert_eq!(guest.relay.page_requests(nothing), ForGuest::Nothing);
    // It would look like a stop marker.
    let mut marker = guest.model.asks(Dev(0), 5, 1, Some(pasid(5)));
    marker.pages[0].permissions = Permissions::PRIVILEGED;
    assert_eq!(guest.relay.page_requests(marker), ForGuest::Nothing);
    // The context entry allows none.
    guest.write_context(0, &with_directory(0).with_pre(false));
    guest.carries_out(&[cc_inv(0)]);
    assert_eq!(ask(&mut guest, 0, 6, 1, None), ForGuest::Nothing);
    let answers: Vec<_> = (1..=6).map(|id| (id, INVALID)).collect();
    assert_eq!(guest.model.answers(), answers);
}

#[test]
fn an_index_that_is_used_again_is_the_newer_groups() {
    let mut guest = guest();
    for id in 0..2000 {
        let _told = ask(&mut guest, 0, id, (id % 512) as u16, Some(pasid(5)));
    }
    assert_eq!(guest.model.answers().len(), 2000 - 512, "no more wait");
    let calls = guest.carries_out(&[answer(0, Some(pasid(5)), 100)]);
    assert_eq!(calls, [Call::Answer(1636, SUCCESS)]);
}

#[test]
fn what_finds_no_room_is_asked_for_again() {
    let mut guest = guest();
    let told = records(ask(&mut guest, 0, 1, 1, Some(pasid(5))));
    let other = records(ask(&mut guest, 0, 2, 2, Some(pasid(5))));
    let nonsense = PageRequestRecord::from_words([0x77, 4, 0, 0]);
    guest.relay.not_told(&[nonsense, told[0], told[0]]);
    assert_eq!(guest.model.answers(), [(1, SUCCESS)]);
    drop(other);
    guest.carries_out(&[answer(0, Some(pasid(5)), 1)]);
    assert_eq!(guest.model.answers(), []);
}

#[test]
fn an_answer_that_is_refused_is_reported() {
    let mut guest = guest();
    let _told = ask(&mut guest, 0, 1, 1, None);
    guest.model.refuse(|call| matches!(call, Call::Answer(..)));
    guest.carries_out(&[answer(0, None, 1), wait()]);
    let report = Report::AnswerRefused {
        source: source(0),
        error: Refusal,
    };
    assert_eq!(guest.relay.take_reports(), [report]);
    assert_eq!(guest.place(0, Some(6)), Place::Blocked);
}
