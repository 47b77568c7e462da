//! Tests: a device that is sent anywhere, and fails anywhere, is always what its type says.

use rustix::io::Errno;

use super::MigrationState as M;
use super::tests::{Next, kernel};
use super::*;
use crate::error::Error;
use crate::ioctl::script::device;

/// Numbers that look random and are the same each time.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, limit: u64) -> u64 {
        let product = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = product.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn landed<T: State>(result: Result<Migration<T>, TransitionFailed>) -> AnyMigration
where
    Migration<T>: Into<AnyMigration>,
{
    match result {
        Ok(migration) => migration.into(),
        Err(failed) => failed.into_migration(),
    }
}

/// Sends the device to `to` if a way leads there, and resets it if it has failed.
fn step(at: AnyMigration, to: M) -> AnyMigration {
    macro_rules! go {
        ($migration:ident to $($state:ident)+) => {
            match to {
                $(M::$state => landed($migration.enter::<$state>()),)+
                _ => $migration.into(),
            }
        };
    }
    use AnyMigration as A;
    match at {
        A::Running(m) => go!(m to RunningP2p Stop StopCopy Resuming PreCopy PreCopyP2p),
        A::RunningP2p(m) => go!(m to Running Stop StopCopy Resuming PreCopy PreCopyP2p),
        A::Stop(m) => go!(m to Running RunningP2p StopCopy Resuming PreCopy PreCopyP2p),
        A::StopCopy(m) => go!(m to Running RunningP2p Stop Resuming),
        A::Resuming(m) => go!(m to Running RunningP2p Stop StopCopy PreCopy PreCopyP2p),
        A::PreCopy(m) => go!(m to Running RunningP2p Stop StopCopy Resuming PreCopyP2p),
        A::PreCopyP2p(m) => go!(m to Running RunningP2p Stop StopCopy Resuming PreCopy),
        A::Failed(m) => landed(m.reset()),
        A::Unsettled(m) => match to {
            M::Running => landed(m.enter::<Running>()),
            M::Stop => landed(m.enter::<Stop>()),
            M::Failed => landed(m.reset()),
            _ => m.ask(),
        },
    }
}

/// Whether it has a stream that is open.
fn has_stream(at: &AnyMigration) -> bool {
    fn open<S: Streaming>(migration: &Migration<S>) -> bool {
        rustix::fs::fcntl_getfl(migration).is_ok()
    }
    match at {
        AnyMigration::StopCopy(m) => open(m),
        AnyMigration::Resuming(m) => open(m),
        AnyMigration::PreCopy(m) => open(m),
        AnyMigration::PreCopyP2p(m) => open(m),
        _ => false,
    }
}

#[test]
fn wherever_it_is_sent_and_fails_the_type_says_where_it_is() {
    let mut random = Lcg(11);
    let mut seen = [0_u32; 9];
    for _ in 0..200 {
        let (model, _kernel) = kernel(7);
        let device = device();
        let mut at = device.migration().unwrap();
        for _ in 0..50 {
            model.borrow_mut().next = match random.below(8) {
                0 => Next::Fails(Errno::IO, random.below(10) as u32),
                1 => Next::FailsMutely(Errno::NODEV),
                2 => Next::NoFile,
                _ => Next::Done,
            };
            at = step(at, M::ALL[random.below(8) as usize]);
            model.borrow_mut().next = Next::Done;

            let state = at.state();
            seen[state.map_or(8, |state| state.number() as usize)] += 1;
            if let Some(state) = state {
                assert_eq!(model.borrow().state, state.number());
                let streams = matches!(
                    state,
                    M::StopCopy | M::Resuming | M::PreCopy | M::PreCopyP2p
                );
                assert_eq!(has_stream(&at), streams, "{at:?}");
            }
            let runs = state == Some(M::Running);
            match device.reset() {
                Ok(()) => assert!(runs),
                Err(Error::Feature(FeatureError::Migrating)) => assert!(!runs),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(device.holders().features, 1);
        }
        drop(at);
        assert_eq!(device.holders().features, 0);
        device.reset().unwrap();
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}
