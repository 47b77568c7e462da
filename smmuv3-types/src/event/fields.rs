//! Where the fields of events are. Those of the first word are in `entry`.

use hardware_records::Field;

/// `Reason` of those with 16 bits of it, second word.
pub(super) const REASON: Field = Field::new(15, 0);
/// `Reason` of conflicts, second word (7.3.17, 7.3.18).
pub(super) const LONG_REASON: Field = Field::new(31, 0);
/// `GPCF`, second word (7.3).
pub(super) const GPCF: Field = Field::bit(16);
/// `STAG`, second word (7.3.13).
pub(super) const STAG: Field = Field::new(15, 0);
/// `Stall`, second word (7.3.13).
pub(super) const STALL: Field = Field::bit(31);
/// `PnU`, second word (7.3).
pub(super) const PNU: Field = Field::bit(33);
/// `InD`, second word (7.3).
pub(super) const IND: Field = Field::bit(34);
/// `RnW`, second word (7.3).
pub(super) const RNW: Field = Field::bit(35);
/// `S2`, second word (7.3).
pub(super) const S2: Field = Field::bit(39);
/// `CLASS`, second word (7.3).
pub(super) const CLASS: Field = Field::new(41, 40);
/// `TTRnW`, second word (7.3.16).
pub(super) const TTRNW: Field = Field::bit(44);
/// An input address of whole pages, third word (7.3.6, 7.3.19).
pub(super) const PAGE: Field = Field::new(63, 12);
/// `IPA`, fourth word (7.3.13).
pub(super) const IPA: Field = Field::new(51, 12);
/// `FetchAddr`, fourth word (7.3).
pub(super) const FETCH_ADDR: Field = Field::new(51, 3);

/// `R`, `W`, `X` and `Priv` of `F_BAD_ATS_TREQ`, second word (7.3.6).
pub(super) const TREQ_READ: Field = Field::bit(31);
pub(super) const TREQ_WRITE: Field = Field::bit(30);
pub(super) const TREQ_EXECUTE: Field = Field::bit(29);
pub(super) const TREQ_PRIVILEGED: Field = Field::bit(28);

/// `uX`, `uW` and `uR` of `E_PAGE_REQUEST`, second word, with `uX` as the lowest (7.3.19).
pub(super) const HINT_UNPRIVILEGED: Field = Field::new(35, 33);
/// `pX`, `pW` and `pR` of `E_PAGE_REQUEST`, second word, with `pX` as the lowest (7.3.19).
pub(super) const HINT_PRIVILEGED: Field = Field::new(39, 37);
/// `Span` of `E_PAGE_REQUEST`, second word (7.3.19).
pub(super) const HINT_SPAN: Field = Field::new(51, 44);
