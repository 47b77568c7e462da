//! Numbers for tests, which look random and are the same each time.

pub(super) struct Lcg(u64);

impl Lcg {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        u64::from(self.half()) % limit
    }

    pub(super) fn word(&mut self) -> u64 {
        u64::from(self.half()) << 32 | u64::from(self.half())
    }

    fn half(&mut self) -> u32 {
        let product = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = product.wrapping_add(1_442_695_040_888_963_407);
        // The upper half is the better one.
        (self.0 >> 32) as u32
    }
}
