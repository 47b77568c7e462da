//! `SMMU_IDR1` and `SMMU_IDR2`.

use hardware_records::record;

record! {
    /// The sizes of what the SMMU can do.
    pub struct Idr1(u32), "SMMU_IDR1", "6.3.2";

    /// The bits of a stream number, 0 to 32.
    num(u8) sidsize, with_sidsize: "SIDSIZE", 0 [5:0];
    /// The bits of a substream number, 0 to 20. 0 is no substreams.
    num(u8) ssidsize, with_ssidsize: "SSIDSIZE", 0 [10:6];
    /// The binary logarithm of the most entries the PRI queue can have, up to 19.
    num(u8) priqs, with_priqs: "PRIQS", 0 [15:11];
    /// The binary logarithm of the most entries the event queue can have, up to 19.
    num(u8) eventqs, with_eventqs: "EVENTQS", 0 [20:16];
    /// The binary logarithm of the most entries the command queue can have, up to 19.
    num(u8) cmdqs, with_cmdqs: "CMDQS", 0 [25:21];
    /// That attributes of permission of a transaction can be replaced.
    flag attr_perms_ovr, with_attr_perms_ovr: "ATTR_PERMS_OVR", 0 [26];
    /// That the memory type of a transaction can be replaced.
    flag attr_types_ovr, with_attr_types_ovr: "ATTR_TYPES_OVR", 0 [27];
    /// That preset addresses are relative to the registers.
    flag rel, with_rel: "REL", 0 [28];
    /// That the queues are where they are.
    flag queues_preset, with_queues_preset: "QUEUES_PRESET", 0 [29];
    /// That the stream table is where it is.
    flag tables_preset, with_tables_preset: "TABLES_PRESET", 0 [30];
    /// More command queues.
    flag ecmdq, with_ecmdq: "ECMDQ", 0 [31];
}

record! {
    /// Where the page of a guest's address translation operations is.
    pub struct Idr2(u32), "SMMU_IDR2", "6.3.3";

    /// Its distance from 0x20000 after the registers, in units of 64 KiB.
    num(u16) ba_vatos, with_ba_vatos: "BA_VATOS", 0 [9:0];
}
