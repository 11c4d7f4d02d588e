//! When it is quiet: the hours in which a reconfiguration would disturb the fewest.
//!
//! Destroying an instance ends what runs on it, so the best time is when the fewest are in use.
//! The same samples that size the workloads know when that is. Days are compared with each other,
//! and weekdays as well where there is history for it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::over_time::Zone;
use super::pods::MAX_PER_POD;
use super::time::{DAY_MS, HOUR_MS, MINUTE_MS, Span, clock};
use super::usage::{IN_USE_MIB, Key, Samples, Track, Usage, together};
use crate::error::{Diagnostic, Error, Result};
use crate::text::plural;

/// A window that comes back every day or every week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Days after Monday, where it comes back every week.
    pub weekday: Option<u8>,
    /// Minutes after midnight.
    pub start_minute: i64,
    /// Its length in minutes; it may reach into the next day.
    pub minutes: i64,
    /// GPUs and instances in use at any time within it, summed over its days.
    pub busy_sum: u64,
    /// The most on one of its days.
    pub busy_most: u64,
    /// On how many days it was seen as a whole.
    pub days: u64,
    /// The same counted slot by slot, to tell windows apart that disturb the same.
    load: u64,
}

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Window {
    /// GPUs and instances in use on average, in tenths.
    pub fn mean_tenths(&self) -> u64 {
        (self.busy_sum * 10 + self.days / 2) / self.days.max(1)
    }

    /// `every day 02:00-04:00`, `Sunday 22:00-02:00`.
    pub fn when(&self) -> String {
        let day = match self.weekday {
            None => "every day",
            Some(day) => WEEKDAYS[usize::from(day % 7)],
        };
        let end = self.start_minute + self.minutes;
        let end = if end > DAY_MS / MINUTE_MS { end - DAY_MS / MINUTE_MS } else { end };
        format!("{day} {}-{}", clock(self.start_minute), clock(end))
    }

    /// What would be disturbed, in words.
    pub fn busy(&self) -> String {
        let tenths = self.mean_tenths();
        format!(
            "{}.{} in use on average, {} at most, seen on {}",
            tenths / 10,
            tenths % 10,
            self.busy_most,
            plural(self.days, "day")
        )
    }

    /// How this compares with `other` in what is in use; the smaller is the quieter.
    fn compare(&self, other: &Window) -> Ordering {
        let means = |sum: fn(&Window) -> u64| {
            let scaled = |a: &Window, b: &Window| u128::from(sum(a)) * u128::from(b.days);
            scaled(self, other).cmp(&scaled(other, self))
        };
        means(|w| w.busy_sum)
            .then_with(|| means(|w| w.load))
            .then_with(|| self.busy_most.cmp(&other.busy_most))
    }

    /// Among equals full hours come first, then the earlier.
    fn convenience(&self) -> (bool, Option<u8>, i64) {
        (self.start_minute % 60 != 0, self.weekday, self.start_minute)
    }

    fn quieter(&self, other: &Window) -> Ordering {
        self.compare(other).then_with(|| self.convenience().cmp(&other.convenience()))
    }

    fn busier(&self, other: &Window) -> Ordering {
        other.compare(self).then_with(|| self.convenience().cmp(&other.convenience()))
    }
}

/// The quietest windows and, for comparison, the busiest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// The quietest of every day.
    pub daily: Window,
    /// The quietest of a week, given two weeks of history and a day that is quieter than most.
    pub weekly: Option<Window>,
    /// The busiest of every day.
    pub busiest: Window,
    /// Whose clock tells the times of day.
    pub zone: Zone,
    /// What that clock adds to UTC at the end of the history, in minutes.
    pub offset_minutes: i64,
    /// What a person should know before trusting it.
    pub warnings: Vec<Diagnostic>,
}

/// The lengths that divide a day, so that windows fall on the same times every day.
const SLOTS_MINUTES: [i64; 9] = [15, 30, 60, 120, 180, 240, 360, 720, 1440];

/// What was held in each slot of time.
struct Slots {
    slot_ms: i64,
    /// The slots in which anything was scraped, busy or idle.
    seen: BTreeSet<i64>,
    /// The GPUs and instances in use, by slot: those that a pod held, and those with memory in use
    /// by nobody that has a name. What pods hold by their requests alone has numbers of its own.
    held: BTreeMap<i64, BTreeSet<u32>>,
    /// How long nobody looked, between the first and the last sample.
    unseen_ms: i64,
}

impl Slots {
    /// The slots of all samples, as short as the distance of samples allows.
    fn new(usage: &Usage, zone: &Zone) -> Slots {
        let steps = usage.all_samples().flat_map(Samples::tracks).filter_map(Track::step_ms);
        let step = steps.min().unwrap_or(0);
        let slot_ms = SLOTS_MINUTES
            .into_iter()
            .map(|minutes| minutes * MINUTE_MS)
            .find(|slot| *slot >= step)
            .unwrap_or(DAY_MS);
        let slot_of = |at_ms: i64| (at_ms + zone.offset_ms(at_ms)).div_euclid(slot_ms);
        let seen = usage.seen_slots(slot_of);
        let seen: BTreeSet<i64> = seen.into_iter().flat_map(|(first, last)| first..=last).collect();
        let mut held: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
        let mut hold = |device: u32, track: &Track, least_mib: u32| {
            // A sample holds for its step, which is several slots where others have a shorter one.
            let longer_ms = (track.step_ms().unwrap_or(0).min(DAY_MS) - slot_ms).max(0);
            let busy = track.iter().filter(|(_, mib)| *mib >= least_mib);
            // Neighbours in time are mostly of the same slots.
            let mut before = None;
            for slots in busy.map(|(at, _)| (slot_of(at), slot_of(at + longer_ms))) {
                if before.replace(slots) != Some(slots) {
                    (slots.0..=slots.1).for_each(|slot| {
                        held.entry(slot).or_default().insert(device);
                    });
                }
            }
        };
        for series in usage.pod_series() {
            series.samples.tracks().for_each(|track| hold(series.device, track, 0));
        }
        for (device, samples) in usage.without_pod() {
            samples.tracks().for_each(|track| hold(device, track, IN_USE_MIB));
        }
        for (numbers, samples) in asked(usage) {
            for number in numbers {
                samples.tracks().for_each(|track| hold(number, track, 1));
            }
        }
        let mut slots = Slots { slot_ms, seen, held, unseen_ms: 0 };
        if slots.history_ms() > slots.seen.len() as i64 * slot_ms {
            // Not by the clock on the wall, which leaves out an hour in spring.
            let seen = usage.seen_slots(|at_ms| at_ms.div_euclid(slot_ms));
            let gaps = seen.windows(2).map(|pair| pair[1].0 - pair[0].1 - 1);
            slots.unseen_ms = gaps.sum::<i64>() * slot_ms;
        }
        slots
    }

    /// From the first to the last sample, in milliseconds.
    fn history_ms(&self) -> i64 {
        match (self.seen.first(), self.seen.last()) {
            (Some(first), Some(last)) => (last - first + 1) * self.slot_ms,
            _ => 0,
        }
    }

    /// A warning about times between the first and the last sample that nobody saw.
    fn unseen(&self) -> Option<Diagnostic> {
        (self.unseen_ms > 0).then(|| {
            Diagnostic::new(format!(
                "{} of the history have no samples, and no window reaches into them; if the GPUs were idle then, ask for those without a pod as well (no pod!=\"\" in the query): such hours may be the quietest",
                Span::from_ms(self.unseen_ms)
            ))
        })
    }

    /// Every window of this length that was seen as a whole, its days summed up: by time of day,
    /// and by weekday and time of day.
    fn windows(&self, length: Span) -> (Vec<Window>, Vec<Window>) {
        let per_day = DAY_MS / self.slot_ms;
        let slots = ((length.ms() + self.slot_ms - 1) / self.slot_ms).clamp(1, per_day);
        let mut daily: BTreeMap<i64, Window> = BTreeMap::new();
        let mut weekly: BTreeMap<(i64, i64), Window> = BTreeMap::new();
        for start in &self.seen {
            if !(*start..start + slots).all(|slot| self.seen.contains(&slot)) {
                continue;
            }
            let held = || self.held.range(*start..start + slots).map(|(_, devices)| devices);
            let load = held().map(|devices| devices.len() as u64).sum::<u64>();
            let busy: BTreeSet<u32> = held().flatten().copied().collect();
            let in_day = start.rem_euclid(per_day);
            // 1970-01-01 was a Thursday.
            let weekday = (start.div_euclid(per_day) + 3).rem_euclid(7);
            let new = Window {
                weekday: None,
                start_minute: in_day * self.slot_ms / MINUTE_MS,
                minutes: slots * self.slot_ms / MINUTE_MS,
                busy_sum: 0,
                busy_most: 0,
                days: 0,
                load: 0,
            };
            let of_week = Window { weekday: u8::try_from(weekday).ok(), ..new };
            for window in [
                daily.entry(in_day).or_insert(new),
                weekly.entry((weekday, in_day)).or_insert(of_week),
            ] {
                window.busy_sum += busy.len() as u64;
                window.busy_most = window.busy_most.max(busy.len() as u64);
                window.days += 1;
                window.load += load;
            }
        }
        (daily.into_values().collect(), weekly.into_values().collect())
    }
}

/// What pods hold by what they ask for, where no sample shows them: the numbers of these GPUs or
/// instances, behind those of all devices, and when. Containers of a pod have theirs, whoever tells
/// what they ask for.
fn asked(usage: &Usage) -> Vec<(Range<u32>, Cow<'_, Samples>)> {
    let mut most: BTreeMap<(&Key, &str, &str), u32> = BTreeMap::new();
    let held: Vec<_> = usage
        .held_requests()
        .map(|(series, samples)| {
            let what = (&series.pod, &*series.container, series.resource.as_deref().unwrap_or(""));
            let counts = together(std::iter::once(&*samples)).map(|(_, count)| count);
            let count = counts.max().unwrap_or(0).min(MAX_PER_POD);
            let known = most.entry(what).or_default();
            *known = count.max(*known);
            (what, samples)
        })
        .collect();
    let mut next = u32::try_from(usage.devices().len()).unwrap_or(u32::MAX);
    let numbers: BTreeMap<_, Range<u32>> = most
        .into_iter()
        .map(|(what, count)| {
            let first = next;
            next = next.saturating_add(count);
            (what, first..next)
        })
        .collect();
    held.into_iter().map(|(what, samples)| (numbers[&what].clone(), samples)).collect()
}

/// Finds the quietest windows of this length, by the clock of `zone`.
///
/// # Errors
/// A window longer than a day (exit 2); less than a day of history, or none with times (exit 3).
pub fn windows(usage: &mut Usage, length: Span, zone: &Zone) -> Result<Quiet> {
    if length.ms() > DAY_MS {
        return Err(Error::usage(format!("--quiet-window {length} is longer than a day")));
    }
    usage.settle();
    let slots = Slots::new(usage, zone);
    let history = slots.history_ms();
    let (daily, weekly) = slots.windows(length);
    let (Some(quietest), Some(busiest), true) = (
        daily.iter().min_by(|a, b| a.quieter(b)),
        daily.iter().min_by(|a, b| a.busier(b)),
        history >= DAY_MS,
    ) else {
        let problem = match usage.span_ms() {
            None => {
                "the samples have no times; a single scrape cannot tell quiet hours".to_string()
            }
            Some((first, last)) if first == last => {
                "the samples are of one time; quiet hours take at least a day of history"
                    .to_string()
            }
            Some((first, last)) => format!(
                "the samples span {}; quiet hours take at least a day of history",
                Span::from_ms(last - first)
            ),
        };
        return Err(Error::input(Diagnostic::new(problem)).hint(
            "give a longer range: --prometheus-url with --window 14d, or an answer of query_range",
        ));
    };
    // Every day of the week seen twice, or a single odd Sunday decides.
    let weekly = (history >= 14 * DAY_MS)
        .then(|| weekly.into_iter().filter(|w| w.days >= 2).min_by(|a, b| a.quieter(b)))
        .flatten()
        .filter(|window| window.compare(quietest) == Ordering::Less);
    let last = usage.span_ms().map_or(0, |(_, last)| last);
    Ok(Quiet {
        daily: *quietest,
        weekly,
        busiest: *busiest,
        zone: zone.clone(),
        offset_minutes: zone.offset_ms(last) / MINUTE_MS,
        warnings: slots.unseen().into_iter().collect(),
    })
}

/// Reads a clock by what it adds to UTC: `+02:00`, `-05:30`, `UTC`.
///
/// # Errors
/// What is wrong, and how to write it.
pub fn parse_offset(text: &str) -> std::result::Result<Zone, String> {
    let refuse = || format!("'{text}' is not an offset from UTC; write for example +02:00");
    let text = text.trim();
    if matches!(text, "UTC" | "utc" | "Z" | "0") {
        return Ok(Zone::default());
    }
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(refuse()),
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let number = |text: &str, most: i64| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|n| digits && *n <= most).ok_or_else(refuse)
    };
    let minutes = number(hours, 14)? * (HOUR_MS / MINUTE_MS) + number(minutes, 59)?;
    Zone::fixed(sign * minutes).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::prometheus;
    use crate::demand::usage::Reading;

    /// One answer of query_range: for each pod the hours since 1970 at which it ran.
    fn usage(pods: &[(&str, &dyn Fn(i64) -> bool)], hours: i64) -> Usage {
        let series: Vec<String> = pods
            .iter()
            .map(|(pod, runs)| {
                let values: Vec<String> = (0..hours * 4)
                    .filter(|quarter| runs(quarter / 4))
                    .map(|quarter| format!("[{},\"9\"]", quarter * 900))
                    .collect();
                let pod = if pod.is_empty() { String::new() } else { format!("\"pod\":\"{pod}\",\"namespace\":\"n\",") };
                format!("{{\"metric\":{{{pod}\"__name__\":\"DCGM_FI_DEV_FB_USED\",\"UUID\":\"GPU-{pod:?}\"}},\"values\":[{}]}}", values.join(",")).replace("GPU-\"", "GPU-").replace("\"\"}", "\"}").replace("\\\"", "")
            })
            .collect();
        let text = format!("[{}]", series.join(","));
        let mut usage = Usage::new(Reading::default());
        usage.begin("f");
        prometheus::read(text.as_bytes(), "f", &mut usage).unwrap();
        usage
    }

    #[test]
    fn the_quietest_hours_are_named() {
        let (day, batch) = (|h: i64| (8..20).contains(&(h % 24)), |h: i64| h % 24 < 2);
        let mut usage = usage(&[("a", &day), ("b", &day), ("c", &batch), ("", &|_| true)], 72);
        let quiet = windows(&mut usage, "2h".parse().unwrap(), &Zone::default()).unwrap();
        assert_eq!(quiet.daily.when(), "every day 02:00-04:00");
        assert_eq!((quiet.daily.busy_sum, quiet.daily.days), (0, 3));
        assert_eq!(quiet.busiest.when(), "every day 08:00-10:00");
        assert_eq!(quiet.busiest.busy_most, 2);
        assert_eq!(quiet.weekly, None);
        let shifted =
            windows(&mut usage, "2h".parse().unwrap(), &Zone::fixed(120).unwrap()).unwrap();
        assert_eq!(shifted.busiest.when(), "every day 10:00-12:00");
    }

    #[test]
    fn the_clock_of_a_zone_moves_with_the_year() {
        // 1970-04-26 02:00 is when New York put its clocks forward, so its days moved by an hour.
        let days = |h: i64| (13..20).contains(&(h % 24));
        let mut usage = usage(&[("a", &days), ("", &|_| true)], 24 * 130);
        let new_york = "America/New_York".parse().unwrap();
        let quiet = windows(&mut usage, "2h".parse().unwrap(), &new_york).unwrap();
        assert_eq!((quiet.zone.name(), quiet.offset_minutes), ("America/New_York", -4 * 60));
        // Both ends of the busy hours are seen by two clocks.
        assert_eq!(quiet.busiest.when(), "every day 09:00-11:00");
        assert_eq!(quiet.busiest.busy_sum, quiet.busiest.days);
    }

    #[test]
    fn an_hour_that_a_clock_leaves_out_is_not_missing() {
        // New York put its clocks forward at 07:00 UTC on 1970-04-26, the 115th day.
        let mut all = usage(&[("a", &|_| true)], 24 * 130);
        let gap = |h: i64| !(24 * 115..24 * 115 + 9).contains(&h);
        let mut with_gap = usage(&[("a", &gap)], 24 * 130);
        for name in ["UTC", "America/New_York", "Asia/Kolkata"] {
            let zone: Zone = name.parse().unwrap();
            let quiet = windows(&mut all, "2h".parse().unwrap(), &zone).unwrap();
            assert_eq!(quiet.warnings, [], "{name}");
            // A gap over the change of clocks is as long as it was.
            let quiet = windows(&mut with_gap, "2h".parse().unwrap(), &zone).unwrap();
            let [unseen] = &quiet.warnings[..] else { panic!("{name}: {:?}", quiet.warnings) };
            assert!(unseen.message.starts_with("9h of the history"), "{name}: {unseen}");
        }
    }

    #[test]
    fn two_weeks_tell_weekdays_apart() {
        // 1970-01-01 was a Thursday, so day 3 is a Sunday.
        let not_sunday_noon = |h: i64| !(h / 24 % 7 == 3 && (12..15).contains(&(h % 24)));
        let mut usage = usage(&[("a", &not_sunday_noon), ("", &|_| true)], 24 * 21);
        let quiet = windows(&mut usage, "90m".parse().unwrap(), &Zone::default()).unwrap();
        let weekly = quiet.weekly.unwrap();
        assert_eq!(weekly.when(), "Sunday 12:00-13:30");
        assert_eq!((weekly.busy_sum, weekly.days), (0, 3));
    }

    #[test]
    fn what_nobody_saw_is_told_and_what_nobody_named_counts() {
        let day = |h: i64| (8..20).contains(&(h % 24));
        let mut by_day = usage(&[("a", &day)], 72);
        let quiet = windows(&mut by_day, "2h".parse().unwrap(), &Zone::default()).unwrap();
        let [unseen] = &quiet.warnings[..] else { panic!("{:?}", quiet.warnings) };
        assert!(unseen.message.starts_with("1d of the history have no samples"), "{unseen}");
        // 9 MiB are an idle GPU's, 60,000 are not.
        let mut idle = usage(&[("a", &day), ("", &|_| true)], 72);
        let quiet = windows(&mut idle, "2h".parse().unwrap(), &Zone::default()).unwrap();
        assert_eq!((quiet.daily.busy_sum, quiet.warnings), (0, Vec::new()));
        let mut unnamed = usage(&[("a", &day), ("", &|_| true)], 72);
        let night = r#"[{"metric":{"__name__":"DCGM_FI_DEV_FB_USED","UUID":"GPU-9"},"values":[[0,"60000"],[900,"60000"],[84600,"60000"],[171000,"60000"]]}]"#;
        prometheus::read(night.as_bytes(), "g", &mut unnamed).unwrap();
        let quiet = windows(&mut unnamed, "2h".parse().unwrap(), &Zone::default()).unwrap();
        assert_eq!(quiet.daily.when(), "every day 01:00-03:00");
    }

    #[test]
    fn steps_of_several_files_are_told_apart() {
        // Every hour, and two minutes past it.
        let file = |from: i64, to: i64| {
            let values: Vec<String> = (from..to)
                .map(|hour| format!("[{},\"9\"]", hour * 3_600 + from % 2 * 120))
                .collect();
            let labels = r#""pod":"a","namespace":"n","__name__":"DCGM_FI_DEV_FB_USED","UUID":"g""#;
            format!("[{{\"metric\":{{{labels}}},\"values\":[{}]}}]", values.join(","))
        };
        let mut usage = Usage::new(Reading::default());
        for text in [file(0, 48), file(41, 72)] {
            usage.begin(&text);
            prometheus::read(text.as_bytes(), "f", &mut usage).unwrap();
        }
        let quiet = windows(&mut usage, "2h".parse().unwrap(), &Zone::default()).unwrap();
        assert_eq!((quiet.daily.minutes, quiet.daily.busy_most), (120, 1));
        assert_eq!(quiet.warnings, []);
    }

    #[test]
    fn too_little_history_is_told() {
        let mut usage = usage(&[("a", &|_| true)], 3);
        let error = windows(&mut usage, "2h".parse().unwrap(), &Zone::default()).unwrap_err();
        assert!(error.to_string().contains("the samples span 2h45m;"), "{error}");
    }

    #[test]
    fn offsets_are_read() {
        let name = |text| parse_offset(text).unwrap().name().to_string();
        assert_eq!(name("+02:00"), "UTC+02:00");
        assert_eq!(name("-5:30"), "UTC-05:30");
        assert_eq!(name("UTC"), "UTC");
        for wrong in ["2", "+", "+2:99", "+20:00", "+-2", "Berlin", "é"] {
            assert!(parse_offset(wrong).is_err(), "{wrong}");
        }
    }
}
