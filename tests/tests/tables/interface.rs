//! The interface, field by field, of `docs/misuse.md`.

use std::collections::BTreeMap;

use crate::text::{assert_clean, out_of_order, read, references, rows, sources};

#[test]
fn every_ioctl_field_and_constant_of_the_header_has_its_place() {
    let text = read("docs/misuse.md").unwrap();
    let header = read("iommufd-sys/src/generated/iommufd.rs").unwrap();
    let mut complaints = Vec::new();
    for ioctl in iommufd_sys::ioctl::iommufd::ALL {
        if !text.contains(&format!("\n### `{}`", ioctl.name)) {
            complaints.push(format!("add a section `### {}`", ioctl.name));
        }
    }
    for (name, fields) in structs(&header) {
        let Some((_, section)) = text.split_once(&format!("`{name}`\n")) else {
            complaints.push(format!("add a section whose heading ends in `{name}`"));
            continue;
        };
        let section = section.split("\n#").next().unwrap_or_default();
        let cells = rows(section).map(|row| row[0]);
        let found: Vec<_> = cells
            .filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'))
            .collect();
        let wrong = out_of_order(&found, &fields);
        complaints.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}")));
    }
    for name in constants(&header) {
        if !text.contains(&format!("`{name}`")) {
            complaints.push(format!("say where `{name}` is, in the row of its field"));
        }
    }
    assert_clean("docs/misuse.md", &complaints);
}

#[test]
fn every_function_that_is_named_exists() {
    let text = read("docs/misuse.md").unwrap();
    let sources = sources("iommufd/src").unwrap() + &sources("vfio/src").unwrap();
    let mut complaints = Vec::new();
    for (name, _) in text.lines().flat_map(references) {
        // `Type::function`: not `Type::Variant`, not `path::of::a::test`.
        let Some((_, function)) = name.split_once("::").filter(|(place, function)| {
            place.starts_with(char::is_uppercase) && function.starts_with(char::is_lowercase)
        }) else {
            continue;
        };
        if !sources.contains(&format!("fn {function}("))
            && !sources.contains(&format!("fn {function}<"))
        {
            complaints.push(format!("there is no `{name}`: correct the row"));
        }
    }
    assert_clean("docs/misuse.md", &complaints);
}

/// Whether a name of the header is one vendor's.
fn is_a_vendors(name: &str) -> bool {
    let name = name.to_lowercase();
    let vendors = ["vtd", "smmuv3", "amd", "tegra241"];
    vendors.iter().any(|vendor| name.contains(vendor))
}

/// The structs that are no vendor's, with the fields that differ from struct to struct.
fn structs(header: &str) -> BTreeMap<&str, Vec<String>> {
    let parts = header.split("pub struct ").skip(1);
    let structs = parts.filter_map(|part| {
        let (name, rest) = part.split_once(" {")?;
        let body = rest.split_once('}')?.0;
        let fields = body.lines().filter_map(|line| {
            let name = line.trim().strip_prefix("pub ")?.split_once(':')?.0;
            // `type` is a word of Rust's.
            Some(name.trim_end_matches('_').to_owned())
        });
        let fields = fields.filter(|name| name != "size" && !name.starts_with("__reserved"));
        Some((name, fields.collect()))
    });
    structs.filter(|(name, _)| !is_a_vendors(name)).collect()
}

/// The constants that are no vendor's, but for the numbers of the ioctls.
fn constants(header: &str) -> impl Iterator<Item = &str> {
    let lines = header.lines();
    let names = lines.filter_map(|line| Some(line.strip_prefix("pub const ")?.split_once(':')?.0));
    names.filter(|name| {
        !is_a_vendors(name) && !name.starts_with("IOMMUFD_CMD_") && *name != "IOMMUFD_TYPE"
    })
}
