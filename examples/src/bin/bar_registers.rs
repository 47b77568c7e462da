//! Prints the registers of a BAR, or of another region, of a device.
//!
//! ```text
//! bar_registers 0000:00:04.0 bar0 0x0..0x40
//! bar_registers 0000:00:04.0 bar0 0x80..0xa0 64
//! bar_registers 0000:00:04.0 config 0x0..0x40 16
//! ```
//!
//! The range is in bytes, the width in bits: 8, 16, 32 (if it is left out) or 64. A BAR is mapped
//! if it can be, and read by system call if not. Of some devices it changes something when a
//! register is read: read only those that you know.

#![expect(clippy::print_stderr, reason = "it tells what went wrong")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match examples::bar_registers::run(&arguments, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bar_registers: {error}");
            ExitCode::FAILURE
        }
    }
}
