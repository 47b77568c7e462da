//! `cargo lab demo`: the first example, on a DMA engine behind an IOMMU.

use crate::boot::quoted;
use crate::cli::Options;
use crate::error::Result;
use crate::machine::EDU;
use crate::programs;
use crate::progress::{say, span};
use crate::run;
use crate::setup;

/// The example.
const EXAMPLE: &str = "dma_buffer";

/// `cargo lab demo`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let lab = setup::prepare(options)?;
    let program = programs::named(EXAMPLE, &lab.busybox)?;
    say(format!(
        "booting, to run the example {EXAMPLE} on the DMA engine at {EDU}"
    ));
    let bind = format!("bind-vfio {} >&3 2>&1\n", quoted(EDU));
    let outcome = run::one(&lab, options, program, &[EDU.to_owned()], &bind)?;
    let result = if outcome.status == 0 {
        "done"
    } else {
        "the example failed"
    };
    say(format!(
        "{result}; the machine ran for {}",
        span(outcome.elapsed)
    ));
    Ok(outcome.status)
}
