//! Nothing of the headers is lost: every macro, enum constant, struct and ioctl number of them is in this crate.
//!
//! `IOMMUFD_SYS_INCLUDE=<dir of the headers of Linux 7.3> cargo test -p iommufd-sys -- --ignored`

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test helpers: a header that cannot be read fails the test"
)]

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::{env, fs};

use iommufd_sys::{ioctl, iommufd, vfio};

/// What is not in this crate, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    ("_IOMMUFD_H", "include guard"),
    ("VFIO_H", "include guard"),
    (
        "VFIO_DEVICE_STATE_VALID",
        "takes an argument; of the migration interface that Linux 5.18 replaced",
    ),
    ("VFIO_DEVICE_STATE_IS_ERROR", "as above"),
    ("VFIO_DEVICE_STATE_SET_ERROR", "as above"),
];

struct Header {
    name: &'static str,
    generated: &'static str,
    layout: &'static str,
    /// Without comments, and with continued lines joined.
    text: String,
}

impl Header {
    fn iommufd() -> Self {
        Self {
            name: "iommufd",
            generated: include_str!("../src/generated/iommufd.rs"),
            layout: include_str!("../src/layout/iommufd.rs"),
            text: read("iommufd"),
        }
    }

    fn vfio() -> Self {
        Self {
            name: "vfio",
            generated: include_str!("../src/generated/vfio.rs"),
            layout: include_str!("../src/layout/vfio.rs"),
            text: read("vfio"),
        }
    }

    /// `(name, value)` of each `#define`.
    fn macros(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| {
            let rest = line.trim_start().strip_prefix("#define")?.trim_start();
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (name, value) = rest.split_at(end);
            Some((name, value.trim()))
        })
    }

    /// The constants of each `enum { … }`.
    fn enum_constants(&self) -> impl Iterator<Item = &str> {
        self.text.split("\nenum ").skip(1).flat_map(|rest| {
            let start = rest.find('{').unwrap() + 1;
            let body = &rest[start..rest.find('}').unwrap()];
            body.split(',')
                .filter_map(|item| item.split('=').next())
                .map(str::trim)
                .filter(|name| !name.is_empty())
        })
    }

    /// The name of each `struct name { … }`.
    fn structs(&self) -> impl Iterator<Item = &str> {
        self.text
            .lines()
            .filter_map(|line| line.strip_prefix("struct ")?.strip_suffix(" {"))
    }

    fn has_const(&self, name: &str) -> bool {
        self.generated.contains(&format!("pub const {name}: "))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn read(name: &str) -> String {
    let include = env::var_os("IOMMUFD_SYS_INCLUDE").unwrap_or_else(|| "/usr/include".into());
    let path = PathBuf::from(include)
        .join("linux")
        .join(name)
        .with_extension("h");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut parts = text.split("/*");
    let mut bare = parts.next().unwrap().to_owned();
    bare.extend(parts.map(|part| part.split_once("*/").unwrap().1));
    bare.replace("\\\n", " ")
}

#[test]
#[ignore = "needs the headers of Linux 7.3; run with IOMMUFD_SYS_INCLUDE"]
fn every_macro_is_here() {
    let ioctls: BTreeSet<_> = ioctl::iommufd::ALL
        .iter()
        .chain(ioctl::vfio::ALL)
        .map(|ioctl| ioctl.name)
        .collect();
    let mut left_out = BTreeSet::new();
    for header in [Header::iommufd(), Header::vfio()] {
        for (name, value) in header.macros() {
            if value.starts_with("_IO(") {
                assert!(
                    ioctls.contains(name),
                    "{name} is not in the table of ioctls"
                );
            } else if LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) {
                left_out.insert(name.to_owned());
            } else {
                assert!(header.has_const(name), "{name} = {value} is lost");
            }
        }
    }
    assert_eq!(
        left_out.len(),
        LEFT_OUT.len(),
        "some of what is left out is not in the headers"
    );
}

#[test]
#[ignore = "needs the headers of Linux 7.3; run with IOMMUFD_SYS_INCLUDE"]
fn every_enum_constant_is_here() {
    for (header, expected) in [(Header::iommufd(), 79), (Header::vfio(), 34)] {
        let names: Vec<_> = header.enum_constants().collect();
        assert_eq!(names.len(), expected, "{}", header.name);
        for name in names {
            assert!(header.has_const(name), "{name} is lost");
        }
    }
}

#[test]
#[ignore = "needs the headers of Linux 7.3; run with IOMMUFD_SYS_INCLUDE"]
fn every_struct_is_here_and_its_layout_asserted() {
    for (header, expected) in [(Header::iommufd(), 38), (Header::vfio(), 52)] {
        let names: Vec<_> = header.structs().collect();
        assert_eq!(names.len(), expected, "{}", header.name);
        for name in names {
            assert!(
                header.generated.contains(&format!("pub struct {name} {{")),
                "{name} is lost"
            );
            assert!(
                header.layout.contains(&format!("    {name}(")),
                "{name} has no layout"
            );
        }
    }
}

#[test]
#[ignore = "needs the headers of Linux 7.3; run with IOMMUFD_SYS_INCLUDE"]
fn every_ioctl_has_its_number() {
    let requests: HashMap<_, _> = ioctl::iommufd::ALL
        .iter()
        .chain(ioctl::vfio::ALL)
        .map(|ioctl| (ioctl.name, ioctl.request))
        .collect();
    let mut seen = 0;
    for header in [Header::iommufd(), Header::vfio()] {
        for (name, value) in header.macros() {
            let Some(value) = value.strip_prefix("_IO(") else {
                continue;
            };
            let (ty, nr) = value.trim_end_matches(')').split_once(',').unwrap();
            let request = match (ty, nr.trim().strip_prefix("VFIO_BASE + ")) {
                ("VFIO_TYPE", Some(nr)) => {
                    u32::from(vfio::VFIO_TYPE) << 8 | (vfio::VFIO_BASE + nr.parse::<u32>().unwrap())
                }
                ("IOMMUFD_TYPE", None) => {
                    let command = format!("{} = 0x", nr.trim());
                    let nr = match header.text.split_once(&command) {
                        Some((_, rest)) => u32::from_str_radix(&rest[..2], 16).unwrap(),
                        None => iommufd::IOMMUFD_CMD_BASE,
                    };
                    u32::from(iommufd::IOMMUFD_TYPE) << 8 | nr
                }
                _ => panic!("{name} = _IO({value}"),
            };
            assert_eq!(requests[name], request, "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, requests.len());
}
