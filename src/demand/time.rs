//! Durations as Prometheus writes them (`7d`, `1h30m`), and points in time as people read them.
//!
//! Everything is in whole milliseconds, UTC. This file knows no clock and no time zone.

use std::fmt;
use std::str::FromStr;

/// Milliseconds in one minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds in one hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in one day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A duration in whole milliseconds, more than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * DAY_MS),
    ("w", 7 * DAY_MS),
    ("d", DAY_MS),
    ("h", HOUR_MS),
    ("m", MINUTE_MS),
    ("s", 1_000),
    ("ms", 1),
];

/// Longer than any Prometheus keeps its data.
const LONGEST_MS: i64 = 100 * 365 * DAY_MS;

impl Span {
    /// A duration of this many milliseconds; the shortest is 1, the longest 100 years.
    pub fn from_ms(ms: i64) -> Span {
        Span(ms.clamp(1, LONGEST_MS))
    }

    /// The duration in milliseconds.
    pub fn ms(self) -> i64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    /// Reads a duration as Prometheus does: `7d`, `5m`, `1h30m`, `500ms`, the units falling.
    fn from_str(text: &str) -> Result<Span, String> {
        let refuse = |why: &str| Err(format!("'{text}' {why}; write for example 7d, 5m or 1h30m"));
        let mut rest = text.trim();
        let mut total: i64 = 0;
        let mut smallest = i64::MAX;
        if rest.is_empty() {
            return refuse("is not a valid duration");
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(|b| b.is_ascii_alphabetic()).count();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            rest = &rest[digits + letters..];
            let Some((_, ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return refuse(if unit.is_empty() && rest.is_empty() {
                    "has no unit"
                } else {
                    "is not a valid duration"
                });
            };
            let Ok(number) = number.parse::<i64>() else {
                return refuse("is not a valid duration");
            };
            if *ms >= smallest {
                return refuse("has its units in the wrong order");
            }
            smallest = *ms;
            total = total.saturating_add(number.saturating_mul(*ms));
        }
        match total {
            0 => refuse("is zero"),
            _ if total > LONGEST_MS => refuse("is longer than 100 years"),
            _ => Ok(Span(total)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        // Weeks and years read worse than days.
        for (name, ms) in &UNITS[2..] {
            if rest >= *ms {
                write!(f, "{}{name}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// A point in time for people: `2026-11-22 13:40 UTC`.
pub fn utc(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let minutes = ms.rem_euclid(DAY_MS) / MINUTE_MS;
    format!("{year:04}-{month:02}-{day:02} {} UTC", clock(minutes))
}

/// The time from first to last, in milliseconds since 1970, for people; in UTC.
pub fn utc_range(first_ms: i64, last_ms: i64) -> String {
    let (first, last) = (utc(first_ms), utc(last_ms));
    if first == last { first } else { format!("{} to {last}", first.trim_end_matches(" UTC")) }
}

/// Milliseconds as the seconds that Prometheus takes: `1795344105.216`.
pub fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// Minutes after midnight as a clock shows them: `03:30`; the end of the day is `24:00`.
pub fn clock(minutes: i64) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_prometheus_reads_them() {
        let ms = |text: &str| text.parse::<Span>().map(Span::ms);
        assert_eq!(ms("7d"), Ok(7 * DAY_MS));
        assert_eq!(ms("1h30m"), Ok(90 * MINUTE_MS));
        assert_eq!(ms("2w"), Ok(14 * DAY_MS));
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("100y"), Ok(LONGEST_MS));
        assert!(ms("100y1ms").unwrap_err().contains("is longer than 100 years"));
        for wrong in ["", "7", "d", "0s", "5m1h", "1h1h", "1.5h", "-1h", "7 d", "500y", "3é"] {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
        assert!("7".parse::<Span>().unwrap_err().contains("no unit"));
    }

    #[test]
    fn spans_and_times_are_written_for_people() {
        assert_eq!("2w".parse::<Span>().unwrap().to_string(), "14d");
        assert_eq!("90m".parse::<Span>().unwrap().to_string(), "1h30m");
        assert_eq!(utc(1_795_344_105_216), "2026-11-22 10:41 UTC");
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59 UTC");
    }
}
