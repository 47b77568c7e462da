//! QEMU's monitor: what a machine that stands still has to say.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The monitor's socket, in QEMU's own directory.
pub(crate) const SOCKET: &str = "monitor";

/// How long QEMU may take for its next words. It has no more to say after that.
const PAUSE: Duration = Duration::from_secs(1);

/// Twice the registers, as a processor that moves is another matter than one that does not; and its interrupts.
const QUESTIONS: &str = "info status\ninfo registers -a\ninfo lapic 0\ninfo lapic 1\ninfo pic\ninfo irq\n\
                         info registers -a\n";

/// The state of the machine of this QEMU, or why it cannot be had.
pub(crate) fn state(qemu: u32) -> String {
    // By way of the process: the path of a socket must be short.
    let ask = || -> std::io::Result<String> {
        let mut monitor = UnixStream::connect(format!("/proc/{qemu}/cwd/{SOCKET}"))?;
        monitor.set_read_timeout(Some(PAUSE))?;
        monitor.write_all(QUESTIONS.as_bytes())?;
        let mut said = Vec::new();
        let mut buffer = [0; 1 << 12];
        while let Ok(count @ 1..) = monitor.read(&mut buffer) {
            said.extend_from_slice(&buffer[..count]);
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    ask().unwrap_or_else(|error| format!("QEMU's monitor does not answer: {error}\n"))
}
