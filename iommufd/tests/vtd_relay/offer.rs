//! What a guest can be offered.

use iommufd::vtd::relay::{CannotRelay, Relay};
use vtd_types::{Cap, Capabilities, Ecap, HostCapabilities};

use crate::guest::{Guest, features_of, offered};
use crate::model::Model;
use crate::world::Memory;

fn refused(offered: Capabilities) -> Option<CannotRelay> {
    let host = Model::new(&Memory::new(), 0);
    match Relay::new(host, features_of(offered)) {
        Ok(_) => None,
        Err(refused) => Some(*refused.error()),
    }
}

#[test]
fn what_no_kernel_does_for_a_guest_is_not_offered() {
    let all = offered();
    let cap = |cap: Cap| refused(Capabilities { cap, ..all });
    let ecap = |ecap: Ecap| refused(Capabilities { ecap, ..all });
    let missing = |name| Some(CannotRelay::Missing(name));
    let present = |name| Some(CannotRelay::Offered(name));
    assert_eq!(refused(all), None);
    assert_eq!(cap(all.cap.with_cm(false)), missing("CAP_REG.CM"));
    assert_eq!(ecap(all.ecap.with_qi(false)), missing("ECAP_REG.QI"));
    assert_eq!(ecap(all.ecap.with_smts(false)), missing("ECAP_REG.SMTS"));
    assert_eq!(ecap(all.ecap.with_fsts(false)), missing("ECAP_REG.FSTS"));
    assert_eq!(ecap(all.ecap.with_ssts(true)), present("ECAP_REG.SSTS"));
    assert_eq!(ecap(all.ecap.with_nest(true)), present("ECAP_REG.NEST"));
    assert_eq!(ecap(all.ecap.with_ssads(true)), present("ECAP_REG.SSADS"));
    assert_eq!(ecap(all.ecap.with_sc(true)), present("ECAP_REG.SC"));
    assert_eq!(ecap(all.ecap.with_mts(true)), present("ECAP_REG.MTS"));
    assert_eq!(ecap(all.ecap.with_ers(true)), present("ECAP_REG.ERS"));
    assert_eq!(ecap(all.ecap.with_rprivs(true)), present("ECAP_REG.RPRIVS"));
    // What is optional.
    assert_eq!(ecap(all.ecap.with_pt(false).with_pasid(false)), None);
}

#[test]
fn what_a_server_has_can_be_offered() {
    // As a server reports; the second stage is the VMM's to leave out, and caching mode to add.
    let host = Capabilities::from_bits(0x19ed_008c_4078_0c66, 0x0003_ef9e_86f0_50df);
    let wanted = Capabilities {
        cap: host.cap.with_cm(true),
        ecap: host.ecap.with_ssts(false),
    };
    let offered = HostCapabilities::new(host).offer(wanted).unwrap();
    assert_eq!(refused(offered), None);
}

#[test]
fn nothing_is_translated_at_first() {
    let guest = Guest::new();
    assert!(!guest.relay.status().tes());
    assert!(guest.relay.status().rtps());
    assert_eq!(guest.relay.features().capabilities(), offered());
}
