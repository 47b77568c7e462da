//! What the guest's registers do to its devices.

use iommufd::smmuv3::relay::{CannotRelay, Place, Relay};
use smmuv3_types::{Command, Cr0, Features, Gbpa, IdRegisters, Ste, StreamConfig};

use crate::guest::{Guest, cfgi_ste, limits, nested, nh_all, off, offered, on, stage1};
use crate::model::{Call, Dev, Model};
use crate::world::Memory;

#[test]
fn while_the_smmu_is_off_gbpa_is_for_all() {
    let (mut guest, _ports) = Guest::with_streams(&[
        (1, stage1(0)),
        (2, Ste::valid(StreamConfig::Abort)),
        (3, Ste::valid(StreamConfig::Bypass)),
    ]);
    let places = |guest: &Guest| [1, 2, 3].map(|device| guest.model.place(Dev(device)));
    let by_table = [
        Place::Translated(nested(stage1(0))),
        Place::Blocked,
        Place::Bypass,
    ];
    assert_eq!(places(&guest), by_table);
    // While it is on, GBPA is for nobody.
    guest.relay.set_gbpa(Gbpa::default().with_abort(true));
    assert_eq!(places(&guest), by_table);
    guest.cr0(off());
    assert_eq!(places(&guest), [Place::Blocked; 3]);
    guest.relay.set_gbpa(Gbpa::default());
    assert_eq!(places(&guest), [Place::Bypass; 3]);
    guest.cr0(on());
    assert_eq!(places(&guest), by_table);
}

#[test]
fn turning_the_smmu_on_reads_what_is_in_the_table_now() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    guest.cr0(off());
    guest.write_ste(1, &stage1(1));
    guest.cr0(on());
    let place = Place::Translated(nested(stage1(1)));
    assert_eq!(guest.model.place(Dev(1)), place);
    // Written again, it is no edge, and reads nothing.
    guest.write_ste(1, &stage1(2));
    guest.cr0(on().with_atschk(true));
    assert_eq!(guest.model.place(Dev(1)), place);
}

#[test]
fn what_was_gathered_is_done_before_the_smmu_is_off() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    let _taken = guest.take(nh_all());
    guest.cr0(off());
    let calls = guest.model.calls();
    assert!(matches!(calls[0], Call::Invalidate(_)));
    assert_eq!(calls[1..], [Call::Put(Dev(1), Place::Bypass)]);
}

#[test]
fn the_stream_table_is_not_exchanged_while_it_is_used() {
    let (mut guest, _ports) = Guest::with_streams(&[(1, stage1(0))]);
    assert!(!guest.set_table());
    guest.cr0(off());
    assert!(guest.set_table());
}

#[test]
fn a_reset_forgets_what_the_guest_has_said() {
    let (mut guest, ports) = Guest::with_streams(&[(1, stage1(0))]);
    let _taken = guest.take(nh_all());
    guest.write_ste(1, &Ste::valid(StreamConfig::Stage2));
    let _taken = guest.take(cfgi_ste(1));
    guest.model.calls();
    guest.relay.reset(Gbpa::default());
    assert_eq!(guest.model.place(Dev(1)), Place::Bypass);
    let calls = guest.model.invalidations();
    assert_eq!(calls, [nh_all()], "whatever was cached");
    assert_eq!(guest.relay.take_event(), None);
    // It stays off until the guest turns it on, and its table is nowhere.
    assert_eq!(guest.carries_out(&[Command::CfgiAll]), []);
    guest.cr0(Cr0::from_bits(1));
    assert_eq!(guest.relay.place(&ports[0]), Some(Place::Blocked));
}

#[test]
fn what_no_kernel_does_is_not_offered() {
    let cases = [
        (
            0,
            "SMMU_IDR0.S1P",
            IdRegisters {
                idr0: offered().idr0.with_s1p(false),
                ..offered()
            },
        ),
        (
            1,
            "SMMU_IDR0.S2P",
            IdRegisters {
                idr0: offered().idr0.with_s2p(true),
                ..offered()
            },
        ),
        (
            1,
            "SMMU_IDR0.Hyp",
            IdRegisters {
                idr0: offered().idr0.with_hyp(true),
                ..offered()
            },
        ),
        (
            1,
            "SMMU_IDR3.MPAM",
            IdRegisters {
                idr3: offered().idr3.with_mpam(true),
                ..offered()
            },
        ),
    ];
    for (kind, field, registers) in cases {
        let model = Model::new(&Memory::new(), limits(), 0);
        let features = Features::new(registers).unwrap();
        let refused = Relay::new(model, features).unwrap_err();
        let wanted = match kind {
            0 => CannotRelay::Missing(field),
            _ => CannotRelay::Offered(field),
        };
        assert_eq!(*refused.error(), wanted);
    }
}
