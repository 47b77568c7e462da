//! A context descriptor for tables of one's own.

use super::Cd;
use crate::{AddressSize, Asid, Cacheability, Geometry, Ipa, Mair, Shareability};

/// The root of a tree of tables is not where it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadRoot {
    /// It is not a multiple of the table's size.
    #[error("a first table at {table} is not aligned to {alignment:#x} bytes")]
    Misaligned {
        /// Where it was to be.
        table: Ipa,
        /// Of how many bytes that must be a multiple.
        alignment: u64,
    },
    /// It is beyond the output size, or beyond 48 bits with a granule below 64 KiB.
    #[error("a first table at {0} is beyond the output addresses")]
    Beyond(Ipa),
}

impl Cd {
    /// A descriptor for a process that writes tables of its own: one tree of VMSAv8-64 at `table`,
    /// for the lower half of addresses, read as write-back memory that is inner shareable.
    ///
    /// What faults is aborted and recorded, and does not stall: `A` and `R` are 1, `S` is 0. That
    /// is valid except where `SMMU_IDR0.STALL_MODEL` forces stalls. `ASET` is 1: the ASID is the
    /// SMMU's own. There is no tree for the upper half (`EPD1`), and the SMMU writes no flags.
    ///
    /// ```
    /// use smmuv3_types::{AddressSize, Asid, Cd, Geometry, Granule, Ipa, Mair};
    ///
    /// let cd = Cd::stage1(
    ///     Asid::new(7),
    ///     Geometry::new(Granule::Kib4, 48)?,
    ///     Ipa::new(0x4000_2000).expect("of 52 bits"),
    ///     AddressSize::Bits44,
    ///     Mair::default().with(0, Mair::WRITE_BACK),
    /// )?;
    /// assert_eq!(cd.words()[0], 0x0007_e204_c000_3510);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The table is not aligned to its size, or beyond what `output` or the granule can address.
    pub fn stage1(
        asid: Asid,
        geometry: Geometry,
        table: Ipa,
        output: AddressSize,
        mair: Mair,
    ) -> Result<Self, BadRoot> {
        let alignment = geometry.root_alignment(output == AddressSize::Bits52);
        if !table.is_aligned_to(alignment) {
            return Err(BadRoot::Misaligned { table, alignment });
        }
        if !output.min(geometry.granule().output_size()).holds(table) {
            return Err(BadRoot::Beyond(table));
        }
        Ok(Self::default()
            .with_t0sz(geometry.t_sz())
            .with_tg0(geometry.granule().tg0())
            .with_ir0(Cacheability::WriteBack)
            .with_or0(Cacheability::WriteBack)
            .with_sh0(Shareability::Inner)
            .with_epd1(true)
            .with_v(true)
            .with_ips(output)
            .with_aa64(true)
            .with_r(true)
            .with_a(true)
            .with_aset(true)
            .with_asid(asid)
            .with_ttb0(table)
            .with_mair(mair))
    }

    /// The memory attributes: `CD.MAIR0` and `CD.MAIR1`.
    #[must_use]
    pub const fn mair(&self) -> Mair {
        Mair::new(self.mair0() as u64 | (self.mair1() as u64) << 32)
    }

    /// With [`Self::mair`] changed.
    #[must_use]
    pub const fn with_mair(self, mair: Mair) -> Self {
        self.with_mair0(mair.get() as u32)
            .with_mair1((mair.get() >> 32) as u32)
    }
}
