//! Plays a VMM for one device: a guest has an Intel VT-d of its own, which the VMM emulates, and the
//! guest's page tables translate for the device in hardware.
//!
//! ```text
//! nested_vtd 0000:00:04.0
//! ```
//!
//! The device is an `edu`, QEMU's educational device (`-device edu,dma_mask=0xffffffffffffffff`),
//! bound to `vfio-pci`. The program plays the guest, too: it writes the tables, the descriptors and
//! the registers that a guest's driver would. It ends with
//!
//! - status 0 only if every byte went where both stages say;
//! - status 3 if the hardware cannot do it, and says so: a VT-d that nests is in servers since
//!   Sapphire Rapids, and in no machine that QEMU emulates.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it tells what it does"
)]

use std::error::Error;
use std::process::ExitCode;

use examples::edu::{BUFFER_LEN, Edu};
use examples::guest::Memory;
use examples::virtual_vtd::{Unit, wanted};
use examples::vtd_guest::{AddressSpace, Driver, GuestRam};
use iommufd::vtd::relay::{GuestMemory, Kernel, Place, RelayedDevice};
use iommufd::{Access, Ioas, Iommufd, Iova, NestParent, VtdInfo};
use smmuv3_types::Ipa;
use vfio::{Cdev, PciAddress};
use vtd_types::{
    AddressMask, CannotOffer, Capabilities, Descriptor, DomainId, Gpa, InputAddress, PageSelection,
    Pasid, PasidEntry, SourceId,
};

/// Where the guest has its memory, and how many pages.
const GUEST_MEMORY: (u64, usize) = (0x4000_0000, 64);
/// Where the guest has its device: slot 3 of bus 0.
const DEVICE: SourceId = SourceId::new(3 << 3);
/// The tag of the guest's address space in the TLBs.
const DOMAIN: DomainId = DomainId::new(2);
/// Where the guest's driver has its buffers, by the addresses that it tells the device.
const SOURCE: InputAddress = InputAddress::new(0x1234_5678_9000);
const DESTINATION: InputAddress = InputAddress::new(0x1234_5679_0000);
/// The status of a program that found no hardware for what it shows.
const CANNOT: u8 = 3;

/// How it ended.
enum Outcome {
    /// The guest's tables translated.
    Done,
    /// The hardware cannot.
    CannotNest,
}

fn main() -> ExitCode {
    match run() {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CannotNest) => ExitCode::from(CANNOT),
        Err(error) => {
            eprintln!("nested_vtd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Outcome, Box<dyn Error>> {
    let address: PciAddress = std::env::args()
        .nth(1)
        .ok_or("usage: nested_vtd ADDRESS")?
        .parse()?;
    let iommufd = Iommufd::open()?;
    let device = Cdev::open_pci(address)?.bind(&iommufd)?;

    // The VMM: what of it the guest can be offered, the hardware has to do.
    let hardware: VtdInfo = device.iommu().vendor_info()?;
    println!("hardware  {hardware}");
    let offered = match hardware.host().offer(wanted()) {
        Ok(offered) => offered,
        Err(CannotOffer::Nothing(field)) => {
            println!("this machine's VT-d cannot nest ({field} = 0)");
            return Ok(Outcome::CannotNest);
        }
        Err(other) => return Err(other.into()),
    };
    println!(
        "offered   first stage, {} bits of PASIDs",
        offered.ecap.pasid_bits()
    );

    // The VMM: guest memory at the guest's physical addresses. This is the second stage, and the
    // limit of what the device can reach, whatever the guest does.
    let start = Ipa::new(GUEST_MEMORY.0).ok_or("no such address")?;
    let ram = GuestRam(Memory::new(start, GUEST_MEMORY.1)?);
    let ioas = Ioas::new(&iommufd)?;
    let _ram = ioas.map_at(Iova::new(start.get()), ram.0.shared(), Access::ReadWrite)?;
    println!(
        "stage 2   {} pages of guest memory from {start}",
        GUEST_MEMORY.1
    );

    let (relayed, has_pasids) = relayed(&device)?;
    let parent = NestParent::builder(&ioas, device.iommu()).pasid(has_pasids);
    nests(&device, relayed, &parent.allocate()?, offered, &ram)?;
    Ok(Outcome::Done)
}

/// The device for the relay, with its PASIDs if it has any.
fn relayed(device: &vfio::Device) -> Result<(RelayedDevice, bool), Box<dyn Error>> {
    match RelayedDevice::new(device.iommu().clone()).with_pasids() {
        Ok(relayed) => Ok((relayed, true)),
        Err(refused) if matches!(refused.error(), iommufd::Error::NoPasidLeft { .. }) => {
            Ok((refused.into_value(), false))
        }
        Err(refused) => Err(refused.into_error().into()),
    }
}

fn nests(
    device: &vfio::Device,
    relayed: RelayedDevice,
    parent: &NestParent,
    offered: Capabilities,
    ram: &GuestRam,
) -> Result<(), Box<dyn Error>> {
    // The VMM: the guest's unit, with the device behind it. Nothing is translated yet.
    let mut unit = Unit::new(Kernel::new(parent), offered)?;
    let port = unit.relay().plug(relayed, Some(DEVICE), ram)?;
    println!("unit      the guest has the device as {DEVICE}");

    // The guest: its driver turns the unit on. The device has no entry, and is blocked.
    let driver = Driver::new(ram, DEVICE)?;
    driver.start(&mut unit, ram)?;
    if unit.relay().place(&port, None) != Some(Place::Blocked) {
        return Err("a device without an entry is not blocked".into());
    }

    // The guest: page tables, and an entry that leads to them; and it says so.
    let space = AddressSpace::new(ram, DOMAIN)?;
    let [first, second, third] = [ram.page()?, ram.page()?, ram.page()?];
    space.map(SOURCE, first, ram)?;
    space.map(DESTINATION, second, ram)?;
    driver.enter(&mut unit, Pasid::ZERO, &space.entry(), ram)?;
    check(&mut unit)?;
    println!("stage 1   {SOURCE} is {first}, {DESTINATION} is {second}");

    // The guest's driver: DMA through both stages.
    let edu = Edu::new(device)?;
    ram.put(first, &pattern(1))?;
    edu.fetch(Iova::new(SOURCE.get()), BUFFER_LEN)?;
    edu.store(Iova::new(DESTINATION.get()), BUFFER_LEN)?;
    if words(ram, second)? != pattern(1) {
        return Err("the device's copy is not where both stages lead".into());
    }
    println!("copied    {BUFFER_LEN} bytes from {SOURCE} to {DESTINATION}, through both stages");

    // The guest: the destination is another page now. Until it says so the unit may remember.
    space.map(DESTINATION, third, ram)?;
    let forget = Descriptor::PasidIotlb {
        domain: DOMAIN,
        pasid: Pasid::ZERO,
        pages: Some(PageSelection::new(DESTINATION, AddressMask::PAGE, true)),
    };
    driver.submit(&mut unit, &[forget], ram)?;
    ram.put(second, &pattern(2))?;
    edu.store(Iova::new(DESTINATION.get()), BUFFER_LEN)?;
    if words(ram, third)? != pattern(1) || words(ram, second)? != pattern(2) {
        return Err("the invalidation did not take effect".into());
    }
    println!("moved     {DESTINATION} to {third}: after {forget:?} DMA goes there");

    // The guest takes the entry away.
    driver.enter(&mut unit, Pasid::ZERO, &PasidEntry::default(), ram)?;
    check(&mut unit)?;
    edu.store(Iova::new(DESTINATION.get()), BUFFER_LEN)?;
    drop(edu);
    unit.relay().unplug(port)?;
    println!("released  the device and what the guest gave it");
    Ok(())
}

/// Fails if the host has refused what the guest may have.
fn check(unit: &mut Unit<Kernel>) -> Result<(), Box<dyn Error>> {
    match unit.take_reports().first() {
        None => Ok(()),
        Some(report) => Err(format!("the host has refused: {report:?}").into()),
    }
}

fn words(ram: &GuestRam, page: Gpa) -> Result<[u64; BUFFER_LEN / 8], Box<dyn Error>> {
    let mut bytes = [0; BUFFER_LEN];
    ram.read(page, &mut bytes)?;
    let (words, _) = bytes.as_chunks();
    Ok(std::array::from_fn(|place| {
        u64::from_le_bytes(words[place])
    }))
}

/// Words that differ from their neighbours, from zero, and from those of another seed.
fn pattern(seed: u64) -> [u64; BUFFER_LEN / 8] {
    std::array::from_fn(|place| (place as u64) << 8 | seed)
}
