//! What becomes of commands.

use iommufd::smmuv3::relay::{Place, Taken};
use smmuv3_types::{
    Asid, AtcSpan, Command, Granule, Idr1, Idr5, InputAddress, InvalidationLimits, Ipa,
    L1StreamDescriptor, Ste, StreamConfig, StreamRange, StrtabBase, StrtabBaseCfg, SubstreamId,
    TlbiRange,
};

use crate::guest::{
    Guest, VMID, cfgi_cd_all, cfgi_ste, limits, nested, nh_all, nh_asid, off, offered, on, stage1,
    stream, sync, with_ats,
};
use crate::model::{Call, Dev};

fn va(page: u64, range: Option<TlbiRange>) -> Command {
    Command::TlbiNhVa {
        vmid: VMID,
        asid: Asid::new(1),
        address: InputAddress::new(page << 12),
        leaf: true,
        range,
    }
}

fn cd(number: u32, substream: u32) -> Command {
    Command::CfgiCd {
        stream: stream(number),
        substream: SubstreamId::new(substream).unwrap(),
        leaf: false,
    }
}

fn atc(number: u32) -> Command {
    Command::AtcInv {
        stream: stream(number),
        substream: None,
        global: false,
        address: InputAddress::new(0x3000),
        span: AtcSpan::PAGE,
    }
}

fn of_4k(num: u8, scale: u8) -> Option<TlbiRange> {
    Some(TlbiRange::new(Granule::Kib4, None, num, scale).unwrap())
}

#[test]
fn what_is_forwarded_goes_in_the_guests_order_and_in_one_batch() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, with_ats(stage1(0)))]);
    // Against any sensible order.
    let commands = [
        atc(1),
        va(2, of_4k(3, 0)),
        nh_asid(2),
        cd(1, 0),
        va(1, None),
        cd(1, 0),
        Command::TlbiNsnhAll,
    ];
    for command in commands {
        assert_eq!(guest.take(command), Taken::Command);
        assert_eq!(guest.model.calls(), [], "gathered");
    }
    let _flushed = guest.relay.flush().unwrap();
    let calls = guest.model.calls();
    let [Call::Invalidate(batch)] = &calls[..] else {
        panic!("{calls:?}");
    };
    let batch: Vec<_> = batch.iter().map(|command| command.command()).collect();
    assert_eq!(batch, commands);
    let _flushed = guest.relay.flush().unwrap();
    assert_eq!(guest.model.calls(), [], "once");
}

#[test]
fn an_entry_is_read_when_the_guest_says_so_and_not_before() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.write_ste(1, &stage1(1));
    assert_eq!(guest.carries_out(&[nh_all()]).len(), 1);
    let place = |ste| Some(Place::Translated(nested(ste)));
    assert_eq!(guest.relay.place(&ports[0]), place(stage1(0)));
    guest.carries_out(&[cfgi_ste(1)]);
    assert_eq!(guest.relay.place(&ports[0]), place(stage1(1)));
}

#[test]
fn what_comes_before_a_changed_entry_is_done_before_and_what_comes_after_after() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, stage1(2))]);
    guest.write_ste(1, &stage1(1));
    let calls = guest.carries_out(&[nh_asid(1), cfgi_ste(1), nh_asid(2)]);
    let invalidates = |call: &Call, wanted: &[Command]| match call {
        Call::Invalidate(batch) => batch
            .iter()
            .map(|command| command.command())
            .eq(wanted.iter().copied()),
        _ => false,
    };
    assert_eq!(calls.len(), 3);
    assert!(invalidates(&calls[0], &[nh_asid(1)]));
    let place = Place::Translated(nested(stage1(1)));
    assert_eq!(calls[1], Call::Put(Dev(1), place));
    assert!(invalidates(&calls[2], &[cfgi_cd_all(1), nh_asid(2)]));
}

#[test]
fn an_entry_that_is_what_it_was_still_makes_its_descriptors_forgotten() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    assert_eq!(guest.forwards(&[cfgi_ste(1)]), [cfgi_cd_all(1)]);
    // What differs means nothing under what the guest was offered.
    guest.write_ste(1, &stage1(0).with_cont(4).with_s2_s(true));
    let calls = guest.carries_out(&[cfgi_ste(1)]);
    assert!(matches!(&calls[..], [Call::Invalidate(_)]), "{calls:?}");
}

#[test]
fn the_host_is_given_what_the_guest_was_offered_and_no_more() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, Ste::valid(StreamConfig::Abort))]);
    let everything = Ste::from_words([
        !(0b1110 | 0xf_ffff_ffff_ffc0 | 0x1f << 59) | 0b1010 | 0x4040,
        // Split-stage ATS would be an error, and stalls cannot be told apart.
        !(3 << 28 | 3 << 30),
        u64::MAX,
        u64::MAX,
        u64::MAX,
        u64::MAX,
        u64::MAX,
        u64::MAX,
    ]);
    guest.write_ste(1, &everything);
    guest.carries_out(&[cfgi_ste(1)]);
    let Place::Translated(ste) = guest.model.place(Dev(1)) else {
        panic!("{:?}", guest.model.place(Dev(1)));
    };
    // No substreams: S1Fmt, S1CDMax and S1DSS mean nothing.
    assert_eq!(ste.words(), [0x404b, 0x0800_00fc]);
}

#[test]
fn an_entry_that_aborts_or_bypasses_puts_the_device_there() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0))]);
    let cases = [
        (Ste::valid(StreamConfig::Bypass), Place::Bypass),
        (Ste::valid(StreamConfig::Abort), Place::Blocked),
        (stage1(2), Place::Translated(nested(stage1(2)))),
        (Ste::from_words([0; 8]), Place::Blocked),
        (Ste::valid(StreamConfig::Stage2), Place::Blocked),
    ];
    for (ste, place) in cases {
        guest.write_ste(1, &ste);
        guest.carries_out(&[cfgi_ste(1)]);
        assert_eq!(guest.model.place(Dev(1)), place);
        assert_eq!(guest.relay.place(&ports[0]), Some(place));
    }
}

#[test]
fn a_range_of_streams_costs_what_its_devices_cost() {
    let streams = [(1, stage1(0)), (4, stage1(1)), (9, stage1(2))];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    for (range, wanted) in [
        (StreamRange::new(stream(0), 30), vec![1, 4, 9]),
        (StreamRange::new(stream(5), 1), vec![4]),
        (StreamRange::new(stream(0x8000_0000), 30), vec![]),
        (None, vec![1, 4, 9]),
    ] {
        let command = range.map_or(Command::CfgiAll, Command::CfgiSteRange);
        let before = guest.memory.reads();
        let wanted: Vec<_> = wanted.into_iter().map(cfgi_cd_all).collect();
        assert_eq!(guest.forwards(&[command]), wanted);
        assert_eq!(guest.memory.reads() - before, wanted.len());
    }
}

#[test]
fn streams_that_nobody_has_are_not_named_to_the_host() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, with_ats(stage1(0)))]);
    let mut commands = Vec::new();
    for number in [0, 2, 15, 16, u32::MAX] {
        commands.extend([cd(number, 0), cfgi_cd_all(number), atc(number)]);
        commands.push(cfgi_ste(number));
    }
    assert_eq!(guest.carries_out(&commands), []);
}

#[test]
fn of_a_stream_that_is_not_translated_there_is_nothing_to_forget() {
    let streams = [
        (1, Ste::valid(StreamConfig::Bypass)),
        (2, Ste::valid(StreamConfig::Abort)),
    ];
    let (mut guest, _ports) = Guest::with_streams(&streams);
    let commands = [1, 2].map(|number| [cd(number, 0), cfgi_cd_all(number), atc(number)]);
    assert_eq!(guest.carries_out(commands.as_flattened()), []);
}

#[test]
fn a_device_with_ats_off_is_not_asked_to_forget() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0)), (2, with_ats(stage1(1)))]);
    assert_eq!(guest.forwards(&[atc(1), atc(2)]), [atc(2)]);
    // The guest turns it off, and on.
    guest.write_ste(2, &stage1(1));
    assert_eq!(
        guest.forwards(&[atc(2), cfgi_ste(2), atc(2)]),
        [atc(2), cfgi_cd_all(2)]
    );
    guest.write_ste(2, &with_ats(stage1(1)));
    assert_eq!(
        guest.forwards(&[atc(2), cfgi_ste(2), atc(2)]),
        [cfgi_cd_all(2), atc(2)]
    );
}

#[test]
fn what_the_host_has_not_is_covered_by_what_it_has() {
    let offered = smmuv3_types::IdRegisters {
        idr1: Idr1::from_bits(0).with_sidsize(4).with_ssidsize(4),
        idr5: Idr5::from_bits(0x74).with_ds(true),
        ..offered()
    };
    let ste = with_ats(stage1(0));
    let on_host = |limits| {
        let mut guest = Guest::with(offered, limits, 0);
        guest.write_ste(1, &ste);
        let _port = guest.plug(1, Some(1));
        guest.cr0(on());
        guest
    };
    let mut least = on_host(InvalidationLimits::NONE);
    let pages: Vec<_> = (6..10).map(|page| va(page, None)).collect();
    assert_eq!(least.forwards(&[va(6, of_4k(3, 0))]), pages, "one by one");
    assert_eq!(least.forwards(&[va(6, of_4k(16, 0))]), [nh_all()]);
    assert_eq!(least.forwards(&[va(6, of_4k(31, 39))]), [nh_all()]);
    let last = (1 << 52) - 2;
    assert_eq!(least.forwards(&[va(last, of_4k(3, 0))]), [nh_all()]);
    assert_eq!(least.forwards(&[nh_asid(0x100)]), [nh_all()]);
    assert_eq!(least.forwards(&[nh_asid(0xff)]), [nh_asid(0xff)]);
    assert_eq!(least.forwards(&[cd(1, 3)]), [cfgi_cd_all(1)]);
    assert_eq!(least.forwards(&[cd(1, 0)]), [cd(1, 0)]);
    assert_eq!(least.forwards(&[atc(1)]), [], "nothing can be cached");
    let mut without_ds = on_host(limits());
    assert_eq!(without_ds.forwards(&[va(0, of_4k(1, 32))]), [nh_all()]);
    let in_substream = Command::AtcInv {
        stream: stream(1),
        substream: SubstreamId::new(3),
        global: false,
        address: InputAddress::new(0),
        span: AtcSpan::ALL,
    };
    assert_eq!(without_ds.forwards(&[in_substream]), []);
}

#[test]
fn a_guest_that_never_syncs_does_not_fill_memory() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let mut forwarded = 0;
    for _ in 0..10_000 {
        let _taken = guest.take(nh_asid(1));
        for call in guest.model.calls() {
            let Call::Invalidate(batch) = call else {
                panic!("{call:?}");
            };
            assert_eq!(batch.len(), 1024);
            forwarded += batch.len();
        }
    }
    assert_eq!(forwarded, 9 * 1024);
}

#[test]
fn hints_do_nothing() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let before = guest.memory.reads();
    let hints = [
        Command::PrefetchConfig {
            stream: stream(1),
            substream: None,
        },
        Command::PrefetchAddr {
            stream: stream(1),
            substream: None,
            address: InputAddress::new(0),
            size: 31,
        },
    ];
    assert_eq!(guest.carries_out(&hints), []);
    assert_eq!(guest.memory.reads(), before);
}

#[test]
fn entries_are_not_read_while_the_smmu_is_off() {
    let mut guest = Guest::new();
    guest.write_ste(1, &stage1(0));
    let port = guest.plug(1, Some(1));
    let before = guest.memory.reads();
    guest.carries_out(&[cfgi_ste(1), Command::CfgiAll]);
    assert_eq!(guest.memory.reads(), before);
    assert_eq!(guest.relay.place(&port), Some(Place::Bypass));
    guest.cr0(on());
    assert_eq!(guest.memory.reads(), before + 1);
    guest.cr0(off());
    assert_eq!(guest.relay.place(&port), Some(Place::Bypass));
}

#[test]
fn a_table_of_two_levels_is_walked() {
    let mut guest = Guest::new();
    let array = Ipa::new(0x3000).unwrap();
    // 8 entries of the 64 that there could be.
    let first = L1StreamDescriptor::default()
        .with_l2_ptr(array)
        .with_span(4);
    guest.memory.write(0x2800, &first.to_bytes());
    let cfg = StrtabBaseCfg::from_bits(1 << 16 | 6 << 6 | 4);
    assert!(
        guest
            .relay
            .set_stream_table(StrtabBase::from_bits(0x2800), cfg)
    );
    guest.memory.write(0x3000 + 7 * 64, &stage1(0).to_bytes());
    let _ports = [7, 8].map(|number| guest.plug(number, Some(number)));
    guest.cr0(on());
    assert_eq!(
        guest.model.place(Dev(7)),
        Place::Translated(nested(stage1(0)))
    );
    assert_eq!(
        guest.model.place(Dev(8)),
        Place::Blocked,
        "beyond the array"
    );
}

#[test]
fn an_illegal_command_does_nothing() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    for words in [[0xff, 0], [0x20, 0], [0x28, 0], [0x46 | 3 << 12, 0]] {
        assert!(
            guest.relay.take(words, &guest.memory).is_err(),
            "{words:x?}"
        );
    }
    assert_eq!(guest.carries_out(&[sync()]), []);
}
