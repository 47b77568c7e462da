//! The extended feature registers.

use std::fmt;

/// A register, with a getter and a setter for each field: `flag` is one bit, `number` several.
macro_rules! register {
    (
        $(#[$meta:meta])*
        pub struct $name:ident;
        $($(#[$field_meta:meta])* $kind:ident $get:ident, $with:ident: $field:literal [$last:literal : $first:literal];)*
    ) => {
        $(#[$meta])*
        ///
        /// Every bit is kept. In `Debug` the fields that are not 0 are shown.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The register with these bits.
            #[must_use]
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            /// Its bits.
            #[must_use]
            pub const fn bits(self) -> u64 {
                self.0
            }

            $(register!(@$kind [$(#[$field_meta])* #[doc = concat!(
                "\n\n`", $field, "`, bits ", $last, ":", $first, "."
            )]] $get $with $last $first);)*
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(
                    if self.0 & mask($last, $first) != 0 {
                        shown.field(stringify!($get), &self.$get());
                    }
                )*
                shown.finish()
            }
        }
    };
    (@flag [$($doc:tt)*] $get:ident $with:ident $last:literal $first:literal) => {
        $($doc)*
        #[must_use]
        pub const fn $get(self) -> bool {
            self.0 & mask($last, $first) != 0
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(self, value: bool) -> Self {
            Self(self.0 & !mask($last, $first) | (value as u64) << $first)
        }
    };
    (@number [$($doc:tt)*] $get:ident $with:ident $last:literal $first:literal) => {
        $($doc)*
        #[must_use]
        pub const fn $get(self) -> u8 {
            const { assert!($last - $first < 8) };
            ((self.0 & mask($last, $first)) >> $first) as u8
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed. What does not fit is cut off.")]
        #[must_use]
        pub const fn $with(self, value: u8) -> Self {
            Self(self.0 & !mask($last, $first) | (value as u64) << $first & mask($last, $first))
        }
    };
}

/// The bits from `first` to `last`.
const fn mask(last: u32, first: u32) -> u64 {
    (u64::MAX >> (63 - (last - first))) << first
}

register! {
    /// The extended feature register (MMIO offset 0x30), as far as tables are concerned.
    pub struct Efr;

    /// Peripheral page requests.
    flag ppr_sup, with_ppr_sup: "PPRSup" [1:1];
    /// Guest translation: the first stage, by PASID.
    flag gt_sup, with_gt_sup: "GTSup" [4:4];
    /// Virtual interrupts: the guest's virtual APIC.
    flag ga_sup, with_ga_sup: "GASup" [7:7];
    /// How many levels a host page table can have, less 4.
    number hats, with_hats: "HATS" [11:10];
    /// How many levels a guest page table can have, less 4. 3 is reserved.
    number gats, with_gats: "GATS" [13:12];
    /// How many levels a table of guest page tables (GCR3) can have, less 1. 3 is reserved.
    number glx_sup, with_glx_sup: "GLXSup" [15:14];
    /// How many bits a PASID can have, less 1.
    number pas_max, with_pas_max: "PASmax" [36:32];
    /// Guest translation of requests without a PASID.
    flag gio_sup, with_gio_sup: "GIoSup" [48:48];
    /// Accessed flags in host page tables.
    flag ha_sup, with_ha_sup: "HASup" [49:49];
    /// Enhanced handling of peripheral page requests.
    flag eph_sup, with_eph_sup: "EPHSup" [50:50];
    /// Dirty flags in host page tables.
    flag hd_sup, with_hd_sup: "HDSup" [52:52];
    /// Secure nested paging.
    flag snp_sup, with_snp_sup: "SNPSup" [63:63];
}

register! {
    /// The extended feature 2 register (MMIO offset 0x1a0), as far as tables are concerned. Nothing in
    /// it is for a guest.
    pub struct Efr2;

    /// Secure nested paging of I/O.
    flag snp_io_sup, with_snp_io_sup: "SEVSNPIOSup" [1:1];
    /// The address of a guest's GCR3 table can be a guest physical one.
    flag gcr3_trp_mode, with_gcr3_trp_mode: "GCR3TRPMode" [3:3];
}

impl Efr {
    /// The bits of the fields that a VMM can show its guest: `PPRSup`, `GTSup`, `GASup`, `GATS`,
    /// `GLXSup`, `PASmax`, `GIoSup` and `EPHSup`. The kernel vouches for no others.
    pub const FOR_GUESTS: u64 = 0x0005_001f_0000_f092;

    /// The hardware's register, without what a guest is not shown.
    #[must_use]
    pub const fn for_guests(self) -> Self {
        Self(self.0 & Self::FOR_GUESTS)
    }

    /// What a guest can be shown, of what a VMM wants to show it, on this hardware: flags that both
    /// have, and the smaller of numbers. Without `GTSup` there is none of `GATS`, `GLXSup`, `PASmax`
    /// and `GIoSup`, which say more of the same. `None` if a number of either is reserved.
    ///
    /// ```
    /// use iommufd::amd::Efr;
    ///
    /// // GTSup; five levels, three levels of GCR3, PASIDs of 16 bits; HDSup. The VMM wants 8 bits.
    /// let host = Efr::from_bits(1 << 4 | 1 << 12 | 2 << 14 | 15 << 32 | 1 << 52);
    /// let shown = host.offer(host.with_pas_max(7)).expect("nothing is reserved");
    /// assert_eq!((shown.gats(), shown.glx_sup(), shown.pas_max()), (1, 2, 7));
    /// assert!(shown.gt_sup() && !shown.hd_sup());
    /// ```
    #[must_use]
    pub const fn offer(self, wanted: Self) -> Option<Self> {
        let (host, wanted) = (self.for_guests(), wanted.for_guests());
        if host.has_reserved() || wanted.has_reserved() {
            return None;
        }
        let both = Self(host.0 & wanted.0);
        if !both.gt_sup() {
            let none = both.with_gats(0).with_glx_sup(0).with_pas_max(0);
            return Some(none.with_gio_sup(false));
        }
        let numbers = both
            .with_gats(least(host.gats(), wanted.gats()))
            .with_glx_sup(least(host.glx_sup(), wanted.glx_sup()));
        Some(numbers.with_pas_max(least(host.pas_max(), wanted.pas_max())))
    }

    const fn has_reserved(self) -> bool {
        self.gats() == 3 || self.glx_sup() == 3
    }
}

const fn least(one: u8, other: u8) -> u8 {
    if one < other { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_where_the_registers_have_them() {
        let none = Efr::default();
        for (register, bits) in [
            (none.with_ppr_sup(true), 1 << 1),
            (none.with_gt_sup(true), 1 << 4),
            (none.with_ga_sup(true), 1 << 7),
            (none.with_hats(3), 3 << 10),
            (none.with_gats(3), 3 << 12),
            (none.with_glx_sup(3), 3 << 14),
            (none.with_pas_max(0x1f), 0x1f << 32),
            (none.with_gio_sup(true), 1 << 48),
            (none.with_ha_sup(true), 1 << 49),
            (none.with_eph_sup(true), 1 << 50),
            (none.with_hd_sup(true), 1 << 52),
            (none.with_snp_sup(true), 1 << 63),
        ] {
            assert_eq!(register.bits(), bits, "{register:?}");
        }
        assert_eq!(none.with_pas_max(0xff).bits(), 0x1f << 32, "cut off");
        let all = Efr::from_bits(u64::MAX);
        assert_eq!(all.with_gats(1).bits(), !(2 << 12));
        assert_eq!((all.pas_max(), all.hats(), all.gats()), (31, 3, 3));
        assert!(all.hd_sup() && !all.with_hd_sup(false).hd_sup());
        let none = Efr2::default();
        assert_eq!(none.with_snp_io_sup(true).bits(), 1 << 1);
        assert_eq!(none.with_gcr3_trp_mode(true).bits(), 1 << 3);
        let shown = format!("{:?}", Efr2::from_bits(8));
        assert_eq!(shown, "Efr2 { gcr3_trp_mode: true }");
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
        assert_eq!(all.offer(all), Some(all));
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
        assert_eq!(all.with_gats(3).offer(all), None);
        assert_eq!(all.offer(all.with_glx_sup(3)), None);
        let without = all.offer(all.with_gt_sup(false)).unwrap();
        assert_eq!(without.bits(), 0x0004_0000_0000_0082);
    }
}
