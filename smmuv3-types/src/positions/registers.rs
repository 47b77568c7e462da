//! Fields of registers.

use super::Position;

/// `SMMU_IDR0`, by 6.3.1.
pub(super) const IDR0: &[Position] = &[
    ("S2P", 0, 0),
    ("S1P", 1, 1),
    ("TTF[0]", 2, 2),
    ("TTF[1]", 3, 3),
    ("COHACC", 4, 4),
    ("BTM", 5, 5),
    ("HTTU", 7, 6),
    ("DORMHINT", 8, 8),
    ("Hyp", 9, 9),
    ("ATS", 10, 10),
    ("NS1ATS", 11, 11),
    ("ASID16", 12, 12),
    ("MSI", 13, 13),
    ("SEV", 14, 14),
    ("ATOS", 15, 15),
    ("PRI", 16, 16),
    ("VMW", 17, 17),
    ("VMID16", 18, 18),
    ("CD2L", 19, 19),
    ("VATOS", 20, 20),
    ("TTENDIAN", 22, 21),
    ("ATSRECERR", 23, 23),
    ("STALL_MODEL", 25, 24),
    ("TERM_MODEL", 26, 26),
    ("ST_LEVEL", 28, 27),
    ("RME_IMPL", 30, 30),
];

/// `SMMU_IDR1`, by 6.3.2.
pub(super) const IDR1: &[Position] = &[
    ("SIDSIZE", 5, 0),
    ("SSIDSIZE", 10, 6),
    ("PRIQS", 15, 11),
    ("EVENTQS", 20, 16),
    ("CMDQS", 25, 21),
    ("ATTR_PERMS_OVR", 26, 26),
    ("ATTR_TYPES_OVR", 27, 27),
    ("REL", 28, 28),
    ("QUEUES_PRESET", 29, 29),
    ("TABLES_PRESET", 30, 30),
    ("ECMDQ", 31, 31),
];

/// `SMMU_IDR2`, by 6.3.3.
pub(super) const IDR2: &[Position] = &[("BA_VATOS", 9, 0)];

/// `SMMU_IDR3`, by 6.3.4.
pub(super) const IDR3: &[Position] = &[
    ("HAD", 2, 2),
    ("PBHA", 3, 3),
    ("XNX", 4, 4),
    ("PPS", 5, 5),
    ("MPAM", 7, 7),
    ("FWB", 8, 8),
    ("STT", 9, 9),
    ("RIL", 10, 10),
    ("BBML", 12, 11),
    ("E0PD", 13, 13),
    ("PTWNNC", 14, 14),
    ("DPT", 15, 15),
    ("PASIDTT", 16, 16),
    ("EPAN", 17, 17),
    ("S1PI", 18, 18),
    ("S2PI", 19, 19),
    ("S2PO", 20, 20),
    ("THE", 21, 21),
    ("MTEPERM", 22, 22),
    ("AIE", 23, 23),
];

/// `SMMU_IDR4`, by 6.3.5.
pub(super) const IDR4: &[Position] = &[("IMPLEMENTATION DEFINED", 31, 0)];

/// `SMMU_IDR5`, by 6.3.6.
pub(super) const IDR5: &[Position] = &[
    ("OAS", 2, 0),
    ("GRAN4K", 4, 4),
    ("GRAN16K", 5, 5),
    ("GRAN64K", 6, 6),
    ("DS", 7, 7),
    ("D128", 8, 8),
    ("VAX", 11, 10),
    ("STALL_MAX", 31, 16),
];

/// `SMMU_IIDR`, by 6.3.7.
pub(super) const IIDR: &[Position] = &[
    ("Implementer", 11, 0),
    ("Revision", 15, 12),
    ("Variant", 19, 16),
    ("ProductID", 31, 20),
];

/// `SMMU_AIDR`, by 6.3.8.
pub(super) const AIDR: &[Position] = &[("ArchMinorRev", 3, 0), ("ArchMajorRev", 7, 4)];

/// `SMMU_CR0`, by 6.3.9.
pub(super) const CR0: &[Position] = &[
    ("SMMUEN", 0, 0),
    ("PRIQEN", 1, 1),
    ("EVENTQEN", 2, 2),
    ("CMDQEN", 3, 3),
    ("ATSCHK", 4, 4),
    ("VMW", 8, 6),
    ("DPT_WALK_EN", 10, 10),
];

/// `SMMU_CR1`, by 6.3.11.
pub(super) const CR1: &[Position] = &[
    ("QUEUE_IC", 1, 0),
    ("QUEUE_OC", 3, 2),
    ("QUEUE_SH", 5, 4),
    ("TABLE_IC", 7, 6),
    ("TABLE_OC", 9, 8),
    ("TABLE_SH", 11, 10),
];

/// `SMMU_CR2`, by 6.3.12.
pub(super) const CR2: &[Position] = &[
    ("E2H", 0, 0),
    ("RECINVSID", 1, 1),
    ("PTM", 2, 2),
    ("REC_CFG_ATS", 3, 3),
];

/// `SMMU_GBPA`, by 6.3.14.
pub(super) const GBPA: &[Position] = &[
    ("MemAttr", 3, 0),
    ("MTCFG", 4, 4),
    ("ALLOCCFG", 11, 8),
    ("SHCFG", 13, 12),
    ("PRIVCFG", 17, 16),
    ("INSTCFG", 19, 18),
    ("ABORT", 20, 20),
    ("Update", 31, 31),
];

/// `SMMU_STRTAB_BASE`, by 6.3.24. Addresses without bits 55:52.
pub(super) const STRTAB_BASE: &[Position] = &[("ADDR", 51, 6), ("RA", 62, 62)];

/// `SMMU_STRTAB_BASE_CFG`, by 6.3.25.
pub(super) const STRTAB_BASE_CFG: &[Position] =
    &[("LOG2SIZE", 5, 0), ("SPLIT", 10, 6), ("FMT", 17, 16)];
