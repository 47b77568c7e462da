//! A fuzzer in the lab: with the libraries that it needs, its corpus in, and corpus and crashes out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{CRASHED, Files, USUAL, arguments, build, minimising, say_crash, say_kept};
use crate::arch::{COVERAGE, PC_FOR_FUZZERS};
use crate::boot::{self, Job, Outcome, quoted};
use crate::cache;
use crate::cli::Options;
use crate::command::{self, command};
use crate::error::{Doing, Error, Result};
use crate::programs;
use crate::progress::say;
use crate::run::hand_on;
use crate::setup::{self, Lab};

/// What a boot takes besides the fuzzing itself.
const BESIDES: Duration = Duration::from_secs(400);

/// Devices come and go with every input, and the kernel waits for all processors then: it is to do so quickly.
const APPEND: &str = "rcupdate.rcu_expedited=1";

/// Hands out what is in `/tmp/kept`, as one archive more.
const HAND_OUT: &str =
    "hand_out() { tar -cf /tmp/kept.tar -C /tmp/kept . && cat /tmp/kept.tar >/dev/vport0p1; }\n";

/// While a fuzzer runs, hands out what is new, so that a run that is interrupted loses nothing; and ends a fuzzer a thread
/// of which has died in the kernel: the others would wait for it for ever.
const WATCH: &str = r#"
hand_out_news() {
    mkdir -p /tmp/kept/corpus
    mv /tmp/new/* /tmp/kept/corpus/ 2>/dev/null
    cp /tmp/last /tmp/kept/last
    hand_out
    rm -r /tmp/kept/corpus
}
watch_over_fuzzer() {
    until [ -e /tmp/over ]; do
        sleep 5
        hand_out_news
        if kernel_misbehaved; then
            sleep 10
            killall -KILL "$1"
        fi
    done
}
mkdir -p /tmp/new /tmp/kept/artifacts
touch /tmp/last
"#;

/// The lab with the kernel that tells of its coverage.
pub(super) fn lab(options: &Options) -> Result<Lab> {
    setup::prepare(options, &COVERAGE)
}

/// What is to run in the guest, beside the fuzzer.
pub(super) struct Guest {
    /// Programs of the host and their libraries, by the names they get.
    programs: Vec<(String, PathBuf)>,
    /// Lines of shell.
    script: String,
    /// A directory of this boot's.
    directory: PathBuf,
}

impl Guest {
    pub(super) fn new(name: &str) -> Result<Self> {
        let directory = programs::target_directory().join(format!("{name}-{}", std::process::id()));
        cache::create(&directory)?;
        // Where the loader of dynamic programs is looked for, and what the guest hands out.
        let script = "mkdir -p /lib64 /tmp/kept\nexport LD_LIBRARY_PATH=/lab/bin\n\
                      ln -s /lab/bin/ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2\n";
        Ok(Self {
            programs: Vec::new(),
            script: format!("{script}{HAND_OUT}"),
            directory,
        })
    }

    /// Brings a dynamic program along, with its loader and its libraries.
    pub(super) fn bring(&mut self, program: &Path) -> Result<String> {
        for library in libraries(program)? {
            self.add(&library);
        }
        Ok(format!("/lab/bin/{}", self.add(program)))
    }

    fn add(&mut self, file: &Path) -> String {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !self.programs.iter().any(|(known, _)| *known == name) {
            self.programs
                .push((name.clone().into_owned(), file.to_owned()));
        }
        name.into_owned()
    }

    /// Brings a directory along, to be at `/tmp/NAME` in the guest.
    pub(super) fn bring_directory(&mut self, directory: &Path, name: &str) -> Result<()> {
        let archive = self.directory.join(format!("{name}.tar"));
        command::output(
            command("tar")
                .arg("-cf")
                .arg(&archive)
                .arg("-C")
                .arg(directory)
                .arg("."),
        )?;
        let packed = self.add(&archive);
        self.line(&format!(
            "mkdir -p /tmp/{name} && tar -xf /lab/bin/{packed} -C /tmp/{name}"
        ));
        Ok(())
    }

    /// Lets the guest do something.
    pub(super) fn line(&mut self, line: &str) {
        self.script.push_str(line);
        self.script.push('\n');
    }

    /// Boots, and unpacks what the guest has put into `/tmp/kept`; if it did not come to its end, what it had handed out
    /// before.
    pub(super) fn boot(
        mut self,
        lab: &Lab,
        timeout: Duration,
        on_output: &mut dyn FnMut(&[u8]),
    ) -> (Result<Outcome>, Kept) {
        self.line("hand_out");
        let kept = Kept(self.directory);
        let job = Job {
            machine: &PC_FOR_FUZZERS,
            programs: self.programs,
            script: self.script,
            interactive: false,
            timeout,
            silence: None,
            append: APPEND.to_owned(),
            keeps: Some(kept.archive()),
        };
        let outcome = boot::run(lab, &programs::target_directory(), &job, on_output);
        let unpacked = kept.unpack();
        (outcome.and_then(|outcome| unpacked.map(|()| outcome)), kept)
    }
}

/// What a guest has handed out; removed when dropped.
pub(super) struct Kept(PathBuf);

impl Kept {
    /// What runs of this name have handed out that were interrupted.
    pub(super) fn left_by(name: &str) -> Vec<Self> {
        let entries = fs::read_dir(programs::target_directory());
        let directories = entries.into_iter().flatten().flatten();
        let is_left = |path: &PathBuf| {
            let directory = path.file_name().unwrap_or_default().to_string_lossy();
            let process = directory.strip_prefix(name);
            process
                .and_then(|process| process.strip_prefix('-')?.parse::<u32>().ok())
                .is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
        };
        directories
            .map(|entry| entry.path())
            .filter(is_left)
            .map(Self)
            .collect()
    }

    /// A file of it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// One archive behind the other.
    fn archive(&self) -> PathBuf {
        self.path("kept.tar")
    }

    /// Unpacks as much as there is.
    fn unpack(&self) -> Result<()> {
        command::output(
            command("tar")
                .args(["--ignore-zeros", "-xf"])
                .arg(self.archive())
                .arg("-C")
                .arg(&self.0),
        )
        .map(drop)
        .map_err(|error| error.because("what the guest has handed out is not whole"))
    }

    /// Keeps its inputs and its crashes.
    fn keep(&self, files: &Files) -> Result<()> {
        copy(&self.path("corpus"), &files.corpus)?;
        copy(&self.path("artifacts"), &files.artifacts)
    }

    /// Keeps the input that was run when the guest was last heard of, as a crash.
    fn keep_last(&self, files: &Files) -> Result<Option<PathBuf>> {
        let input = fs::read(self.path("last")).unwrap_or_default();
        if input.is_empty() {
            return Ok(None);
        }
        let file = files.artifacts.join(format!("last-{}", cache::key(&input)));
        fs::write(&file, input).doing(|| format!("cannot write {}", file.display()))?;
        Ok(Some(file))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// The loader and the libraries of a dynamic program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let list = command::output(command("ldd").arg(program))?;
    Ok(list
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

/// Words as the guest's shell reads them.
pub(super) fn words(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// Runs a fuzzer in the lab.
pub(super) fn run(options: &Options, target: &str) -> Result<u8> {
    let lab = lab(options)?;
    let program = build::build(target)?;
    let files = Files::of(target)?;
    let before = files.inputs();
    for left in Kept::left_by(target) {
        say("a run was interrupted; what it had found is kept");
        // Its end may be missing.
        let _unpacked = left.unpack();
        left.keep(&files)?;
    }
    let guest = script(options, target, &program, &files)?;
    let started = SystemTime::now();
    let timeout = options.seconds.unwrap_or(USUAL).saturating_add(BESIDES);
    let (outcome, kept) = guest.boot(&lab, timeout, &mut hand_on);
    kept.keep(&files)?;
    let is_search = options.input.is_none();
    if is_search {
        say_kept(target, before, &files);
    }
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // Where one input was asked for, it is there already.
            if is_search && let Some(last) = kept.keep_last(&files)? {
                say_crash(target, &last);
            }
            return Err(error);
        }
    };
    boot::show_splats(&outcome);
    let crashes = files.crashes_since(started);
    let is_small = |crash: &Path| crash.extension().is_some_and(|end| end == "small");
    for crash in &crashes {
        let smaller = crash.with_extension("small");
        if is_small(crash) || !crashes.contains(&smaller) {
            say_crash(target, crash);
        }
    }
    match outcome.status {
        0 if outcome.splats.is_empty() => Ok(0),
        0 => Ok(CRASHED),
        _ if !crashes.is_empty() || !is_search => Ok(CRASHED),
        status => Err(Error::new(format!("the fuzzer {target} failed"))
            .because(format!("it ended with {status}, and left no crash"))),
    }
}

/// What the guest does: runs the fuzzer, and makes its crashes smaller.
fn script(options: &Options, target: &str, program: &Path, files: &Files) -> Result<Guest> {
    let mut guest = Guest::new(target)?;
    let fuzzer = guest.bring(program)?;
    guest.line(WATCH);
    guest.bring_directory(&files.corpus, "corpus")?;
    let input = options
        .input
        .as_ref()
        .map(|path| format!("/lab/bin/{}", guest.add(path)));
    // What is new goes to the first of the two, and is handed out.
    let corpora = ["/tmp/new", "/tmp/corpus"];
    let arguments = arguments(options, &corpora, input.as_deref());
    guest.line(&format!(
        "watch_over_fuzzer {target} >/dev/null 2>&1 3>&- & watch=$!"
    ));
    guest.line("export FUZZ_LAST=/tmp/last");
    guest.line(&format!(
        "lab_run {fuzzer} -artifact_prefix=/tmp/kept/artifacts/ {}",
        words(&arguments)
    ));
    // Where a signal that nothing in the program handles has met it.
    guest.line("[ \"$status\" -lt 128 ] || dmesg | tail -n 3 >&3");
    guest.line("touch /tmp/over; wait $watch; hand_out_news");
    if input.is_none() {
        guest.line(
            "if kernel_misbehaved && ! ls /tmp/kept/artifacts/* >/dev/null 2>&1; then \
         cp /tmp/last \"/tmp/kept/artifacts/kernel-$(sha1sum </tmp/last | cut -c1-40)\"; fi",
        );
        // A crash that the kernel has complained of stays one, however small the input is then.
        guest.line("if ! kernel_misbehaved; then for crash in /tmp/kept/artifacts/*; do");
        guest.line(&format!(
            "[ ! -f \"$crash\" ] || {fuzzer} {} >/dev/null 2>&1",
            words(&minimising("$crash", "$crash.small"))
                .replace("'$crash'", "\"$crash\"")
                .replace(
                    "'-exact_artifact_path=$crash.small'",
                    "\"-exact_artifact_path=$crash.small\""
                )
        ));
        guest.line("done; fi");
    }
    Ok(guest)
}

/// Copies the files of a directory.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).doing(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(())
}
