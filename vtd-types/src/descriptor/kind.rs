//! The kinds of descriptors.

use crate::numbered::numbered;

numbered! {
    /// The kind of a descriptor (6.5.2), bits 11:9 and 3:0 of its first word.
    pub enum DescriptorKind;

    /// Forget context entries (6.5.2.1).
    ContextCache = 0x01, "cc_inv_dsc";
    /// Forget translations (6.5.2.3).
    Iotlb = 0x02, "iotlb_inv_dsc";
    /// Have a device forget translations without a PASID (6.5.2.5).
    DeviceTlb = 0x03, "dev_tlb_inv_dsc";
    /// Forget entries of the interrupt remapping table (6.5.2.7).
    InterruptEntryCache = 0x04, "iec_inv_dsc";
    /// Wait for the descriptors before it (6.5.2.8).
    Wait = 0x05, "inv_wait_dsc";
    /// Forget translations of a PASID (6.5.2.4).
    PasidIotlb = 0x06, "p_iotlb_inv_dsc";
    /// Forget PASID table and directory entries (6.5.2.2).
    PasidCache = 0x07, "pc_inv_dsc";
    /// Have a device forget translations with a PASID (6.5.2.6).
    PasidDeviceTlb = 0x08, "p_dev_tlb_inv_dsc";
    /// Answer a page request group (7.6).
    PageGroupResponse = 0x09, "page_grp_resp_dsc";
}

impl DescriptorKind {
    /// Whether it is of scalable mode only.
    #[must_use]
    pub const fn is_scalable(self) -> bool {
        matches!(
            self,
            Self::PasidIotlb | Self::PasidCache | Self::PasidDeviceTlb | Self::PageGroupResponse
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_listed;

    #[test]
    fn every_number_is_of_one_kind_or_of_none() {
        for number in 0..=u8::MAX {
            match DescriptorKind::from_number(number) {
                Some(kind) => assert_eq!(kind.number(), number),
                None => assert!(number == 0 || number > 9),
            }
        }
        assert_eq!(DescriptorKind::ALL.len(), 9);
    }

    #[test]
    fn the_table_of_what_is_covered_has_a_row_for_every_one() {
        for kind in DescriptorKind::ALL {
            assert_listed(kind.number(), kind.name());
        }
    }
}
