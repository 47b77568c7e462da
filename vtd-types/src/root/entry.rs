//! Root entries as they lie in memory.

use crate::record::record;

record! {
    /// A root entry: what the root table says of a bus, in legacy mode.
    ///
    /// ```
    /// use vtd_types::{Gpa, RootEntry};
    ///
    /// let table = Gpa::new(0x8000_1000).expect("of 52 bits");
    /// let entry = RootEntry::default().with_ctp(table).with_p(true);
    /// assert_eq!(entry.words(), [0x8000_1001, 0]);
    /// ```
    pub struct RootEntry([u64; 2]), "RE", "9.1";

    /// Whether there is anything.
    flag p, with_p: "P", 0 [0];
    /// Where the table of context entries is.
    gpa ctp, with_ctp: "CTP", 0 [51:12];
}

record! {
    /// A root entry of scalable mode: the bus has two tables of context entries, one for devices 0
    /// to 15 and one for devices 16 to 31.
    pub struct ScalableRootEntry([u64; 2]), "SMRE", "9.2";

    /// Whether there is anything for devices 0 to 15.
    flag lp, with_lp: "LP", 0 [0];
    /// Where their table of context entries is.
    gpa lctp, with_lctp: "LCTP", 0 [51:12];
    /// Whether there is anything for devices 16 to 31.
    flag up, with_up: "UP", 1 [0];
    /// Where their table of context entries is.
    gpa uctp, with_uctp: "UCTP", 1 [51:12];
}
