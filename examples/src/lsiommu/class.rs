//! What the classes of PCI functions are called.

use vfio::PciClass;

/// A class in words, for a column of a table.
pub(super) fn name(class: Option<PciClass>) -> &'static str {
    let Some(class) = class else {
        return "unknown";
    };
    match (class.base, class.sub) {
        (0x01, 0x06) => "SATA controller",
        (0x01, 0x07) => "SAS controller",
        (0x01, 0x08) => "NVMe controller",
        (0x01, _) => "storage controller",
        (0x02, 0x00) => "Ethernet controller",
        (0x02, 0x07) => "InfiniBand controller",
        (0x02, _) => "network controller",
        (0x03, 0x00) => "VGA controller",
        (0x03, _) => "display controller",
        (0x04, 0x03) => "audio device",
        (0x04, _) => "multimedia device",
        (0x05, 0x02) => "CXL memory",
        (0x05, _) => "memory controller",
        (0x06, 0x00) => "host bridge",
        (0x06, 0x01) => "ISA bridge",
        (0x06, 0x04) => "PCI bridge",
        (0x06, _) => "bridge",
        (0x07, _) => "communication controller",
        (0x08, 0x06) => "IOMMU",
        (0x08, _) => "system peripheral",
        (0x09, _) => "input device",
        (0x0b, _) => "processor",
        (0x0c, 0x03) => "USB controller",
        (0x0c, 0x05) => "SMBus",
        (0x0c, _) => "serial bus controller",
        (0x0d, _) => "wireless controller",
        (0x10, _) => "encryption controller",
        (0x11, _) => "signal processor",
        (0x12, _) => "accelerator",
        (0x00 | 0xff, _) => "device without a class",
        _ => "other device",
    }
}
