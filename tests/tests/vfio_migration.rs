//! Migration of VFIO devices: the kernel's sample `mtty`, which has every state.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::io::{Read, Write};
use std::os::fd::AsFd;

use iommufd::{Iommufd, Leaks};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::fork;
use tests::mtty::Mtty;
use vfio::migration::{
    AnyMigration, Migration, MigrationFlags, MigrationState, PreCopied, PreCopy, PreCopyP2p,
    Resuming, Running, RunningP2p, Stop, StopCopy, Unsettled,
};
use vfio::{Error, Feature, FeatureAccess, FeatureError, MediatedDevice, OpenDevice, RegionIndex};

/// What the data of an `mtty` begin with, which does not depend on what it does.
const HEADER: usize = 24;
/// The register of a serial port that is for the user's own use.
const SCRATCH: u64 = 7;

fn device(mtty: &Mtty) -> MediatedDevice {
    mtty.cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap()
}

fn running(device: &OpenDevice) -> Migration<Running> {
    device.migration().unwrap().try_into().unwrap()
}

fn scratch(device: &OpenDevice) -> u8 {
    let registers = device.region(RegionIndex::BAR0).unwrap();
    registers.read(SCRATCH).unwrap()
}

fn set_scratch(device: &OpenDevice, value: u8) {
    let registers = device.region(RegionIndex::BAR0).unwrap();
    registers.write(SCRATCH, value).unwrap();
}

#[track_caller]
fn feature_error<T>(result: Result<T, Error>) -> FeatureError {
    match result {
        Err(Error::Feature(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it succeeded"),
    }
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn the_state_of_one_device_goes_into_another() {
    let mut data = Vec::new();
    {
        let mtty = Mtty::new();
        let source = device(&mtty);
        set_scratch(&source, 0xa5);
        let mut saving = running(&source).enter::<StopCopy>().unwrap();
        saving.read_to_end(&mut data).unwrap();
        assert_eq!(
            saving.read(&mut [0; 8]).unwrap(),
            0,
            "the end stays the end"
        );
        assert_eq!(saving.data_size().unwrap(), data.len() as u64);
        drop(saving.enter::<Running>().unwrap());
        source.try_close().unwrap();
    }
    let mtty = Mtty::new();
    let destination = device(&mtty);
    assert_eq!(scratch(&destination), 0);
    let mut loading = running(&destination).enter::<Resuming>().unwrap();
    // In pieces that are none of those in which they were read.
    for piece in data.chunks(7) {
        loading.write_all(piece).unwrap();
    }
    assert_eq!(scratch(&destination), 0, "it is not used yet");
    let running = loading.enter::<Running>().unwrap();
    assert_eq!(scratch(&destination), 0xa5);
    drop(running);
    destination.try_close().unwrap();
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_device_that_runs_is_read_by_the_same_stream_that_is_read_when_it_is_stopped() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let mut saving = running(&device).enter::<PreCopy>().unwrap();
    let info = saving.info().unwrap();
    assert_eq!((info.initial_bytes, info.dirty_bytes), (HEADER as u64, 0));
    assert_eq!(info.new_initial_data, None, "nobody asked for it");

    let mut early = [0; 100];
    assert_eq!(saving.read(&mut []).unwrap(), PreCopied::Data(0));
    assert_eq!(saving.read(&mut early).unwrap(), PreCopied::Data(HEADER));
    assert_eq!(saving.read(&mut early).unwrap(), PreCopied::EndForNow);
    assert_eq!(saving.info().unwrap().initial_bytes, 0);

    saving.announce_new_initial_data().unwrap();
    assert_eq!(saving.info().unwrap().new_initial_data, Some(false));

    // It goes on running.
    set_scratch(&device, 0x3c);
    let mut quiet = saving.enter::<PreCopyP2p>().unwrap();
    assert_eq!(quiet.read(&mut early).unwrap(), PreCopied::EndForNow);
    let saving = quiet.enter::<PreCopy>().unwrap();
    let mut saving = saving.enter::<StopCopy>().unwrap();
    let mut late = Vec::new();
    saving.read_to_end(&mut late).unwrap();
    let size = usize::try_from(saving.data_size().unwrap()).unwrap();
    assert_eq!(HEADER + late.len(), size);
    assert!(late.contains(&0x3c));

    // The whole of it is what the device takes.
    let mut loading = saving.enter::<Resuming>().unwrap();
    set_scratch(&device, 0);
    loading.write_all(&early[..HEADER]).unwrap();
    loading.write_all(&late).unwrap();
    drop(loading.enter::<Stop>().unwrap().enter::<Running>().unwrap());
    assert_eq!(scratch(&device), 0x3c);
}

/// Every way there is, as the types have it: the kernel knows no fewer.
#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn the_kernel_goes_every_way_that_compiles() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let mut complete = Vec::new();
    let mut saving = running(&device).enter::<StopCopy>().unwrap();
    saving.read_to_end(&mut complete).unwrap();
    let mut at = saving.enter::<Running>().unwrap();

    /// From `Running` by way of each state to each other, and back.
    macro_rules! ways {
        ($($from:ident -> $($to:ident)+;)+) => {
            $($(
                let from = ways!(@filled $from at.enter::<$from>().unwrap());
                let to = ways!(@filled $to from.enter::<$to>().unwrap());
                at = to.enter::<Running>().unwrap();
            )+)+
        };
        // The way out of `Resuming` asks for all of the data.
        (@filled Resuming $migration:expr) => {{
            let mut loading = $migration;
            loading.write_all(&complete).unwrap();
            loading
        }};
        (@filled $other:ident $migration:expr) => { $migration };
    }

    ways! {
        RunningP2p -> Stop StopCopy Resuming PreCopy PreCopyP2p;
        Stop -> RunningP2p StopCopy Resuming PreCopy PreCopyP2p;
        StopCopy -> RunningP2p Stop Resuming;
        Resuming -> RunningP2p Stop StopCopy PreCopy PreCopyP2p;
        PreCopy -> RunningP2p Stop StopCopy Resuming PreCopyP2p;
        PreCopyP2p -> RunningP2p Stop StopCopy Resuming PreCopy;
    }
    drop(at);
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn data_that_are_incomplete_can_be_completed_after_the_refusal() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    set_scratch(&device, 0x77);
    let mut data = Vec::new();
    let mut saving = running(&device).enter::<StopCopy>().unwrap();
    saving.read_to_end(&mut data).unwrap();
    let mut loading = saving.enter::<Resuming>().unwrap();
    set_scratch(&device, 0);

    let (first, rest) = data.split_at(data.len() - 5);
    loading.write_all(first).unwrap();
    let failed = loading.enter::<Running>().unwrap_err();
    assert_eq!(failed.error().errno(), Some(Errno::INVAL));
    assert_eq!(failed.state(), Some(MigrationState::Resuming));
    let text = failed.to_string();
    assert!(text.contains("incomplete"), "{text}");
    assert!(text.ends_with("in the migration state RESUMING"), "{text}");

    // The stream is where it was.
    let mut loading: Migration<Resuming> = failed.into_migration().try_into().unwrap();
    loading.write_all(rest).unwrap();
    drop(loading.enter::<Running>().unwrap());
    assert_eq!(scratch(&device), 0x77);
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn data_of_another_kind_of_device_are_refused_and_given_up_by_a_reset() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let mut loading = running(&device).enter::<Resuming>().unwrap();
    let refused = loading.write_all(&[0; HEADER]).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::FAULT.raw_os_error()));
    let failed = loading.enter::<Stop>().unwrap_err();
    let (migration, error) = failed.into_parts();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    let running = migration.reset().unwrap();
    drop(running);
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_device_that_is_being_migrated_is_reset_by_its_migration_alone() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let running = running(&device);
    // The state stays what it is.
    device.reset().unwrap();
    let saving = running.enter::<PreCopy>().unwrap();
    assert_eq!(feature_error(device.reset()), FeatureError::Migrating);
    let stale = saving.as_fd().try_clone_to_owned().unwrap();
    let running = saving.reset().unwrap();
    // Who has a duplicate of the stream gets no more from it.
    assert_eq!(rustix::io::read(&stale, &mut [0; 8]), Err(Errno::NODEV));
    device.reset().unwrap();
    drop(running);
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn there_is_one_migration_at_a_time_and_the_next_finds_the_state() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let stopped = running(&device).enter::<Stop>().unwrap();
    let taken = FeatureError::Taken(vfio::Guarded::Migration);
    assert_eq!(feature_error(device.migration()), taken);
    assert_eq!(device.holders().features, 1);
    drop(stopped);
    // Nobody has the state in a type.
    let found = device.migration().unwrap();
    assert_eq!(found.state(), Some(MigrationState::Stop));
    assert_eq!(
        found.flags(),
        MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY
    );
    let stopped: Migration<Stop> = found.try_into().unwrap();

    // A stream that is closed is lost: its state is one that no type has.
    drop(stopped.enter::<StopCopy>().unwrap());
    let AnyMigration::Unsettled(lost) = device.migration().unwrap() else {
        panic!("there is no stream");
    };
    assert_eq!(lost.reported(), Some(3));
    let lost: Migration<Unsettled> = lost.ask().try_into().unwrap();
    let running = lost.enter::<Running>().unwrap();

    // The kernel's sample would follow a null pointer if the file were closed, and this state left then.
    drop(running.enter::<Resuming>().unwrap());
    let lost: Migration<Unsettled> = device.migration().unwrap().try_into().unwrap();
    assert_eq!(lost.reported(), Some(4));
    let (lost, error) = lost.enter::<Stop>().unwrap_err().into_parts();
    let abandoned = FeatureError::DataAbandoned;
    assert_eq!(feature_error(Err::<(), _>(error)), abandoned);
    drop(lost.reset().unwrap());
    device.try_close().unwrap();
}

/// The kernel changes the state first, and opens the file then.
#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_stream_that_there_is_no_room_for_is_told_with_the_state_that_was_reached() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let running = running(&device);
    let failed = without_more_files(|| running.enter::<StopCopy>()).unwrap_err();
    assert_eq!(failed.error().errno(), Some(Errno::MFILE));
    let AnyMigration::Unsettled(lost) = failed.into_migration() else {
        panic!("there is no stream");
    };
    assert_eq!(lost.reported(), Some(3));
    let running = lost.enter::<Running>().unwrap();
    let mut saving = running.enter::<StopCopy>().unwrap();
    let mut data = Vec::new();
    saving.read_to_end(&mut data).unwrap();
    assert_eq!(data.len() as u64, saving.data_size().unwrap());
    drop(saving.reset().unwrap());
}

/// Does `act` while no file can be opened.
fn without_more_files<T>(act: impl FnOnce() -> T) -> T {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let result = act();
    setrlimit(Resource::Nofile, limit).unwrap();
    result
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_migration_holds_the_device_and_goes_with_it_in_any_order() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let device = mtty.cdev().bind_mediated(&iommufd).unwrap();
    let mut saving = running(&device).enter::<StopCopy>().unwrap();
    let refused = device.try_close().unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("1 feature in use"), "{text}");
    drop(refused);
    // The device has no other handle.
    let mut data = Vec::new();
    saving.read_to_end(&mut data).unwrap();
    drop(saving.enter::<Running>().unwrap());
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn no_stream_stays_open_whatever_way_its_state_is_left() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let saving = running(&device).enter::<PreCopy>().unwrap();
    assert_eq!(open(), before + 1);
    let saving = saving.enter::<StopCopy>().unwrap();
    assert_eq!(open(), before + 1);
    let loading = saving.enter::<Resuming>().unwrap();
    assert_eq!(open(), before + 1);
    // Refused, as there are no data.
    let failed = loading.enter::<Stop>().unwrap_err();
    assert_eq!(open(), before + 1);
    let running = failed.into_migration().reset().unwrap();
    assert_eq!(open(), before);
    drop(running.enter::<StopCopy>().unwrap());
    assert_eq!(open(), before);
    drop(device.migration().unwrap().reset().unwrap());
    assert_eq!(open(), before);
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_child_of_a_fork_reads_nothing_of_its_parents_stream() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let mut saving = running(&device).enter::<StopCopy>().unwrap();
    fork::in_child(|| {
        let read = saving.read(&mut [0; 8]);
        assert!(matches!(read, Err(error) if error.to_string().contains("fork")));
        let size = saving.data_size();
        assert!(matches!(size, Err(Error::Iommufd(iommufd::Error::Forked))));
    });
    let mut data = Vec::new();
    saving.read_to_end(&mut data).unwrap();
    assert_eq!(data.len() as u64, saving.data_size().unwrap());
    drop(saving.enter::<Running>().unwrap());
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn what_a_migratable_device_has_is_found_by_probing() {
    let mtty = Mtty::new();
    let device = device(&mtty);
    let access = |feature| device.feature_access(feature).unwrap();
    let (get, set) = (FeatureAccess::GET, FeatureAccess::SET);
    let nothing = FeatureAccess::empty();
    for (feature, expected) in [
        (Feature::Migration, get),
        (Feature::MigrationState, get | set),
        (Feature::MigrationDataSize, get),
        (Feature::PreCopyInfoV2, set),
        (Feature::DmaLogging, set),
        (Feature::DmaLoggingStop, set),
        (Feature::DmaLoggingReport, get),
        (Feature::LowPower, nothing),
        (Feature::VfToken, nothing),
        (Feature::BusMaster, nothing),
        (Feature::ZpciError, nothing),
    ] {
        assert_eq!(access(feature), expected, "{feature}");
        assert_eq!(device.has_feature(feature).unwrap(), !expected.is_empty());
    }
}
