//! `cargo lab demo`: the examples, on a DMA engine behind an IOMMU.

use crate::arch::{self, Arch};
use crate::boot::quoted;
use crate::cli::{Options, USAGE};
use crate::error::{Error, Result};
use crate::machine::EDU;
use crate::programs;
use crate::progress::{say, span};
use crate::run::{self, Around};
use crate::setup;

/// An example, and what there is about it.
struct Demo {
    /// The word that asks for it; the first needs none.
    word: &'static str,
    example: &'static str,
    /// The one architecture that has the hardware for it.
    only: Option<&'static Arch>,
    /// What the guest does when it has ended. Descriptor 3 is the user's terminal.
    after: &'static str,
}

static DEMOS: [Demo; 3] = [
    Demo {
        word: "dma",
        example: "dma_buffer",
        only: None,
        after: FAULTS,
    },
    Demo {
        word: "nested",
        example: "nested_smmuv3",
        only: Some(&arch::AARCH64),
        // What is blocked there is the guest's to know, not the host's.
        after: "",
    },
    Demo {
        word: "vtd",
        example: "nested_vtd",
        only: Some(&arch::X86_64),
        after: CANNOT,
    },
];

/// An emulated VT-d does not nest: that the example finds out and says is what there is to show.
const CANNOT: &str = r#"if [ "$status" -eq 3 ]; then
    status=0
fi
"#;

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
    let demo = match options.words.first() {
        Some(word) => named(word)?,
        None => &DEMOS[0],
    };
    let arch = options.arch.or(demo.only).unwrap_or_else(|| options.arch());
    if let Some(only) = demo.only
        && only != arch
    {
        return Err(
            Error::new(format!("there is no demo {} on {}", demo.word, arch.name))
                .because(format!(
                    "it needs hardware that only the lab's {} machine has",
                    only.name
                ))
                .next("run it without --arch"),
        );
    }
    let lab = setup::prepare(options, arch)?;
    let program = programs::named(demo.example, &lab)?;
    say(format!(
        "booting, to run the example {} on the DMA engine at {EDU}",
        demo.example
    ));
    let around = Around {
        before: format!("bind-vfio {} >&3 2>&1\n", quoted(EDU)),
        after: format!("fault={}\n{}", quoted(lab.arch.fault), demo.after),
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

/// The demo of that word.
fn named(word: &str) -> Result<&'static Demo> {
    let found = DEMOS.iter().find(|demo| demo.word == word);
    found.ok_or_else(|| {
        let words = DEMOS.each_ref().map(|demo| demo.word);
        Error::new(format!("there is no demo `{word}`"))
            .next(format!("the demos are: {}", words.join(", ")))
            .status(USAGE)
    })
}
