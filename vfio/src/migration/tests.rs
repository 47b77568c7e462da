//! Tests: what the kernel is given, byte by byte; and what becomes of a failure, wherever it comes.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::rc::Rc;

use iommufd_sys::ioctl::vfio as nr;
use rustix::io::Errno;

use super::*;
use crate::error::Error;
use crate::ioctl::script::{Asked, answering, device};

const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const ALL: u64 = 7;

/// A device that does as it is told, unless it is to fail.
pub(super) struct Model {
    pub(super) state: u32,
    flags: u64,
    /// What was set.
    asked: Vec<u32>,
    /// What becomes of the next one that is set.
    pub(super) next: Next,
    /// The files that were handed out are of this.
    file: &'static str,
}

pub(super) enum Next {
    Done,
    /// It fails, in this state.
    Fails(Errno, u32),
    /// It fails, and then nobody tells the state.
    FailsMutely(Errno),
    /// It is done, and gives no file.
    NoFile,
}

pub(super) type Shared = Rc<RefCell<Model>>;

pub(super) fn kernel(flags: u64) -> (Shared, impl Drop) {
    let model = Rc::new(RefCell::new(Model {
        state: 2,
        flags,
        asked: Vec::new(),
        next: Next::Done,
        file: "/dev/zero",
    }));
    let shared = Rc::clone(&model);
    (
        model,
        answering(move |asked| shared.borrow_mut().answer(asked)),
    )
}

impl Model {
    fn answer(&mut self, mut asked: Asked<'_>) -> Result<i32, Errno> {
        if asked.ioctl == nr::DEVICE_RESET.describe() {
            self.state = 2;
            return Ok(0);
        }
        assert_eq!(asked.ioctl, nr::DEVICE_FEATURE.describe());
        let flags = asked.u32(4);
        if flags != 12 | SET {
            assert_eq!((asked.u32(0), asked.arg.len()), (16, 16));
        }
        match flags {
            flags if flags == 1 | GET => asked.set(8, &self.flags.to_ne_bytes()),
            flags if flags == 9 | GET => asked.set(8, &0x1_2345_u64.to_ne_bytes()),
            flags if flags == 2 | GET => {
                assert_eq!(asked.u32(12), u32::MAX, "no file");
                if let Next::FailsMutely(errno) = self.next {
                    return Err(errno);
                }
                asked.set(8, &self.state.to_ne_bytes());
            }
            flags if flags == 2 | SET => {
                assert_eq!(asked.u32(12), u32::MAX, "no file");
                return self.set(asked);
            }
            flags => assert_eq!(flags, 12 | SET),
        }
        Ok(0)
    }

    fn set(&mut self, mut asked: Asked<'_>) -> Result<i32, Errno> {
        let to = asked.u32(8);
        self.asked.push(to);
        match self.next {
            Next::Fails(errno, at) => {
                self.state = at;
                self.next = Next::Done;
                return Err(errno);
            }
            Next::FailsMutely(errno) => return Err(errno),
            Next::Done | Next::NoFile => {}
        }
        let saving = |state| matches!(state, 3 | 6 | 7);
        let begins = to == 4 || (saving(to) && !saving(self.state));
        if begins && !matches!(self.next, Next::NoFile) {
            let file = match to {
                4 => File::create("/dev/null"),
                _ => File::open(self.file),
            };
            asked.set(12, &file.unwrap().into_raw_fd().to_ne_bytes());
        }
        self.state = to;
        self.next = Next::Done;
        Ok(0)
    }
}

fn running(device: &OpenDevice) -> Migration<Running> {
    device.migration().unwrap().try_into().unwrap()
}

fn feature_error(error: &Error) -> &FeatureError {
    match error {
        Error::Feature(error) => error,
        error => panic!("{error}"),
    }
}

#[test]
fn a_state_is_one_number_and_a_stream_belongs_to_it() {
    let (model, _kernel) = kernel(ALL);
    let device = device();
    let migration = running(&device);
    assert_eq!(migration.data_size().unwrap(), 0x1_2345);
    let mut saving = migration.enter::<PreCopy>().unwrap();
    let mut buffer = [1; 16];
    assert_eq!(saving.read(&mut buffer).unwrap(), PreCopied::Data(16));
    assert_eq!(buffer, [0; 16]);
    // The same file, all along.
    let file = format!("{:?}", saving.as_fd());
    let saving = saving.enter::<PreCopyP2p>().unwrap();
    let mut saving = saving.enter::<StopCopy>().unwrap();
    assert_eq!(format!("{:?}", saving.as_fd()), file);
    saving.read_exact(&mut buffer).unwrap();
    let stopped = saving.enter::<Stop>().unwrap();
    let mut loading = stopped.enter::<Resuming>().unwrap();
    loading.write_all(&buffer).unwrap();
    loading.flush().unwrap();
    let quiet = loading.enter::<RunningP2p>().unwrap();
    drop(quiet.enter::<Running>().unwrap());
    assert_eq!(model.borrow().asked, [6, 7, 3, 1, 4, 5, 2]);
}

#[test]
fn a_state_that_the_device_has_not_is_refused_before_the_kernel_is_asked() {
    for (flags, early, quiet) in [(1, false, false), (3, false, true), (5, true, false)] {
        let (model, _kernel) = kernel(flags);
        let device = device();
        let migration = running(&device);
        assert_eq!(migration.flags().bits(), flags);
        let migration = match migration.enter::<PreCopy>() {
            Ok(saving) => {
                assert!(early);
                saving.enter::<Running>().unwrap()
            }
            Err(failed) => {
                assert!(!early);
                assert!(matches!(
                    feature_error(failed.error()),
                    FeatureError::NoSuchState {
                        state: MigrationState::PreCopy,
                        ..
                    }
                ));
                failed.into_migration().try_into().unwrap()
            }
        };
        let migration: Migration<Running> = match migration.enter::<RunningP2p>() {
            Ok(migration) => {
                assert!(quiet);
                migration.enter::<Running>().unwrap()
            }
            Err(failed) => failed.into_migration().try_into().unwrap(),
        };
        // It takes both.
        let failed = migration.enter::<PreCopyP2p>().unwrap_err();
        assert_eq!(failed.state(), Some(MigrationState::Running));
        drop(failed);
        let asked = usize::from(early) * 2 + usize::from(quiet) * 2;
        assert_eq!(model.borrow().asked.len(), asked);
    }
}

/// As when a guest resets its function through configuration space while it is copied.
#[test]
fn a_stream_that_begins_anew_is_not_taken_for_the_one_that_was_read() {
    let (model, _kernel) = kernel(ALL);
    let device = device();
    let saving = running(&device).enter::<PreCopy>().unwrap();
    let old = format!("{:?}", saving.as_fd());
    model.borrow_mut().state = 2;
    let failed = saving.enter::<StopCopy>().unwrap_err();
    assert!(matches!(failed.error(), Error::Malformed { .. }));
    assert_eq!(failed.state(), Some(MigrationState::StopCopy));
    // Here it is, from its beginning.
    let saving: Migration<StopCopy> = failed.into_migration().try_into().unwrap();
    assert_ne!(format!("{:?}", saving.as_fd()), old);
}

/// Wherever the device got to: the type is that of the state which the kernel reports, and a stream is
/// there as long as it belongs to that.
#[test]
fn after_a_failure_the_migration_is_what_the_kernel_reports() {
    for reported in 0..12 {
        let (model, _kernel) = kernel(ALL);
        let device = device();
        let saving = running(&device).enter::<PreCopy>().unwrap();
        model.borrow_mut().next = Next::Fails(Errno::IO, reported);
        let failed = saving.enter::<StopCopy>().unwrap_err();
        assert_eq!(failed.error().errno(), Some(Errno::IO));
        let state = failed.state();
        match (failed.into_migration(), reported) {
            (AnyMigration::Failed(_), 0)
            | (AnyMigration::Stop(_), 1)
            | (AnyMigration::Running(_), 2)
            | (AnyMigration::RunningP2p(_), 5) => {}
            (AnyMigration::StopCopy(mut saving), 3) => saving.read_exact(&mut [0; 4]).unwrap(),
            (AnyMigration::PreCopy(mut saving), 6) => {
                assert_eq!(saving.read(&mut [0; 4]).unwrap(), PreCopied::Data(4));
            }
            (AnyMigration::PreCopyP2p(mut saving), 7) => {
                assert_eq!(saving.read(&mut [0; 4]).unwrap(), PreCopied::Data(4));
            }
            // There it would be another stream; and what a newer kernel says, nobody knows.
            (AnyMigration::Unsettled(lost), 4 | 8..) => {
                assert_eq!(lost.reported(), Some(reported));
                assert_eq!(state, None);
            }
            (found, reported) => panic!("{found:?} for {reported}"),
        }
    }
}

#[test]
fn a_state_that_nobody_tells_keeps_the_stream_until_somebody_does() {
    let (model, _kernel) = kernel(ALL);
    let device = device();
    let saving = running(&device).enter::<StopCopy>().unwrap();
    model.borrow_mut().next = Next::FailsMutely(Errno::NODEV);
    let failed = saving.enter::<Running>().unwrap_err();
    assert!(
        failed
            .to_string()
            .ends_with("a migration state that cannot be told")
    );
    let AnyMigration::Unsettled(lost) = failed.into_migration() else {
        panic!("nobody told");
    };
    assert_eq!(lost.reported(), None);
    model.borrow_mut().next = Next::Done;
    let mut saving: Migration<StopCopy> = lost.ask().try_into().unwrap();
    saving.read_exact(&mut [0; 4]).unwrap();
}

#[test]
fn a_stream_that_does_not_come_is_told_with_the_state_that_was_reached() {
    let (model, _kernel) = kernel(ALL);
    let device = device();
    let running = running(&device);
    model.borrow_mut().next = Next::NoFile;
    let failed = running.enter::<Resuming>().unwrap_err();
    assert!(matches!(failed.error(), Error::Malformed { .. }));
    let AnyMigration::Unsettled(lost) = failed.into_migration() else {
        panic!("there is no stream");
    };
    assert_eq!(lost.reported(), Some(4));
    // What it would make of no data, nobody knows.
    let failed = lost.enter::<Running>().unwrap_err();
    assert_eq!(*feature_error(failed.error()), FeatureError::DataAbandoned);
    assert_eq!(model.borrow().asked, [4]);
    drop(failed.into_migration().reset().unwrap());
}

#[test]
fn a_device_that_has_failed_runs_after_a_reset_and_not_before() {
    let (model, _kernel) = kernel(ALL);
    let device = device();
    let running = running(&device);
    model.borrow_mut().next = Next::Fails(Errno::IO, 0);
    let failed = running.enter::<Stop>().unwrap_err();
    let migration: Migration<Failed> = failed.into_migration().try_into().unwrap();
    let refused = device.reset().unwrap_err();
    assert_eq!(*feature_error(&refused), FeatureError::Migrating);
    let running = migration.reset().unwrap();
    device.reset().unwrap();
    drop(running.enter::<Stop>().unwrap());
    // Nobody has it in a type.
    device.reset().unwrap();
    let found = device.migration().unwrap();
    assert_eq!(found.state(), Some(MigrationState::Running));
}

#[test]
fn a_reset_that_is_under_way_is_not_overtaken() {
    let (model, _kernel) = kernel(ALL);
    let device = device();
    let running = running(&device);
    let resetting = device.bound().resets.begin().unwrap();
    let failed = running.enter::<Stop>().unwrap_err();
    assert_eq!(*feature_error(failed.error()), FeatureError::BeingReset);
    let running: Migration<Running> = failed.into_migration().try_into().unwrap();
    drop(resetting);
    drop(running.enter::<Stop>().unwrap());
    assert_eq!(model.borrow().asked, [1]);
}

#[test]
fn a_migration_that_cannot_begin_leaves_nothing() {
    let (model, kernel) = kernel(ALL);
    let device = device();
    model.borrow_mut().next = Next::FailsMutely(Errno::IO);
    assert_eq!(device.migration().unwrap_err().errno(), Some(Errno::IO));
    assert_eq!(device.holders().features, 0);
    device.reset().unwrap();
    drop(kernel);
    let without = answering(|_| Err(Errno::NOTTY));
    let error = device.migration().unwrap_err();
    assert!(matches!(
        feature_error(&error),
        FeatureError::NotThere {
            feature: Feature::Migration
        }
    ));
    drop(without);
}

#[test]
fn new_initial_data_are_read_off_only_where_the_kernel_was_told_to_say_so() {
    let device = device();
    let (model, kernel) = kernel(ALL);
    let mut saving = running(&device).enter::<PreCopy>().unwrap();
    saving.announce_new_initial_data().unwrap();
    let plain = {
        drop(saving.reset().unwrap());
        running(&device).enter::<PreCopyP2p>().unwrap()
    };
    drop((model, kernel));
    let _kernel = answering(|mut asked| match asked.ioctl {
        ioctl if ioctl == nr::MIG_GET_PRECOPY_INFO.describe() => {
            assert_eq!((asked.arg.len(), asked.u32(0), asked.u32(4)), (24, 24, 0));
            asked.set(4, &u32::MAX.to_ne_bytes());
            asked.set(8, &0x1_0000_0002_u64.to_ne_bytes());
            asked.set(16, &3_u64.to_ne_bytes());
            Ok(0)
        }
        _ => Ok(0),
    });
    let info = plain.info().unwrap();
    assert_eq!((info.initial_bytes, info.dirty_bytes), (0x1_0000_0002, 3));
    assert_eq!(info.new_initial_data, None);
    let mut plain = plain;
    plain.announce_new_initial_data().unwrap();
    assert_eq!(plain.info().unwrap().new_initial_data, Some(true));
}

#[test]
fn an_end_for_now_is_none_and_an_empty_buffer_says_nothing() {
    let (model, _kernel) = kernel(ALL);
    model.borrow_mut().file = "/dev/null";
    let device = device();
    let mut saving = running(&device).enter::<PreCopy>().unwrap();
    assert_eq!(saving.read(&mut []).unwrap(), PreCopied::Data(0));
    assert_eq!(saving.read(&mut [0; 4]).unwrap(), PreCopied::EndForNow);
    saving.set_nonblocking(true).unwrap();
    let flags = || rustix::fs::fcntl_getfl(saving.as_fd()).unwrap();
    assert!(flags().contains(rustix::fs::OFlags::NONBLOCK));
    saving.set_nonblocking(false).unwrap();
    assert!(!flags().contains(rustix::fs::OFlags::NONBLOCK));
}

/// The table of `linux/vfio.h`, as the kernel computes it, and the traits: each way once.
#[test]
fn the_ways_are_those_of_the_kernels_table() {
    fn way<S: To<T>, T: State>() -> (Option<MigrationState>, Option<MigrationState>) {
        (S::STATE, T::STATE)
    }
    use MigrationState as M;
    let others = |from: M| {
        M::ALL.into_iter().filter(move |to| {
            let blocked = from == M::StopCopy && matches!(to, M::PreCopy | M::PreCopyP2p);
            *to != from && *to != M::Failed && !blocked
        })
    };
    let kernels: Vec<_> = M::ALL
        .into_iter()
        .filter(|from| *from != M::Failed)
        .flat_map(|from| others(from).map(move |to| (Some(from), Some(to))))
        .collect();
    macro_rules! all {
        ($($from:ident: $($to:ident)+;)+) => { vec![$($(way::<$from, $to>(),)+)+] };
    }
    let mut ours = all! {
        Stop: Running StopCopy Resuming RunningP2p PreCopy PreCopyP2p;
        Running: Stop StopCopy Resuming RunningP2p PreCopy PreCopyP2p;
        StopCopy: Stop Running Resuming RunningP2p;
        Resuming: Stop Running StopCopy RunningP2p PreCopy PreCopyP2p;
        RunningP2p: Stop Running StopCopy Resuming PreCopy PreCopyP2p;
        PreCopy: Stop Running StopCopy Resuming RunningP2p PreCopyP2p;
        PreCopyP2p: Stop Running StopCopy Resuming RunningP2p PreCopy;
    };
    assert_eq!(ours.len(), kernels.len());
    ours.retain(|way| !kernels.contains(way));
    assert_eq!(ours, []);
}

#[test]
fn what_has_the_state_can_be_kept_anywhere() {
    fn can_be_kept<T: Send + Sync + 'static>() {}
    can_be_kept::<Migration<StopCopy>>();
    can_be_kept::<Migration<Unsettled>>();
    can_be_kept::<AnyMigration>();
    can_be_kept::<TransitionFailed>();
    can_be_kept::<crate::DmaLogging>();
    can_be_kept::<crate::LogReadFailed>();
    can_be_kept::<crate::LowPowerUntilWoken>();
}
