//! What the SDK offers, and since which Linux there is it: the one place that says so for the lab and for the README.

use crate::series::Series;
use crate::source::SERIES;

/// The series that the lab is tested on: the one that it is written for, and an older one beside it.
pub(crate) const KERNELS: [Series; 2] = [SERIES, Series::new(6, 12)];

/// Something that Linux has since some release.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    /// What it is.
    pub(crate) what: &'static str,
    /// The first release that has it.
    pub(crate) since: Series,
    /// What there is to say beside the release.
    pub(crate) note: &'static str,
    /// On what it is tested with the lab's own kernel.
    pub(crate) tested: &'static str,
    /// How a kernel that lacks it is told of.
    pub(crate) told: Told,
}

/// How the SDK tells of a kernel that lacks a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// By the error for that, `Unsupported`: it is an ioctl, or a part of one that the kernel says not to know.
    Typed,
    /// Like what the hardware has not: to the kernel it is an option as any other, or it is not to be seen at all.
    Refused,
}

const fn feature(what: &'static str, since: (u16, u16), tested: &'static str) -> Feature {
    Feature {
        what,
        since: Series::new(since.0, since.1),
        note: "",
        tested,
        told: Told::Typed,
    }
}

impl Feature {
    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn refused(self) -> Self {
        Self {
            told: Told::Refused,
            ..self
        }
    }
}

macro_rules! features {
    ($($name:ident = $feature:expr;)+) => {
        $(pub(crate) static $name: Feature = $feature;)+

        /// All of them, in the order of the README.
        pub(crate) static ALL: &[&Feature] = &[$(&$name),+];
    };
}

features! {
    ADDRESS_SPACES = feature(
        "address spaces: map, unmap, copy, IOVA ranges, allow list, options",
        (6, 2),
        "mock driver, VT-d, SMMUv3",
    );
    COMPAT = feature("the address space that stands in for a VFIO container", (6, 2), "mock driver");
    PAGE_TABLES = feature(
        "page tables, hardware information (of VT-d, SMMUv3, Tegra241 CMDQ-V and AMD, as registers)",
        (6, 6),
        "mock driver, VT-d, SMMUv3",
    );
    CHARACTER_DEVICES = feature(
        "devices by VFIO's character device: bind, attach, replace, detach",
        (6, 6),
        "VT-d, SMMUv3, real DMA",
    )
    .refused();
    GROUPS_OF_DEVICES = feature(
        "several devices in one IOMMU group",
        (6, 6),
        "VT-d, SMMUv3, real DMA",
    )
    .refused();
    REGISTERS = feature(
        "registers, configuration space, INTx, MSI, MSI-X, function and hot reset",
        (6, 6),
        "emulated `edu`, `igb`",
    )
    .note("as used here")
    .refused();
    CONTAINERS = feature(
        "groups and containers, VFIO's own and iommufd's",
        (6, 2),
        "VT-d, SMMUv3, real DMA",
    )
    .note("VFIO's own are older")
    .refused();
    MIGRATION = feature(
        "migration, a device's own log of its DMA",
        (6, 2),
        "sample driver `mtty`",
    )
    .note("word of new initial data 7.2")
    .refused();
    MEDIATED = feature("mediated devices", (6, 6), "sample drivers `mtty`, `mbochs`").refused();
    KVM = feature("files lent to KVM", (6, 6), "a KVM guest in the lab").refused();
    DIRTY_TRACKING = feature("dirty tracking", (6, 7), "mock driver");
    NESTING_ON_PARENTS = feature(
        "nesting parents, tables nested on them: VT-d's format",
        (6, 7),
        "byte by byte: emulated VT-d does not nest",
    );
    INVALIDATION = feature("invalidation, batched", (6, 8), "mock driver, SMMUv3");
    FAULT_QUEUES = feature(
        "fault queues: page requests under a guest's tables, answered by user space",
        (6, 11),
        "mock driver",
    );
    PAGE_REQUESTS = feature("page requests under other tables", (6, 13), "mock driver");
    FILES = feature(
        "memory mapped by file (memfd; a dma-buf since 6.19); before that it is mapped by address",
        (6, 13),
        "mock driver, VT-d, SMMUv3",
    );
    VIRTUAL_IOMMUS = feature(
        "virtual IOMMUs and devices, tables nested through them: SMMUv3's format",
        (6, 13),
        "SMMUv3, real two-stage translation",
    );
    CHANGE_OF_PROCESS = feature(
        "accounting moved to the calling process",
        (6, 14),
        "mock driver",
    );
    PASIDS = feature("PASIDs", (6, 15), "mock driver");
    EVENT_QUEUES = feature(
        "queues of a virtual IOMMU's events",
        (6, 15),
        "mock driver, SMMUv3",
    );
    HARDWARE_QUEUES = feature(
        "hardware queues, pages of virtual IOMMUs, hardware information by type",
        (6, 17),
        "mock driver",
    );
    VF_TOKENS = feature(
        "tokens of physical and virtual functions, at the bind of a character device",
        (6, 17),
        "`igb` with SR-IOV",
    );
    DMA_BUFS = feature(
        "BARs as dma-bufs, mapped for other devices",
        (6, 19),
        "VT-d, SMMUv3, real DMA",
    );
    ATS = feature(
        "hardware information that says which devices have no ATS",
        (7, 2),
        "mock driver",
    )
    .refused();
    PHYSICAL_ADDRESSES = feature(
        "physical addresses, for devices without an IOMMU (`unsafe`)",
        (7, 3),
        "real DMA past the IOMMU",
    );
}

/// What some tests need of Linux besides, which is nothing that the SDK offers: no row of the table.
const fn fact(what: &'static str, since: (u16, u16)) -> Feature {
    feature(what, since, "").refused()
}

/// An older one looks for a device's IOMMU by the firmware's node, which neither has, and takes the one that was there
/// first: no device of the mock's can be made. An SMMUv3 has a node.
pub(crate) static MOCK_BESIDE_VT_D: Feature =
    fact("a mock driver that works beside a VT-d", (6, 16));

/// The tables are AMD's since then, with their pages and dirty bits; before, the mock had half a page as its smallest.
pub(crate) static MOCK_TABLES: Feature =
    fact("a mock driver with the tables of a real IOMMU", (6, 19));

/// Of a duplicate nothing else says what it is of.
pub(crate) static NAMED_FILES: Feature =
    fact("files of devices that say which device it is", (6, 18));

/// Before, the address to which an MSI is written is mapped once, when the interrupts are enabled, in the table of then. On a
/// PC nothing has to be mapped for that.
pub(crate) static MOVED_INTERRUPTS: Feature = fact(
    "interrupts that go on when a device is attached elsewhere, on Arm",
    (6, 15),
);

/// The SDK's error for it is that of a feature that the device has not.
pub(crate) static NEW_INITIAL_DATA: Feature = Feature {
    told: Told::Typed,
    ..fact("word of new initial data in a migration", (7, 2))
};

/// Seen on 7.3; on a PC 6.12 has it.
pub(crate) static MORE_VECTORS: Feature = fact(
    "MSI-X vectors that are added to those there are, on Arm",
    (7, 3),
);

/// Seen on 7.3.
pub(crate) static ERROR_SIGNALS: Feature =
    fact("error signals of functions that are no PCI Express", (7, 3));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once_and_the_lab_has_all_of_them() {
        for (number, feature) in ALL.iter().enumerate() {
            assert!(feature.since <= SERIES, "{feature:?}");
            assert!(!ALL[..number].contains(feature), "{feature:?}");
        }
    }
}
