//! Resets of one function, and of all on a bus: what they do, and what goes on across them.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use examples::edu::BUFFER_LEN;
use iommufd::{Access, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::edu::{
    Rig, Unheard, attached, bind, card, contents, device, igb, lone, memory_with, pair,
};
use tests::igb::{Igb, STATUS};
use tests::mtty::Mtty;
use tests::virtual_functions::VirtualFunctions;
use vfio::{
    Device, DeviceFlags, Error, FunctionOwner, PciAddress, RegionIndex, Result, Revocation,
};

const BAR: RegionIndex = RegionIndex::BAR0;
const LONG: Duration = Duration::from_secs(30);
/// The command register.
const COMMAND: u64 = 4;

fn functions(device: &Device) -> Vec<(PciAddress, FunctionOwner)> {
    let scope = device.hot_reset_scope().unwrap();
    let functions = scope.functions().iter();
    functions
        .map(|function| (function.address, function.owner))
        .collect()
}

/// Ends what other threads do, also when this one fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Resets again and again as long as another reset, or an access by system call, is in the way.
fn insistently(mut reset: impl FnMut() -> Result<()>) {
    let begin = Instant::now();
    loop {
        match reset() {
            Err(error) if matches!(error.errno(), Some(Errno::BUSY | Errno::AGAIN)) => {
                assert!(begin.elapsed() < LONG, "{error}");
                thread::yield_now();
            }
            done => return done.unwrap(),
        }
    }
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_reset_is_of_the_registers_and_leaves_all_else_as_it_was() {
    let (device, attachment) = attached(igb());
    let card = Igb::new(&device);
    let interrupts = device.msix(3).unwrap();
    let config = device.config().unwrap();
    let before: u16 = config.read(COMMAND).unwrap();
    for hot in [false, true] {
        assert!(card.is_set_up());
        match hot {
            false => device.reset().unwrap(),
            true => device.hot_reset(&[]).unwrap(),
        }
        assert!(!card.is_set_up(), "the registers are as they were");
        assert_eq!(config.read::<u16>(COMMAND).unwrap(), before);
        // Interrupts are enabled as they were, but what the device makes of them is not.
        assert_eq!(interrupts.vector(2).unwrap().take().unwrap(), None);
        card.set_up();
        for vector in interrupts.vectors() {
            card.raise(vector.number());
            assert_eq!(vector.wait(LONG).unwrap(), Some(1), "{vector:?}");
        }
    }
    interrupts.disable().unwrap();
    // It is attached still, and goes as any other.
    assert!(device.holders().attached);
    drop((card, config));
    attachment.detach().unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn what_a_hot_reset_takes_with_it_is_told() {
    let device = device(igb());
    assert_eq!(functions(&device), [(igb(), FunctionOwner::Bound)]);
    assert!(device.hot_reset_scope().unwrap().is_owned());

    // On the root bus there is nothing to reset.
    for address in [lone(), pair()[1]] {
        let edu = tests::edu::device(address);
        assert!(!edu.info().unwrap().flags.contains(DeviceFlags::RESET));
        for refused in [edu.hot_reset_scope().map(drop), edu.hot_reset(&[])] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.errno(), Some(Errno::NODEV));
            assert!(refused.to_string().contains("below a bridge"), "{refused}");
        }
    }

    let mtty = Mtty::new();
    let mediated = mtty
        .cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap();
    // It is on no bus, and is reset alone.
    mediated.reset().unwrap();
    mediated.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_card_is_reset_as_a_whole_by_who_has_all_of_it() {
    let [one, two] = card();
    let iommufd = Iommufd::open().unwrap();
    let first = bind(one, &iommufd);
    // Nobody else's, as it is in the group of the first; but bound to no VFIO driver, or not.
    drop(tests::edu::cdev(two));
    assert_eq!(
        functions(&first),
        [(one, FunctionOwner::Bound), (two, FunctionOwner::Group)]
    );
    first.hot_reset(&[]).unwrap();

    let second = bind(two, &iommufd);
    assert_eq!(
        functions(&first),
        [(one, FunctionOwner::Bound), (two, FunctionOwner::Bound)]
    );
    assert_eq!(
        first.hot_reset_scope().unwrap(),
        second.hot_reset_scope().unwrap()
    );
    let scope = first.hot_reset_scope().unwrap();
    let keys = [&first, &second].map(|device| Some(device.iommu().key()));
    assert_eq!(
        scope
            .functions()
            .iter()
            .map(|function| function.device)
            .collect::<Vec<_>>(),
        keys
    );
    let refused = first.hot_reset(&[]).unwrap_err();
    assert!(
        matches!(&refused, Error::HotResetUnnamed { functions, .. } if *functions == [two]),
        "{refused}"
    );
    // Twice is once, and a device that is not on the bus stays as it is.
    let elsewhere = bind(lone(), &iommufd);
    assert_eq!(
        [&first, &second, &elsewhere].map(|device| scope.includes(device)),
        [true, true, false]
    );
    let registers = elsewhere.map_bar(BAR).unwrap();
    registers.write(COMMAND, 5_u32).unwrap();
    first.hot_reset(&[&second, &elsewhere, &first]).unwrap();
    second.hot_reset(&[&first]).unwrap();
    assert_eq!(registers.read::<u32>(COMMAND).unwrap(), !5);

    // Another context's devices are no answer, whatever their ids there.
    let other = Iommufd::open().unwrap();
    let strangers = [bind(pair()[0], &other), bind(pair()[1], &other)];
    let refused = first
        .hot_reset(&[&strangers[0], &strangers[1]])
        .unwrap_err();
    assert!(
        matches!(refused, Error::HotResetUnnamed { .. }),
        "{refused}"
    );
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_hot_reset_that_would_reset_what_is_somebody_elses_is_refused() {
    let (device, _attachment) = attached(igb());
    let card = Igb::new(&device);
    let virtual_functions = VirtualFunctions::one_of(igb());
    // It is nobody's, but in a group of its own: whoever wants it can have it.
    let found = functions(&device);
    assert_eq!(found[0], (igb(), FunctionOwner::Bound));
    let [(_, FunctionOwner::Bound), (other, FunctionOwner::Other)] = found[..] else {
        panic!("{found:?}");
    };
    assert!(!device.hot_reset_scope().unwrap().is_owned());
    let refused = device.hot_reset(&[]).unwrap_err();
    assert!(
        matches!(&refused, Error::HotResetNotOwned { functions, .. } if *functions == [other]),
        "{refused}"
    );
    assert!(
        refused.to_string().contains(&other.to_string()),
        "{refused}"
    );
    assert!(card.is_set_up(), "nothing was reset");
    drop(virtual_functions);
    assert_eq!(functions(&device).len(), 1);
    device.hot_reset(&[]).unwrap();
    assert!(!card.is_set_up());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_card_works_again_after_a_hot_reset_without_being_attached_anew() {
    let [one, two] = card();
    let (iommufd, recorder) = tests::observe::Recorder::context();
    let rig = Rig::within(one, &iommufd, recorder);
    let second = bind(two, &iommufd);
    let memory = memory_with(&[0; 2 * BUFFER_LEN]);
    let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
    for _ in 0..2 {
        rig.copies_through(&memory, mapping.iova());
        rig.device.hot_reset(&[&second]).unwrap();
        rig.copies_through(&memory, mapping.iova());
    }
    mapping.unmap().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_transfer_that_a_reset_meets_reaches_what_is_mapped_or_nothing() {
    let [one, two] = card();
    let iommufd = Iommufd::open().unwrap();
    let (first, second) = (bind(one, &iommufd), bind(two, &iommufd));
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = first.attach(&ioas).unwrap();
    let memory = memory_with(&[0; BUFFER_LEN]);
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    let engine = Unheard::new(&first);
    engine.start_fetch(mapping.iova(), BUFFER_LEN);
    engine.wait_until_idle();
    let before = vec![7; BUFFER_LEN];
    for _ in 0..3 {
        memory.write_bytes(0, &before).unwrap();
        engine.start_store(mapping.iova(), BUFFER_LEN);
        first.hot_reset(&[&second]).unwrap();
        // QEMU's engine knows of no reset: it goes on.
        engine.wait_until_idle();
        let seen = contents(&memory);
        assert!(seen == before || seen == vec![0; BUFFER_LEN], "half of it");
    }
    // The engine works as before, and so does the address space.
    memory.write_bytes(0, &before).unwrap();
    engine.start_store(mapping.iova(), BUFFER_LEN);
    engine.wait_until_idle();
    assert!(contents(&memory) == vec![0; BUFFER_LEN]);
    drop(engine);
    mapping.unmap().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn registers_are_accessed_by_others_while_all_is_reset() {
    let iommufd = Iommufd::open().unwrap();
    let [first, second] = card().map(|address| bind(address, &iommufd));
    let bars = [&first, &second].map(|device| device.map_bar(BAR).unwrap());
    let region = second.region(BAR).unwrap();
    let (stop, refused, answered) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for bar in &bars {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    match bar.read::<u32>(0) {
                        // No other answer: neither a signal, nor what a bus says that is not there.
                        Ok(value) => {
                            assert_eq!(value & 0xffff, 0xed);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let cause = Revocation::Reset;
                            assert!(
                                matches!(error, Error::Revoked { cause: found, .. } if found == cause),
                                "{error}"
                            );
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(region.read::<u32>(0).unwrap() & 0xffff, 0xed);
                // The kernel resets nothing while it reads: it gets a chance to.
                thread::sleep(Duration::from_micros(200));
            }
        });
        for _ in 0..4 {
            insistently(|| first.hot_reset(&[&second]));
            insistently(|| second.hot_reset(&[&first]));
            let before = answered.load(Ordering::Relaxed);
            let begin = Instant::now();
            while answered.load(Ordering::Relaxed) == before {
                assert!(begin.elapsed() < LONG);
                thread::yield_now();
            }
        }
    });
    assert_ne!(refused.into_inner(), 0);
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn interrupts_and_registers_are_used_by_others_while_the_function_is_reset() {
    let (device, attachment) = attached(igb());
    let card = Igb::new(&device);
    let interrupts = device.msix(2).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                match card.registers().read::<u32>(STATUS) {
                    Ok(value) => assert_ne!(value, u32::MAX),
                    Err(error) => assert!(matches!(error, Error::Revoked { .. }), "{error}"),
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                interrupts.trigger(1).unwrap();
                let fired = interrupts.vector(1).unwrap().wait(LONG).unwrap();
                assert!(fired.is_some());
            }
        });
        for _ in 0..5 {
            insistently(|| device.reset());
            insistently(|| device.hot_reset(&[]));
        }
    });
    card.set_up();
    device.config().unwrap().enable_bus_master().unwrap();
    card.raise(0);
    assert_eq!(interrupts.vector(0).unwrap().wait(LONG).unwrap(), Some(1));
    drop((card, interrupts, attachment));
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn who_holds_an_access_of_what_would_be_reset_is_told_to_drop_it() {
    let iommufd = Iommufd::open().unwrap();
    let [first, second] = card().map(|address| bind(address, &iommufd));
    let bar = second.map_bar(BAR).unwrap();
    let access = bar.access().unwrap();
    let refused = first.hot_reset(&[&second]).unwrap_err();
    assert!(matches!(refused, Error::AccessHeld), "{refused}");
    // What was closed before that one is open again.
    first.map_bar(BAR).unwrap().read::<u32>(0).unwrap();
    drop(access);
    first.hot_reset(&[&second]).unwrap();
    bar.read::<u32>(0).unwrap();
}
