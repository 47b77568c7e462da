//! Starting other programs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Doing, Error, Result};

/// How many lines of a failed program's output are shown.
const SHOWN: usize = 25;

/// A command that ends with the lab, even if the lab is killed, and that does not see what `cargo run` added to the
/// environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = match find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.env_remove("LD_LIBRARY_PATH");
    forget_cargo(&mut command);
    command
}

/// Removes what `cargo run` told the lab about itself: another cargo, or a program under test, would take it for its own.
pub(crate) fn forget_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || matches!(
                &*text,
                "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "OUT_DIR" | "MAKEFLAGS" | "MAKELEVEL"
            )
        {
            command.env_remove(&name);
        }
    }
}

/// The path of a program that is in `PATH`, or in one of the directories that only root has there.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| is_executable(file))
}

/// Whether `file` is a file that may be executed.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        return Err(Error::new(format!("`{shown}` failed: {}", output.status))
            .because(last_lines(&String::from_utf8_lossy(&output.stderr), SHOWN)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command that must succeed, writes all of its output to `log` and gives each line of its standard output to
/// `on_line`.
pub(crate) fn logged(
    command: &mut Command,
    log: &Path,
    mut on_line: impl FnMut(&str),
) -> Result<()> {
    let shown = show(command);
    let cannot_log = || format!("cannot write {}", log.display());
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .doing(cannot_log)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file.try_clone().doing(cannot_log)?)
        .spawn()
        .doing(|| format!("cannot start `{shown}`"))?;
    if let Some(out) = child.stdout.take() {
        let mut lines = BufReader::new(out);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .doing(|| format!("cannot read the output of `{shown}`"))?
            != 0
        {
            file.write_all(&line).doing(cannot_log)?;
            on_line(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    let status = child
        .wait()
        .doing(|| format!("cannot wait for `{shown}`"))?;
    if status.success() {
        return Ok(());
    }
    let text = std::fs::read(log).unwrap_or_default();
    Err(Error::new(format!("`{shown}` failed: {status}"))
        .because(last_lines(&String::from_utf8_lossy(&text), SHOWN))
        .because(format!("all of its output is in {}", log.display())))
}

/// Asks or sets the terminal's settings with `stty`; nothing, if there is no terminal.
pub(crate) fn terminal_settings(arguments: &[&str]) -> Option<String> {
    let said = Command::new("stty")
        .args(arguments)
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    said.status
        .success()
        .then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // What keeps a command from outliving the lab is of no interest to a reader.
    let start = words
        .iter()
        .position(|word| word == "--")
        .filter(|_| words[0].ends_with("setpriv"));
    words[start.map_or(0, |dashes| dashes + 1)..].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_text() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_command_is_shown_without_its_wrapper() {
        assert_eq!(show(command("true").arg("x")), "true x");
    }

    #[test]
    fn a_failure_shows_what_the_command_said() {
        let error = output(command("sh").args(["-c", "echo reason >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("reason"), "{error}");
    }
}
