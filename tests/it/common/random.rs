//! Numbers that look random and are the same on every machine: for tests and benches that choose
//! their own cases. A test that can use proptest does, since that shrinks what fails.

/// Knuth's 64-bit linear congruential generator (MMIX), of which the high bits are used.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed. Print the seed where a failure would not.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number, 31 bits.
    pub fn number(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// The next number, from 0 to one less than `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
