//! Page requests, and the guest's answers.

use iommufd::smmuv3::relay::{ForGuest, RequestName, RequestedPage};
use iommufd::{PageResponse, Permissions};
use smmuv3_types::{
    AccessAttributes, Command, Event, Fault, InputAddress, PageRequestGroup, PriResponse,
    Requester, ResumeAction, Stag, Ste, StreamConfig, SubstreamId,
};

use crate::guest::{Guest, cfgi_ste, nh_asid, off, on, stage1, stream};
use crate::model::{Call, Dev};

fn stall(tag: u16) -> RequestName {
    RequestName::Stall(Stag::new(tag))
}

fn group(index: u16) -> PageRequestGroup {
    PageRequestGroup::new(index).unwrap()
}

fn resume(number: u32, tag: u16, action: ResumeAction) -> Command {
    Command::Resume {
        stream: stream(number),
        stag: Stag::new(tag),
        action,
    }
}

fn terminate(number: u32) -> Command {
    Command::StallTerm {
        stream: stream(number),
    }
}

fn pri_resp(number: u32, index: u16, response: PriResponse) -> Command {
    Command::PriResp {
        stream: stream(number),
        substream: None,
        group: group(index),
        response,
    }
}

fn ask(guest: &mut Guest, device: u32, id: u32, name: RequestName) -> ForGuest {
    let asked = guest.model.asks(Dev(device), id, name);
    guest.relay.page_requests(asked)
}

const INVALID: PageResponse = PageResponse::Invalid;
const SUCCESS: PageResponse = PageResponse::Success;

#[test]
fn a_stall_is_told_with_all_that_is_known() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let cases = [
        (Permissions::READ, true, false, false),
        (
            Permissions::WRITE | Permissions::PRIVILEGED,
            false,
            false,
            true,
        ),
        (Permissions::READ | Permissions::EXEC, true, true, false),
    ];
    for (tag, (permissions, read, instruction, privileged)) in (0..).zip(cases) {
        let substream = SubstreamId::new(tag.into()).filter(|_| tag != 0);
        let mut asked = guest.model.asks(Dev(1), 0, stall(tag));
        let address = InputAddress::new(0xffff_1234_5678_9abc);
        asked.pages = vec![RequestedPage {
            substream,
            address,
            permissions,
        }];
        let event = Event::Translation(Fault {
            requester: Requester {
                stream: stream(1),
                substream,
            },
            stalled: Some(Stag::new(tag)),
            access: AccessAttributes {
                read,
                instruction,
                privileged,
            },
            address,
            stage2: None,
        });
        assert_eq!(
            guest.relay.page_requests(asked),
            ForGuest::Stall(event.encode())
        );
    }
}

#[test]
fn a_stall_is_answered_once_by_its_tag() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    let _told = ask(&mut guest, 1, 10, stall(3));
    let _told = ask(&mut guest, 1, 11, stall(4));
    let _told = ask(&mut guest, 2, 20, stall(3));
    let _told = ask(&mut guest, 2, 21, stall(5));
    assert_eq!(guest.model.answers(), []);
    // Unknown ones are ignored.
    guest.carries_out(&[
        resume(1, 5, ResumeAction::Retry),
        resume(3, 3, ResumeAction::Retry),
        pri_resp(1, 3, PriResponse::Success),
    ]);
    assert_eq!(guest.model.answers(), []);
    let calls = guest.carries_out(&[
        resume(1, 3, ResumeAction::Retry),
        resume(1, 3, ResumeAction::Abort),
        resume(2, 3, ResumeAction::Abort),
        resume(1, 4, ResumeAction::ReadZeroIgnoreWrite),
        resume(1, 4, ResumeAction::Retry),
    ]);
    let answered = [
        Call::Answer(10, SUCCESS),
        Call::Answer(20, INVALID),
        Call::Answer(11, INVALID),
    ];
    assert_eq!(calls, answered);
    let answers = [(10, SUCCESS), (20, INVALID), (11, INVALID)];
    assert_eq!(guest.model.answers(), answers);
}

#[test]
fn a_retry_finds_what_was_invalidated_before() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let _told = ask(&mut guest, 1, 10, stall(3));
    let calls = guest.carries_out(&[nh_asid(1), resume(1, 3, ResumeAction::Retry), nh_asid(2)]);
    assert!(
        matches!(
            calls[..],
            [
                Call::Invalidate(_),
                Call::Answer(10, SUCCESS),
                Call::Invalidate(_)
            ]
        ),
        "{calls:?}"
    );
}

#[test]
fn all_stalls_of_a_stream_are_terminated_together() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    for (device, id, name) in [
        (1, 10, stall(1)),
        (1, 11, stall(2)),
        (2, 20, stall(1)),
        (1, 12, RequestName::Pri(group(1))),
    ] {
        let _told = ask(&mut guest, device, id, name);
    }
    guest.carries_out(&[terminate(1), terminate(7)]);
    assert_eq!(guest.model.answers(), [(10, INVALID), (11, INVALID)]);
    guest.carries_out(&[
        resume(2, 1, ResumeAction::Retry),
        pri_resp(1, 1, PriResponse::Success),
    ]);
    assert_eq!(guest.model.answers(), [(20, SUCCESS), (12, SUCCESS)]);
}

#[test]
fn requests_by_pri_are_told_together_and_answered_by_their_index() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let mut asked = guest.model.asks(Dev(1), 10, RequestName::Pri(group(0x155)));
    let page = |substream, address, permissions| RequestedPage {
        substream: SubstreamId::new(substream).filter(|_| substream != 0),
        address: InputAddress::new(address),
        permissions,
    };
    asked.pages = vec![
        page(0, 0x1_2345_6fff, Permissions::READ),
        page(
            0xa_bcde,
            0xffff_ffff_ffff_f000,
            Permissions::WRITE | Permissions::EXEC | Permissions::PRIVILEGED,
        ),
    ];
    let ForGuest::Pri(records) = guest.relay.page_requests(asked) else {
        panic!("by PRI");
    };
    let words: Vec<_> = records.iter().map(|record| record.words()).collect();
    // SSV 63, Last 62, W 61, R 60, X 59, P 58; the substream from 32 on.
    let wanted = [
        [1 << 60 | 1, 0x1_2345_6155],
        [
            1 << 63 | 1 << 62 | 1 << 61 | 1 << 59 | 1 << 58 | 0xa_bcde << 32 | 1,
            0xffff_ffff_ffff_f155,
        ],
    ];
    assert_eq!(words, wanted);
    let bytes: Vec<_> = wanted[1]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    assert_eq!(records[1].to_bytes()[..], bytes);
    guest.carries_out(&[
        pri_resp(1, 0x154, PriResponse::Success),
        pri_resp(1, 0x155, PriResponse::Failure),
        pri_resp(1, 0x155, PriResponse::Success),
    ]);
    assert_eq!(guest.model.answers(), [(10, INVALID)]);
    // Without a PRI queue there is nothing to tell.
    guest.cr0(on().with_priqen(false));
    let told = ask(&mut guest, 1, 11, RequestName::Pri(group(1)));
    assert_eq!(told, ForGuest::Nothing);
    assert_eq!(guest.model.answers(), [(11, INVALID)]);
}

#[test]
fn a_name_that_comes_again_is_the_new_ones() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let _told = ask(&mut guest, 1, 10, stall(3));
    let _told = ask(&mut guest, 1, 11, stall(3));
    assert_eq!(guest.model.answers(), [(10, INVALID)]);
    guest.carries_out(&[resume(1, 3, ResumeAction::Retry)]);
    assert_eq!(guest.model.answers(), [(11, SUCCESS)]);
}

#[test]
fn a_device_that_leaves_its_tables_has_its_requests_answered() {
    let leave: [fn(&mut Guest); 3] = [
        |guest| {
            guest.write_ste(1, &stage1(3));
            guest.carries_out(&[cfgi_ste(1)]);
        },
        |guest| {
            guest.write_ste(1, &Ste::valid(StreamConfig::Abort));
            guest.carries_out(&[cfgi_ste(1)]);
        },
        |guest| guest.cr0(off()),
    ];
    for leave in leave {
        let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
        let _told = ask(&mut guest, 1, 10, stall(3));
        leave(&mut guest);
        assert!(guest.model.answers().contains(&(10, INVALID)));
        guest.carries_out(&[resume(1, 3, ResumeAction::Retry)]);
        assert_eq!(guest.model.answers(), []);
    }
    // One that stays keeps them.
    let (mut guest, mut ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(1))]);
    let _told = ask(&mut guest, 1, 10, stall(3));
    let _told = ask(&mut guest, 2, 20, stall(3));
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.model.answers(), []);
    // One that gets another number, or is unplugged, does not.
    let number = Some(stream(5));
    guest
        .relay
        .assign(&ports[0], number, &guest.memory)
        .unwrap();
    assert_eq!(guest.model.answers(), [(10, INVALID)]);
    let _device = guest.relay.unplug(ports.remove(1)).unwrap();
    assert_eq!(guest.model.answers(), [(20, INVALID)]);
}

#[test]
fn what_the_guest_cannot_answer_is_answered_for_it() {
    let (mut guest, _ports) =
        Guest::with_streams(&[(1, stage1(0)), (2, Ste::valid(StreamConfig::Abort))]);
    let unnamed = guest.plug(3, None);
    let mut without_name = guest.model.asks(Dev(1), 13, stall(1));
    without_name.name = None;
    let mut without_page = guest.model.asks(Dev(1), 14, stall(1));
    without_page.pages.clear();
    let asked = [
        guest.model.asks(Dev(2), 10, stall(1)),
        guest.model.asks(Dev(3), 11, stall(1)),
        guest.model.asks(Dev(99), 12, stall(1)),
        without_name,
        without_page,
    ];
    for (id, asked) in (10..).zip(asked) {
        assert_eq!(guest.relay.page_requests(asked), ForGuest::Nothing);
        assert_eq!(guest.model.answers(), [(id, INVALID)]);
    }
    drop(unnamed);
}
