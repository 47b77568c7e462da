//! `SMMU_IIDR` and `SMMU_AIDR`.

use hardware_records::record;

record! {
    /// Who made the SMMU, and which it is.
    pub struct Iidr(u32), "SMMU_IIDR", "6.3.7";

    /// The JEP106 code of who made it: the continuation code in bits 11:8, the identity code in
    /// bits 6:0. Arm's is 0x43b.
    num(u16) implementer, with_implementer: "Implementer", 0 [11:0];
    /// The minor revision.
    num(u8) revision, with_revision: "Revision", 0 [15:12];
    /// The variant, or major revision.
    num(u8) variant, with_variant: "Variant", 0 [19:16];
    /// The product.
    num(u16) product_id, with_product_id: "ProductID", 0 [31:20];
}

record! {
    /// The version of the architecture: SMMUv3.`arch_minor_rev` where `arch_major_rev` is 0.
    pub struct Aidr(u32), "SMMU_AIDR", "6.3.8";

    /// The minor version.
    num(u8) arch_minor_rev, with_arch_minor_rev: "ArchMinorRev", 0 [3:0];
    /// The major version. 0 is SMMUv3.
    num(u8) arch_major_rev, with_arch_major_rev: "ArchMajorRev", 0 [7:4];
}
