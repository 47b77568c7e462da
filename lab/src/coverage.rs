//! What KCOV tells of: the kernel that tells it, and its places in iommufd.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::command::{self, command};
use crate::error::{Doing, Error, Result};

/// For make: only what is in iommufd's directory is instrumented. Where a makefile asks, `obj` is the directory.
pub(crate) const IOMMUFD_ALONE: &str =
    "KCOV_INSTRUMENT=$(if $(filter drivers/iommu/iommufd,$(obj)),y)";

/// Where iommufd's objects are.
const IOMMUFD: &str = "drivers/iommu/iommufd";
/// The function that every place calls.
const TRACE: &str = "<__sanitizer_cov_trace_pc>";
/// The file beside a kernel that has its places: an address, and the source and the function that it is in, a line each.
const POINTS: &str = "points";

/// What a place is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The name of the source.
    pub(crate) source: String,
    /// The function; what the compiler has made a part of another counts as that one.
    pub(crate) function: String,
}

/// The places that a kernel tells of, by address.
pub(crate) type Points = BTreeMap<u64, Place>;

/// Keeps the places of the kernel that was built in `objects`.
pub(crate) fn keep_points(objects: &Path, result: &Path) -> Result<()> {
    let sources = functions(objects)?;
    let mut disassembler = command("objdump");
    disassembler
        .args(["-d", "--no-show-raw-insn"])
        .arg(objects.join("vmlinux"))
        .stdout(Stdio::piped());
    let shown = command::show(&disassembler);
    let mut child = disassembler
        .spawn()
        .doing(|| format!("cannot start `{shown}`"))?;
    let mut finder = Finder::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            finder.read(&line.doing(|| format!("cannot read the output of `{shown}`"))?);
        }
    }
    child
        .wait()
        .doing(|| format!("cannot wait for `{shown}`"))?;
    let lines: Vec<String> = finder
        .found
        .iter()
        .map(|(address, function)| {
            let source = sources.get(function).map_or("?", String::as_str);
            format!("{address:x} {source} {function}\n")
        })
        .collect();
    if lines.is_empty() {
        return Err(Error::new("the kernel has no place that KCOV tells of"));
    }
    let file = result.join(POINTS);
    fs::write(&file, lines.concat()).doing(|| format!("cannot write {}", file.display()))
}

/// Which source of iommufd each function is of.
fn functions(objects: &Path) -> Result<BTreeMap<String, String>> {
    let directory = objects.join(IOMMUFD);
    let entries =
        fs::read_dir(&directory).doing(|| format!("cannot read {}", directory.display()))?;
    let mut functions = BTreeMap::new();
    for object in entries.flatten().map(|entry| entry.path()) {
        let name = object.file_stem().unwrap_or_default().to_string_lossy();
        // The object that all others are linked into is none of a source.
        if object.extension().is_none_or(|end| end != "o") || name == "iommufd" {
            continue;
        }
        let symbols = command::output(command("nm").arg("--defined-only").arg(&object))?;
        for line in symbols.lines() {
            if let [_, kind, function] = line.split_whitespace().collect::<Vec<_>>()[..]
                && kind.eq_ignore_ascii_case("t")
            {
                functions.insert(function.to_owned(), format!("{name}.c"));
            }
        }
    }
    Ok(functions)
}

/// Finds the places in what a disassembler prints. KCOV tells of a place by the address behind its call.
#[derive(Debug, Default)]
struct Finder {
    function: String,
    is_behind: bool,
    found: Vec<(u64, String)>,
}

impl Finder {
    fn read(&mut self, line: &str) {
        if let Some((_, name)) = line.split_once(" <")
            && let Some(name) = name.strip_suffix(">:")
        {
            name.clone_into(&mut self.function);
            return;
        }
        let Some((address, instruction)) = line.split_once(':') else {
            return;
        };
        let Ok(address) = u64::from_str_radix(address.trim(), 16) else {
            return;
        };
        if self.is_behind {
            self.found.push((address, self.function.clone()));
        }
        self.is_behind = instruction.contains(TRACE) && instruction.contains("call");
    }
}

/// The places of a kernel in the cache.
pub(crate) fn points(kernel: &Path) -> Result<Points> {
    let file = kernel.with_file_name(POINTS);
    let text = fs::read_to_string(&file).doing(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().filter_map(point).collect())
}

fn point(line: &str) -> Option<(u64, Place)> {
    let mut words = line.split(' ').map(str::to_owned);
    let address = u64::from_str_radix(&words.next()?, 16).ok()?;
    let (source, function) = (words.next()?, words.next()?);
    Some((address, Place { source, function }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_behind_its_call() {
        let mut finder = Finder::default();
        for line in [
            "ffffffff81000000 <iopt_map>:",
            "ffffffff81000000:\tpush   %rbx",
            "ffffffff81000001:\tcall   ffffffff81200000 <__sanitizer_cov_trace_pc>",
            "ffffffff81000006:\tmov    %rdi,%rbx",
            "",
            "ffffffff81000010 <iopt_unmap.part.0>:",
            "ffffffff81000010:\tcall   ffffffff81200000 <__sanitizer_cov_trace_pc>",
            "ffffffff81000015:\tret",
            "ffffffff81200000 <__sanitizer_cov_trace_pc>:",
            "ffffffff81200000:\tret",
        ] {
            finder.read(line);
        }
        assert_eq!(
            finder.found,
            [
                (0xffff_ffff_8100_0006, "iopt_map".to_owned()),
                (0xffff_ffff_8100_0015, "iopt_unmap.part.0".to_owned()),
            ]
        );
    }
}
