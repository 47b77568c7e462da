//! The report for people.

use std::fmt::{self, Write};

use vfio::{Blocker, IommuGroup, PciFunction, Readiness};

use super::{Entry, Survey, class, state, table};

/// The machine in tables, and what to do next.
#[must_use]
pub fn overview(survey: &Survey) -> String {
    collect(|out| {
        iommus(survey, out)?;
        functions(survey, out)?;
        others(survey, out)?;
        probed(survey, out)?;
        next(survey, out)
    })
}

/// Everything about the functions of the survey.
#[must_use]
pub fn details(survey: &Survey) -> String {
    collect(|out| {
        for (number, entry) in survey.functions.iter().enumerate() {
            if number > 0 {
                out.push('\n');
            }
            detail(entry, out)?;
        }
        Ok(())
    })
}

fn collect(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    // A string takes whatever is written to it.
    write(&mut out).ok();
    out
}

fn iommus(survey: &Survey, out: &mut String) -> fmt::Result {
    if survey.iommus.is_empty() {
        return writeln!(out, "This machine has no IOMMU that is switched on.\n");
    }
    let rows: Vec<_> = survey
        .iommus
        .iter()
        .map(|unit| {
            [
                unit.name.clone(),
                unit.kind.to_string(),
                unit.devices.to_string(),
            ]
        })
        .collect();
    writeln!(
        out,
        "{}",
        table::render(["IOMMU", "KIND", "DEVICES"], &rows)
    )
}

fn functions(survey: &Survey, out: &mut String) -> fmt::Result {
    if survey.functions.is_empty() {
        return writeln!(out, "This machine has no PCI functions.\n");
    }
    let rows: Vec<_> = survey
        .functions
        .iter()
        .map(|entry| row(&entry.readiness, state::of(entry)))
        .collect();
    let heading = [
        "FUNCTION",
        "IDS",
        "WHAT",
        "DRIVER",
        "GROUP",
        "TYPE",
        "NUMA",
        "RESET",
        "ASSIGNMENT",
    ];
    out.push_str(&table::render(heading, &rows));
    let mut entries = survey.functions.iter();
    if entries.any(|entry| !entry.readiness.siblings().is_empty()) {
        writeln!(
            out,
            "GROUP (n): the IOMMU cannot keep these n devices apart; they are assigned to one user."
        )?;
    }
    writeln!(out)
}

fn row(readiness: &Readiness, state: String) -> [String; 9] {
    let function = readiness.function();
    let group = readiness.iommu_group();
    [
        function.address.to_string(),
        or_dash(function.ids),
        what(function),
        or_dash(function.driver.as_deref()),
        group.map_or_else(|| "-".to_owned(), shared),
        or_dash(group.map(|group| &group.kind)),
        or_dash(function.numa_node),
        match &*function.reset_methods {
            [] => "-".to_owned(),
            methods => joined(methods, ","),
        },
        state,
    ]
}

/// The number of a group, and of its devices where there are several.
fn shared(group: &IommuGroup) -> String {
    match group.devices.len() {
        0 | 1 => group.id.to_string(),
        several => format!("{} ({several})", group.id),
    }
}

fn what(function: &PciFunction) -> String {
    let name = class::name(function.class);
    match (function.physical_function, function.total_virtual_functions) {
        (Some(physical), _) => format!("{name}, VF of {physical}"),
        (None, Some(total)) => {
            format!("{name}, {}/{total} VFs", function.virtual_functions.len())
        }
        (None, None) => name.to_owned(),
    }
}

fn others(survey: &Survey, out: &mut String) -> fmt::Result {
    if survey.others.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = survey
        .others
        .iter()
        .map(|node| {
            [
                node.name.clone(),
                or_dash(node.bus.as_deref()),
                node.device.clone(),
                or_dash(node.driver.as_deref()),
                or_dash(node.group),
            ]
        })
        .collect();
    let heading = ["VFIO", "BUS", "DEVICE", "DRIVER", "GROUP"];
    writeln!(out, "{}", table::render(heading, &rows))
}

fn probed(survey: &Survey, out: &mut String) -> fmt::Result {
    let answers = survey
        .functions
        .iter()
        .filter_map(|entry| Some((entry.readiness.address(), entry.iommu.as_ref()?)));
    let mut any = false;
    for (address, answer) in answers {
        any = true;
        match answer {
            Ok(answer) => writeln!(out, "{address}  {answer}")?,
            Err(error) => writeln!(out, "{address}  no answer: {error}")?,
        }
    }
    if any {
        out.push('\n');
    }
    Ok(())
}

fn next(survey: &Survey, out: &mut String) -> fmt::Result {
    let all = survey.functions.len();
    let ready: Vec<&Entry> = survey
        .functions
        .iter()
        .filter(|entry| entry.readiness.is_ready() && entry.users.is_empty())
        .collect();
    writeln!(
        out,
        "{} of {all} functions can be assigned now.",
        ready.len()
    )?;
    if survey.groups.is_empty() {
        return writeln!(
            out,
            "Next: enable the IOMMU in the firmware's settings (VT-d, AMD-Vi, SMMU), and for Intel boot the kernel with\n\
             intel_iommu=on. Without one, a device can reach all of memory, and is given to nobody."
        );
    }
    for blocker in of_the_machine(survey) {
        writeln!(out, "First: {blocker}.")?;
    }
    if let Some(entry) = ready.first() {
        let address = entry.readiness.address();
        return writeln!(
            out,
            "Next: vfio::Cdev::open_pci opens one, such as {address}. To ask its IOMMU what it can do, by which the\n\
             kernel resets the function:\n    lsiommu --probe {address}"
        );
    }
    let idle = survey
        .functions
        .iter()
        .find(|entry| is_idle(&entry.readiness));
    writeln!(
        out,
        "Next: choose one that this machine can do without. This says how to make it ready:\n    lsiommu {}",
        idle.map_or_else(
            || "ADDRESS".to_owned(),
            |entry| entry.readiness.address().to_string()
        )
    )
}

/// What keeps every function from being assigned.
fn of_the_machine(survey: &Survey) -> Vec<&Blocker> {
    let mut blockers = Vec::new();
    let all = survey.functions.iter();
    for blocker in all.flat_map(|entry| entry.readiness.blockers()) {
        if state::is_of_the_machine(blocker) && !blockers.contains(&blocker) {
            blockers.push(blocker);
        }
    }
    blockers
}

/// Whether nobody uses it, and all that it lacks of its own is a driver. (Nobody wants to assign a part of the board,
/// such as a host bridge.)
fn is_idle(readiness: &Readiness) -> bool {
    let is_board = readiness
        .function()
        .class
        .is_some_and(|class| class.base == 6);
    let mut blockers = readiness.blockers().iter();
    !is_board
        && blockers.all(|blocker| {
            state::is_of_the_machine(blocker) || matches!(blocker, Blocker::NoDriver { .. })
        })
}

fn detail(entry: &Entry, out: &mut String) -> fmt::Result {
    let readiness = &entry.readiness;
    let function = readiness.function();
    writeln!(out, "{}", function.address)?;
    let mut line = |name: &str, text: String| writeln!(out, "  {name:<12}{text}");
    let ids = match (function.ids, function.subsystem) {
        (Some(ids), Some(subsystem)) => format!(" [{ids}, subsystem {subsystem}]"),
        (Some(ids), None) => format!(" [{ids}]"),
        (None, _) => String::new(),
    };
    line("what", format!("{}{ids}", what(function)))?;
    line("driver", or_dash(function.driver.as_deref()))?;
    line("IOMMU", or_dash(function.iommu.as_deref()))?;
    if let Some(group) = readiness.iommu_group() {
        line("group", format!("{}, {}", group.id, group.kind))?;
        for sibling in readiness.siblings() {
            let driver = sibling.driver.as_deref().unwrap_or("no driver");
            line("", format!("shared with {} ({driver})", sibling.name))?;
        }
        for region in &group.reserved {
            line("reserved", format!("{} {}", region.range, region.kind))?;
        }
    }
    if let Some(node) = function.numa_node {
        line("NUMA node", node.to_string())?;
    }
    line(
        "reset",
        match &*function.reset_methods {
            [] => "none of its own".to_owned(),
            methods => joined(methods, ", "),
        },
    )?;
    if !function.virtual_functions.is_empty() {
        line("VFs", joined(&function.virtual_functions, " "))?;
    }
    line(
        "VFIO",
        or_dash(function.node().map(|path| path.display().to_string())),
    )?;
    line("interrupts", readiness.msi_isolation().to_string())?;
    if !entry.users.is_empty() {
        line("in use by", joined(&entry.users, ", "))?;
    }
    match &entry.iommu {
        Some(Ok(answer)) => line("IOMMU says", answer.clone())?,
        Some(Err(error)) => line("IOMMU says", format!("nothing: {error}"))?,
        None => {}
    }
    line("assignment", state::of(entry))?;
    for blocker in readiness.blockers() {
        writeln!(out, "  - {}", blocker.to_string().replace('\n', "\n  "))?;
    }
    Ok(())
}

fn joined(items: &[impl fmt::Display], between: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(between)
}

fn or_dash(text: Option<impl fmt::Display>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}
