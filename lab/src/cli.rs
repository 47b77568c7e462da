//! What was typed: a command, its options and what follows them.

use std::path::PathBuf;
use std::time::Duration;

use crate::arch::{self, Arch};
use crate::error::{Error, Result};
use crate::help;
use crate::kernel;

/// The exit status for a command line that makes no sense.
pub(crate) const USAGE: u8 = 2;

/// The commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Runs the first example.
    Demo,
    /// Runs every test.
    Test,
    /// Takes times.
    Bench,
    /// Looks for undefined behaviour.
    Verify,
    /// Runs one program.
    Run,
    /// Gives a prompt.
    Shell,
    /// Makes the machine ready.
    Setup,
    /// Regenerates the bindings.
    Codegen,
    /// Says where the kernel's source is.
    Source,
    /// Runs a fuzzer.
    Fuzz,
}

/// An option's name, and what its value is called if it has one.
type Known = (&'static str, Option<&'static str>);

const ARCH: Known = ("--arch", Some("NAME"));
const KERNEL: Known = ("--kernel", Some("FILE|VERSION"));
const QEMU: Known = ("--qemu", Some("PATH"));
const UPDATE: Known = ("--update", None);
const TIMEOUT: Known = ("--timeout", Some("SECONDS"));
const APPEND: Known = ("--append", Some("PARAMETERS"));
const FILTER: Known = ("--filter", Some("NAME"));
const FILE: Known = ("--file", Some("NAME"));
const SKIP_HOST: Known = ("--skip-host", None);
const NO_FAIL_FAST: Known = ("--no-fail-fast", None);
const QUICK: Known = ("--quick", None);
const SAVE: Known = ("--save", Some("FILE"));
const AGAINST: Known = ("--against", Some("FILE"));
const CHECK: Known = ("--check", None);
const SECONDS: Known = ("--seconds", Some("SECONDS"));
const INPUT: Known = ("--input", Some("FILE"));
const REPORT: Known = ("--report", None);

impl Command {
    /// All of them, in the order of the help.
    pub(crate) const ALL: [Self; 10] = [
        Self::Demo,
        Self::Test,
        Self::Bench,
        Self::Verify,
        Self::Run,
        Self::Shell,
        Self::Setup,
        Self::Codegen,
        Self::Source,
        Self::Fuzz,
    ];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Test => "test",
            Self::Bench => "bench",
            Self::Verify => "verify",
            Self::Run => "run",
            Self::Shell => "shell",
            Self::Setup => "setup",
            Self::Codegen => "codegen",
            Self::Source => "source",
            Self::Fuzz => "fuzz",
        }
    }

    /// Whether what follows the first word is another program's, and not options.
    fn hands_on(self) -> bool {
        matches!(self, Self::Run | Self::Shell)
    }

    /// The command of that name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }

    fn options(self) -> &'static [Known] {
        match self {
            Self::Demo | Self::Run | Self::Shell => &[ARCH, KERNEL, QEMU, UPDATE, TIMEOUT, APPEND],
            Self::Test => &[
                FILTER,
                FILE,
                SKIP_HOST,
                NO_FAIL_FAST,
                ARCH,
                KERNEL,
                QEMU,
                UPDATE,
                TIMEOUT,
                APPEND,
            ],
            Self::Bench => &[
                QUICK, SAVE, AGAINST, ARCH, KERNEL, QEMU, UPDATE, TIMEOUT, APPEND,
            ],
            Self::Setup => &[ARCH, KERNEL, QEMU, UPDATE],
            Self::Codegen => &[CHECK, UPDATE],
            Self::Source => &[UPDATE],
            Self::Fuzz => &[SECONDS, INPUT, REPORT, CHECK, QEMU],
            Self::Verify => &[],
        }
    }
}

/// The options, of which each command takes some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The architecture, if one was named.
    pub(crate) arch: Option<&'static Arch>,
    /// A kernel image or source tarball to use, or the version of Linux whose source Debian has.
    pub(crate) kernel: Option<PathBuf>,
    /// A QEMU to use.
    pub(crate) qemu: Option<PathBuf>,
    /// Whether to ask for a newer kernel.
    pub(crate) update: bool,
    /// The time limit of a boot.
    pub(crate) timeout: Option<Duration>,
    /// More kernel parameters.
    pub(crate) append: Option<String>,
    /// The tests to run.
    pub(crate) filter: Option<String>,
    /// The one file of tests to build and run.
    pub(crate) file: Option<String>,
    /// Whether to leave out the tests that need no kernel.
    pub(crate) skip_host: bool,
    /// Whether to go on after a failure.
    pub(crate) no_fail_fast: bool,
    /// Whether to take only the times that are judged.
    pub(crate) quick: bool,
    /// Where to keep the results.
    pub(crate) save: Option<PathBuf>,
    /// The results to compare with.
    pub(crate) against: Option<PathBuf>,
    /// Whether to compare only.
    pub(crate) check: bool,
    /// For how long to fuzz.
    pub(crate) seconds: Option<Duration>,
    /// The one input of a fuzzer.
    pub(crate) input: Option<PathBuf>,
    /// Whether to say what the fuzzers reach.
    pub(crate) report: bool,
    /// What follows the options: a program and its arguments.
    pub(crate) words: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Explain: all, or one command.
    Help(Option<Command>),
    /// Do it.
    Do(Command, Box<Options>),
}

/// Reads the command line, without the program's own name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else {
        return Ok(Request::Help(None));
    };
    if matches!(first.as_str(), "help" | "--help" | "-h") {
        return match arguments.next() {
            None => Ok(Request::Help(None)),
            Some(name) => known(&name).map(|command| Request::Help(Some(command))),
        };
    }
    let command = known(&first)?;
    let mut options = Options::default();
    while let Some(word) = arguments.next() {
        if word == "--" {
            break;
        }
        if !word.starts_with('-') {
            options.words.push(word);
            if command.hands_on() {
                break;
            }
            continue;
        }
        if matches!(word.as_str(), "--help" | "-h") {
            return Ok(Request::Help(Some(command)));
        }
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let Some(&(name, value_name)) = command.options().iter().find(|(known, _)| *known == name)
        else {
            return Err(misused(
                command,
                &format!("`{name}` is no option of `cargo lab {}`", command.name()),
            ));
        };
        let value = match (value_name, attached) {
            (None, Some(_)) => return Err(misused(command, &format!("{name} takes no value"))),
            (None, None) => String::new(),
            (Some(_), Some(value)) => value,
            (Some(value_name), None) => arguments.next().ok_or_else(|| {
                misused(
                    command,
                    &format!("{name} needs a value: {name} {value_name}"),
                )
            })?,
        };
        options.set(command, name, value)?;
    }
    options.words.extend(arguments);
    check_words(command, &options.words)?;
    Ok(Request::Do(command, Box::new(options)))
}

/// The path of a file that is used from another directory. A name alone is looked for where programs are.
fn from_here(path: String) -> PathBuf {
    match std::path::absolute(&path) {
        Ok(absolute) if path.contains('/') => absolute,
        _ => path.into(),
    }
}

impl Options {
    /// The architecture of a command that is for one.
    pub(crate) fn arch(&self) -> &'static Arch {
        self.arch.unwrap_or(arch::ALL[0])
    }

    /// Those of a command that is for all. A kernel or a QEMU that the user brings is for one.
    pub(crate) fn arches(&self) -> Vec<&'static Arch> {
        let brings = |path: &PathBuf| kernel::series_of(path).is_none();
        let kernel = self.kernel.as_ref().is_some_and(brings);
        if self.arch.is_some() || kernel || self.qemu.is_some() {
            vec![self.arch()]
        } else {
            arch::ALL.to_vec()
        }
    }

    fn set(&mut self, command: Command, name: &str, value: String) -> Result<()> {
        match name {
            "--arch" => match Arch::named(&value) {
                Some(arch) => self.arch = Some(arch),
                None => {
                    let names: Vec<&str> = arch::ALL.iter().map(|arch| arch.name).collect();
                    return Err(misused(
                        command,
                        &format!("--arch takes {}, not `{value}`", names.join(" or ")),
                    ));
                }
            },
            "--kernel" => self.kernel = Some(from_here(value)),
            "--qemu" => self.qemu = Some(from_here(value)),
            "--update" => self.update = true,
            "--timeout" | "--seconds" => {
                let Ok(seconds @ 1..=1_000_000) = value.parse() else {
                    return Err(misused(
                        command,
                        &format!("{name} takes a number of seconds, not `{value}`"),
                    ));
                };
                let seconds = Some(Duration::from_secs(seconds));
                match name {
                    "--timeout" => self.timeout = seconds,
                    _ => self.seconds = seconds,
                }
            }
            "--input" => self.input = std::path::absolute(value).ok(),
            "--report" => self.report = true,
            "--append" => self.append = Some(value),
            "--filter" => self.filter = Some(value),
            "--file" => self.file = Some(value),
            "--skip-host" => self.skip_host = true,
            "--no-fail-fast" => self.no_fail_fast = true,
            "--quick" => self.quick = true,
            "--save" => self.save = Some(from_here(value)),
            "--against" => self.against = Some(from_here(value)),
            _ => self.check = true,
        }
        Ok(())
    }
}

fn check_words(command: Command, words: &[String]) -> Result<()> {
    match (command, words) {
        (Command::Run, []) => Err(misused(
            command,
            "`cargo lab run` needs the name of a program",
        )),
        (Command::Run | Command::Shell, _) | (Command::Demo | Command::Fuzz, [_]) | (_, []) => {
            Ok(())
        }
        (Command::Test, [name, ..]) => Err(misused(
            command,
            &format!(
                "`cargo lab test` takes no `{name}`; to run a part of the tests: --filter {name}"
            ),
        )),
        (Command::Demo | Command::Fuzz, [_, word, ..]) | (_, [word, ..]) => Err(misused(
            command,
            &format!("`cargo lab {}` takes no `{word}`", command.name()),
        )),
    }
}

fn known(name: &str) -> Result<Command> {
    Command::named(name).ok_or_else(|| {
        Error::new(format!("there is no command `{name}`"))
            .next(format!("the commands are:\n{}", help::commands()))
            .status(USAGE)
    })
}

fn misused(command: Command, what: &str) -> Error {
    Error::new(what)
        .next(format!(
            "{}\nsee `cargo lab help {}`",
            help::usage(command),
            command.name()
        ))
        .status(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn options(line: &str) -> Options {
        match parsed(line).unwrap() {
            Request::Do(_, options) => *options,
            Request::Help(_) => panic!("help was not asked for: {line}"),
        }
    }

    #[test]
    fn options_come_before_the_program_and_its_own_after() {
        let options = options("run --timeout 5 --kernel=/k prog --timeout x -- y");
        assert_eq!(options.timeout, Some(Duration::from_secs(5)));
        assert_eq!(options.kernel.unwrap(), PathBuf::from("/k"));
        assert_eq!(options.words, ["prog", "--timeout", "x", "--", "y"]);
    }

    #[test]
    fn a_word_that_is_no_program_has_options_on_both_sides() {
        for line in [
            "fuzz faults --seconds 5",
            "fuzz --seconds 5 faults",
            "fuzz --seconds=5 -- faults",
        ] {
            let options = options(line);
            assert_eq!(options.seconds, Some(Duration::from_secs(5)), "{line}");
            assert_eq!(options.words, ["faults"], "{line}");
        }
    }

    #[test]
    fn what_is_for_all_architectures_is_for_one_that_is_named_or_brought_for() {
        assert_eq!(options("test").arches(), arch::ALL);
        assert_eq!(options("test --kernel k").arches(), [arch::ALL[0]]);
        assert_eq!(options("test --kernel 6.12").arches(), arch::ALL);
        let other = arch::ALL[1];
        let named = options(&format!("test --arch {} --qemu q", other.name));
        assert_eq!((named.arches(), named.arch()), (vec![other], other));
        assert_eq!(options("run prog").arch(), arch::ALL[0]);
    }

    #[test]
    fn asks_for_help_in_every_way() {
        for line in ["", "help", "--help", "-h"] {
            assert_eq!(parsed(line).unwrap(), Request::Help(None), "{line}");
        }
        for line in ["help test", "test --help", "test --filter x -h"] {
            assert_eq!(
                parsed(line).unwrap(),
                Request::Help(Some(Command::Test)),
                "{line}"
            );
        }
    }

    #[test]
    fn says_what_exists() {
        let unknown = parsed("tset").unwrap_err();
        assert_eq!(unknown.exit_status(), USAGE);
        for command in Command::ALL {
            assert!(unknown.to_string().contains(command.name()));
        }
        for line in [
            "run",
            "test x",
            "test --timeout soon",
            "test --check",
            "run --timeout",
            "run --arch riscv64 prog",
            "setup --update=1",
            "demo x y",
        ] {
            assert_eq!(parsed(line).unwrap_err().exit_status(), USAGE, "{line}");
        }
    }

    #[test]
    fn every_option_of_a_command_is_in_its_help() {
        for command in Command::ALL {
            for (name, _) in command.options() {
                assert!(
                    help::of(command).contains(name),
                    "{name} is not in the help of {}",
                    command.name()
                );
            }
        }
    }
}
