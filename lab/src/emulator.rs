//! QEMU while it runs: its output, its time limits, and its end.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::command;
use crate::error::{Doing, Result};
use crate::monitor;

/// How long QEMU may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// For how long QEMU may run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From its start to its end.
    pub(crate) whole: Duration,
    /// Until the guest comes up.
    pub(crate) start: Duration,
    /// Without printing anything.
    pub(crate) silence: Option<Duration>,
}

/// How it has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Ended(ExitStatus),
    /// Its time was up.
    TimeUp,
    /// The guest has printed nothing for too long; with the state of its processors, as QEMU tells it.
    StoodStill(String),
    /// The guest has not come up.
    NotUp,
}

/// Waits for QEMU with its output going to `on_output`. `is_up` says whether the guest has come up.
pub(crate) fn watched(
    qemu: &mut Command,
    limits: Limits,
    is_up: &dyn Fn() -> bool,
    on_output: &mut dyn FnMut(&[u8]),
) -> Result<End> {
    let begin = Instant::now();
    let (end, start) = (begin + limits.whole, begin + limits.start);
    let mut heard = begin;
    let mut child = spawn(qemu.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let output = read_in_background(&mut child);
    loop {
        let now = Instant::now();
        let silent = limits.silence.map(|silence| heard + silence);
        let late = (start > now).then_some(start);
        let next = [silent, late].into_iter().flatten().fold(end, Instant::min);
        match output.recv_timeout(next.saturating_duration_since(now)) {
            Ok(bytes) => {
                heard = Instant::now();
                on_output(&bytes);
            }
            Err(RecvTimeoutError::Timeout) => {
                let over = match next {
                    next if next == end => End::TimeUp,
                    next if Some(next) == silent => End::StoodStill(monitor::state(child.id())),
                    _ if is_up() => continue,
                    _ => End::NotUp,
                };
                stop(&mut child);
                output.iter().for_each(|bytes| on_output(&bytes));
                return Ok(over);
            }
            // QEMU has closed its output: it is about to end.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(end_by(&mut child, end.max(Instant::now() + GRACE)))
}

/// Waits for QEMU with a person's terminal on it, which is put back in order whatever happens to QEMU.
pub(crate) fn at_a_terminal(qemu: &mut Command, limit: Duration) -> Result<End> {
    let settings = command::terminal_settings(&["-g"]);
    let mut child = spawn(qemu)?;
    let end = end_by(&mut child, Instant::now() + limit);
    if let Some(settings) = settings {
        command::terminal_settings(&[&settings]);
    }
    Ok(end)
}

fn spawn(qemu: &mut Command) -> Result<Child> {
    let shown = command::show(qemu);
    qemu.spawn().doing(|| format!("cannot start `{shown}`"))
}

/// The child's output, in pieces as they come, until it closes it.
fn read_in_background(child: &mut Child) -> Receiver<Vec<u8>> {
    use std::io::Read;

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

/// How the child has ended by itself, or that it was made to at this time.
fn end_by(child: &mut Child, end: Instant) -> End {
    wait_until(child, end).map_or_else(
        || {
            stop(child);
            End::TimeUp
        },
        End::Ended,
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn end(script: &str, silence: Option<u64>, up: bool) -> End {
        let limits = Limits {
            whole: Duration::from_secs(2),
            start: Duration::from_millis(300),
            silence: silence.map(Duration::from_millis),
        };
        let mut program = Command::new("sh");
        program.args(["-c", script]);
        watched(&mut program, limits, &|| up, &mut |_| {}).unwrap()
    }

    #[test]
    fn what_does_not_come_up_is_told_from_what_takes_long_and_what_falls_silent() {
        assert!(matches!(end("true", None, false), End::Ended(status) if status.success()));
        assert!(matches!(end("exec sleep 9", None, false), End::NotUp));
        assert!(matches!(end("exec sleep 9", None, true), End::TimeUp));
        assert!(matches!(
            end("exec sleep 9", Some(600), true),
            End::StoodStill(_)
        ));
        let talks = "while sleep 0.2; do echo; done";
        assert!(matches!(end(talks, Some(600), true), End::TimeUp));
        assert!(matches!(end(talks, Some(600), false), End::NotUp));
    }
}
