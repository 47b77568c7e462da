//! Programs for the guest: this workspace's, built as static ones, and others.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::arch::Arch;
use crate::command::{self, forget_cargo};
use crate::elf::{self, Kind};
use crate::error::{Doing, Error, Result};
use crate::setup::Lab;
use crate::toolchain;

/// What an architecture's programs are built for, and how.
#[derive(Debug)]
pub(crate) struct Target {
    /// The compiler's name for it.
    pub(crate) triple: &'static str,
    /// The compiler's flags for programs that run in the guest.
    pub(crate) flags: &'static [&'static str],
    /// What runs them on this machine, if it does not by itself.
    pub(crate) emulator: Option<&'static str>,
}

impl Target {
    /// A program for the guest, to be run on this machine.
    pub(crate) fn run(&self, program: &Path) -> Command {
        match self.emulator {
            None => Command::new(program),
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(program);
                command
            }
        }
    }
}

/// The exit status of cargo for a build that failed.
const BUILD_FAILED: u8 = 101;

/// A program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// Where its source is, below the workspace.
    pub(crate) source: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether it is a test runner.
    pub(crate) is_test: bool,
}

/// The root of this workspace.
pub(crate) fn workspace() -> PathBuf {
    let lab = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    lab.parent().map_or(lab.clone(), Path::to_owned)
}

/// Where the lab builds: below cargo's own directory, so that the developer's builds are left alone.
pub(crate) fn target_directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    std::path::absolute(target.join("lab")).unwrap_or_else(|_| target.join("lab"))
}

/// Cargo, in this workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).stdin(Stdio::null());
    forget_cargo(&mut cargo);
    cargo
}

/// Runs a cargo command that builds, and hands its messages on. What it has to say to a person goes to the terminal.
pub(crate) fn messages(cargo: &mut Command) -> Result<Vec<Value>> {
    let shown = command::show(cargo);
    let mut child = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .doing(|| format!("cannot start `{shown}`"))?;
    let mut messages = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.doing(|| format!("cannot read the output of `{shown}`"))?;
            messages.extend(serde_json::from_str::<Value>(&line));
        }
    }
    let status = child
        .wait()
        .doing(|| format!("cannot wait for `{shown}`"))?;
    if status.success() {
        return Ok(messages);
    }
    Err(Error::new("the build failed")
        .because(format!("`{shown}`: {status}"))
        .status(BUILD_FAILED))
}

/// Builds programs for the guest, with `cargo ARGUMENTS`.
pub(crate) fn build(arch: &Arch, arguments: &[&str]) -> Result<Vec<Executable>> {
    toolchain::complete(arch)?;
    let target = &arch.target;
    let mut cargo = cargo();
    cargo
        .args(arguments)
        .args(["--target", target.triple])
        .env("CARGO_TARGET_DIR", target_directory())
        // Enough for a backtrace to name its lines; the rest would only have to be loaded into the guest.
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    // The flags that a developer has set hold here too.
    match std::env::var_os("CARGO_ENCODED_RUSTFLAGS") {
        Some(flags) => cargo.env(
            "CARGO_ENCODED_RUSTFLAGS",
            joined(flags, target.flags, "\x1f"),
        ),
        None => cargo.env(
            "RUSTFLAGS",
            joined(
                std::env::var_os("RUSTFLAGS").unwrap_or_default(),
                target.flags,
                " ",
            ),
        ),
    };
    Ok(executables(&messages(&mut cargo)?, &workspace()))
}

fn joined(mut flags: OsString, ours: &[&str], separator: &str) -> OsString {
    for flag in ours {
        if !flags.is_empty() {
            flags.push(separator);
        }
        flags.push(flag);
    }
    flags
}

/// The programs among cargo's messages.
fn executables(messages: &[Value], workspace: &Path) -> Vec<Executable> {
    messages
        .iter()
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let source = Path::new(message["target"]["src_path"].as_str()?);
            Some(Executable {
                source: source
                    .strip_prefix(workspace)
                    .unwrap_or(source)
                    .display()
                    .to_string(),
                path: message["executable"].as_str()?.into(),
                is_test: message["profile"]["test"] == true,
            })
        })
        .collect()
}

/// An example or binary of this workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Buildable {
    package: String,
    /// `example` or `bin`.
    kind: String,
    name: String,
}

/// The examples and binaries of this workspace.
fn targets() -> Result<Vec<Buildable>> {
    let text = command::output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))
        .map_err(|error| {
            error.next("see that every Cargo.toml of the workspace can be read: `cargo metadata`")
        })?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|error| Error::new("cannot read what `cargo metadata` says").because(error))?;
    Ok(targets_from(&metadata))
}

fn targets_from(metadata: &Value) -> Vec<Buildable> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut targets = Vec::new();
    for package in list(&metadata["packages"]) {
        // The lab is no program for the lab.
        if package["name"] == env!("CARGO_PKG_NAME") {
            continue;
        }
        for target in list(&package["targets"]) {
            let kinds = list(&target["kind"]);
            if let Some(kind) = kinds
                .iter()
                .map(&text)
                .find(|kind| kind == "example" || kind == "bin")
            {
                targets.push(Buildable {
                    package: text(&package["name"]),
                    kind,
                    name: text(&target["name"]),
                });
            }
        }
    }
    targets
}

/// A program that a user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A file of the host, and the name it gets in the guest.
    File(String, PathBuf),
    /// Something that the guest has already.
    Guest(String),
}

/// Finds the program that a user named, and builds it if it is of this workspace.
pub(crate) fn named(name: &str, lab: &Lab) -> Result<Program> {
    let path = Path::new(name);
    if name.contains('/') || path.is_file() {
        check(path, lab.arch)?;
        let short = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        return Ok(Program::File(short, path.to_owned()));
    }
    let targets = targets()?;
    if let Some(target) = targets.iter().find(|target| target.name == name) {
        return built(target, lab.arch).map(|path| Program::File(name.to_owned(), path));
    }
    if name == "bind-vfio" || tools(lab)?.iter().any(|tool| tool == name) {
        return Ok(Program::Guest(name.to_owned()));
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    Err(Error::new(format!("there is no program `{name}`"))
        .because("no example or binary of this workspace, no file and no tool of the guest has that name")
        .next(format!(
            "this workspace has: {}",
            if names.is_empty() { "no examples or binaries".to_owned() } else { names.join(", ") }
        )))
}

/// The names of the guest's tools.
pub(crate) fn tools(lab: &Lab) -> Result<Vec<String>> {
    let list = command::output(lab.arch.target.run(&lab.busybox).arg("--list"))?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn built(target: &Buildable, arch: &Arch) -> Result<PathBuf> {
    let kind = format!("--{}", target.kind);
    build(
        arch,
        &["build", "--package", &target.package, &kind, &target.name],
    )?
    .pop()
    .map(|executable| executable.path)
    .ok_or_else(|| Error::new(format!("cargo built no {} `{}`", target.kind, target.name)))
}

/// Sees that a file can run in the guest.
fn check(path: &Path, arch: &Arch) -> Result<()> {
    let name = path.display();
    let content = fs::read(path).doing(|| format!("cannot read the program {name}"))?;
    let cannot = |why: &str| Err(Error::new(format!("{name} cannot run in the lab")).because(why));
    match elf::kind(&content, arch) {
        Kind::Static => Ok(()),
        Kind::Other if content.starts_with(b"#!") => Ok(()),
        Kind::Other => cannot("it is neither an ELF program nor a script that starts with #!"),
        Kind::Foreign => cannot(&format!("it is not a program for {}", arch.name)),
        Kind::Dynamic => cannot("it asks for a dynamic linker, which the guest has not").map_err(|error| {
            error.next(format!(
                "build it as a static program: RUSTFLAGS='{}' cargo build --target {}, or cc -static",
                arch.target.flags.join(" "),
                arch.target.triple
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::X86_64;

    #[test]
    fn finds_programs_in_cargos_messages() {
        let lines = [
            r#"{"reason":"compiler-artifact","target":{"src_path":"/w/tests/src/ioas.rs"},"profile":{"test":true},"executable":"/t/ioas-1"}"#,
            r#"{"reason":"compiler-artifact","target":{"src_path":"/w/vfio/src/lib.rs"},"profile":{"test":false},"executable":null}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let messages: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected = Executable {
            source: "tests/src/ioas.rs".to_owned(),
            path: "/t/ioas-1".into(),
            is_test: true,
        };
        assert_eq!(executables(&messages, Path::new("/w")), [expected]);
    }

    #[test]
    fn finds_examples_and_binaries() {
        let metadata = r#"{"packages":[{"name":"examples","targets":[
            {"kind":["lib"],"name":"examples"},{"kind":["bin"],"name":"dma_buffer"}]},
            {"name":"lab","targets":[{"kind":["bin"],"name":"lab"}]}]}"#;
        let targets = targets_from(&serde_json::from_str(metadata).unwrap());
        assert_eq!(targets.len(), 1);
        assert_eq!(
            (targets[0].name.as_str(), targets[0].kind.as_str()),
            ("dma_buffer", "bin")
        );
    }

    #[test]
    fn keeps_the_flags_that_a_developer_has_set() {
        let ours = ["-Cone", "-Ctwo"];
        assert_eq!(
            joined("-D warnings".into(), &ours, " "),
            *"-D warnings -Cone -Ctwo"
        );
        assert_eq!(joined(OsString::new(), &ours, " "), *"-Cone -Ctwo");
    }

    #[test]
    fn a_program_that_cannot_run_in_the_guest_is_refused() {
        let check = |path| check(Path::new(path), &X86_64);
        let error = check("/proc/self/cmdline").unwrap_err();
        assert!(
            error.to_string().contains("cannot run in the lab"),
            "{error}"
        );
        assert!(check("/no/such/file").is_err());
    }
}
