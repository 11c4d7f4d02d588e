//! Time zones: what hour of the week the wall clock shows at an instant, and instants as text.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use crate::demand::hours::DAYS;
use crate::demand::time::{MINUTE_MS, clock};

/// The time zone in which hours are those of the wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    zone: TimeZone,
    name: String,
}

impl Default for Zone {
    fn default() -> Zone {
        Zone { zone: TimeZone::UTC, name: "UTC".to_string() }
    }
}

impl FromStr for Zone {
    type Err = String;

    /// Reads an IANA name, such as `Europe/Berlin`.
    fn from_str(text: &str) -> Result<Zone, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("utc") {
            return Ok(Zone::default());
        }
        let zone = TimeZone::get(text).map_err(|_| {
            format!(
                "'{text}' is not a time zone; use a name of the IANA database, such as Europe/Berlin"
            )
        })?;
        let name = zone.iana_name().unwrap_or(text).to_string();
        Ok(Zone { zone, name })
    }
}

/// Minutes that a clock adds to UTC, as text: `+02:00`.
fn offset(minutes: i64) -> String {
    format!("{}{}", if minutes < 0 { '-' } else { '+' }, clock(minutes.abs()))
}

impl Zone {
    /// The name of the zone: `Europe/Berlin`, `UTC`, `UTC+02:00`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The clock that differs from UTC by the same minutes all year.
    ///
    /// # Errors
    /// More than a day (what is wrong, for a message).
    pub fn fixed(offset_minutes: i64) -> Result<Zone, String> {
        let seconds = offset_minutes.checked_mul(60).and_then(|s| i32::try_from(s).ok());
        let offset = seconds.and_then(|seconds| Offset::from_seconds(seconds).ok());
        let offset = offset.ok_or_else(|| "more than a day from UTC".to_string())?;
        let name = match offset_minutes {
            0 => "UTC".to_string(),
            minutes => format!("UTC{}", self::offset(minutes)),
        };
        Ok(Zone { zone: TimeZone::fixed(offset), name })
    }

    /// What its clock adds to UTC at an instant, in milliseconds.
    pub fn offset_ms(&self, ms: i64) -> i64 {
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        i64::from(self.zone.to_offset(at).seconds()) * 1000
    }

    fn at(&self, ms: i64) -> DateTime {
        // Times come from samples, which are read within a range that jiff holds; what lies
        // outside all the same is taken as the first instant of all.
        self.zone.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// What its clock adds to UTC at an instant, as text: `+02:00`.
    fn offset(&self, ms: i64) -> String {
        offset(self.offset_ms(ms) / MINUTE_MS)
    }

    /// The hour of the week that a wall clock shows at an instant; hour 0 is Monday 00:00.
    pub fn hour_of_week(&self, ms: i64) -> usize {
        let at = self.at(ms);
        let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
        day * 24 + usize::try_from(at.hour()).unwrap_or(0)
    }

    /// When a day begins.
    pub(super) fn midnight(&self, date: Date) -> Result<i64, jiff::Error> {
        Ok(self.zone.to_timestamp(date.at(0, 0, 0, 0))?.as_millisecond())
    }

    /// The last whole hour of the wall clock at or before an instant.
    pub(super) fn hour_start(&self, ms: i64) -> i64 {
        let at = self.at(ms);
        let past = i64::from(at.minute()) * 60_000
            + i64::from(at.second()) * 1_000
            + i64::from(at.millisecond());
        ms - past
    }

    /// An instant for people: `Sun 2026-03-29 03:00`; with its offset where the clock shows that
    /// time twice: `Sun 2026-10-25 02:00 +01:00`.
    pub fn local(&self, ms: i64) -> String {
        let at = self.at(ms);
        let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
        let twice = self.zone.to_ambiguous_timestamp(at).is_ambiguous();
        let offset = if twice { format!(" {}", self.offset(ms)) } else { String::new() };
        format!("{} {}{offset}", DAYS[day % DAYS.len()], at.strftime("%Y-%m-%d %H:%M"))
    }

    /// An instant for programs (RFC 3339), with the offset of its clock.
    pub fn rfc3339(&self, ms: i64) -> String {
        format!("{}{}", self.at(ms).strftime("%Y-%m-%dT%H:%M:%S"), self.offset(ms))
    }
}
