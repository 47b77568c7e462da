//! What a context descriptor comes to.

use super::Cd;
use crate::{
    AddressSize, Asid, Cacheability, Features, Geometry, Granule, InputSize, Ipa, Mair,
    Shareability, Stage1, StallModel, TableEndianness, TableUpdate,
};

/// What a valid context descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CdConfig {
    /// Tables of VMSAv8-64.
    Vmsa64(Context),
    /// Tables of VMSAv8-32 LPAE, which are not covered: nothing more is looked at.
    Lpae,
    /// A granule of 4 or 16 KiB with 52-bit addresses (`CD.DS`), which is not covered: nothing
    /// more is looked at.
    Lpa2,
}

/// How the addresses of a stream or substream are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Context {
    /// The tag in the TLBs.
    pub asid: Asid,
    /// The tree of addresses whose bit 55 is 0, unless `CD.EPD0` is set.
    pub low: Option<Tree>,
    /// The tree of addresses whose bit 55 is 1, unless `CD.EPD1` is set.
    pub high: Option<Tree>,
    /// The size of what is put out: the smaller of `CD.IPS` and `SMMU_IDR5.OAS`.
    pub output: AddressSize,
    /// Whether a descriptor of 64 KiB has 52 bits of address: whether `SMMU_IDR5.OAS` is 52 bits.
    pub wide: bool,
    /// Whether tables are big-endian.
    pub big_endian: bool,
    /// The memory attributes.
    pub mair: Mair,
    /// Whether an access flag of 0 faults: neither `CD.AFFD` nor `CD.HA`.
    pub access_flag_faults: bool,
    /// The flags that the SMMU writes, by `CD.HA` and `CD.HD`: none, the access flag, or also
    /// dirty state.
    pub update: TableUpdate,
    /// Whether what can be written cannot be executed.
    pub write_execute_never: bool,
    /// Whether the privileged may not access what the unprivileged may.
    pub privileged_access_never: bool,
    /// Whether that is also for what the unprivileged may execute.
    pub enhanced_privileged_access_never: bool,
    /// What becomes of transactions that fault.
    pub faults: FaultPolicy,
}

/// A tree of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tree {
    /// Its shape.
    pub geometry: Geometry,
    /// Its first table.
    pub table: Ipa,
    /// How tables are cached: the inner region.
    pub inner: Cacheability,
    /// How tables are cached: the outer region.
    pub outer: Cacheability,
    /// Who shares the memory of tables.
    pub shareability: Shareability,
    /// Whether the top byte of an address is ignored.
    pub top_byte_ignored: bool,
    /// Whether hierarchical attributes are off.
    pub hierarchical_disabled: bool,
    /// Whether it is closed to the unprivileged.
    pub unprivileged_denied: bool,
}

/// What becomes of transactions that fault: `CD.A`, `CD.R` and `CD.S` (5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultPolicy {
    /// They are aborted when they are terminated; else read as zero, and writes ignored.
    pub abort: bool,
    /// They are recorded. A stall always is.
    pub record: bool,
    /// They stall.
    pub stall: bool,
}

/// Why a context descriptor is not valid. What comes to it is aborted, and `C_BAD_CD` recorded
/// (5.4, 7.3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadCd {
    /// `CD.V` is 0.
    #[error("the descriptor is not valid: CD.V is 0")]
    Invalid,
    /// It asks for stalls where there are none, or not where there is nothing else: by
    /// `SMMU_IDR0.STALL_MODEL` or `STE.S1STALLD`.
    #[error("CD.S is {0}, which the stall model or STE.S1STALLD does not allow")]
    Stall(bool),
    /// Faults are to be read as zero: `SMMU_IDR0.TERM_MODEL` is 1.
    #[error("CD.A is 0, and a terminated transaction is always aborted")]
    Abort,
    /// The byte order is not one that the SMMU has.
    #[error("CD.ENDI is {0}, a byte order that is not there")]
    Endianness(bool),
    /// The kind of tables is not one that the SMMU has.
    #[error("CD.AA64 is {0}, a kind of tables that is not there")]
    Format(bool),
    /// The SMMU is to write flags that it does not.
    #[error("CD.HA or CD.HD asks for flags that the SMMU does not write")]
    TableUpdate,
    /// The ASID has more than 8 bits: `SMMU_IDR0.ASID16` is 0.
    #[error("CD.ASID {0} has more than 8 bits")]
    Asid(Asid),
    /// The granule is reserved, or not one that the SMMU has.
    #[error("CD.TG{half} is {value:#04b}, a granule that is not there")]
    Granule {
        /// 0 or 1.
        half: u8,
        /// The field.
        value: u8,
    },
    /// The input size is not one that the SMMU has.
    #[error("CD.T{half}SZ is {value}, a size that is not there")]
    InputSize {
        /// 0 or 1.
        half: u8,
        /// The field.
        value: u8,
    },
    /// The first table is beyond what can be put out.
    #[error("CD.TTB{half} {table} is beyond the output addresses")]
    Table {
        /// 0 or 1.
        half: u8,
        /// Where it is.
        table: Ipa,
    },
}

/// The fields of one half of a descriptor.
struct Half {
    number: u8,
    t_sz: u8,
    tg: u8,
    granule: Option<Granule>,
    table: Ipa,
    tree: fn(&Cd, Geometry, Ipa, &Features) -> Tree,
}

impl Cd {
    /// What the descriptor comes to on an SMMU with these features, for a Non-secure stream of the
    /// world NS-EL1 whose entry says this of stage 1: 5.4.2 for SMMUv3.1 or later. Only fields
    /// that mean something are looked at; reserved encodings of the rest behave as 5.4 says.
    ///
    /// # Errors
    /// Why transactions are aborted with `C_BAD_CD`.
    pub fn decode(&self, features: &Features, stage1: &Stage1) -> Result<CdConfig, BadCd> {
        if !self.v() {
            return Err(BadCd::Invalid);
        }
        let idr0 = features.registers().idr0;
        let stall_is_allowed = match features.stall_model() {
            StallModel::Both => !(self.s() && stage1.is_stall_disabled()),
            StallModel::TerminateOnly => !self.s(),
            StallModel::StallOnly => self.s(),
        };
        if !stall_is_allowed {
            return Err(BadCd::Stall(self.s()));
        }
        if idr0.term_model() && !self.a() {
            return Err(BadCd::Abort);
        }
        let both_disabled = self.epd0() && self.epd1();
        let endianness_is_there = both_disabled
            || match features.endianness() {
                TableEndianness::Mixed => true,
                TableEndianness::Little => !self.endi(),
                TableEndianness::Big => self.endi(),
            };
        if !endianness_is_there {
            return Err(BadCd::Endianness(self.endi()));
        }
        let format_is_there = if self.aa64() {
            idr0.ttf_aarch64()
        } else {
            idr0.ttf_aarch32()
        };
        if !format_is_there {
            return Err(BadCd::Format(self.aa64()));
        }
        if self.aa64() {
            self.check_update(features.table_update())?;
        }
        if !idr0.asid16() && self.asid().get() > 0xff {
            return Err(BadCd::Asid(self.asid()));
        }
        if !self.aa64() {
            return Ok(CdConfig::Lpae);
        }
        let small = |granule| matches!(granule, Some(Granule::Kib4 | Granule::Kib16));
        if features.registers().idr5.ds()
            && self.ds()
            && (!self.epd0() && small(Granule::from_tg0(self.tg0()))
                || !self.epd1() && small(Granule::from_tg1(self.tg1())))
        {
            return Ok(CdConfig::Lpa2);
        }
        Ok(CdConfig::Vmsa64(self.context(features)?))
    }

    fn check_update(&self, there: TableUpdate) -> Result<(), BadCd> {
        let wrong = match there {
            TableUpdate::None => self.ha() || self.hd(),
            TableUpdate::AccessFlag => self.hd(),
            // Without the flags of tables, which no features have, HAFT is RES0.
            TableUpdate::Dirty | TableUpdate::TableAccessFlag => false,
        };
        if wrong {
            return Err(BadCd::TableUpdate);
        }
        Ok(())
    }

    fn context(&self, features: &Features) -> Result<Context, BadCd> {
        // Reserved sizes behave as 52 bits, and none is more than the SMMU's.
        let output = self
            .ips()
            .unwrap_or(AddressSize::Bits52)
            .min(features.output_size());
        let low = Half {
            number: 0,
            t_sz: self.t0sz(),
            tg: self.tg0(),
            granule: Granule::from_tg0(self.tg0()),
            table: self.ttb0(),
            tree: Self::low,
        };
        let high = Half {
            number: 1,
            t_sz: self.t1sz(),
            tg: self.tg1(),
            granule: Granule::from_tg1(self.tg1()),
            table: self.ttb1(),
            tree: Self::high,
        };
        let tree = |half: Half| half.tree(self, features, output);
        Ok(Context {
            asid: self.asid(),
            low: (!self.epd0()).then(|| tree(low)).transpose()?,
            high: (!self.epd1()).then(|| tree(high)).transpose()?,
            output,
            wide: features.output_size() == AddressSize::Bits52,
            big_endian: self.endi(),
            mair: self.mair(),
            access_flag_faults: !self.affd() && !self.ha(),
            update: match (self.ha(), self.hd()) {
                // HD without HA behaves as neither.
                (false, _) => TableUpdate::None,
                (true, false) => TableUpdate::AccessFlag,
                (true, true) => TableUpdate::Dirty,
            },
            write_execute_never: self.wxn(),
            privileged_access_never: self.pan(),
            enhanced_privileged_access_never: self.epan() && features.registers().idr3.epan(),
            faults: FaultPolicy {
                abort: self.a(),
                record: self.r() || self.s(),
                stall: self.s(),
            },
        })
    }

    fn low(&self, geometry: Geometry, table: Ipa, features: &Features) -> Tree {
        let idr3 = features.registers().idr3;
        Tree {
            geometry,
            table,
            inner: self.ir0(),
            outer: self.or0(),
            shareability: self.sh0().unwrap_or(Shareability::NonShareable),
            top_byte_ignored: self.tbi0(),
            hierarchical_disabled: self.had0() && idr3.had(),
            unprivileged_denied: self.e0pd0() && idr3.e0pd(),
        }
    }

    fn high(&self, geometry: Geometry, table: Ipa, features: &Features) -> Tree {
        let idr3 = features.registers().idr3;
        Tree {
            geometry,
            table,
            inner: self.ir1(),
            outer: self.or1(),
            shareability: self.sh1().unwrap_or(Shareability::NonShareable),
            top_byte_ignored: self.tbi1(),
            hierarchical_disabled: self.had1() && idr3.had(),
            unprivileged_denied: self.e0pd1() && idr3.e0pd(),
        }
    }
}

impl Half {
    fn tree(&self, cd: &Cd, features: &Features, output: AddressSize) -> Result<Tree, BadCd> {
        let idr5 = features.registers().idr5;
        let granule = self.granule.filter(|granule| match granule {
            Granule::Kib4 => idr5.gran4k(),
            Granule::Kib16 => idr5.gran16k(),
            Granule::Kib64 => idr5.gran64k(),
        });
        let Some(granule) = granule else {
            return Err(BadCd::Granule {
                half: self.number,
                value: self.tg,
            });
        };
        let bad_size = BadCd::InputSize {
            half: self.number,
            value: self.t_sz,
        };
        // The least of an input size is the most of TxSZ.
        let least = if features.registers().idr3.stt() {
            16
        } else {
            25
        };
        let most = match (granule, features.input_size()) {
            (Granule::Kib64, InputSize::Bits52) => 52,
            _ => 48,
        };
        let input_bits = 64 - u32::from(self.t_sz.min(63));
        if input_bits < least || input_bits > most {
            return Err(bad_size);
        }
        let geometry = Geometry::new(granule, input_bits).map_err(|_| bad_size)?;
        if !output.min(granule.output_size()).holds(self.table) {
            return Err(BadCd::Table {
                half: self.number,
                table: self.table,
            });
        }
        let alignment = geometry.root_alignment(output == AddressSize::Bits52);
        let table = Ipa::masked(self.table.get() & !alignment.wrapping_sub(1));
        Ok((self.tree)(cd, geometry, table, features))
    }
}
