//! Mapped registers that are taken away in an orderly way: an error, never a signal.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tests::edu::{assert_free, device, igb, lone};
use tests::fork::in_child;
use vfio::{BarMapping, CapabilityId, ConfigSpace, Device, Error, RegionIndex, Result, Revocation};

/// The command register, and of it: memory decoding.
const COMMAND: u64 = 4;
const MEMORY: u16 = 1 << 1;
/// The state register of an `igb`.
const IGB_STATUS: u64 = 8;

#[track_caller]
fn revoked<T: std::fmt::Debug>(answer: Result<T>, by: Revocation) {
    match answer {
        Err(Error::Revoked { cause, .. }) if cause == by => {}
        answer => panic!("{answer:?}"),
    }
}

fn command_without_memory(config: &ConfigSpace) -> u16 {
    config.read::<u16>(COMMAND).unwrap() & !MEMORY
}

/// The place of a capability's register.
fn at(config: &ConfigSpace, id: CapabilityId, register: u64) -> u64 {
    config.find(id).unwrap().unwrap() + register
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn registers_whose_decoding_is_off_answer_with_an_error_until_it_is_on_again() {
    let edu = device(lone());
    let (config, mapped) = (
        edu.config().unwrap(),
        edu.map_bar(RegionIndex::BAR0).unwrap(),
    );
    let raw = edu.region(RegionIndex::CONFIG).unwrap();
    let off = command_without_memory(&config);
    let first = mapped.read::<u32>(0).unwrap();
    let ways: [&dyn Fn() -> Result<()>; 5] = [
        &|| config.write(COMMAND, off),
        &|| config.write(COMMAND, u32::from(off)),
        &|| raw.write(COMMAND, off.to_le_bytes()[0]),
        &|| raw.write_bytes(COMMAND - 1, &[0, off.to_le_bytes()[0]]),
        &|| edu.clone().config()?.write(COMMAND, off),
    ];
    for (way, switch_off) in ways.iter().enumerate() {
        switch_off().unwrap();
        revoked(mapped.read::<u32>(0), Revocation::MemoryDecode);
        revoked(mapped.write(4, 0_u32), Revocation::MemoryDecode);
        revoked(mapped.load_acquire::<u64>(0x98), Revocation::MemoryDecode);
        revoked(mapped.store_release(4, 0_u32), Revocation::MemoryDecode);
        revoked(mapped.read_bytes(0, &mut [0; 16]), Revocation::MemoryDecode);
        revoked(mapped.write_bytes(4, &[0; 4]), Revocation::MemoryDecode);
        revoked(mapped.access(), Revocation::MemoryDecode);
        // A second mapping of the same registers, too; and by system call the kernel says it.
        let another = edu.map_bar(RegionIndex::BAR0).unwrap();
        revoked(another.read::<u32>(0), Revocation::MemoryDecode);
        let by_call = edu.region(RegionIndex::BAR0).unwrap().read::<u32>(0);
        assert_eq!(by_call.unwrap_err().errno(), Some(Errno::IO), "way {way}");
        // A register nearby changes nothing.
        config.write(0x0c, 0_u8).unwrap();
        revoked(mapped.read::<u32>(0), Revocation::MemoryDecode);

        config.write(COMMAND, off | MEMORY).unwrap();
        assert_eq!(mapped.read::<u32>(0).unwrap(), first, "way {way}");
        assert_eq!(mapped.access().unwrap().read::<u32>(0).unwrap(), first);
    }
    drop((config, mapped, raw));
    edu.try_close().unwrap();
}

/// Reads registers as fast as it can until it is told to stop: one by one, and several at once.
/// Whatever was read must be right. Returns how often it was refused.
fn hammer(registers: &BarMapping, offset: u64, right: u32, stop: &AtomicBool) -> (u64, u64) {
    let (mut read, mut refused) = (0, 0);
    let mut take = |answer: Result<u32>| match answer {
        Ok(value) => {
            assert_eq!(value, right);
            read += 1;
        }
        Err(Error::Revoked { .. }) => refused += 1,
        Err(error) => panic!("{error}"),
    };
    while !stop.load(Ordering::Relaxed) {
        take(registers.read(offset));
        match registers.access() {
            Ok(access) => {
                take(access.read(offset));
                thread::yield_now();
                take(access.read(offset));
            }
            Err(error) => take(Err(error)),
        }
        thread::yield_now();
    }
    (read, refused)
}

/// Does `revoke` while three threads access registers; both ends must have been seen.
fn under_fire(registers: &BarMapping, offset: u64, mut revoke: impl FnMut()) {
    let right = registers.read(offset).unwrap();
    let stop = AtomicBool::new(false);
    let (read, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (some, others) = hammer(registers, offset, right, &stop);
                read.fetch_add(some, Ordering::Relaxed);
                refused.fetch_add(others, Ordering::Relaxed);
            });
        }
        revoke();
        stop.store(true, Ordering::Relaxed);
    });
    assert!(read.into_inner() > 0);
    assert!(refused.into_inner() > 0);
    assert_eq!(registers.read::<u32>(offset).unwrap(), right);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn threads_that_access_registers_survive_that_they_are_taken_away() {
    let edu = device(lone());
    let config = edu.config().unwrap();
    let registers = edu.map_bar(RegionIndex::BAR0).unwrap();
    let off = command_without_memory(&config);
    under_fire(&registers, 0, || {
        for _ in 0..40 {
            config.write(COMMAND, off).unwrap();
            thread::sleep(Duration::from_millis(1));
            config.write(COMMAND, off | MEMORY).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn threads_that_switch_against_each_other_leave_what_the_last_has_made_of_it() {
    let edu = device(lone());
    let config = edu.config().unwrap();
    let registers = edu.map_bar(RegionIndex::BAR0).unwrap();
    let off = command_without_memory(&config);
    for _ in 0..20 {
        thread::scope(|scope| {
            for command in [off, off | MEMORY, off, off | MEMORY] {
                let config = config.clone();
                scope.spawn(move || config.write(COMMAND, command).unwrap());
            }
        });
        // The gate stands as the function does: no signal, and no refusal that is out of date.
        match config.read::<u16>(COMMAND).unwrap() & MEMORY {
            0 => revoked(registers.read::<u32>(0), Revocation::MemoryDecode),
            _ => drop(registers.read::<u32>(0).unwrap()),
        }
    }
    config.write(COMMAND, off | MEMORY).unwrap();
    registers.read::<u32>(0).unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn threads_that_access_registers_survive_resets() {
    let igb = device(igb());
    let registers = igb.map_bar(RegionIndex::BAR0).unwrap();
    // The high half of the permanent address, which no reset changes.
    const ADDRESS_HIGH: u64 = 0x5404;
    igb.reset().unwrap();
    under_fire(&registers, ADDRESS_HIGH, || {
        for _ in 0..3 {
            igb.reset().unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        let config = igb.config().unwrap();
        let control = at(&config, CapabilityId::PCI_EXPRESS, 8);
        let now = config.read::<u16>(control).unwrap();
        config.write(control, now | 1 << 15).unwrap();
        thread::sleep(Duration::from_millis(5));
    });
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_function_in_d3_has_no_registers_until_it_is_back_in_d0() {
    let igb = device(igb());
    let registers = igb.map_bar(RegionIndex::BAR0).unwrap();
    let config = igb.config().unwrap();
    let control = at(&config, CapabilityId::POWER_MANAGEMENT, 4);
    let state = config.read::<u16>(control).unwrap() & !3;
    for by_reset in [false, true] {
        registers.read::<u32>(IGB_STATUS).unwrap();
        config.write(control, state | 3).unwrap();
        revoked(registers.read::<u32>(IGB_STATUS), Revocation::PowerState);
        match by_reset {
            false => config.write(control, state).unwrap(),
            true => igb.reset().unwrap(),
        }
        assert_eq!(config.read::<u16>(control).unwrap() & 3, 0);
        registers.read::<u32>(IGB_STATUS).unwrap();
    }
    // Both off: both have to come back.
    let command = config.read::<u16>(COMMAND).unwrap();
    config.write(COMMAND, command & !MEMORY).unwrap();
    config.write(control, state | 3).unwrap();
    revoked(registers.read::<u32>(IGB_STATUS), Revocation::PowerState);
    config.write(control, state).unwrap();
    revoked(registers.read::<u32>(IGB_STATUS), Revocation::MemoryDecode);
    config.write(COMMAND, command | MEMORY).unwrap();
    registers.read::<u32>(IGB_STATUS).unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_revokes_waits_for_an_access_that_is_held_and_a_thread_not_for_itself() {
    let igb = device(igb());
    let registers = igb.map_bar(RegionIndex::BAR0).unwrap();
    let config = igb.config().unwrap();
    let command = config.read::<u16>(COMMAND).unwrap();
    let access = registers.access().unwrap();
    assert!(matches!(igb.reset(), Err(Error::AccessHeld)));
    let off = config.write(COMMAND, command & !MEMORY);
    assert!(matches!(off, Err(Error::AccessHeld)), "{off:?}");
    // Neither was begun.
    assert_eq!(config.read::<u16>(COMMAND).unwrap(), command);
    access.read::<u32>(IGB_STATUS).unwrap();
    // Another device's are no hindrance.
    let edu = device(lone());
    let edu_config = edu.config().unwrap();
    let of_edu = edu_config.read::<u16>(COMMAND).unwrap();
    edu_config.write(COMMAND, of_edu & !MEMORY).unwrap();
    edu_config.write(COMMAND, of_edu | MEMORY).unwrap();

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            igb.reset().unwrap();
            done.store(true, Ordering::Release);
        });
        // From here on the reset waits.
        while registers.read::<u32>(IGB_STATUS).is_ok() {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(50));
        assert!(!done.load(Ordering::Acquire));
        access.read::<u32>(IGB_STATUS).unwrap();
        drop(access);
    });
    assert!(done.load(Ordering::Acquire));
    registers.read::<u32>(IGB_STATUS).unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_reset_that_cannot_be_takes_nothing_away() {
    let edu: Device = device(lone());
    let registers = edu.map_bar(RegionIndex::BAR0).unwrap();
    assert_eq!(edu.reset().unwrap_err().errno(), Some(Errno::INVAL));
    registers.read::<u32>(0).unwrap();
    drop(registers);
    edu.try_close().unwrap();
    assert_free(lone());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_child_of_a_fork_accesses_nothing_and_gives_nothing_back() {
    let igb = device(igb());
    let registers = igb.map_bar(RegionIndex::BAR0).unwrap();
    let config = igb.config().unwrap();
    let held = Cell::new(Some(registers.access().unwrap()));
    let forked = |error: Error| matches!(error, Error::Iommufd(iommufd::Error::Forked));
    thread::scope(|scope| {
        // Whoever waits for an access has what it waits by locked, as far as the child can see.
        let reset = scope.spawn(|| igb.reset());
        while registers.read::<u32>(IGB_STATUS).is_ok() {
            thread::yield_now();
        }
        in_child(|| {
            assert!(forked(registers.read::<u32>(IGB_STATUS).unwrap_err()));
            assert!(forked(registers.access().map(drop).unwrap_err()));
            assert!(forked(igb.reset().unwrap_err()));
            assert!(forked(config.disable_memory_decode().unwrap_err()));
            let access = held.take().unwrap();
            assert!(forked(access.read::<u32>(IGB_STATUS).unwrap_err()));
            drop(access);
        });
        assert!(!reset.is_finished());
        drop(held.take());
        reset.join().unwrap().unwrap();
    });
    registers.read::<u32>(IGB_STATUS).unwrap();
}
