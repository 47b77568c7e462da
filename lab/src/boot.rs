//! One boot of the guest: packs its file system, runs QEMU under a time limit, and tells a finished program from a guest
//! that hung, panicked or never started.

use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cache;
use crate::command::{self, command};
use crate::console;
use crate::emulator::{self, End, Limits};
use crate::error::{Doing, Error, Result};
use crate::initramfs::Archive;
use crate::iort;
use crate::machine::{self, Boot, Files, Machine};
use crate::programs;
use crate::progress::{say, span};
use crate::setup::Lab;

const INIT: &str = include_str!("guest/init");
const BIND_VFIO: &str = include_str!("guest/bind-vfio");
const GROUP_DEVICES: &str = include_str!("guest/group-devices");
const WELCOME: &str = include_str!("guest/welcome");

/// How much of the console is shown when a boot fails.
const CONSOLE_LINES: usize = 40;
/// How long the guest may take to come up. It takes a few seconds, and more on a busy host.
const COMES_UP: Duration = Duration::from_secs(120);
/// How often a machine is started again whose guest has not come up.
const RESTARTS: usize = 2;
/// The exit status for a boot that ran into its time limit, as of `timeout`.
const TIMED_OUT: u8 = 124;
/// Where the files of the last boot are kept whose machine stood still, in the directory of all boots.
pub(crate) const STOOD_STILL: &str = "stood-still";
/// The end of what QEMU always says, as the network card has no network.
const UNPLUGGED: &str = "has no peer";

/// Whether a person sees the output, and may like it coloured. In the guest every output is a terminal.
pub(crate) fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// What the guest is to do.
#[derive(Debug)]
pub(crate) struct Job {
    /// The machine to do it on.
    pub(crate) machine: &'static Machine,
    /// Programs of the host, by the names they get below `/lab/bin` in the guest.
    pub(crate) programs: Vec<(String, PathBuf)>,
    /// Lines for the guest's init, which has `lab_run`, `lab_test` and `lab_shell` for them.
    pub(crate) script: String,
    /// Whether a person is at it.
    pub(crate) interactive: bool,
    /// The time limit.
    pub(crate) timeout: Duration,
    /// For how long a guest whose programs all have time limits of their own can print nothing. After that it stands still.
    pub(crate) silence: Option<Duration>,
    /// More kernel parameters.
    pub(crate) append: String,
    /// The file that gets what the guest is to hand out, if it is to: a port more, `/dev/vport0p1`.
    pub(crate) keeps: Option<PathBuf>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status of the guest's program.
    pub(crate) status: u8,
    /// What the guest's init reported, a line each.
    pub(crate) reports: Vec<String>,
    /// Where the kernel said that something in it went wrong.
    pub(crate) splats: Vec<String>,
    /// The state of the machine's processors, if the machine itself has stood still. The boot's files are then kept.
    pub(crate) stood_still: Option<String>,
    /// From QEMU's start to its end.
    pub(crate) elapsed: Duration,
}

/// A word as the guest's shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Boots the guest, runs the job, and gives the program's output to `on_output` as it comes.
pub(crate) fn run(
    lab: &Lab,
    directory: &Path,
    job: &Job,
    on_output: &mut dyn FnMut(&[u8]),
) -> Result<Outcome> {
    let files = Files::new(boot_directory(directory)?);
    let nonce = nonce();
    pack(lab, &files, job, &nonce)?;

    let started = Instant::now();
    let mut ends_in_line = true;
    let mut on_output = |bytes: &[u8]| {
        ends_in_line = bytes.ends_with(b"\n");
        on_output(bytes);
    };
    let mut end = start(lab, &files, job, &mut on_output)?;
    for _ in 0..RESTARTS {
        if !matches!(end, End::NotUp) {
            break;
        }
        // On a busy host QEMU loses an interrupt now and then, the one of the first timer, too.
        say("the guest has not come up; starting the machine again");
        end = start(lab, &files, job, &mut on_output)?;
    }
    let elapsed = started.elapsed();
    let outcome = judge(&files, end, &nonce, job.timeout, elapsed).inspect_err(|_| {
        if !ends_in_line {
            eprintln!(); // What the lab says next starts a line of its own.
        }
    })?;
    if outcome.stood_still.is_some() {
        // Out of the way of the next boot.
        let kept = directory.join(STOOD_STILL);
        fs::remove_dir_all(&kept).unwrap_or_default();
        fs::rename(files.directory(), &kept)
            .doing(|| format!("cannot keep the boot's files as {}", kept.display()))?;
    } else {
        fs::remove_dir_all(files.directory()).unwrap_or_default();
    }
    Ok(outcome)
}

/// Starts the machine, and waits for its end.
fn start(lab: &Lab, files: &Files, job: &Job, on_output: &mut dyn FnMut(&[u8])) -> Result<End> {
    let log = File::create(files.emulator())
        .doing(|| format!("cannot write {}", files.emulator().display()))?;
    let mut qemu = command(&lab.qemu.path);
    // The monitor's socket is there: the path of a socket is short, and this one's directory may be anywhere.
    qemu.current_dir(files.directory());
    let boot = Boot {
        qemu: &lab.qemu,
        kernel: &lab.kernel.image,
        files,
        append: &job.append,
        interactive: job.interactive,
        keeps: job.keeps.as_deref(),
    };
    qemu.args(machine::arguments(job.machine, boot)).stderr(log);
    if job.interactive {
        return emulator::at_a_terminal(&mut qemu, job.timeout);
    }
    // The first thing that the guest's init does is to report.
    let is_up = || fs::metadata(files.reports()).is_ok_and(|reports| reports.len() > 0);
    let limits = Limits {
        whole: job.timeout,
        start: COMES_UP,
        silence: job.silence,
    };
    emulator::watched(&mut qemu, limits, &is_up, on_output)
}

/// A directory for one boot; those of earlier boots, which stay after a failure, are cleared away.
fn boot_directory(directory: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("boot-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
    let own = directory.join(format!("boot-{}", std::process::id()));
    cache::create(&own)?;
    std::path::absolute(&own).doing(|| format!("cannot use {}", own.display()))
}

/// Something that no program in the guest can print by accident.
fn nonce() -> String {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match read {
        Ok(()) => format!("{:016x}", u64::from_ne_bytes(bytes)),
        Err(_) => cache::key(
            format!("{:?} {}", std::time::SystemTime::now(), std::process::id()).as_bytes(),
        ),
    }
}

/// Packs the guest's file system.
fn pack(lab: &Lab, files: &Files, job: &Job, nonce: &str) -> Result<()> {
    let path = files.initramfs();
    let cannot = || format!("cannot write {}", path.display());
    let busybox =
        fs::read(&lab.busybox).doing(|| format!("cannot read {}", lab.busybox.display()))?;
    let applets = programs::tools(lab)?;
    let ports = &job.machine.arch.ports;
    let mut environment = format!(
        "program_port=/dev/{} reports_port=/dev/{} log_port=/dev/{} nonce={nonce}\n\
         export LAB=1 LAB_EDU={} LAB_EDU_PAIR={} LAB_IGB={}\n",
        ports.program.name,
        ports.reports.name,
        ports.log.name,
        quoted(machine::EDU),
        quoted(machine::EDU_PAIR),
        quoted(machine::IGB),
    );
    if !colour() {
        environment.push_str("export NO_COLOR=1\n");
    }
    for name in ["RUST_BACKTRACE", "RUST_LOG", "TERM"] {
        if let Ok(value) = std::env::var(name) {
            environment.push_str(&format!("export {name}={}\n", quoted(&value)));
        }
    }

    let mut out = BufWriter::new(File::create(&path).doing(cannot)?);
    if let Some(table) = lab.iort.as_ref().filter(|_| job.machine.overrides_iort) {
        let table = fs::read(table).doing(|| format!("cannot read {}", table.display()))?;
        out = firmware_tables(out, &table).doing(cannot)?;
    }
    let mut archive = Archive::new(out);
    let mut fill = || -> std::io::Result<()> {
        for directory in ["bin", "dev", "lab", "lab/bin", "proc", "sys", "tmp"] {
            archive.directory(directory)?;
        }
        // The kernel opens it before init has mounted anything.
        archive.character_device("dev/console", 5, 1)?;
        archive.program("bin/busybox", &busybox)?;
        for applet in applets.iter().filter(|applet| *applet != "busybox") {
            archive.symlink(&format!("bin/{applet}"), "busybox")?;
        }
        archive.program("init", INIT.as_bytes())?;
        archive.program("bin/bind-vfio", BIND_VFIO.as_bytes())?;
        archive.program("bin/group-devices", GROUP_DEVICES.as_bytes())?;
        archive.program("lab/environment", environment.as_bytes())?;
        archive.program("lab/job", job.script.as_bytes())?;
        archive.program("lab/welcome", WELCOME.as_bytes())
    };
    fill().doing(cannot)?;
    for (name, program) in &job.programs {
        let content = fs::read(program).doing(|| format!("cannot read {}", program.display()))?;
        archive
            .program(&format!("lab/bin/{name}"), &content)
            .doing(cannot)?;
    }
    archive.finish().doing(cannot)?;
    Ok(())
}

/// Writes what the kernel looks for in front of its file system, in an archive of its own: tables in place of the
/// firmware's.
fn firmware_tables<W: Write>(out: W, iort: &[u8]) -> std::io::Result<W> {
    let mut archive = Archive::new(out);
    for directory in ["kernel", "kernel/firmware", "kernel/firmware/acpi"] {
        archive.directory(directory)?;
    }
    archive.program(iort::OVERRIDE, iort)?;
    archive.finish()
}

/// Tells what a boot has come to from what it left behind.
fn judge(
    files: &Files,
    end: End,
    nonce: &str,
    limit: Duration,
    elapsed: Duration,
) -> Result<Outcome> {
    let text =
        |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let (console, log) = (text(&files.console()), text(&files.kernel_log()));
    let reports: Vec<String> = text(&files.reports())
        .lines()
        .filter_map(|line| {
            line.trim_end()
                .strip_prefix(nonce)?
                .strip_prefix(' ')
                .map(str::to_owned)
        })
        .collect();
    let reported = reports
        .iter()
        .find_map(|report| report.strip_prefix("exit ")?.parse().ok());

    let end_of_console = || match command::last_lines(&console, CONSOLE_LINES) {
        empty if empty.trim().is_empty() => "the kernel said nothing on its console".to_owned(),
        lines => format!("the end of its console:\n{lines}"),
    };
    let kept = || format!("all of it is kept in {}", files.directory().display());
    if console::panicked(&console) {
        return Err(Error::new("the guest's kernel panicked")
            .because(end_of_console())
            .because(kept()));
    }
    let up = !reports.is_empty();
    match (&end, reported) {
        // A guest that has reported how its program ended has only the power left to switch off.
        (_, Some(status)) => Ok(Outcome {
            status,
            splats: console::splats(if log.is_empty() { &console } else { &log }),
            reports,
            stood_still: None,
            elapsed,
        }),
        (End::StoodStill(state), None) => {
            fs::write(files.state(), state).unwrap_or_default();
            Ok(Outcome {
                status: TIMED_OUT,
                splats: console::splats(&console),
                reports,
                stood_still: Some(state.clone()),
                elapsed,
            })
        }
        (End::TimeUp | End::NotUp, None) => {
            const MORE: &str = "give it more with --timeout SECONDS, where the command takes that, or look around in it with `cargo lab shell`";
            const AGAIN: &str = "it was started several times: see on its console how far it came, and try again when this machine is less busy";
            let (what, limit, next) = match end {
                End::NotUp => ("the guest did not come up", COMES_UP, AGAIN),
                _ if up => ("the program did not end", limit, MORE),
                _ => ("the guest did not come up", limit, MORE),
            };
            Err(
                Error::new(format!("{what} within the time limit of {}", span(limit)))
                    .because(end_of_console())
                    .because(kept())
                    .next(next)
                    .status(TIMED_OUT),
            )
        }
        (End::Ended(status), None) => {
            let said = text(&files.emulator());
            let said: Vec<&str> = said
                .lines()
                .filter(|line| !line.ends_with(UNPLUGGED))
                .collect();
            let mut error = Error::new(if up {
                "the guest went down before its program had ended"
            } else {
                "the guest did not come up"
            })
            .because(format!("QEMU ended after {} with {status}", span(elapsed)));
            if !said.is_empty() {
                error = error.because(format!("QEMU said:\n{}", said.join("\n")));
            }
            Err(error.because(end_of_console()).because(kept()))
        }
    }
}

/// Says where the kernel said that something in it went wrong.
pub(crate) fn show_splats(outcome: &Outcome) {
    for splat in &outcome.splats {
        say("the guest's kernel complains:");
        eprintln!("{splat}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;
    use std::thread;

    use super::*;

    fn judged(console: &str, reports: &str, status: Option<i32>) -> Result<Outcome> {
        use std::os::unix::process::ExitStatusExt;
        let name = format!(
            "lab-judge-{}-{:?}",
            std::process::id(),
            thread::current().id()
        );
        let files = Files::new(std::env::temp_dir().join(name));
        cache::create(files.directory()).unwrap();
        fs::write(files.console(), console).unwrap();
        fs::write(files.reports(), reports).unwrap();
        let limit = Duration::from_secs(5);
        let outcome = judge(
            &files,
            status.map_or(End::TimeUp, |status| {
                End::Ended(ExitStatus::from_raw(status))
            }),
            "n0nce",
            limit,
            limit,
        );
        fs::remove_dir_all(files.directory()).unwrap();
        outcome
    }

    #[test]
    fn the_state_of_a_machine_that_stood_still_is_kept() {
        let directory = std::env::temp_dir().join(format!("lab-still-{}", std::process::id()));
        let files = Files::new(directory);
        cache::create(files.directory()).unwrap();
        fs::write(files.reports(), "n0nce up\nn0nce test 0 fine a\n").unwrap();
        let end = End::StoodStill("RIP=0".to_owned());
        let limit = Duration::from_secs(5);
        let outcome = judge(&files, end, "n0nce", limit, limit).unwrap();
        assert_eq!(fs::read(files.state()).unwrap(), b"RIP=0");
        assert_eq!(outcome.stood_still.unwrap(), "RIP=0");
        assert_eq!((outcome.status, outcome.reports.len()), (TIMED_OUT, 2));
        fs::remove_dir_all(files.directory()).unwrap();
    }

    #[test]
    fn the_programs_status_is_the_outcome() {
        let outcome = judged("", "n0nce up\r\nn0nce exit 3\r\n", Some(0)).unwrap();
        assert_eq!((outcome.status, outcome.reports.len()), (3, 2));
    }

    #[test]
    fn without_a_report_nothing_is_green() {
        let cases = [
            ("", "", Some(0), "did not come up"),
            ("", "n0nce up\n", Some(0), "went down before"),
            ("", "exit 0\n", Some(0), "did not come up"),
            ("", "n0nce up\n", None, "time limit"),
            (
                "Kernel panic - not syncing",
                "n0nce exit 0\n",
                Some(0),
                "panicked",
            ),
        ];
        for (console, reports, status, expected) in cases {
            let error = judged(console, reports, status).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected} is not in: {error}");
        }
    }

    #[test]
    fn a_word_survives_the_shell() {
        let said = command::output(
            command("sh").args(["-c", &format!("printf %s {}", quoted("it's $HOME"))]),
        );
        assert_eq!(said.unwrap(), "it's $HOME");
    }
}
