//! Lists a machine's IOMMUs and PCI functions, and tells which of them can be assigned: to a driver in user space, or to
//! a virtual machine.
//!
//! ```text
//! lsiommu                  a table of all functions
//! lsiommu 0000:00:04.0     all about one, and the commands that make it ready
//! lsiommu --json           the same for programs
//! lsiommu --probe          opens what is ready as well, and asks its IOMMU what it can do
//! ```
//!
//! Without `--probe` it reads sysfs and nothing else, so it can be run anywhere by anybody.

#![expect(clippy::print_stderr, reason = "it tells what went wrong")]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use examples::lsiommu::{Survey, json, text};
use iommufd::Iommufd;
use vfio::PciAddress;

const USAGE: &str = "usage: lsiommu [--json] [--probe] [ADDRESS...]

Lists this machine's IOMMUs and PCI functions, and tells which can be assigned, and what the others lack.
  ADDRESS   a PCI function, such as 0000:00:04.0: all about it, and what to do to make it ready
  --json    for programs
  --probe   also opens each function that is listed, ready and not in use, and asks its IOMMU what it can do;
            the kernel RESETS a function when it is opened and closed";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lsiommu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut as_json, mut probe) = (false, false);
    let mut addresses: Vec<PciAddress> = Vec::new();
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--json" => as_json = true,
            "--probe" => probe = true,
            "--help" | "-h" => {
                return Ok(tell(&format!("{USAGE}\n"))?);
            }
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option}\n{USAGE}").into());
            }
            address => addresses.push(address.parse()?),
        }
    }

    let mut survey = match &*addresses {
        [] => Survey::of_all()?,
        addresses => Survey::of(addresses)?,
    };
    // Where nothing can be assigned, nobody need be asked, and there may be nobody.
    if probe && survey.can_be_probed() {
        survey.probe(&Iommufd::open()?);
    }
    Ok(tell(&if as_json {
        format!("{:#}\n", json::report(&survey))
    } else if addresses.is_empty() {
        text::overview(&survey)
    } else {
        text::details(&survey)
    })?)
}

/// Prints a text. Who has read enough of it may go.
fn tell(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}
