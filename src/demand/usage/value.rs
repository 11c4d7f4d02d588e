//! The values of samples: in which unit they are, and which of them are no memory at all.

/// More than any GPU has: what is above is in another unit, or a counter.
const MAX_MIB: f64 = (4u64 << 20) as f64;

/// Why a sample cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::demand) enum Rejection {
    NotANumber,
    Negative,
    Blank,
    Implausible,
}
pub(in crate::demand) const REJECTIONS: usize = 4;

/// What the values of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unit {
    #[default]
    Mebibytes,
    Bytes,
    /// Not memory: how many of a resource.
    Count,
}

/// A value in whole MiB, rounded up.
pub(super) fn to_mib(value: f64, bytes: bool) -> Result<u32, Rejection> {
    if !value.is_finite() {
        return Err(Rejection::NotANumber);
    }
    if value < 0.0 {
        return Err(Rejection::Negative);
    }
    if is_blank(value, bytes) {
        return Err(Rejection::Blank);
    }
    // Averages and quantiles carry the noise of floating point, which must not add a MiB.
    let mib = if bytes { value.round() / f64::from(1 << 20) } else { (value - 1e-6).max(0.0) };
    let mib = mib.ceil();
    if mib > MAX_MIB { Err(Rejection::Implausible) } else { Ok(mib as u32) }
}

/// The numbers that DCGM gives for "not available": the last of 32-bit and 64-bit integers, and
/// 2^47 for floats (`DCGM_INT32_BLANK` and its kin in dcgm_structs.h).
fn is_blank(value: f64, bytes: bool) -> bool {
    const INT32: std::ops::RangeInclusive<f64> = 2_147_483_632.0..=2_147_483_647.0;
    const FLOAT: std::ops::RangeInclusive<f64> = 140_737_488_355_328.0..=140_737_488_355_343.0;
    value >= 9_223_372_036_854_774_784.0
        || FLOAT.contains(&value)
        || (!bytes && INT32.contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_whole_mib() {
        assert_eq!(to_mib(36_634.0, false), Ok(36_634));
        assert_eq!(to_mib(0.5, false), Ok(1));
        assert_eq!(to_mib(99.000_000_000_1, false), Ok(99));
        assert_eq!(to_mib(1_048_577.0, true), Ok(2));
        assert_eq!(to_mib(7.335_418_265_7e10, true), Ok(69_957));
        assert_eq!(to_mib(f64::NAN, false), Err(Rejection::NotANumber));
        assert_eq!(to_mib(-1.0, false), Err(Rejection::Negative));
        for blank in [9_223_372_036_854_775_794.0, 2_147_483_632.0, 140_737_488_355_328.0] {
            assert_eq!(to_mib(blank, false), Err(Rejection::Blank));
        }
        assert_eq!(to_mib(3.8e10, false), Err(Rejection::Implausible));
    }
}
