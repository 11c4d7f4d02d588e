//! Quantities with their units: memory in MiB, weights in millionths, percentages.
//!
//! Everything is an exact integer inside; decimal text is read digit by digit, never through a
//! float, because 25.6 GiB must become the same number of MiB on every machine. This file knows
//! nothing of GPUs, files or workloads.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Rem, Sub};

use serde::{Deserialize, Serialize};

use crate::text::{grouped, thousands};

/// An amount of GPU memory in whole MiB (2^20 bytes).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Mebibytes(pub u64);

/// More than any GPU or any sum of a fleet's GPUs will hold; larger input is a mistake in the file.
pub const MAX_MEMORY_MIB: u64 = 1 << 40;

impl Mebibytes {
    /// Zero MiB.
    pub const ZERO: Mebibytes = Mebibytes(0);

    /// The same amount in GiB, for charts and sentences only.
    pub fn as_gib(self) -> f64 {
        self.0 as f64 / 1024.0
    }

    /// The amount as a person would say it, in GiB: `38 GiB`, `9.5 GiB`, `1,250 GiB`.
    pub fn human(self) -> String {
        if self.0 >= 1000 * 1024 {
            return format!("{} GiB", thousands((self.0 + 512) / 1024));
        }
        let tenths = (self.0 * 10 + 512) / 1024;
        if tenths.is_multiple_of(10) {
            format!("{} GiB", tenths / 10)
        } else {
            format!("{}.{} GiB", tenths / 10, tenths % 10)
        }
    }

    /// `self - other`, or zero where `other` is larger.
    pub fn saturating_sub(self, other: Mebibytes) -> Mebibytes {
        Mebibytes(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

impl Add for Mebibytes {
    type Output = Mebibytes;
    fn add(self, other: Mebibytes) -> Mebibytes {
        Mebibytes(self.0 + other.0)
    }
}

impl Sub for Mebibytes {
    type Output = Mebibytes;
    fn sub(self, other: Mebibytes) -> Mebibytes {
        Mebibytes(self.0 - other.0)
    }
}

impl AddAssign for Mebibytes {
    fn add_assign(&mut self, other: Mebibytes) {
        self.0 += other.0;
    }
}

impl std::iter::Sum for Mebibytes {
    fn sum<I: Iterator<Item = Mebibytes>>(iter: I) -> Mebibytes {
        iter.fold(Mebibytes::ZERO, Add::add)
    }
}

/// The unit in which a bare or suffixed number of memory is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUnit {
    /// One byte.
    Byte,
    /// 2^10 bytes.
    Kibibyte,
    /// 2^20 bytes.
    Mebibyte,
    /// 2^30 bytes.
    Gibibyte,
    /// 2^40 bytes.
    Tebibyte,
    /// 10^3 bytes.
    Kilobyte,
    /// 10^6 bytes.
    Megabyte,
    /// 10^9 bytes.
    Gigabyte,
    /// 10^12 bytes.
    Terabyte,
}

impl MemoryUnit {
    /// Bytes in one unit.
    pub fn bytes(self) -> u128 {
        match self {
            MemoryUnit::Byte => 1,
            MemoryUnit::Kibibyte => 1 << 10,
            MemoryUnit::Mebibyte => 1 << 20,
            MemoryUnit::Gibibyte => 1 << 30,
            MemoryUnit::Tebibyte => 1 << 40,
            MemoryUnit::Kilobyte => 1_000,
            MemoryUnit::Megabyte => 1_000_000,
            MemoryUnit::Gigabyte => 1_000_000_000,
            MemoryUnit::Terabyte => 1_000_000_000_000,
        }
    }

    fn from_suffix(suffix: &str) -> Option<MemoryUnit> {
        const SUFFIXES: [(&str, MemoryUnit); 13] = [
            ("mib", MemoryUnit::Mebibyte),
            ("gib", MemoryUnit::Gibibyte),
            ("gb", MemoryUnit::Gigabyte),
            ("mb", MemoryUnit::Megabyte),
            ("mi", MemoryUnit::Mebibyte),
            ("gi", MemoryUnit::Gibibyte),
            ("b", MemoryUnit::Byte),
            ("kib", MemoryUnit::Kibibyte),
            ("ki", MemoryUnit::Kibibyte),
            ("tib", MemoryUnit::Tebibyte),
            ("ti", MemoryUnit::Tebibyte),
            ("kb", MemoryUnit::Kilobyte),
            ("tb", MemoryUnit::Terabyte),
        ];
        let known = SUFFIXES.iter().find(|(name, _)| suffix.eq_ignore_ascii_case(name));
        known.map(|(_, unit)| *unit)
    }
}

/// Why a number could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// Not digits with at most one decimal point.
    #[error("is not a number")]
    NotANumber,
    /// A minus sign.
    #[error("is negative")]
    Negative,
    /// Zero where more is needed.
    #[error("is zero")]
    Zero,
    /// A fraction where a whole number is needed.
    #[error("is not a whole number")]
    Fraction,
    /// Smaller than the smallest that can be held.
    #[error("is too small (at least {0})")]
    TooSmall(String),
    /// Larger than the largest that makes sense.
    #[error("is too large (at most {0})")]
    TooLarge(String),
    /// A number of memory without a unit.
    #[error("has no unit")]
    NoUnit,
    /// A suffix that is no unit of memory.
    #[error("has the unknown unit '{0}'")]
    UnknownUnit(String),
}

/// The most that the digits of a number may make: 24 of them.
const MAX_MANTISSA: u128 = 10u128.pow(24);

/// A non-negative decimal as text gives it: `mantissa / 10^decimals`, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    mantissa: u128,
    decimals: u32,
}

impl Decimal {
    /// Reads `12`, `12.5`, `.5`, `1e3`, `2.5E-1`. At most 24 significant digits.
    ///
    /// # Errors
    /// [`NumberError`] for anything else: signs, `NaN`, `inf`, thousands separators.
    pub fn parse(text: &str) -> Result<Decimal, NumberError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NumberError::Empty);
        }
        // Most numbers are short and whole.
        if text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit()) {
            let mantissa = text.bytes().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
            return Ok(Decimal { mantissa: mantissa.into(), decimals: 0 });
        }
        if let Some(rest) = text.strip_prefix('-') {
            return Err(match Decimal::without_sign(rest.trim_start()) {
                Ok(_) | Err(NumberError::TooLarge(_)) => NumberError::Negative,
                Err(_) => NumberError::NotANumber,
            });
        }
        Decimal::without_sign(text.strip_prefix('+').unwrap_or(text))
    }

    fn without_sign(text: &str) -> Result<Decimal, NumberError> {
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => {
                let exponent: i32 = exponent.parse().map_err(|_| NumberError::NotANumber)?;
                (digits, exponent)
            }
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty()
            || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        {
            return Err(NumberError::NotANumber);
        }
        let too_large = || NumberError::TooLarge("10^24".into());
        let fraction = fraction.trim_end_matches('0');
        let mut mantissa: u128 = 0;
        for digit in whole.trim_start_matches('0').bytes().chain(fraction.bytes()) {
            mantissa = mantissa * 10 + u128::from(digit - b'0');
            if mantissa > MAX_MANTISSA {
                return Err(too_large());
            }
        }
        let decimals =
            i64::try_from(fraction.len()).map_err(|_| too_large())? - i64::from(exponent);
        if mantissa == 0 {
            return Ok(Decimal { mantissa: 0, decimals: 0 });
        }
        if decimals < 0 {
            if decimals < -24 {
                return Err(too_large());
            }
            mantissa = mantissa
                .checked_mul(10u128.pow(u32::try_from(-decimals).unwrap_or(24)))
                .filter(|m| *m <= MAX_MANTISSA)
                .ok_or_else(too_large)?;
            return Ok(Decimal { mantissa, decimals: 0 });
        }
        let mut decimals = decimals;
        // A value below 10^-24 differs from zero by nothing that could matter; keep one digit.
        while decimals > 24 {
            mantissa = mantissa.div_ceil(10);
            decimals -= 1;
            if mantissa == 1 && decimals > 24 {
                decimals = 24;
            }
        }
        Ok(Decimal { mantissa, decimals: u32::try_from(decimals).unwrap_or(24) })
    }

    /// `self × numerator / denominator`, rounded up to a whole number; `None` on overflow.
    pub fn scale_ceil(self, numerator: u128, denominator: u128) -> Option<u128> {
        let product = self.mantissa.checked_mul(numerator)?;
        // Division of 128 bits is slow, and whole numbers of MiB need none.
        if self.decimals == 0 && denominator.is_power_of_two() {
            let up = product.checked_add(denominator - 1)?;
            return Some(up >> denominator.trailing_zeros());
        }
        Some(product.div_ceil(denominator.checked_mul(10u128.pow(self.decimals))?))
    }

    /// The same rounded down.
    pub fn scale_floor(self, numerator: u128, denominator: u128) -> Option<u128> {
        let product = self.mantissa.checked_mul(numerator)?;
        Some(product / denominator.checked_mul(10u128.pow(self.decimals))?)
    }

    /// The value as a whole number, `None` where it has a fraction.
    pub fn whole(self) -> Option<u128> {
        if self.decimals == 0 {
            return Some(self.mantissa);
        }
        self.mantissa
            .is_multiple_of(10u128.pow(self.decimals))
            .then(|| self.mantissa / 10u128.pow(self.decimals))
    }

    /// Whether the value is zero.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }
}

/// Reads an amount of memory: `30GB`, `30 GiB`, `9500MiB`, or, where the column names the unit, a
/// bare number. The result is rounded up to whole MiB.
///
/// # Errors
/// [`NumberError`]; a bare number without a `default_unit` is [`NumberError::NoUnit`].
pub fn parse_memory(
    text: &str,
    default_unit: Option<MemoryUnit>,
) -> Result<Mebibytes, NumberError> {
    let (number, suffix) = number_and_unit(text);
    if number.is_empty() && !suffix.is_empty() {
        return Err(NumberError::NotANumber);
    }
    let number = Decimal::parse(number)?;
    let unit = if suffix.is_empty() {
        default_unit.ok_or(NumberError::NoUnit)?
    } else {
        MemoryUnit::from_suffix(suffix)
            .ok_or_else(|| NumberError::UnknownUnit(suffix.to_string()))?
    };
    let too_large = || NumberError::TooLarge("1 EiB".into());
    let mib = number.scale_ceil(unit.bytes(), 1 << 20).ok_or_else(too_large)?;
    let mib = u64::try_from(mib).ok().filter(|m| *m <= MAX_MEMORY_MIB).ok_or_else(too_large)?;
    if mib == 0 {
        return Err(NumberError::Zero);
    }
    Ok(Mebibytes(mib))
}

/// The number of a text such as `9500 MiB` and its unit, which is empty where there is none.
fn number_and_unit(text: &str) -> (&str, &str) {
    let starts_unit = |(at, c): &(usize, char)| {
        c.is_alphabetic() && !(matches!(c, 'e' | 'E') && is_exponent(&text[*at..]))
    };
    let split = text.char_indices().find(starts_unit).map_or(text.len(), |(at, _)| at);
    (text[..split].trim(), text[split..].trim())
}

/// The unit of an amount of memory as [`parse_memory`] reads it, if it is one.
pub fn memory_unit(text: &str, default_unit: Option<MemoryUnit>) -> Option<MemoryUnit> {
    match number_and_unit(text).1 {
        "" => default_unit,
        suffix => MemoryUnit::from_suffix(suffix),
    }
}

/// `1,024` or `1.024MiB` without what separates its thousands: `1024`, `1024MiB`; `None` for a text
/// that is no number of such groups. A decimal point before three digits looks the same.
pub fn without_separators(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text);
    let separator = number.chars().find(|c| matches!(c, ',' | '.'))?;
    let groups: Vec<&str> = number.split(separator).collect();
    let digits = |group: &&str| group.bytes().all(|b| b.is_ascii_digit());
    let (first, others) = groups.split_first()?;
    let is_number = groups.iter().all(digits)
        && (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && others.iter().all(|group| group.len() == 3);
    is_number.then(|| format!("{}{unit}", groups.concat()))
}

/// Whether `text`, which starts with `e` or `E`, goes on like an exponent (`e3`, `E-2`).
fn is_exponent(text: &str) -> bool {
    let rest = text[1..].trim_start_matches(['+', '-']);
    rest.starts_with(|c: char| c.is_ascii_digit())
}

/// The worth of one replica among its equals in priority, in millionths, so that sums are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u64);

impl Weight {
    /// The weight 1, the default.
    pub const ONE: Weight = Weight(Weight::SCALE);
    /// Millionths in 1.
    pub const SCALE: u64 = 1_000_000;
    /// The largest weight that may be asked for.
    pub const MAX: u64 = 1_000_000;

    /// Reads a positive decimal of at most [`Weight::MAX`]; digits past the sixth are rounded up.
    ///
    /// # Errors
    /// [`NumberError`] for less than a millionth, negative, too large or no number at all.
    pub fn parse(text: &str) -> Result<Weight, NumberError> {
        let value = Decimal::parse(text)?;
        if value.is_zero() {
            return Err(NumberError::Zero);
        }
        let too_large = || NumberError::TooLarge(Weight::MAX.to_string());
        let scale = u128::from(Weight::SCALE);
        if value.scale_floor(scale, 1) == Some(0) {
            return Err(NumberError::TooSmall("0.000001".to_string()));
        }
        let scaled = value.scale_ceil(scale, 1).ok_or_else(too_large)?;
        u64::try_from(scaled)
            .ok()
            .filter(|w| *w <= Weight::MAX * Weight::SCALE)
            .map(Weight)
            .ok_or_else(too_large)
    }
}

impl Default for Weight {
    fn default() -> Self {
        Weight::ONE
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&millionths(u128::from(self.0)))
    }
}

/// A number of millionths as a plain decimal (`1500000` is `1.5`).
pub fn millionths(value: u128) -> String {
    let (whole, part) = (value / 1_000_000, value % 1_000_000);
    if part == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{part:06}").trim_end_matches('0').to_string()
    }
}

/// The same for people, with commas between thousands: an amount of weight with all its digits, of a
/// picture as of a table.
pub fn amount(millionths_of_it: u128) -> String {
    grouped(&millionths(millionths_of_it))
}

/// A share of something, in millionths (`10%` is 100,000).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u64);

impl std::str::FromStr for Percent {
    type Err = String;

    /// Reads `10%` or `12.5%`; at most 1000%.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(number) = text.trim().strip_suffix('%') else {
            return Err(format!("'{text}' has no percent sign; write for example 10%"));
        };
        let share = Decimal::parse(number)
            .map_err(|e| format!("'{text}' {e}; write for example 10%"))?
            .scale_ceil(10_000, 1)
            .filter(|share| *share <= 10_000_000)
            .ok_or_else(|| format!("'{text}' is more than 1000%"))?;
        Ok(Percent(u64::try_from(share).unwrap_or(10_000_000)))
    }
}

/// A share that is added to every demand, in millionths (`10%` is 100,000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headroom(pub u64);

impl Headroom {
    /// `memory` raised by this share, rounded up to whole MiB.
    pub fn raise(self, memory: Mebibytes) -> Mebibytes {
        let raised = (u128::from(memory.0) * (1_000_000 + u128::from(self.0))).div_ceil(1_000_000);
        Mebibytes(u64::try_from(raised).unwrap_or(u64::MAX))
    }
}

impl std::str::FromStr for Headroom {
    type Err = String;

    /// As [`Percent`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|Percent(share)| Headroom(share))
    }
}

/// A part of a whole, such as the share that a team gets of what it asks for; compared exactly.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    part: u128,
    whole: u128,
}

impl Ratio {
    /// Of nothing every part is all of it.
    pub fn new(part: u128, whole: u128) -> Ratio {
        if whole == 0 { Ratio { part: 1, whole: 1 } } else { Ratio { part, whole } }
    }

    /// In millionths, rounded down.
    pub fn millionths(self) -> u128 {
        let scale = u128::from(Weight::SCALE);
        let rest = (self.part % self.whole).saturating_mul(scale) / self.whole;
        (self.part / self.whole).saturating_mul(scale).saturating_add(rest)
    }

    /// A number about half-way between two, in millionths or, where they are close, one of them.
    pub fn between(self, other: Ratio) -> Ratio {
        let middle = self.millionths().midpoint(other.millionths());
        Ratio::new(middle, Weight::SCALE.into()).clamp(self.min(other), self.max(other))
    }
}

impl Ord for Ratio {
    /// Digit by digit of the continued fractions, so that no product can overflow.
    fn cmp(&self, other: &Ratio) -> std::cmp::Ordering {
        let (mut a, mut b) = (*self, *other);
        loop {
            let digits = (a.part / a.whole).cmp(&(b.part / b.whole));
            let rests = (a.part % a.whole, b.part % b.whole);
            if digits.is_ne() {
                return digits;
            }
            if rests.0 == 0 || rests.1 == 0 {
                return (rests.0 != 0).cmp(&(rests.1 != 0));
            }
            // The one with the larger reciprocal is the smaller.
            (a, b) =
                (Ratio { part: b.whole, whole: rests.1 }, Ratio { part: a.whole, whole: rests.0 });
        }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Ratio) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ratio {}

/// The greatest common divisor of two integers; of one and 0 that one.
pub(crate) fn gcd<T: Copy + Default + PartialEq + Rem<Output = T>>(a: T, b: T) -> T {
    if b == T::default() { a } else { gcd(b, a % b) }
}

/// The least common multiple; 0 where one of them is.
pub(crate) fn lcm<T>(a: T, b: T) -> T
where
    T: Copy + Default + PartialEq + Rem<Output = T> + Div<Output = T> + Mul<Output = T>,
{
    let common = gcd(a, b);
    if common == T::default() { common } else { a / common * b }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_are_no_recursion() {
        let signs = "-".repeat(1 << 20);
        assert_eq!(Decimal::parse(&signs), Err(NumberError::NotANumber));
        for (text, error) in [
            ("-1", NumberError::Negative),
            ("- 1.5", NumberError::Negative),
            ("--1", NumberError::NotANumber),
            ("+-1", NumberError::NotANumber),
            ("-+1", NumberError::NotANumber),
        ] {
            assert_eq!(Decimal::parse(text), Err(error), "{text}");
        }
        let too_small = Err(NumberError::TooSmall("0.000001".to_string()));
        assert_eq!(Weight::parse("0.0000009"), too_small);
        assert_eq!(Weight::parse("0.000001"), Ok(Weight(1)));
        assert_eq!(Weight::parse("0.0000011"), Ok(Weight(2)));
    }

    #[test]
    fn memory_is_rounded_up_to_whole_mib() {
        let gib = Some(MemoryUnit::Gibibyte);
        assert_eq!(parse_memory("30GB", None), Ok(Mebibytes(28_611)));
        assert_eq!(parse_memory("30 GiB", None), Ok(Mebibytes(30_720)));
        assert_eq!(parse_memory("30Gi", None), Ok(Mebibytes(30_720)));
        assert_eq!(parse_memory("9500MiB", None), Ok(Mebibytes(9_500)));
        assert_eq!(parse_memory("25.60", gib), Ok(Mebibytes(26_215)));
        assert_eq!(parse_memory("8.000", gib), Ok(Mebibytes(8_192)));
        assert_eq!(parse_memory("1e3MiB", None), Ok(Mebibytes(1_000)));
        assert_eq!(parse_memory("1 B", None), Ok(Mebibytes(1)));
    }

    #[test]
    fn memory_that_cannot_be_meant_is_refused() {
        let gib = Some(MemoryUnit::Gibibyte);
        assert_eq!(parse_memory("30", None), Err(NumberError::NoUnit));
        assert_eq!(parse_memory("30XB", None), Err(NumberError::UnknownUnit("XB".into())));
        assert_eq!(parse_memory("NaN", gib), Err(NumberError::NotANumber));
        assert_eq!(parse_memory("inf", gib), Err(NumberError::NotANumber));
        assert_eq!(parse_memory("-3", gib), Err(NumberError::Negative));
        assert_eq!(parse_memory("0", gib), Err(NumberError::Zero));
        assert_eq!(parse_memory("", gib), Err(NumberError::Empty));
        assert_eq!(parse_memory("1,5", gib), Err(NumberError::NotANumber));
        let million_digits = "9".repeat(1_000_000);
        for large in ["1e30", "1000000000000000000000000000000", million_digits.as_str()] {
            assert!(
                matches!(parse_memory(large, gib), Err(NumberError::TooLarge(_))),
                "{large:.40}"
            );
        }
        assert_eq!(parse_memory("1e-999999", gib), Ok(Mebibytes(1)));
    }

    #[test]
    fn separators_of_thousands_are_seen() {
        let seen = |text| without_separators(text);
        assert_eq!(seen("1,024").as_deref(), Some("1024"));
        assert_eq!(seen(" 1.024.000 MiB").as_deref(), Some("1024000MiB"));
        for other in
            ["1024", "1,5", "0.125", "1,024.5", "1.5MiB", "1024.000", "1,", ",024", "-1,024", ""]
        {
            assert_eq!(seen(other), None, "{other}");
        }
        let gib = Some(MemoryUnit::Gibibyte);
        assert_eq!(memory_unit("1 MiB", gib), Some(MemoryUnit::Mebibyte));
        assert_eq!(memory_unit("1e3", gib), gib);
        assert_eq!(memory_unit("1XB", gib), None);
    }

    #[test]
    fn people_read_gib() {
        assert_eq!(Mebibytes(38 * 1024).human(), "38 GiB");
        assert_eq!(Mebibytes(9_728).human(), "9.5 GiB");
        assert_eq!(Mebibytes(0).human(), "0 GiB");
        assert_eq!(Mebibytes(1_250 * 1024 + 700).human(), "1,251 GiB");
    }

    #[test]
    fn headroom_is_exact() {
        let ten: Headroom = "10%".parse().unwrap();
        assert_eq!(ten.raise(Mebibytes(10_240)), Mebibytes(11_264));
        assert_eq!("12.5%".parse::<Headroom>().unwrap().raise(Mebibytes(8)), Mebibytes(9));
        assert!("10".parse::<Headroom>().is_err());
        assert!("-1%".parse::<Headroom>().is_err());
        assert!("1e30%".parse::<Headroom>().is_err());
    }

    #[test]
    fn weights_keep_six_decimals() {
        assert_eq!(Weight::parse("1.5"), Ok(Weight(1_500_000)));
        assert_eq!(Weight(1_500_000).to_string(), "1.5");
        assert_eq!(Weight::parse("0"), Err(NumberError::Zero));
        assert!(Weight::parse("1e9").is_err());
    }

    proptest! {
        #[test]
        fn ratios_compare_as_their_products(a in 0u64..40, b in 1u64..40, c in 0u64..40, d in 1u64..40, k in 1u128..1 << 90) {
            let (a, b, c, d) = (u128::from(a), u128::from(b), u128::from(c), u128::from(d));
            let (x, y) = (Ratio::new(a, b), Ratio::new(c, d));
            prop_assert_eq!(x.cmp(&y), (a * d).cmp(&(c * b)));
            prop_assert_eq!(x, Ratio::new(a * k, b * k));
            prop_assert_eq!(x.millionths(), a * 1_000_000 / b);
            let middle = x.between(y);
            prop_assert!(x.min(y) <= middle && middle <= x.max(y));
        }
    }
}
