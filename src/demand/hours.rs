//! The hours of a week in which a workload runs, as the column `hours` of a workloads CSV says
//! them: `Mon-Fri 08:00-19:00`, several such parts with `|`.
//!
//! Hours are those of the wall clock; which instant they are is decided by whoever knows the time
//! zone (`over_time`). This file knows no dates, no zones and no workloads.

use std::fmt;
use std::str::FromStr;

use super::time::clock;

/// Hours of one day.
const DAY: usize = 24;
/// Hours of one week.
pub const WEEK: usize = 7 * DAY;

/// The days as they are written, Monday first (ISO 8601).
pub const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

const EXAMPLE: &str =
    "write for example 'Sat-Sun 10:00-16:00', or several such parts: 'Mon-Fri 08:00-19:00|Sat'";

/// A set of hours of the week, by the wall clock; hour 0 begins on Monday at 00:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours([u64; 3]);

impl Default for Hours {
    fn default() -> Hours {
        Hours::ALWAYS
    }
}

impl Hours {
    /// Every hour of the week.
    pub const ALWAYS: Hours = Hours([u64::MAX, u64::MAX, (1 << (WEEK - 128)) - 1]);
    /// No hour.
    const NEVER: Hours = Hours([0; 3]);

    /// Whether the hour of the week (0 to 167) is in the set.
    pub fn contains(self, hour: usize) -> bool {
        self.0.get(hour / 64).is_some_and(|bits| bits >> (hour % 64) & 1 == 1)
    }

    /// Whether it is every hour.
    pub fn is_always(self) -> bool {
        self == Hours::ALWAYS
    }

    /// How many hours of a week.
    pub fn count(self) -> u32 {
        self.0.iter().map(|bits| bits.count_ones()).sum()
    }

    fn insert(&mut self, hour: usize) {
        let hour = hour % WEEK;
        self.0[hour / 64] |= 1 << (hour % 64);
    }

    /// The hours of one day as stretches `(start, end)`, the end not included.
    fn of_day(self, day: usize) -> Vec<(usize, usize)> {
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        for hour in (0..DAY).filter(|h| self.contains(day * DAY + h)) {
            match stretches.last_mut() {
                Some((_, end)) if *end == hour => *end = hour + 1,
                _ => stretches.push((hour, hour + 1)),
            }
        }
        stretches
    }
}

/// An hour of the week for people: `Mon 08:00`.
pub fn hour_name(hour: usize) -> String {
    let hour = hour % WEEK;
    format!("{} {}", DAYS[hour / DAY], clock((hour % DAY) as i64 * 60))
}

/// The end of an hour of the week, on the same day: `Mon 24:00`.
pub fn end_name(hour: usize) -> String {
    let hour = hour % WEEK;
    format!("{} {}", DAYS[hour / DAY], clock((hour % DAY + 1) as i64 * 60))
}

impl Hours {
    /// The set in words; whole days with their times too where those are wanted.
    fn text(self, times_of_whole_days: bool) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut day = 0;
        while day < DAYS.len() {
            let stretches = self.of_day(day);
            let next = (day + 1..DAYS.len()).find(|d| self.of_day(*d) != stretches);
            let end = next.unwrap_or(DAYS.len());
            if !stretches.is_empty() {
                let mut part = DAYS[day].to_string();
                if end > day + 1 {
                    part += &format!("-{}", DAYS[end - 1]);
                }
                if times_of_whole_days || stretches != [(0, DAY)] {
                    let time = |h: usize| clock(h as i64 * 60);
                    let texts: Vec<String> = stretches
                        .iter()
                        .map(|(a, b)| format!("{}-{}", time(*a), time(*b)))
                        .collect();
                    part += &format!(" {}", texts.join(","));
                }
                parts.push(part);
            }
            day = end;
        }
        parts.join("|")
    }
}

impl fmt::Display for Hours {
    /// Writes the set so that it reads back the same, and not as if something else might be meant;
    /// nothing where it is every hour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_always() {
            return Ok(());
        }
        let text = self.text(false);
        f.write_str(&if doubt(&text).is_some() { self.text(true) } else { text })
    }
}

impl FromStr for Hours {
    type Err = String;

    /// Reads days and times of day, several with `|`. Days alone are whole days, times alone are
    /// those of every day; a time that ends before it begins reaches into the next day. The error
    /// completes a sentence that begins with the text.
    fn from_str(text: &str) -> Result<Hours, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Hours::ALWAYS);
        }
        let mut hours = Hours::NEVER;
        for part in text.split('|') {
            add(&mut hours, part)?;
        }
        Ok(hours)
    }
}

/// What may be meant otherwise: a day alone right before a day with times, as in
/// `Sat|Sun 10:00-16:00`, which is all of Saturday. It completes a sentence that begins with the
/// text.
pub fn doubt(text: &str) -> Option<String> {
    let mut whole: Vec<String> = Vec::new();
    for part in text.split('|').map(without_inner_blanks) {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words[..] {
            [day] if self::days(day).is_ok_and(|days| days.len() == 1) => {
                whole.push(day.to_string());
            }
            [day, times] if !whole.is_empty() && self::days(day).is_ok_and(|d| d.len() == 1) => {
                let days = whole.join(",");
                return Some(format!(
                    "takes {} whole, since | separates whole parts; write \"{days},{day} {times}\" for the same hours on all of these days, or \"{days} 00:00-24:00|{day} {times}\" if that is meant",
                    whole.join(" and ")
                ));
            }
            _ => whole.clear(),
        }
    }
    None
}

/// Adds one part, such as `Mon-Fri 08:00-19:00`.
fn add(hours: &mut Hours, part: &str) -> Result<(), String> {
    let part = without_inner_blanks(part);
    let words: Vec<&str> = part.split_whitespace().collect();
    let is_time = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let (days, times) = match words[..] {
        [] => return Err(format!("has an empty part; {EXAMPLE}")),
        [word] if is_time(word) => (None, Some(word)),
        [word] => (Some(word), None),
        [days, times] if !is_time(days) && is_time(times) => (Some(days), Some(times)),
        _ => return Err(format!("is not days and times; {EXAMPLE}")),
    };
    let days = days.map_or_else(|| Ok((0..DAYS.len()).collect()), self::days)?;
    let times = times.map_or_else(|| Ok(vec![(0, DAY)]), self::times)?;
    for day in days {
        for (start, end) in &times {
            (day * DAY + start..day * DAY + end).for_each(|hour| hours.insert(hour));
        }
    }
    Ok(())
}

/// `Mon - Fri  08:00 – 19:00` as `Mon-Fri  08:00-19:00`.
fn without_inner_blanks(part: &str) -> String {
    let part = part.replace('–', "-");
    let mut text = String::new();
    let mut blanks = 0;
    for c in part.trim().chars() {
        if c.is_whitespace() {
            blanks += 1;
            continue;
        }
        let joins = c == '-' || c == ',' || text.ends_with(['-', ',']);
        if blanks > 0 && !joins {
            text.push(' ');
        }
        blanks = 0;
        text.push(c);
    }
    text
}

/// `Mon`, `Mon-Fri`, `Mon,Wed`: days after Monday.
fn days(text: &str) -> Result<Vec<usize>, String> {
    let day = |name: &str| -> Result<usize, String> {
        let lower = name.to_ascii_lowercase();
        let known = |at: &usize| DAYS[*at].eq_ignore_ascii_case(&lower) || LONG_DAYS[*at] == lower;
        (0..DAYS.len())
            .find(known)
            .ok_or_else(|| format!("has the unknown day '{name}'; days are {}", DAYS.join(", ")))
    };
    let mut days = Vec::new();
    for item in text.split(',') {
        match item.split_once('-') {
            None => days.push(day(item)?),
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                // `Sat-Mon` goes on over the end of the week.
                let length = (last + DAYS.len() - first) % DAYS.len();
                days.extend((0..=length).map(|i| (first + i) % DAYS.len()));
            }
        }
    }
    Ok(days)
}

/// `08:00-19:00`, several with commas: hours of the day, beyond 24 in the next day.
fn times(text: &str) -> Result<Vec<(usize, usize)>, String> {
    text.split(',')
        .map(|item| {
            let Some((start, end)) = item.split_once('-') else {
                return Err(format!("has '{item}', which is not a stretch of time; {EXAMPLE}"));
            };
            let (start, end) = (time(start, false)?, time(end, true)?);
            if start == DAY {
                return Err("begins at 24:00; write 00:00 of the next day".to_string());
            }
            if start == end {
                return Err(format!(
                    "has '{item}', which ends when it begins; leave the time out for the whole day"
                ));
            }
            Ok((start, if end < start { end + DAY } else { end }))
        })
        .collect()
}

/// `08:00` as 8; whether it is an end says to which hour a part of one belongs.
fn time(text: &str, is_end: bool) -> Result<usize, String> {
    let unknown = || format!("has the unknown time '{text}'; {EXAMPLE}");
    let (hour, minute) = text.split_once(':').ok_or_else(unknown)?;
    let digits = |t: &str, most: usize| {
        (1..=2).contains(&t.len()) && t.len() <= most && t.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(hour, 2) || !digits(minute, 2) || minute.len() != 2 {
        return Err(unknown());
    }
    let hour: usize = hour.parse().map_err(|_| unknown())?;
    if hour > DAY {
        return Err(unknown());
    }
    if minute != "00" {
        let whole = if is_end { DAY.min(hour + 1) } else { hour };
        return Err(format!(
            "has '{text}', which is not a whole hour; demand is planned by the hour, write {}",
            clock(whole as i64 * 60)
        ));
    }
    Ok(hour)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(text: &str) -> Hours {
        text.parse().unwrap()
    }

    #[test]
    fn hours_are_read() {
        let work = hours("Mon-Fri 08:00-19:00");
        assert_eq!(work.count(), 55);
        assert!(work.contains(8) && !work.contains(7) && !work.contains(19));
        assert!(work.contains(4 * 24 + 18) && !work.contains(5 * 24 + 10));
        assert!(hours("").is_always() && hours(" mon-SUN ").is_always());
        assert_eq!(hours("Sat|Sunday 10:00-16:00").count(), 30);
        assert_eq!(hours("Mon, Wed 8:00 – 9:00,10:00-11:00").count(), 4);
        // Over midnight, and over the end of the week.
        let night = hours("Sun 22:00-06:00");
        assert!(night.contains(6 * 24 + 23) && night.contains(0) && night.contains(5));
        assert_eq!(night.count(), 8);
        assert_eq!(hours("22:00-06:00").count(), 56);
        assert_eq!(hours("Sat-Mon").count(), 72);
        assert_eq!(hours("Mon 00:00-24:00"), hours("Mon"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("Mon-Fry 08:00-19:00", "unknown day 'Fry'"),
            ("Mon 08:30-19:00", "'08:30', which is not a whole hour"),
            ("Mon 08:30-19:00", "write 08:00"),
            ("Mon 08:00-19:30", "write 20:00"),
            ("Mon 08:00-23:01", "write 24:00"),
            ("Mon 08:00", "'08:00', which is not a stretch"),
            ("Mon 25:00-26:00", "unknown time '25:00'"),
            ("Mon 8-19", "unknown time '8'"),
            ("Mon 08:00-08:00", "ends when it begins"),
            ("Mon 24:00-02:00", "begins at 24:00"),
            ("Mon||Tue", "empty part"),
            ("08:00-19:00 Mon", "not days and times"),
            ("Mon Tue Wed", "not days and times"),
            ("Mon 8:0-9:00", "unknown time '8:0'"),
        ] {
            let error = text.parse::<Hours>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn hours_have_names() {
        assert_eq!(hour_name(0), "Mon 00:00");
        assert_eq!(hour_name(4 * 24 + 19), "Fri 19:00");
    }

    #[test]
    fn a_day_alone_beside_hours_is_doubted() {
        let saturday = doubt("Sat|Sun 10:00-16:00").unwrap();
        assert!(saturday.contains("takes Sat whole"), "{saturday}");
        assert!(saturday.contains("\"Sat,Sun 10:00-16:00\""), "{saturday}");
        assert_eq!(hours("Sat,Sun 10:00-16:00").count(), 12);
        let days = doubt("Mon | wed|Friday 08:00-18:00").unwrap();
        assert!(days.contains("\"Mon,wed 00:00-24:00|Friday 08:00-18:00\""), "{days}");
        for clear in [
            "Sat",
            "Sat|Sun",
            "Sat,Sun 10:00-16:00",
            "Sat 00:00-24:00|Sun 10:00-16:00",
            "Mon-Fri 19:00-08:00|Sat|Sun",
            "Sat-Sun|Mon-Fri 19:00-08:00",
            "19:00-08:00|Sat",
            "Sat|10:00-16:00",
            "Sat|Mon-Fri 08:00-19:00",
            "",
        ] {
            assert_eq!(doubt(clear), None, "{clear}");
        }
        assert_eq!(hours("Sat|Sun 10:00-16:00").to_string(), "Sat 00:00-24:00|Sun 10:00-16:00");
        assert_eq!(hours("Mon-Fri 19:00-08:00|Sat|Sun").to_string().matches("24:00").count(), 2);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bits in prop::collection::vec(any::<bool>(), WEEK)) {
            let mut set = Hours::NEVER;
            bits.iter().enumerate().filter(|(_, on)| **on).for_each(|(h, _)| set.insert(h));
            prop_assume!(set.count() > 0);
            prop_assert_eq!(set.to_string().parse::<Hours>(), Ok(set));
            prop_assert_eq!(doubt(&set.to_string()), None);
        }

        #[test]
        fn no_text_panics(text in "[MonTueSat0-9:,| -]{0,20}|.{0,20}") {
            let _ = (text.parse::<Hours>(), doubt(&text));
        }
    }
}
