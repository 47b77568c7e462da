//! Program `vfio_pci_sriov_uapi_test`: the token of a physical function and its virtual ones.
//!
//! `vf_token` has more of it, for character devices.

use rustix::io::Errno;
use tests::edu::igb;
use tests::sriov::VirtualFunction;
use vfio::{PciAddress, VfToken};

use crate::modes::{Mode, Opened};

per_variant! {
    Mode [vfio_type1v2_iommu, iommufd_compat_type1, iommufd_compat_type1v2, iommufd]:
        init_token_match, pf_early_close, override_token
}

const TOKEN: VfToken = VfToken::new([0x5a; 16]);
const OTHER: VfToken = VfToken::new([0xa5; 16]);

/// Opens the card, and with it decides on the token.
fn physical(mode: &Mode, token: VfToken) -> Opened {
    mode.try_open(igb(), Some(token)).unwrap()
}

/// The virtual function is opened with `token`, and with nothing else.
#[track_caller]
fn takes_only(mode: &Mode, address: PciAddress, token: VfToken, other: VfToken) {
    for wrong in [None, Some(other)] {
        let refused = mode.try_open(address, wrong).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::ACCESS), "{refused}");
    }
    let device = mode.try_open(address, Some(token)).unwrap();
    assert!(device.info().unwrap().regions > 0);
}

fn init_token_match(mode: Mode) {
    let function = VirtualFunction::new();
    let card = physical(&mode, TOKEN);
    takes_only(&mode, function.address(), TOKEN, OTHER);
    drop(card);
}

fn pf_early_close(mode: Mode) {
    let function = VirtualFunction::new();
    drop(physical(&mode, TOKEN));
    takes_only(&mode, function.address(), TOKEN, OTHER);
}

fn override_token(mode: Mode) {
    let function = VirtualFunction::new();
    let card = physical(&mode, TOKEN);
    // Whoever has the card open sets it, as often as it likes.
    for (token, other) in [(OTHER, TOKEN), (TOKEN, OTHER), (OTHER, TOKEN)] {
        card.set_vf_token(&token).unwrap();
        takes_only(&mode, function.address(), token, other);
    }
    drop(card);
    takes_only(&mode, function.address(), OTHER, TOKEN);
    // And whoever opens it anew.
    drop(physical(&mode, TOKEN));
    takes_only(&mode, function.address(), TOKEN, OTHER);
}
