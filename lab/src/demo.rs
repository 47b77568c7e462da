//! `cargo lab demo`: the first example, on a DMA engine behind an IOMMU.

use crate::boot::quoted;
use crate::cli::Options;
use crate::error::Result;
use crate::machine::EDU;
use crate::programs;
use crate::progress::{say, span};
use crate::run::{self, Around};
use crate::setup;

/// The example.
const EXAMPLE: &str = "dma_buffer";

/// Shows what the IOMMU told the kernel of the accesses that it blocked. If it told of none, none was blocked.
const FAULTS: &str = r#"faults=$(dmesg | grep -o "$fault.*")
if [ -n "$faults" ]; then
    echo "the IOMMU told the kernel of what it blocked:" >&3
    echo "$faults" | sed 's/^/          /' >&3
else
    echo "the IOMMU told the kernel of nothing that it blocked" >&3
    [ "$status" -ne 0 ] || status=1
fi
"#;

/// `cargo lab demo`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let lab = setup::prepare(options, options.arch())?;
    let program = programs::named(EXAMPLE, &lab)?;
    say(format!(
        "booting, to run the example {EXAMPLE} on the DMA engine at {EDU}"
    ));
    let around = Around {
        before: format!("bind-vfio {} >&3 2>&1\n", quoted(EDU)),
        after: format!("fault={}\n{FAULTS}", quoted(lab.arch.fault)),
    };
    let outcome = run::one(&lab, options, program, &[EDU.to_owned()], &around)?;
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
