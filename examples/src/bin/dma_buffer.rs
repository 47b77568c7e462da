//! Gives a device a buffer of this process: the device copies it out and back by DMA; then the
//! buffer is unmapped, and the device no longer gets at it.
//!
//! ```text
//! dma_buffer 0000:00:04.0
//! ```
//!
//! The device is an `edu`, QEMU's educational device (`-device edu,dma_mask=0xffffffffffffffff`),
//! bound to `vfio-pci`. If it cannot be used yet, the program says what to do. It ends with
//! status 0 only if every byte was right and every forbidden access was blocked.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it tells what it does"
)]

use std::error::Error;
use std::process::ExitCode;

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, DmaBuffer, Ioas, Iommufd};
use vfio::{Cdev, PciAddress};

/// What the buffer holds first: the device is to copy it.
const MESSAGE: u8 = 1;
/// What the buffer holds after the unmap: the device is to leave it alone.
const SECRET: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dma_buffer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let address: PciAddress = std::env::args()
        .nth(1)
        .ok_or("usage: dma_buffer ADDRESS")?
        .parse()?;

    // A device belongs to one iommufd, and sees the address space that it is attached to.
    let iommufd = Iommufd::open()?;
    let device = Cdev::open_pci(address)?.bind(&iommufd)?;
    let ioas = Ioas::new(&iommufd)?;
    let attachment = device.attach(&ioas)?;
    let edu = Edu::new(&device)?;

    let (major, minor) = edu.version()?;
    println!("device    {address}, edu version {major}.{minor}");
    println!("IOMMU     {}", device.iommu().hw_info()?);
    for range in ioas.iova_ranges()?.iter() {
        println!("IOVAs     {range}");
    }

    // The CPU fills a buffer, and shares it with the device: one half to read, one to write.
    let mut buffer = DmaBuffer::new(2 * BUFFER_LEN)?;
    let message = pattern(MESSAGE);
    buffer[..BUFFER_LEN].copy_from_slice(&message);
    let shared = buffer.share();
    let mapping = ioas.map(&shared, Access::ReadWrite)?;
    let source = mapping.iova();
    let destination = source
        .checked_add(BUFFER_LEN as u64)
        .ok_or("the buffer has no end")?;
    println!("mapped    {} bytes at {}", mapping.len(), mapping.range());

    edu.fetch(source, BUFFER_LEN)?;
    println!("fetched   {BUFFER_LEN} bytes from {source} into the device");
    edu.store(destination, BUFFER_LEN)?;
    println!("stored    {BUFFER_LEN} bytes from the device to {destination}");

    let mut copy = [0; BUFFER_LEN];
    shared.read_bytes(BUFFER_LEN, &mut copy)?;
    if copy[..] != message {
        return Err("the copy differs from the original".into());
    }
    println!("verified  {BUFFER_LEN} bytes went to the device and back unchanged");

    // Unmapped, the memory is out of the device's reach, whatever address it was told.
    mapping.unmap()?;
    println!("unmapped  {source}");
    let secret = pattern(SECRET);
    shared.write_bytes(0, &secret)?;
    shared.write_bytes(BUFFER_LEN, &secret)?;

    edu.store(destination, BUFFER_LEN)?;
    shared.read_bytes(BUFFER_LEN, &mut copy)?;
    if copy[..] != secret {
        return Err("the device has written to memory that was unmapped".into());
    }
    println!("blocked   the device wrote to {destination}: no byte of the memory changed");

    edu.fetch(source, BUFFER_LEN)?;
    let leaked = what_the_device_has(&ioas, &edu)?;
    if leaked
        .iter()
        .zip(&secret)
        .any(|(byte, secret)| byte == secret)
    {
        return Err("the device has read memory that was unmapped".into());
    }
    println!(
        "blocked   the device read from {source}: it got {:02x?} for {:02x?}",
        &leaked[..4],
        &secret[..4]
    );
    println!("          (dmesg shows what the IOMMU blocked as DMA faults)");

    // With no mapping left, the buffer is the CPU's alone again.
    let buffer = DmaBuffer::reclaim(shared)?;
    if buffer[..BUFFER_LEN] != secret {
        return Err("the buffer is not what the CPU wrote".into());
    }

    // Everything would go by being dropped, in any order. Asking tells that it went.
    drop(edu);
    attachment.detach()?;
    ioas.try_destroy()?;
    device.try_close()?;
    println!("released  the device and its address space");
    Ok(())
}

/// Has the device write its buffer to fresh memory, and looks at that.
fn what_the_device_has(ioas: &Ioas, edu: &Edu) -> Result<Vec<u8>, Box<dyn Error>> {
    // If the device writes nothing, that must not look as if it had nothing.
    let mut buffer = DmaBuffer::new(BUFFER_LEN)?;
    buffer.copy_from_slice(&pattern(SECRET));
    let shared = buffer.share();
    let mapping = ioas.map(&shared, Access::Write)?;
    edu.store(mapping.iova(), BUFFER_LEN)?;
    mapping.unmap()?;
    Ok(DmaBuffer::reclaim(shared)?.to_vec())
}

/// Bytes that differ from their neighbours, from zero, and from those of another seed.
fn pattern(seed: u8) -> Vec<u8> {
    (0..BUFFER_LEN)
        .map(|place| (place % 60) as u8 * 4 + seed)
        .collect()
}
