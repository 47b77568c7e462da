//! Progress of long steps, on standard error: what is being done, how far it is, and for how long it has been at it.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a terminal's progress line is redrawn.
const ON_A_TERMINAL: Duration = Duration::from_millis(250);
/// How often a line is added where output goes to a file, as under CI.
const IN_A_LOG: Duration = Duration::from_secs(15);

/// Says one line.
pub(crate) fn say(line: impl AsRef<str>) {
    eprintln!("lab: {}", line.as_ref());
}

/// What the numbers of a step count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Hundredths of the whole.
    Percent,
    /// Bytes, shown as MB.
    Bytes,
    /// Things that go by this name, of a total that is only roughly known.
    About(&'static str),
    /// Nothing can be counted.
    Nothing,
}

/// One long step. Shown until [`Step::done`], or until it is dropped because the step failed.
#[derive(Debug)]
pub(crate) struct Step {
    so_far: Arc<AtomicU64>,
    started: Instant,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Step {
    /// Starts to show `name`, which goes on until `total` of `unit` are done.
    pub(crate) fn start(name: impl Into<String>, unit: Unit, total: u64) -> Self {
        let (name, started) = (name.into(), Instant::now());
        let so_far = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = channel();
        let terminal = stderr().is_terminal();
        if !terminal {
            say(format!("{name} ..."));
        }
        let shown = Arc::clone(&so_far);
        let ticker = thread::spawn(move || {
            let pause = if terminal { ON_A_TERMINAL } else { IN_A_LOG };
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let line = line(&name, unit, shown.load(Relaxed), total, started.elapsed());
                if terminal {
                    eprint!("\r\x1b[Klab: {line}");
                } else {
                    say(line);
                }
            }
            if terminal {
                eprint!("\r\x1b[K");
            }
            // A progress line that cannot be written is not worth failing for.
            stderr().flush().unwrap_or_default();
        });
        Self {
            so_far,
            started,
            ticker: Some((stop, ticker)),
        }
    }

    /// `so_far` of the total are done.
    pub(crate) fn at(&self, so_far: u64) {
        self.so_far.store(so_far, Relaxed);
    }

    /// Ends the step and says what it has brought.
    pub(crate) fn done(mut self, result: impl AsRef<str>) {
        self.stop();
        say(format!(
            "{} ({})",
            result.as_ref(),
            span(self.started.elapsed())
        ));
    }

    fn stop(&mut self) {
        if let Some((stop, ticker)) = self.ticker.take() {
            drop(stop);
            // The thread only prints; if it panicked there is nothing to clean up.
            ticker.join().unwrap_or_default();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One line of progress.
fn line(name: &str, unit: Unit, so_far: u64, total: u64, elapsed: Duration) -> String {
    // A total that is only roughly known must not promise an end that is not there.
    let percent = (so_far * 100 / total.max(1)).min(99);
    let far = match unit {
        Unit::Percent => format!("{percent}%, "),
        Unit::Bytes => format!("{percent}% of {} MB, ", total / 1_000_000),
        Unit::About(things) => format!("{percent}% ({so_far} of about {total} {things}), "),
        Unit::Nothing => String::new(),
    };
    format!("{name}: {far}{} so far", span(elapsed))
}

/// A time span as a person says it.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_how_far_and_how_long() {
        let about = line(
            "building",
            Unit::About("files"),
            710,
            1650,
            Duration::from_secs(72),
        );
        assert_eq!(
            about,
            "building: 43% (710 of about 1650 files), 1 min 12 s so far"
        );
        let bytes = line(
            "unpacking",
            Unit::Bytes,
            50_000_000,
            166_000_000,
            Duration::from_secs(3),
        );
        assert_eq!(bytes, "unpacking: 30% of 166 MB, 3.0 s so far");
    }

    #[test]
    fn more_than_was_expected_is_not_yet_done() {
        let over = line(
            "building",
            Unit::About("files"),
            1700,
            1650,
            Duration::from_secs(1),
        );
        assert!(over.contains("99%"), "{over}");
    }
}
