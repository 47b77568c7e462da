//! The table for a person.

use super::machines::Clock;
use super::results::{Case, Figure, Results};
use super::verdict::{WANTED, falls_short};

/// All of the results, beside earlier ones.
pub(crate) fn table(results: &Results, before: Option<&Results>) -> String {
    let mut text = String::new();
    let mut last = None;
    for case in &results.cases {
        let machine = (&case.arch, &case.clock);
        if last != Some(machine) {
            last = Some(machine);
            text.push_str(&heading(case));
        }
        let old = before.and_then(|before| before.cases.iter().find(|old| old.is(case)));
        text.push_str(&row(case, old));
    }
    if !results.steps.is_empty() {
        text.push_str("\nuser instructions (x86_64), without the kernel's:\n");
    }
    for steps in &results.steps {
        let ledger = match steps.ledger {
            0 => String::new(),
            ledger => format!(", {ledger} of them the ledger's"),
        };
        text.push_str(&format!("  {:<38} {:>8}{ledger}\n", steps.case, steps.all));
    }
    if results.cases.iter().any(falls_short) {
        text.push_str(&format!("\n*: more than {WANTED} of what the loop takes\n"));
    }
    text
}

fn heading(case: &Case) -> String {
    let unit = if case.clock == Clock::Counted.name() {
        "instructions, the kernel's and the program's"
    } else {
        "time, the least of some samples; no ratio where they differ much"
    };
    format!(
        "\n{}: {unit}\n  {:<52} {:>12} {:>12} {:>8}   {}\n",
        case.arch, "", "loop", "SDK", "ratio", "before"
    )
}

fn row(case: &Case, old: Option<&Case>) -> String {
    let shown = |figure: Option<Figure>| {
        figure.map_or_else(String::new, |figure| shown(&case.clock, case.value(figure)))
    };
    let ratio = |case: &Case| case.ratio().map(|ratio| format!("{ratio:.4}"));
    let before = match old {
        Some(old) => ratio(old).unwrap_or_else(|| shown(old.sdk.or(old.raw))),
        None => String::new(),
    };
    let row = format!(
        "  {:<52} {:>12} {:>12} {:>8}{:<3}{}",
        case.name,
        shown(case.raw),
        shown(case.sdk),
        ratio(case).unwrap_or_default(),
        if falls_short(case) { "*" } else { "" },
        before
    );
    format!("{}\n", row.trim_end())
}

/// A figure with its unit.
fn shown(clock: &str, value: f64) -> String {
    if clock == Clock::Counted.name() {
        return match value {
            value if value < 1e6 => format!("{value:.0}"),
            value => format!("{:.3} M", value / 1e6),
        };
    }
    match value {
        value if value < 1e3 => format!("{value:.1} ns"),
        value if value < 1e6 => format!("{:.2} µs", value / 1e3),
        value => format!("{:.2} ms", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_of_their_clock() {
        assert_eq!(shown("counted", 10932.7), "10933");
        assert_eq!(shown("counted", 1_204_167.0), "1.204 M");
        assert_eq!(shown("real", 12.34), "12.3 ns");
        assert_eq!(shown("real", 12_340.0), "12.34 µs");
        assert_eq!(shown("real", 12_340_000.0), "12.34 ms");
    }
}
