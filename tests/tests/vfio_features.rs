//! Optional features of PCI functions: which they have, low power, VF tokens.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tests::edu::{device, igb, lone};
use vfio::{
    BusMaster, Device, Error, Feature, FeatureAccess, FeatureError, Guarded, Region, RegionIndex,
    Revocation, VfToken,
};

fn access(device: &Device) -> Vec<(Feature, FeatureAccess)> {
    let all = Feature::ALL.map(|feature| (feature, device.feature_access(feature).unwrap()));
    all.into_iter()
        .filter(|(_, access)| !access.is_empty())
        .collect()
}

#[test]
#[ignore = "needs the lab's PCI functions: cargo lab test"]
fn what_a_function_has_is_found_by_probing() {
    let set = FeatureAccess::SET;
    let edu = access(&device(lone()));
    let low_power = [
        (Feature::LowPower, set),
        (Feature::LowPowerWithWakeup, set),
        (Feature::LowPowerExit, set),
    ];
    assert_eq!(edu[..3], low_power);
    // What is left depends on whether its BARs can be exported.
    let rest: Vec<_> = edu[3..].iter().map(|(feature, _)| *feature).collect();
    assert!(
        rest.iter().all(|feature| *feature == Feature::DmaBuf),
        "{rest:?}"
    );

    // A physical function has virtual ones.
    let igb = access(&device(igb()));
    assert_eq!(igb[0], (Feature::VfToken, set));
    assert_eq!(igb[1..], edu);
}

#[test]
#[ignore = "needs the lab's PCI functions: cargo lab test"]
fn a_token_is_set_where_there_are_virtual_functions() {
    let token: VfToken = "14d63f20-8445-11ea-8900-1f9ce7d5650d".parse().unwrap();
    device(igb()).set_vf_token(&token).unwrap();
    let nowhere = device(lone()).set_vf_token(&token);
    assert!(matches!(
        nowhere,
        Err(Error::Feature(FeatureError::NotThere {
            feature: Feature::VfToken,
            ..
        }))
    ));
}

#[test]
#[ignore = "needs the lab's PCI functions: cargo lab test"]
fn what_is_for_other_busses_and_machines_is_not_there() {
    let device = device(lone());
    for answer in [
        device.set_bus_master(BusMaster::On),
        device.zpci_error().map(|_| ()),
    ] {
        assert!(matches!(
            answer,
            Err(Error::Feature(FeatureError::NotThere { .. }))
        ));
    }
}

fn vendor(config: &Region) -> u16 {
    config.read(0).unwrap()
}

#[test]
#[ignore = "needs the lab's PCI functions: cargo lab test"]
fn mapped_registers_are_revoked_until_low_power_ends() {
    let device = device(igb());
    let config = device.region(RegionIndex::CONFIG).unwrap();
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let status = registers.read::<u32>(8).unwrap();
    let low_power = device.low_power().unwrap();
    let revoked = registers.read::<u32>(8);
    assert!(matches!(
        revoked,
        Err(Error::Revoked {
            cause: Revocation::LowPower,
            ..
        })
    ));
    // A system call wakes the device up, and it may go back.
    assert_eq!(vendor(&config), 0x8086);
    assert!(registers.write(8, status).is_err());
    let second = device.low_power();
    assert!(matches!(
        second,
        Err(Error::Feature(FeatureError::Taken(Guarded::LowPower)))
    ));
    assert_eq!(device.holders().features, 1);
    low_power.exit().unwrap();
    registers.read::<u32>(8).unwrap();

    drop(device.low_power().unwrap());
    registers.read::<u32>(8).unwrap();
}

#[test]
#[ignore = "needs the lab's PCI functions: cargo lab test"]
fn who_is_at_the_registers_is_waited_for_and_whoever_is_it_himself_is_told() {
    let device = device(igb());
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let access = registers.access().unwrap();
    assert!(matches!(device.low_power(), Err(Error::AccessHeld)));
    access.read::<u32>(8).unwrap();
    drop(access);
    device.low_power().unwrap().exit().unwrap();
}

/// Whether a function suspends is the host's choice (the lab's kernel has no power management, and does
/// not); if it does, an access of it wakes it up, and that is told, and else it is not.
#[test]
#[ignore = "needs the lab's PCI functions: cargo lab test"]
fn a_device_that_is_woken_up_tells_and_stays_awake() {
    let device = device(igb());
    let config = device.region(RegionIndex::CONFIG).unwrap();
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let low_power = device.low_power_until_woken().unwrap();
    assert!(registers.read::<u32>(8).is_err());
    let suspended = suspends(&device);
    assert_eq!(vendor(&config), 0x8086);
    let mut files = [PollFd::new(&low_power, PollFlags::IN)];
    let long = Timespec {
        tv_sec: if suspended { 30 } else { 0 },
        tv_nsec: 0,
    };
    assert_eq!(
        poll(&mut files, Some(&long)).unwrap(),
        usize::from(suspended)
    );
    assert_eq!(low_power.wait(Duration::ZERO).unwrap(), suspended);
    assert!(registers.read::<u32>(8).is_err(), "it is not over yet");
    low_power.exit().unwrap();
    registers.read::<u32>(8).unwrap();
}

/// Whether the function goes into a low-power state, by what the host says.
fn suspends(device: &Device) -> bool {
    let function = device.address().unwrap();
    let status = format!("/sys/bus/pci/devices/{function}/power/runtime_status");
    for _ in 0..100 {
        match std::fs::read_to_string(&status) {
            Ok(status) if status.trim() == "suspended" => return true,
            Ok(_) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                return false;
            }
        }
    }
    false
}
