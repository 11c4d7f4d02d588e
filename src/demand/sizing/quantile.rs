//! Quantiles of what was seen: always a value that occurred, never an interpolation.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::units::Decimal;

/// A share of all samples or of all time, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(u64);

impl Quantile {
    /// The highest value.
    pub const MAX: Quantile = Quantile(1_000_000);

    /// How many of `count`, from the smallest, lie within the quantile: at least one.
    pub(super) fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.0)).div_ceil(1_000_000);
        u64::try_from(rank).unwrap_or(u64::MAX).max(1)
    }
}

impl FromStr for Quantile {
    type Err = String;

    /// Reads `0.99` or `99%`.
    fn from_str(text: &str) -> std::result::Result<Quantile, String> {
        let (number, scale) = match text.trim().strip_suffix('%') {
            Some(number) => (number, 10_000),
            None => (text, 1_000_000),
        };
        Decimal::parse(number)
            .map_err(|e| format!("'{text}' {e}; write for example 0.99"))?
            .scale_ceil(scale, 1)
            .and_then(|millionths| u64::try_from(millionths).ok())
            .filter(|millionths| *millionths <= 1_000_000)
            .map(Quantile)
            .ok_or_else(|| format!("'{text}' is more than 1; write for example 0.99 or 99%"))
    }
}

/// Samples in whole MiB, of which quantiles are taken.
#[derive(Default)]
pub(super) struct Values {
    few: Vec<u32>,
    /// How often each value occurs, once there are many.
    many: Vec<u64>,
    /// How many there are.
    pub(super) count: u64,
    /// The highest of them.
    pub(super) highest: u32,
}

impl Values {
    const FEW: usize = 1 << 16;

    pub(super) fn add(&mut self, mib: u32) {
        self.count += 1;
        self.highest = self.highest.max(mib);
        if self.many.is_empty() {
            self.few.push(mib);
            if self.few.len() == Values::FEW {
                for mib in std::mem::take(&mut self.few) {
                    self.tally(mib);
                }
            }
        } else {
            self.tally(mib);
        }
    }

    fn tally(&mut self, mib: u32) {
        let at = mib as usize;
        if at >= self.many.len() {
            self.many.resize(at + 1, 0);
        }
        self.many[at] += 1;
    }

    /// The smallest value that covers the share.
    pub(super) fn quantile(&mut self, quantile: Quantile) -> u32 {
        if quantile == Quantile::MAX {
            return self.highest;
        }
        let rank = quantile.rank(self.count);
        if self.many.is_empty() {
            let at = usize::try_from(rank - 1).unwrap_or(usize::MAX);
            if at >= self.few.len() {
                return self.highest;
            }
            return *self.few.select_nth_unstable(at).1;
        }
        let mut below = 0;
        let at = self.many.iter().position(|count| {
            below += count;
            below >= rank
        });
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(self.highest)
    }

    /// The distinct values above `mib` and how often each occurs, ascending.
    pub(super) fn above(&self, mib: u32) -> Vec<(u32, u64)> {
        if self.many.is_empty() {
            let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
            for value in self.few.iter().filter(|value| **value > mib) {
                *counts.entry(*value).or_default() += 1;
            }
            return counts.into_iter().collect();
        }
        (0u32..)
            .zip(&self.many)
            .filter(|(value, count)| *value > mib && **count > 0)
            .map(|(value, count)| (value, *count))
            .collect()
    }
}
