//! One boot of the guest: packs its file system, runs QEMU under a time limit, and tells a finished program from a guest
//! that hung, panicked or never started.

use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Read, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cache;
use crate::command::{self, command};
use crate::console;
use crate::error::{Doing, Error, Result};
use crate::initramfs::Archive;
use crate::machine::{self, Files};
use crate::progress::{say, span};
use crate::setup::Lab;

const INIT: &str = include_str!("guest/init");
const BIND_VFIO: &str = include_str!("guest/bind-vfio");
const WELCOME: &str = include_str!("guest/welcome");

/// How much of the console is shown when a boot fails.
const CONSOLE_LINES: usize = 40;
/// The exit status for a boot that ran into its time limit, as of `timeout`.
const TIMED_OUT: u8 = 124;
/// The end of what QEMU always says, as the network card has no network.
const UNPLUGGED: &str = "has no peer";
/// How long QEMU may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Whether a person sees the output, and may like it coloured. In the guest every output is a terminal.
pub(crate) fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// What the guest is to do.
#[derive(Debug)]
pub(crate) struct Job {
    /// Programs of the host, by the names they get below `/lab/bin` in the guest.
    pub(crate) programs: Vec<(String, PathBuf)>,
    /// Lines for the guest's init, which has `lab_run`, `lab_test` and `lab_shell` for them.
    pub(crate) script: String,
    /// Whether a person is at it.
    pub(crate) interactive: bool,
    /// The time limit.
    pub(crate) timeout: Duration,
    /// More kernel parameters.
    pub(crate) append: String,
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

    let log = File::create(files.emulator())
        .doing(|| format!("cannot write {}", files.emulator().display()))?;
    let mut qemu = command(&lab.qemu.path);
    qemu.args(machine::arguments(
        &lab.qemu,
        &lab.kernel,
        &files,
        &job.append,
        job.interactive,
    ))
    .stderr(log);
    let started = Instant::now();
    let mut ends_in_line = true;
    let status = if job.interactive {
        supervise_terminal(&mut qemu, job.timeout)?
    } else {
        supervise(&mut qemu, job.timeout, &mut |bytes| {
            ends_in_line = bytes.ends_with(b"\n");
            on_output(bytes);
        })?
    };
    let elapsed = started.elapsed();
    let outcome = judge(&files, status, &nonce, job.timeout, elapsed).inspect_err(|_| {
        if !ends_in_line {
            eprintln!(); // What the lab says next starts a line of its own.
        }
    })?;
    fs::remove_dir_all(files.directory()).unwrap_or_default();
    Ok(outcome)
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
    let applets = command::output(Command::new(&lab.busybox).arg("--list"))?;
    let mut environment = format!(
        "nonce={nonce}\nexport LAB=1 LAB_EDU={} LAB_EDU_PAIR={} LAB_IGB={}\n",
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

    let mut archive = Archive::new(BufWriter::new(File::create(&path).doing(cannot)?));
    let mut fill = || -> std::io::Result<()> {
        for directory in ["bin", "dev", "lab", "lab/bin", "proc", "sys", "tmp"] {
            archive.directory(directory)?;
        }
        // The kernel opens it before init has mounted anything.
        archive.character_device("dev/console", 5, 1)?;
        archive.program("bin/busybox", &busybox)?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            archive.symlink(&format!("bin/{applet}"), "busybox")?;
        }
        archive.program("init", INIT.as_bytes())?;
        archive.program("bin/bind-vfio", BIND_VFIO.as_bytes())?;
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

/// Waits for QEMU with its output going to `on_output`. No status: the time was up.
fn supervise(
    qemu: &mut Command,
    limit: Duration,
    on_output: &mut dyn FnMut(&[u8]),
) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut child = spawn(qemu.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let output = read_in_background(&mut child);
    loop {
        match output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => on_output(&bytes),
            Err(RecvTimeoutError::Timeout) => {
                stop(&mut child);
                output.iter().for_each(|bytes| on_output(&bytes));
                return Ok(None);
            }
            // QEMU has closed its output: it is about to end.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(
        wait_until(&mut child, end.max(Instant::now() + GRACE)).or_else(|| {
            stop(&mut child);
            None
        }),
    )
}

/// Waits for QEMU with a person's terminal on it, which is put back in order whatever happens to QEMU.
fn supervise_terminal(qemu: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let settings = command::terminal_settings(&["-g"]);
    let mut child = spawn(qemu)?;
    let status = wait_until(&mut child, Instant::now() + limit);
    if status.is_none() {
        stop(&mut child);
    }
    if let Some(settings) = settings {
        command::terminal_settings(&[&settings]);
    }
    Ok(status)
}

fn spawn(qemu: &mut Command) -> Result<Child> {
    let shown = command::show(qemu);
    qemu.spawn().doing(|| format!("cannot start `{shown}`"))
}

/// The child's output, in pieces as they come, until it closes it.
fn read_in_background(child: &mut Child) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut out) = child.stdout.take() {
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// The child's status, if it ends in time.
fn wait_until(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Ends QEMU: politely, so that it puts the terminal in order, then not.
fn stop(child: &mut Child) {
    let asked = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    if asked.is_err() || wait_until(child, Instant::now() + GRACE).is_none() {
        // It may have ended by itself meanwhile; all that counts is that it is gone.
        child.kill().unwrap_or_default();
        drop(child.wait());
    }
}

/// Tells what a boot has come to from what it left behind.
fn judge(
    files: &Files,
    status: Option<ExitStatus>,
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
    match (status, reported) {
        // A guest that has reported how its program ended has only the power left to switch off.
        (_, Some(status)) => Ok(Outcome {
            status,
            splats: console::splats(if log.is_empty() { &console } else { &log }),
            reports,
            elapsed,
        }),
        (None, None) => {
            let what = if up {
                "the program did not end"
            } else {
                "the guest did not come up"
            };
            Err(Error::new(format!("{what} within the time limit of {}", span(limit)))
                .because(end_of_console())
                .because(kept())
                .next("give it more with --timeout SECONDS, or look around in it with `cargo lab shell`")
                .status(TIMED_OUT))
        }
        (Some(status), None) => {
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
            status.map(ExitStatus::from_raw),
            "n0nce",
            limit,
            limit,
        );
        fs::remove_dir_all(files.directory()).unwrap();
        outcome
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
