//! What `lsiommu` tells of the lab's machines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails the test"
)]

use std::fs;
use std::time::Duration;

use examples::lsiommu::{Entry, Survey, json, text};
use iommufd::Iommufd;
use tests::edu::{cdev, igb, lone, pair};
use tests::fork::beside;
use tests::mtty::Mtty;
use vfio::{DriverName, Former, PciAddress, Takeover};

/// What the IOMMU of the machine calls itself.
const IOMMU: &str = if cfg!(target_arch = "aarch64") {
    "Arm SMMUv3"
} else {
    "Intel VT-d"
};

fn line_of<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find(|line| line.starts_with(start));
    found.expect(start)
}

fn entry(survey: &Survey, address: PciAddress) -> &Entry {
    let mut entries = survey.functions.iter();
    entries
        .find(|entry| entry.readiness.address() == address)
        .unwrap()
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_table_says_what_is_ready_and_what_is_not() {
    drop((cdev(lone()), cdev(igb()), cdev(pair()[0]), cdev(pair()[1])));
    let mtty = Mtty::new();
    let overview = text::overview(&Survey::of_all().unwrap());
    assert!(overview.contains(IOMMU), "{overview}");
    for (address, words) in [
        (lone(), ["vfio-pci", "READY"]),
        (pair()[0], ["(2)", "READY"]),
        (igb(), ["0/8 VFs", "flr"]),
    ] {
        let line = line_of(&overview, &address.to_string());
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    assert!(overview.contains("with virtio-pci"), "{overview}");
    assert!(line_of(&overview, "vfio").contains("mdev"), "{overview}");
    assert!(line_of(&overview, "Next: ").contains("Cdev::open_pci"));
    drop(mtty);
    // Columns begin in one place.
    let table: Vec<&str> = overview
        .lines()
        .skip_while(|line| !line.starts_with("FUNCTION"))
        .take_while(|line| !line.is_empty() && !line.starts_with("GROUP (n)"))
        .collect();
    for column in ["DRIVER", "ASSIGNMENT"] {
        let place = table[0].find(column).unwrap();
        for line in &table {
            assert!(
                line.is_char_boundary(place) && &line[place - 2..place] == "  ",
                "{line}"
            );
            assert_ne!(&line[place..=place], " ", "{line}");
        }
    }
}

#[test]
#[ignore = "needs the lab's function with a kernel driver: cargo lab test"]
fn the_commands_that_it_gives_make_a_function_ready() {
    let all = Survey::of_all().unwrap();
    let rng = all.functions.iter().find(|entry| {
        entry
            .readiness
            .ids()
            .is_some_and(|ids| ids.to_string() == "1af4:1044")
    });
    let address = rng.unwrap().readiness.address();
    let details = text::details(&Survey::of(&[address]).unwrap());
    let mut commands = 0;
    for command in details.lines().map(str::trim) {
        // The kernel has the drivers built in: there is nothing to load.
        let Some((what, file)) = command
            .strip_prefix("echo ")
            .and_then(|command| command.split_once(" > "))
        else {
            continue;
        };
        fs::write(file, what).unwrap();
        commands += 1;
    }
    assert_eq!(commands, 3, "{details}");
    let survey = Survey::of(&[address]).unwrap();
    let ready = text::details(&survey);
    assert!(ready.contains("  assignment  READY\n"), "{ready}");

    let former = Former::new("virtio-pci".parse().ok(), None);
    let takeover = Takeover::recorded(address, DriverName::vfio_pci(), former);
    let back = takeover.give_back().unwrap().wait(Duration::from_secs(60));
    back.unwrap().done().expect("nobody is in the way");
    let details = text::details(&Survey::of(&[address]).unwrap());
    assert!(details.contains("  driver      virtio-pci\n"), "{details}");
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_is_asked_of_the_iommu_is_told() {
    drop((cdev(lone()), cdev(igb())));
    let mut survey = Survey::of(&[lone(), igb()]).unwrap();
    assert!(survey.functions.iter().all(|entry| entry.iommu.is_none()));
    survey.probe(&Iommufd::open().unwrap());
    for address in [lone(), igb()] {
        let answer = entry(&survey, address).iommu.as_ref().unwrap();
        assert!(answer.as_ref().unwrap().contains(IOMMU), "{answer:?}");
    }
    assert!(text::details(&survey).contains("  IOMMU says  "));
    assert!(text::overview(&survey).contains(&format!("{}  {IOMMU}", lone())));
    let report = json::report(&survey);
    let told = &report["functions"][0];
    assert_eq!(told["address"], lone().to_string());
    assert_eq!(told["ready"], true);
    assert_eq!(told["blockers"].as_array().unwrap().len(), 0);
    let says = told["iommu_says"]["answer"].as_str().unwrap();
    assert!(says.contains(IOMMU));
    assert!(!report["iommus"].as_array().unwrap().is_empty());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_is_in_use_is_left_alone() {
    drop(cdev(lone()));
    beside(
        |link| {
            let held = cdev(lone());
            link.meet();
            link.meet();
            drop(held);
        },
        |link, process| {
            link.meet();
            let mut survey = Survey::of(&[lone()]).unwrap();
            survey.probe(&Iommufd::open().unwrap());
            let told = entry(&survey, lone());
            assert!(told.iommu.is_none(), "{told:?}");
            let details = text::details(&survey);
            let words = format!("in use by process {process} (");
            assert!(details.contains(&words), "{details}");
            link.meet();
        },
    );
}
