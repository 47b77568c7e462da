//! The numbers of events.

use hardware_records::numbered;

numbered! {
    /// The kind of an event (7.3), bits 7:0 of its first word.
    ///
    /// Other numbers are reserved or IMPLEMENTATION DEFINED.
    ///
    /// Of a nested table Linux hands a VMM the events `0x04`, `0x06`, `0x08`, `0x0a` and `0x10` to
    /// `0x13`, if they are of stage 1 and the transaction did not stall.
    pub enum EventKind;

    /// The transaction is of a kind that is not supported (7.3.2).
    Uut = 0x01, "F_UUT";
    /// The stream is out of range (7.3.3).
    BadStreamId = 0x02, "C_BAD_STREAMID";
    /// The STE could not be read (7.3.4).
    SteFetch = 0x03, "F_STE_FETCH";
    /// The STE is invalid (7.3.5).
    BadSte = 0x04, "C_BAD_STE";
    /// A translation request of ATS is not allowed (7.3.6).
    BadAtsTreq = 0x05, "F_BAD_ATS_TREQ";
    /// A transaction without a substream, where there must be one, or with substream 0, where that
    /// is for those without (7.3.7).
    StreamDisabled = 0x06, "F_STREAM_DISABLED";
    /// A translated transaction is not allowed (7.3.8).
    TranslForbidden = 0x07, "F_TRANSL_FORBIDDEN";
    /// The substream is out of range, or there must be none (7.3.9).
    BadSubstreamId = 0x08, "C_BAD_SUBSTREAMID";
    /// The CD could not be read (7.3.10).
    CdFetch = 0x09, "F_CD_FETCH";
    /// The CD is invalid (7.3.11).
    BadCd = 0x0a, "C_BAD_CD";
    /// A translation table could not be read or updated (7.3.12).
    WalkEabt = 0x0b, "F_WALK_EABT";
    /// There is no translation (7.3.13).
    Translation = 0x10, "F_TRANSLATION";
    /// The address that the translation gives is too large (7.3.14).
    AddrSize = 0x11, "F_ADDR_SIZE";
    /// The translation's access flag is not set (7.3.15).
    Access = 0x12, "F_ACCESS";
    /// The translation does not permit the access (7.3.16).
    Permission = 0x13, "F_PERMISSION";
    /// More than one translation was found in a TLB (7.3.17).
    TlbConflict = 0x20, "F_TLB_CONFLICT";
    /// More than one STE was found in a cache (7.3.18).
    CfgConflict = 0x21, "F_CFG_CONFLICT";
    /// A device will access pages: a hint (7.3.19).
    PageRequest = 0x24, "E_PAGE_REQUEST";
    /// The VMS could not be read (7.3.20).
    VmsFetch = 0x25, "F_VMS_FETCH";
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardware_records::testing::assert_listed;

    #[test]
    fn the_table_of_what_is_covered_has_a_row_for_every_one() {
        for kind in EventKind::ALL {
            assert_listed(include_str!("../coverage.md"), kind.number(), kind.name());
        }
    }
}
