//! Prints the registers of a region by place and width: what the program `bar_registers` does.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::ops::Range;

use iommufd::Iommufd;
use vfio::{Cdev, PciAddress, RegionIndex, Registers, Word};

const USAGE: &str = "usage: bar_registers ADDRESS bar0..bar5|rom|config START..END [8|16|32|64]";

/// How many registers a line has, at most this many bytes.
const LINE: u64 = 16;

/// Does what the program `bar_registers` does with these arguments.
///
/// # Errors
/// The arguments are not understood, or VFIO refuses.
pub fn run(arguments: &[String], out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (address, region, range, width) = match arguments {
        [address, region, range] => (address, region, range, "32"),
        [address, region, range, width] => (address, region, range, width.as_str()),
        _ => return Err(USAGE.into()),
    };
    let address: PciAddress = address.parse()?;
    let index = index(region).ok_or(USAGE)?;
    let range = bytes(range).ok_or(USAGE)?;

    // First, as it says what the function lacks, and what to do.
    let cdev = Cdev::open_pci(address)?;
    let device = cdev.bind(&Iommufd::open()?)?;
    writeln!(out, "{}", device.region_info(index)?)?;
    match device.map_bar(index) {
        Ok(mapped) => print(out, &mapped, range, width),
        // Ports, a ROM and configuration space are not mapped.
        Err(vfio::Error::NotMappable { .. }) => print(out, &device.region(index)?, range, width),
        Err(error) => Err(error.into()),
    }
}

fn index(name: &str) -> Option<RegionIndex> {
    match name {
        "rom" => Some(RegionIndex::ROM),
        "config" => Some(RegionIndex::CONFIG),
        _ => {
            let bar: u32 = name.strip_prefix("bar")?.parse().ok()?;
            Some(RegionIndex::new(bar)).filter(|index| *index <= RegionIndex::BAR5)
        }
    }
}

/// A range of bytes such as `0x10..0x40`.
fn bytes(text: &str) -> Option<Range<u64>> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (start, end) = text.split_once("..")?;
    Some(number(start)?..number(end)?)
}

fn print(
    out: &mut impl Write,
    registers: &impl Registers,
    range: Range<u64>,
    width: &str,
) -> Result<(), Box<dyn Error>> {
    match width {
        "8" => print_words::<u8>(out, registers, range),
        "16" => print_words::<u16>(out, registers, range),
        "32" => print_words::<u32>(out, registers, range),
        "64" => print_words::<u64>(out, registers, range),
        _ => Err(USAGE.into()),
    }
}

fn print_words<W: Word + fmt::LowerHex>(
    out: &mut impl Write,
    registers: &impl Registers,
    range: Range<u64>,
) -> Result<(), Box<dyn Error>> {
    // With bounds of its own: nothing outside of what was asked for is read.
    let block = registers.block(range)?;
    let width = size_of::<W>() as u64;
    let mut offset = 0;
    while offset < block.size() {
        let mut line = String::new();
        let end = block.size().min(offset.saturating_add(LINE));
        let first = block.start() + offset;
        while offset < end {
            let value: W = block.read(offset)?;
            line += &format!(" {value:0digits$x}", digits = 2 * size_of::<W>());
            offset = offset.saturating_add(width);
        }
        writeln!(out, "{first:#06x}:{line}")?;
    }
    Ok(())
}
