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
        complaints.extend(misplaced(&text, name, &fields));
    }
    for name in constants(&header) {
        if !text.contains(&format!("`{name}`")) {
            complaints.push(format!("say where `{name}` is, in the row of its field"));
        }
    }
    assert_clean("docs/misuse.md", &complaints);
}

#[test]
fn every_ioctl_field_and_constant_of_vfios_header_has_its_place_or_a_reason() {
    let text = read("docs/misuse.md").unwrap();
    let header = read("iommufd-sys/src/generated/vfio.rs").unwrap();
    let (offered, not_offered) = text
        .split_once("\n### What of vfio.h is not offered")
        .unwrap();
    let has_reason = |name: &str| not_offered.contains(&format!("`{name}`"));
    let mut complaints = Vec::new();
    for ioctl in iommufd_sys::ioctl::vfio::ALL {
        let heading = format!("\n### `{}`", ioctl.name);
        if offered.contains(&heading) == has_reason(ioctl.name) {
            let name = ioctl.name;
            complaints.push(format!("add a section `### {name}`, or say why not"));
        }
    }
    for (name, fields) in structs(&header) {
        if !has_reason(name) {
            complaints.extend(misplaced(offered, name, &fields));
        }
    }
    for name in constants(&header) {
        if !text.contains(&format!("`{name}`")) {
            complaints.push(format!("say where `{name}` is, or why it is not"));
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

/// What is wrong with the table of a struct's fields.
fn misplaced(text: &str, name: &str, fields: &[String]) -> Vec<String> {
    let Some((_, section)) = text.split_once(&format!(": `{name}`\n")) else {
        return vec![format!("add a section whose heading ends in `{name}`")];
    };
    let section = section.split("\n#").next().unwrap_or_default();
    let cells = rows(section).map(|row| row[0]);
    let found: Vec<_> = cells
        .filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'))
        .collect();
    let wrong = out_of_order(&found, fields);
    wrong
        .iter()
        .map(|wrong| format!("{name}: {wrong}"))
        .collect()
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
        let vfios = name.starts_with("vfio_");
        let fields = fields.filter(|field| !is_of_all(field, vfios));
        Some((name, fields.collect()))
    });
    structs.filter(|(name, _)| !is_a_vendors(name)).collect()
}

/// Whether a field is one of those of which the head of its part of the document speaks.
fn is_of_all(field: &str, vfios: bool) -> bool {
    match vfios {
        false => field == "size" || field.starts_with("__reserved"),
        true => {
            let of_all = ["argsz", "cap_offset", "header", "pad"].contains(&field);
            of_all || field.starts_with("reserved") || field.starts_with("__")
        }
    }
}

/// The constants that are no vendor's, but for the numbers of the ioctls.
fn constants(header: &str) -> impl Iterator<Item = &str> {
    let lines = header.lines();
    let names = lines.filter_map(|line| Some(line.strip_prefix("pub const ")?.split_once(':')?.0));
    names.filter(|name| {
        !is_a_vendors(name)
            && !name.starts_with("IOMMUFD_CMD_")
            && !["IOMMUFD_TYPE", "VFIO_TYPE", "VFIO_BASE"].contains(name)
    })
}
