//! Tests: what a kernel is asked, byte by byte, where there is no hardware to try it on.

use super::*;
use crate::funnel::script::machine::{Info, Machine};

/// `GTSup` and `GIoSup`, and `GCR3TRPMode`.
const EFR: u64 = 1 << 48 | 1 << 4;
const EFR2: u64 = 1 << 3;

fn info(efr: u64, efr2: u64) -> Info {
    let registers = [efr, efr2];
    Info {
        kind: sys::IOMMU_HW_INFO_TYPE_AMD,
        data: registers
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
        ..Info::default()
    }
}

fn probe(info: Info, errno: Option<Errno>) -> (Result<()>, Machine) {
    let machine = Machine::new(info);
    let parent = NestParent::new(&machine.ioas, &machine.device).unwrap();
    machine.names();
    let refuse = errno.map(|errno| ("HWPT_ALLOC", errno, 0));
    machine.refuse.set(refuse);
    let answer = probe_nesting(&parent, &machine.device);
    machine.refuse.set(None);
    let asked = machine.log.borrow().clone();
    drop(parent);
    *machine.log.borrow_mut() = asked;
    (answer, machine)
}

#[test]
fn a_kernel_that_nests_nothing_here_says_so_when_it_is_asked() {
    let (answer, machine) = probe(info(EFR, EFR2), Some(Errno::OPNOTSUPP));
    let Err(Error::NestingNotOffered { iommu }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(iommu, HwInfoType::AMD);
    let (name, head, data) = machine.question();
    assert_eq!(name, "HWPT_ALLOC");
    // flags, device, parent, the id to come, reserved, the data's type and length.
    assert_eq!(head[..7], [0, 7, 102, 0, 0, 3, 32]);
    let mut expected = [0; 32];
    expected[..8].copy_from_slice(&0x0480_0000_0000_0003_u64.to_le_bytes());
    assert_eq!(data, expected);
}

#[test]
fn a_kernel_that_nests_is_believed_and_nothing_is_left() {
    let (answer, machine) = probe(info(EFR, EFR2), None);
    answer.unwrap();
    assert_eq!(machine.names(), ["HWPT_ALLOC", "DESTROY"]);
}

#[test]
fn no_other_refusal_is_taken_for_that() {
    for errno in [Errno::INVAL, Errno::NOMEM, Errno::NOENT] {
        let (answer, _) = probe(info(EFR, EFR2), Some(errno));
        assert_eq!(answer.unwrap_err().errno(), Some(errno));
    }
    let (answer, _) = probe(info(EFR, EFR2), Some(Errno::TOOBIG));
    assert!(
        matches!(answer, Err(Error::Unsupported { .. })),
        "{answer:?}"
    );
}

#[test]
fn hardware_that_does_not_nest_and_that_is_anothers_are_not_asked_for_it() {
    for (info, lacks) in [
        (info(1 << 48, EFR2), "EFR.GTSup"),
        (info(1 << 4, EFR2), "EFR.GIoSup"),
        (info(EFR, 0), "EFR2.GCR3TRPMode"),
    ] {
        let (answer, machine) = probe(info, None);
        let Err(Error::LacksCapability { capability }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(capability, lacks);
        assert_eq!(machine.names(), [""; 0]);
    }
    let (answer, machine) = probe(Info::default(), None);
    let Err(Error::HwInfoNotOffered { kind }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(kind, HwInfoType::AMD);
    assert_eq!(machine.names(), [""; 0]);
}
