//! The extended feature registers.

use hardware_records::{Reserved, record, reserved};

record! {
    /// The extended feature register, as far as tables are concerned.
    pub struct Efr(u64), "EFR", "MMIO offset 0x30";

    /// Peripheral page requests.
    flag ppr_sup, with_ppr_sup: "PPRSup", 0 [1];
    /// Guest translation: the first stage, by PASID.
    flag gt_sup, with_gt_sup: "GTSup", 0 [4];
    /// Virtual interrupts: the guest's virtual APIC.
    flag ga_sup, with_ga_sup: "GASup", 0 [7];
    /// How many levels a host page table can have, less 4.
    num(u8) hats, with_hats: "HATS", 0 [11:10];
    /// How many levels a guest page table can have, less 4. 3 is reserved.
    num(u8) gats, with_gats: "GATS", 0 [13:12];
    /// How many levels a table of guest page tables (GCR3) can have, less 1. 3 is reserved.
    num(u8) glx_sup, with_glx_sup: "GLXSup", 0 [15:14];
    /// How many bits a PASID can have, less 1.
    num(u8) pas_max, with_pas_max: "PASmax", 0 [36:32];
    /// Guest translation of requests without a PASID.
    flag gio_sup, with_gio_sup: "GIoSup", 0 [48];
    /// Accessed flags in host page tables.
    flag ha_sup, with_ha_sup: "HASup", 0 [49];
    /// Enhanced handling of peripheral page requests.
    flag eph_sup, with_eph_sup: "EPHSup", 0 [50];
    /// Dirty flags in host page tables.
    flag hd_sup, with_hd_sup: "HDSup", 0 [52];
    /// Secure nested paging.
    flag snp_sup, with_snp_sup: "SNPSup", 0 [63];
}

record! {
    /// The extended feature 2 register, as far as tables are concerned. Nothing in it is for a guest.
    pub struct Efr2(u64), "EFR2", "MMIO offset 0x1a0";

    /// Secure nested paging of I/O.
    flag snp_io_sup, with_snp_io_sup: "SEVSNPIOSup", 0 [1];
    /// The address of a guest's GCR3 table can be a guest physical one.
    flag gcr3_trp_mode, with_gcr3_trp_mode: "GCR3TRPMode", 0 [3];
}

impl Efr {
    /// The bits of the fields that a VMM can show its guest: `PPRSup`, `GTSup`, `GASup`, `GATS`,
    /// `GLXSup`, `PASmax`, `GIoSup` and `EPHSup`. The kernel vouches for no others.
    pub const FOR_GUESTS: u64 = 0x0005_001f_0000_f092;

    /// The hardware's register, without what a guest is not shown.
    #[must_use]
    pub const fn for_guests(self) -> Self {
        Self::from_bits(self.bits() & Self::FOR_GUESTS)
    }

    /// What a guest can be shown, of what a VMM wants to show it, on this hardware: flags that both
    /// have, and the smaller of numbers. Without `GTSup` there is none of `GATS`, `GLXSup`, `PASmax`
    /// and `GIoSup`, which say more of the same.
    ///
    /// # Errors
    /// A number of either is reserved.
    ///
    /// ```
    /// use iommufd::amd::Efr;
    ///
    /// // GTSup; five levels, three levels of GCR3, PASIDs of 16 bits; HDSup. The VMM wants 8 bits.
    /// let host = Efr::from_bits(1 << 4 | 1 << 12 | 2 << 14 | 15 << 32 | 1 << 52);
    /// let shown = host.offer(host.with_pas_max(7))?;
    /// assert_eq!((shown.gats(), shown.glx_sup(), shown.pas_max()), (1, 2, 7));
    /// assert!(shown.gt_sup() && !shown.hd_sup());
    /// # Ok::<(), iommufd::amd::Reserved>(())
    /// ```
    pub fn offer(self, wanted: Self) -> Result<Self, Reserved> {
        let (host, wanted) = (self.for_guests(), wanted.for_guests());
        for (field, value) in [
            ("EFR.GATS", host.gats().max(wanted.gats())),
            ("EFR.GLXSup", host.glx_sup().max(wanted.glx_sup())),
        ] {
            if value == 3 {
                return Err(reserved(field, value.into()));
            }
        }
        let both = Self::from_bits(host.bits() & wanted.bits());
        if !both.gt_sup() {
            let none = both.with_gats(0).with_glx_sup(0).with_pas_max(0);
            return Ok(none.with_gio_sup(false));
        }
        Ok(both
            .with_gats(host.gats().min(wanted.gats()))
            .with_glx_sup(host.glx_sup().min(wanted.glx_sup()))
            .with_pas_max(host.pas_max().min(wanted.pas_max())))
    }
}

#[cfg(test)]
mod tests {
    use hardware_records::testing::assert_positions;

    use super::*;

    #[test]
    fn the_fields_are_where_the_registers_have_them() {
        assert_positions(
            Efr::FIELDS,
            &[
                ("PPRSup", 1, 1),
                ("GTSup", 4, 4),
                ("GASup", 7, 7),
                ("HATS", 11, 10),
                ("GATS", 13, 12),
                ("GLXSup", 15, 14),
                ("PASmax", 36, 32),
                ("GIoSup", 48, 48),
                ("HASup", 49, 49),
                ("EPHSup", 50, 50),
                ("HDSup", 52, 52),
                ("SNPSup", 63, 63),
            ],
        );
        assert_positions(
            Efr2::FIELDS,
            &[("SEVSNPIOSup", 1, 1), ("GCR3TRPMode", 3, 3)],
        );
    }

    #[test]
    fn a_guest_is_shown_what_the_kernel_vouches_for_and_nothing_else() {
        let all = Efr::from_bits(u64::MAX);
        let listed = Efr::default()
            .with_ppr_sup(true)
            .with_gt_sup(true)
            .with_ga_sup(true)
            .with_gats(3)
            .with_glx_sup(3)
            .with_pas_max(31)
            .with_gio_sup(true)
            .with_eph_sup(true);
        assert_eq!(all.for_guests(), listed);
        assert_eq!(listed.bits(), Efr::FOR_GUESTS);
    }

    #[test]
    fn numbers_are_compared_and_flags_are_what_both_have() {
        let all = Efr::from_bits(Efr::FOR_GUESTS).with_gats(2).with_glx_sup(2);
        assert_eq!(all.offer(all), Ok(all));
        // As bits, 2 and 1 have nothing in common.
        for (host, wanted) in [(1, 2), (2, 1)] {
            let offered = all.with_gats(host).offer(all.with_gats(wanted)).unwrap();
            assert_eq!(offered, all.with_gats(1));
            let offered = all
                .with_glx_sup(host)
                .offer(all.with_glx_sup(wanted))
                .unwrap();
            assert_eq!(offered, all.with_glx_sup(1));
            let offered = all
                .with_pas_max(host)
                .offer(all.with_pas_max(wanted))
                .unwrap();
            assert_eq!(offered, all.with_pas_max(1));
        }
        for bit in 0..64 {
            let one = Efr::from_bits(1 << bit);
            let offered = one.offer(all).unwrap();
            let flags = 0x0004_0000_0000_0092;
            assert_eq!(offered.bits(), 1 << bit & flags, "of bit {bit} alone");
        }
        assert_eq!(all.with_gats(3).offer(all), Err(reserved("EFR.GATS", 3)));
        let refused = all.offer(all.with_glx_sup(3));
        assert_eq!(refused, Err(reserved("EFR.GLXSup", 3)));
        let without = all.offer(all.with_gt_sup(false)).unwrap();
        assert_eq!(without.bits(), 0x0004_0000_0000_0082);
    }
}
