//! Where the instructions of a program come from.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use super::results::{Steps, parsed, text_of};
use crate::command::{command, find};
use crate::error::{Doing, Error, Result};
use crate::programs::workspace;

/// What asks the debug information of a program, if it is there: it comes with the linker.
const ADDR2LINE: &str = "addr2line";
/// The case in which nothing is done but what is done around each.
const NOTHING: &str = "nothing";
/// Where the ledger is, below the workspace.
const LEDGER: &str = "iommufd/src/ledger";

/// What was printed of each instruction of each case, counted.
pub(crate) fn count(printed: &str, program: &Path) -> Result<Vec<Steps>> {
    let mut all = Vec::new();
    for line in printed.lines() {
        let Some(text) = line.trim().strip_prefix("@steps ") else {
            continue;
        };
        let line = parsed(text)?;
        let places = line["places"].as_array().cloned().unwrap_or_default();
        let places: Vec<&str> = places.iter().filter_map(|place| place.as_str()).collect();
        let ledger = match find(ADDR2LINE) {
            Some(_) => of_the_ledger(&where_from(program, &places)?),
            None => 0,
        };
        all.push(Steps {
            case: text_of(&line, "case")?,
            all: places.len() as u64,
            ledger,
        });
    }
    let around = all.iter().find(|steps| steps.case == NOTHING);
    let around = around.map_or(0, |steps| steps.all);
    all.retain(|steps| steps.case != NOTHING);
    for steps in &mut all {
        steps.all = steps.all.saturating_sub(around);
    }
    Ok(all)
}

/// What the debug information says of each place: functions and lines, from the innermost to the outermost, behind the
/// address.
fn where_from(program: &Path, places: &[&str]) -> Result<String> {
    let doing = || format!("cannot run {ADDR2LINE}");
    let mut child = command(ADDR2LINE)
        .args(["-a", "-i", "-e"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .doing(doing)?;
    let input = child.stdin.take();
    // It answers while it is asked.
    let places = places.join("\n");
    let asking = std::thread::spawn(move || match input {
        Some(mut input) => input.write_all(places.as_bytes()),
        None => Ok(()),
    });
    let output = child.wait_with_output().doing(doing)?;
    let asked = asking.join();
    if !output.status.success() || !matches!(asked, Ok(Ok(()))) {
        return Err(Error::new(doing()).because(output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How many of these places are the ledger's, and how many in what it calls of others.
fn of_the_ledger(answer: &str) -> u64 {
    let root = format!("{}/", workspace().display());
    let mut count = 0;
    let mut within = false;
    let mut open = false;
    for line in answer.lines() {
        if line.starts_with("0x") {
            // Until the workspace is named again it is what the last line of it has called.
            count += u64::from(open && within);
            open = true;
        } else if let Some(file) = line.strip_prefix(&root) {
            // Only the innermost counts.
            if open {
                within = file.starts_with(LEDGER);
                count += u64::from(within);
                open = false;
            }
        }
    }
    count + u64::from(open && within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_calls_is_the_ledgers() {
        let root = workspace().display().to_string();
        let answer = format!(
            "0x1\n{root}/iommufd/src/map.rs:1\n\
             0x2\n{root}/iommufd/src/ledger.rs:1\n{root}/iommufd/src/map.rs:1\n\
             0x3\n/rustc/alloc/vec.rs:3\n\
             0x4\n/rustc/x.rs:1\n{root}/iommufd/src/ledger/overlap.rs:2\n\
             0x5\n{root}/iommufd/src/map.rs:1\n{root}/iommufd/src/ledger.rs:1\n\
             0x6\n??:0\n"
        );
        assert_eq!(of_the_ledger(&answer), 3);
    }

    #[test]
    fn what_is_around_is_not_counted() {
        let printed = "@steps {\"case\":\"nothing\",\"places\":[\"1\"]}\n\
                       @steps {\"case\":\"a\",\"places\":[\"1\",\"2\",\"3\"]}\n";
        let steps = count(printed, &std::env::current_exe().unwrap()).unwrap();
        assert_eq!((steps.len(), steps[0].all), (1, 2));
    }
}
