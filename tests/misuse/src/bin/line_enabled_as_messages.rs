//! Fails with E0308: the interrupt pin, which is masked when it fires, is enabled without what unmasks it.

use vfio::{Device, Interrupts, IrqKind, MsiKind, Result};

fn case(device: &Device) -> Result<u32> {
    let lines = device.irq_info(IrqKind::Intx)?.count;
    #[cfg(feature = "misuse")]
    let interrupts = Interrupts::enable(device, IrqKind::Intx, lines)?;
    #[cfg(not(feature = "misuse"))]
    let interrupts = Interrupts::enable(device, MsiKind::Msi, lines)?;
    Ok(interrupts.room())
}

fn main() {
    let _checked = case;
}
