//! What is measured.

mod decode;
mod dirty;
pub(crate) mod faults;
pub(crate) mod invalidations;
pub(crate) mod maps;
#[cfg(target_arch = "aarch64")]
mod smmuv3;

/// All that makes sense where instructions are counted: one processor.
pub(crate) fn counted() {
    quick();
    maps::of_2_mib();
    maps::of_1_gib(3);
    maps::by_file();
    dirty::reads(&[256 << 20, 1 << 30]);
    dirty::walks(64 << 30);
    decode::all();
}

/// What tells in a minute whether the SDK has become slower.
pub(crate) fn quick() {
    maps::of_4_kib();
    maps::on_hardware();
    maps::copies();
    maps::calls();
    invalidations::of_mock();
    #[cfg(target_arch = "aarch64")]
    smmuv3::invalidations();
    faults::round_trips();
    dirty::reads(&[64 << 20]);
    dirty::walks(4 << 30);
}

/// What makes sense where time passes: a witness.
pub(crate) fn real() {
    maps::of_4_kib();
    maps::on_hardware();
    maps::of_2_mib();
    maps::of_1_gib(5);
    invalidations::of_mock();
    #[cfg(target_arch = "aarch64")]
    smmuv3::invalidations();
    faults::round_trips();
    dirty::reads(&[1 << 30]);
    dirty::walks(64 << 30);
}
