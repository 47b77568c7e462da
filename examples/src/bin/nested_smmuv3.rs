//! Plays a VMM for one device: a guest's own page tables translate for it in hardware, by an Arm
//! SMMUv3.
//!
//! ```text
//! nested_smmuv3 0000:00:04.0
//! ```
//!
//! The device is an `edu`, QEMU's educational device (`-device edu,dma_mask=0xffffffffffffffff`),
//! bound to `vfio-pci`, behind an SMMUv3 of two stages. The program plays the guest, too: it writes
//! the tables that a guest's operating system would. It ends with status 0 only if every byte went
//! where both stages say, and nowhere else.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it tells what it does"
)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use examples::edu::{BUFFER_LEN, Edu};
use examples::guest::{AddressSpace, Memory};
use examples::virtual_smmu::offered;
use iommufd::smmuv3::{EventRecord, MSI_WINDOW, Smmuv3, StaleAsids};
use iommufd::{
    Access, Ioas, Iommufd, Iova, NestParent, NestedHwPt, VDevice, VEvent, VEventQueue, Viommu,
};
use smmuv3_types::{Asid, Event, InputAddress, Invalidation, Ipa, Reduced, Ste, StreamId};
use vfio::{Cdev, PciAddress};

/// Where the guest has its memory, and how many pages.
const GUEST_MEMORY: (u64, usize) = (0x4000_0000, 64);
/// By which number the guest knows the device.
const STREAM: StreamId = StreamId::new(0x42);
/// The tag of the guest's address space in the TLBs.
const ASID: Asid = Asid::new(1);
/// Where the guest's driver has its buffers, by the addresses that it tells the device.
const SOURCE: InputAddress = InputAddress::new(0x1234_5678_9000);
const DESTINATION: InputAddress = InputAddress::new(0x1234_5679_0000);
/// An address where the guest has nothing.
const NOWHERE: InputAddress = InputAddress::new(0xdead_0000);
/// For the guest to be told what its device did.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nested_smmuv3: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let address: PciAddress = std::env::args()
        .nth(1)
        .ok_or("usage: nested_smmuv3 ADDRESS")?
        .parse()?;
    let iommufd = Iommufd::open()?;
    let device = Cdev::open_pci(address)?.bind(&iommufd)?;

    // The VMM: guest memory at the guest's physical addresses. This is stage 2, and the limit of
    // what the device can reach, whatever the guest does.
    let start = Ipa::new(GUEST_MEMORY.0).ok_or("no such address")?;
    let memory = Memory::new(start, GUEST_MEMORY.1)?;
    let ioas = Ioas::new(&iommufd)?;
    let _ram = ioas.map_at(Iova::new(start.get()), memory.shared(), Access::ReadWrite)?;
    let parent = NestParent::new(&ioas, device.iommu())?;
    println!(
        "stage 2   {} pages of guest memory from {start}",
        GUEST_MEMORY.1
    );

    // The VMM: the guest's share of the SMMU, in which the device has the guest's number.
    let (smmu, mut events) =
        Viommu::<Smmuv3>::with_events::<EventRecord>(&parent, device.iommu(), 512)?;
    let vdevice = VDevice::new(&smmu, device.iommu(), STREAM)?;
    let features = offered(&device.iommu().vendor_info()?)?;
    println!("SMMU      the guest has the device as stream {STREAM}");

    // The guest: page tables, and a stream table entry that leads to them.
    let space = AddressSpace::new(&memory, ASID)?;
    let (first, second, third) = (memory.page()?, memory.page()?, memory.page()?);
    space.map(SOURCE, first)?;
    space.map(DESTINATION, second)?;
    space.map(InputAddress::new(MSI_WINDOW.start().get()), msi_page()?)?;
    let entry_at = memory.page()?;
    memory.write(entry_at, &space.entry()?.to_bytes())?;
    println!("stage 1   {SOURCE} is {first}, {DESTINATION} is {second}");

    // The VMM: the guest has said CFGI_STE. Its entry is read, and given to the hardware.
    let entry = match Ste::from_bytes(&memory.read(entry_at)?).reduce(&features) {
        Reduced::Install(entry) => entry,
        Reduced::AbortWithBadSte(why) => return Err(why.into()),
    };
    // Nobody listens to what stalls, so nothing must.
    let entry = smmu.demands().without_stalls(&entry);
    let nested = NestedHwPt::new(&smmu, device.iommu(), &entry)?;
    let attachment = vdevice.attach(&nested, StaleAsids::GuestInvalidates)?;
    println!("bound     {entry:?}");

    // The guest's driver: DMA through both stages. Each transfer ends with an MSI, through both
    // stages, too.
    let edu = Edu::new(&device)?;
    memory.write(first, &pattern(1))?;
    edu.fetch(Iova::new(SOURCE.get()), BUFFER_LEN)?;
    edu.store(Iova::new(DESTINATION.get()), BUFFER_LEN)?;
    if memory.read::<BUFFER_LEN>(second)? != pattern(1) {
        return Err("the device's copy is not where both stages lead".into());
    }
    println!("copied    {BUFFER_LEN} bytes from {SOURCE} to {DESTINATION}, through both stages");
    println!("MSI       came through stage 1, at {MSI_WINDOW}");

    // The guest: the destination is another page now. Until it says so the SMMU may remember.
    space.map(DESTINATION, third)?;
    let command = Invalidation::tlbi_nh_va(ASID, DESTINATION, true, None, smmu.demands().limits())?;
    smmu.invalidate(&[command])?;
    memory.write(second, &pattern(2))?;
    edu.store(Iova::new(DESTINATION.get()), BUFFER_LEN)?;
    if memory.read::<BUFFER_LEN>(third)? != pattern(1)
        || memory.read::<BUFFER_LEN>(second)? != pattern(2)
    {
        return Err("the invalidation did not take effect".into());
    }
    println!("moved     {DESTINATION} to {third}: after {command:?} DMA goes there");

    // The guest's driver makes a mistake, and the guest is told.
    edu.store(Iova::new(NOWHERE.get()), 8)?;
    let fault = next_event(&mut events)?.decode()?;
    match fault {
        Event::Translation(fault)
            if fault.requester.stream == STREAM && fault.address == NOWHERE =>
        {
            println!("fault     F_TRANSLATION at {NOWHERE}, of stream {STREAM}");
        }
        other => return Err(format!("an event of another kind: {other:?}").into()),
    }

    // Everything would go by being dropped, in any order. Asking tells that it went.
    drop(edu);
    attachment.detach()?;
    vdevice.try_destroy()?;
    println!("released  the device and what the guest gave it");
    Ok(())
}

/// The page of the interrupt controller, which devices find at the same address in both stages.
fn msi_page() -> Result<Ipa, Box<dyn Error>> {
    Ok(Ipa::new(MSI_WINDOW.start().get()).ok_or("no such address")?)
}

fn next_event(events: &mut VEventQueue<EventRecord>) -> Result<EventRecord, Box<dyn Error>> {
    if !events.wait(Some(PATIENCE))? {
        return Err("no event came".into());
    }
    match events.read()?.first() {
        Some(VEvent::Event(record)) => Ok(*record),
        other => Err(format!("not an event: {other:?}").into()),
    }
}

/// Bytes that differ from their neighbours, from zero, and from those of another seed.
fn pattern(seed: u8) -> [u8; BUFFER_LEN] {
    std::array::from_fn(|place| (place % 60) as u8 * 4 + seed)
}
