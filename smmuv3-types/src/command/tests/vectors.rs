extern crate std;

use std::collections::HashSet;

use super::{ADDRESS, ALL, ASID, STREAM, VMID, substream};
use crate::*;

#[test]
fn vectors() {
    // Composed by hand from the bits that chapter 4 gives: opcode 7:0, SSV 11, SSID 31:12,
    // SID 63:32, VMID 47:32, ASID 63:48, NUM 16:12, SCALE 25:20; Leaf 0, TTL 9:8, TG 11:10,
    // address 63:12.
    let range = TlbiRange::new(Granule::Kib64, Some(Level::Level2), 0x15, 0x26);
    let vectors = [
        (
            Command::PrefetchConfig {
                stream: STREAM,
                substream: Some(substream()),
            },
            [0xdead_beef_abcd_e801, 0],
        ),
        (
            Command::PrefetchAddr {
                stream: STREAM,
                substream: None,
                address: ADDRESS,
                size: 0x1f,
            },
            [0xdead_beef_0000_0002, 0xffff_8000_1234_501f],
        ),
        (
            Command::CfgiSte {
                stream: STREAM,
                leaf: true,
            },
            [0xdead_beef_0000_0003, 1],
        ),
        (
            Command::CfgiSteRange(StreamRange::new(STREAM, 7).unwrap()),
            [0xdead_be00_0000_0004, 7],
        ),
        (Command::CfgiAll, [0x04, 31]),
        (
            Command::CfgiCd {
                stream: STREAM,
                substream: substream(),
                leaf: false,
            },
            [0xdead_beef_abcd_e005, 0],
        ),
        (
            Command::CfgiCdAll { stream: STREAM },
            [0xdead_beef_0000_0006, 0],
        ),
        (
            Command::CfgiVmsPidm { vmid: VMID },
            [0x0000_7654_0000_0007, 0],
        ),
        (
            Command::TlbiNhAll { vmid: VMID },
            [0x0000_7654_0000_0010, 0],
        ),
        (
            Command::TlbiNhAsid {
                vmid: VMID,
                asid: ASID,
            },
            [0x8123_7654_0000_0011, 0],
        ),
        (
            Command::TlbiNhVa {
                vmid: VMID,
                asid: ASID,
                address: ADDRESS,
                leaf: true,
                range,
            },
            // NUM 0x15 << 12, SCALE 0x26 << 20; TG 3 << 10, TTL 2 << 8.
            [0x8123_7654_0261_5012, 0xffff_8000_1234_5e01],
        ),
        (
            Command::TlbiNhVaa {
                vmid: VMID,
                address: ADDRESS,
                leaf: false,
                range: None,
            },
            [0x0000_7654_0000_0013, 0xffff_8000_1234_5000],
        ),
        (Command::TlbiEl2All, [0x20, 0]),
        (
            Command::TlbiEl2Asid { asid: ASID },
            [0x8123_0000_0000_0021, 0],
        ),
        (
            Command::TlbiEl2Va {
                asid: ASID,
                address: ADDRESS,
                leaf: true,
                range: None,
            },
            [0x8123_0000_0000_0022, 0xffff_8000_1234_5001],
        ),
        (
            Command::TlbiEl2Vaa {
                address: ADDRESS,
                leaf: true,
                range,
            },
            [0x0000_0000_0261_5023, 0xffff_8000_1234_5e01],
        ),
        (
            Command::TlbiS12Vmall { vmid: VMID },
            [0x0000_7654_0000_0028, 0],
        ),
        (
            Command::TlbiS2Ipa {
                vmid: VMID,
                address: Ipa::new(0xf_edcb_a987_6000).unwrap(),
                leaf: true,
                range,
            },
            [0x0000_7654_0261_502a, 0x000f_edcb_a987_6e01],
        ),
        (Command::TlbiNsnhAll, [0x30, 0]),
        (
            Command::AtcInv {
                stream: STREAM,
                substream: Some(substream()),
                global: true,
                address: ADDRESS,
                span: AtcSpan::new(9).unwrap(),
            },
            [0xdead_beef_abcd_ea40, 0xffff_8000_1234_5009],
        ),
        (
            Command::PriResp {
                stream: STREAM,
                substream: Some(substream()),
                group: PageRequestGroup::new(0x1ab).unwrap(),
                response: PriResponse::Success,
            },
            [0xdead_beef_abcd_e841, 0x21ab],
        ),
        (
            Command::Resume {
                stream: STREAM,
                stag: Stag::new(0xfedc),
                action: ResumeAction::Retry,
            },
            [0xdead_beef_0000_1044, 0xfedc],
        ),
        (
            Command::Resume {
                stream: STREAM,
                stag: Stag::new(1),
                action: ResumeAction::Abort,
            },
            [0xdead_beef_0000_2044, 1],
        ),
        (
            Command::StallTerm { stream: STREAM },
            [0xdead_beef_0000_0045, 0],
        ),
        (Command::Sync(SyncSignal::None), [0x46, 0]),
        (Command::Sync(SyncSignal::Irq(None)), [0x1046, 0]),
        (Command::Sync(SyncSignal::Sev), [0x2046, 0]),
        (
            Command::Sync(SyncSignal::Irq(SyncMsi::new(
                Ipa::new(0xf_0000_0808_0040).unwrap(),
                0xdead_beef,
                Shareability::Inner,
                MsiAttributes::WRITE_BACK,
            ))),
            // CS 1 << 12, MSH 3 << 22, MSIAttr 0xf << 24.
            [0xdead_beef_0fc0_1046, 0x000f_0000_0808_0040],
        ),
    ];
    let mut opcodes = HashSet::new();
    for (command, words) in vectors {
        assert_eq!(command.encode().words(), words, "{command:?}");
        assert_eq!(Command::decode_with(words, &ALL), Ok(command));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&words[0].to_le_bytes());
        bytes[8..].copy_from_slice(&words[1].to_le_bytes());
        assert_eq!(command.encode().to_bytes(), bytes);
        assert_eq!(CommandWords::from_bytes(&bytes).words(), words);
        assert_eq!(command.encode().opcode(), Some(command.opcode()));
        opcodes.insert(command.opcode());
    }
    // All but the nine of the Secure queue and the two of device permission tables.
    assert_eq!(opcodes.len(), Opcode::ALL.len() - 11);
}
