//! Demand as a function of the hour: how many replicas each workload has in each hour of a week or
//! of a history.
//!
//! A replica needs the same memory whenever it runs; what changes is how many run. Hours with the
//! same counts are one *period*, whose weight is the number of its hours. This file knows neither
//! where a history comes from nor what becomes of it.

mod growth;
mod spans;
mod zone;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::civil::Date;

pub use self::growth::Growth;
pub use self::spans::ReplicaSpan;
use self::spans::{add_growth, most_by_hour, of_calendar, within};
pub use self::zone::Zone;
use super::hours::{WEEK, end_name, hour_name};
use super::sizing::PodSpan;
use super::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use super::usage::Usage;
use super::{Demand, Workload};
use crate::error::{Diagnostic, Error, Result};
use crate::text::plural;

/// Longer than any history that a plan is made from.
const MOST_HOURS: i64 = 2 * 366 * 24;

/// When pods held instances, as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// For each workload, by team and name, its pods.
    pub spans: BTreeMap<(Arc<str>, Arc<str>), Vec<ReplicaSpan>>,
    /// Stretches of time in which anything was seen at all, busy or idle, by start.
    pub observed: Vec<(i64, i64)>,
}

impl History {
    /// Of the pods of some workloads, and everything that was looked at.
    ///
    /// A pod lasts until its last sample ends to hold, or until another pod of its workload starts
    /// after that sample: so no more of them overlap than samples show at once.
    pub fn new<'p>(pods: impl Iterator<Item = &'p PodSpan>, usage: &Usage) -> History {
        let mut of_workload: BTreeMap<(Arc<str>, Arc<str>), Vec<&PodSpan>> = BTreeMap::new();
        for pod in pods {
            of_workload.entry((pod.team.clone(), pod.workload.clone())).or_default().push(pod);
        }
        let spans = of_workload.into_iter().map(|(key, pods)| {
            let mut starts: Vec<i64> = pods.iter().map(|p| p.start_ms).collect();
            starts.sort_unstable();
            let span = |pod: &&PodSpan| {
                let next = starts.get(starts.partition_point(|s| *s <= pod.last_ms));
                let end_ms = next.map_or(pod.end_ms, |next| pod.end_ms.min(*next));
                let end_ms = end_ms.max(pod.last_ms.saturating_add(1));
                ReplicaSpan { start_ms: pod.start_ms, end_ms, count: 1 }
            };
            (key, pods.iter().map(span).collect())
        });
        History { spans: spans.collect(), observed: observed(usage) }
    }
}

/// Stretches of time with samples of anything, to a quarter of an hour.
fn observed(usage: &Usage) -> Vec<(i64, i64)> {
    const SLOT_MS: i64 = 15 * MINUTE_MS;
    // The end belongs to the next slot.
    let stretch = |(first, last)| (first * SLOT_MS, (last + 1) * SLOT_MS - 1);
    usage.seen_slots(|at_ms| at_ms.div_euclid(SLOT_MS)).into_iter().map(stretch).collect()
}

/// The hours that demand is laid over.
#[derive(Debug, Clone, Copy)]
pub enum Horizon<'h> {
    /// Any week, without clock changes: 168 hours.
    Week,
    /// The week that has this day, with the clock changes of the zone.
    WeekOf(Date),
    /// The hours of a history.
    History(&'h History),
}

/// One hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// When it begins, as [`ReplicaSpan::start_ms`].
    pub start_ms: i64,
    /// What hour of the week the wall clock shows; 0 is Monday 00:00.
    pub of_week: usize,
    /// Index of its period.
    pub period: usize,
}

/// Hours that have the same counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// How many hours.
    pub hours: u64,
    /// For each workload the replicas at the same time.
    pub counts: Arc<[u64]>,
}

/// Demand over time.
#[derive(Debug, Clone, PartialEq)]
pub struct OverTime {
    peak: Demand,
    hours: Vec<Hour>,
    periods: Vec<Period>,
    spans: Vec<Vec<ReplicaSpan>>,
    zone: Zone,
    dated: bool,
    repeats: bool,
    /// What a person should know before trusting it.
    pub warnings: Vec<Diagnostic>,
}

impl OverTime {
    /// Lays a demand over the hours of `horizon`: workloads that a history knows run as it says, all
    /// others in the hours of their rows, by the wall clock of `zone`. Counts are raised by `growth`.
    ///
    /// # Errors
    /// A history without any time, or longer than two years (exit 3).
    pub fn new(
        demand: &Demand,
        horizon: Horizon<'_>,
        zone: &Zone,
        growth: &Growth,
    ) -> Result<OverTime> {
        let hours = hours_of(horizon, zone)?;
        let repeats = !matches!(horizon, Horizon::History(_));
        let mut warnings = Vec::new();
        let mut spans = Vec::with_capacity(demand.workloads().len());
        for workload in demand.workloads() {
            let mut of_workload = match horizon {
                Horizon::History(history) => {
                    let key = (workload.team.clone(), workload.name.clone());
                    history.spans.get(&key).map(|seen| within(seen, &hours))
                }
                Horizon::Week | Horizon::WeekOf(_) => None,
            }
            .unwrap_or_else(|| of_calendar(workload, &hours, repeats));
            add_growth(&mut of_workload, growth.of(&workload.team));
            spans.push(of_workload);
        }
        if let Horizon::History(history) = horizon {
            warnings.extend(doubts(history, demand, &hours, zone));
        }
        let dated = !matches!(horizon, Horizon::Week);
        let mut over_time = OverTime {
            peak: demand.clone(),
            hours: Vec::new(),
            periods: Vec::new(),
            spans,
            zone: zone.clone(),
            dated,
            repeats,
            warnings,
        };
        let starts: Vec<i64> = hours.iter().map(|h| h.0).collect();
        let counts: Vec<Vec<u64>> =
            over_time.spans.iter().map(|spans| most_by_hour(spans, &starts)).collect();
        over_time.fill(&hours, |hour| counts.iter().map(|of| of[hour]).collect());
        Ok(over_time)
    }

    /// Fills in hours, periods and peak from the counts of each hour.
    fn fill(&mut self, hours: &[(i64, usize)], counts: impl Fn(usize) -> Arc<[u64]>) {
        let mut index: HashMap<Arc<[u64]>, usize> = HashMap::new();
        for (at, (start_ms, of_week)) in hours.iter().enumerate() {
            let counts = counts(at);
            let period = *index.entry(counts.clone()).or_insert(self.periods.len());
            match self.periods.get_mut(period) {
                Some(known) => known.hours += 1,
                None => self.periods.push(Period { hours: 1, counts }),
            }
            self.hours.push(Hour { start_ms: *start_ms, of_week: *of_week, period });
        }
        let mut workloads = self.peak.workloads().to_vec();
        for (w, workload) in workloads.iter_mut().enumerate() {
            let most = self.periods.iter().map(|p| p.counts[w]).max().unwrap_or(0);
            workload.limit_count(most);
        }
        self.peak = Demand::new(workloads);
    }

    /// Every workload with the most replicas that it has in any hour.
    pub fn peak(&self) -> &Demand {
        &self.peak
    }

    /// The hours in order; hours that nobody saw are not among them.
    pub fn hours(&self) -> &[Hour] {
        &self.hours
    }

    /// The distinct periods, by their first hour.
    pub fn periods(&self) -> &[Period] {
        &self.periods
    }

    /// The pods of each workload that run in these hours, by its index in [`OverTime::peak`]: from
    /// when they really begin to when they really end, be that before or after these hours. In a
    /// week that repeats, pods that run over its end are there twice, as those of the week before too.
    pub fn spans(&self) -> &[Vec<ReplicaSpan>] {
        &self.spans
    }

    /// The zone in which hours have names.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The demand in one period, all workloads in the order of [`OverTime::peak`].
    pub fn demand_in(&self, period: usize) -> Demand {
        let counts = self.periods.get(period).map_or(&[][..], |p| &p.counts);
        let with_count = |(workload, count): (&Workload, &u64)| {
            let mut workload = workload.clone();
            workload.limit_count(*count);
            workload
        };
        Demand::new(self.peak.workloads().iter().zip(counts).map(with_count).collect())
    }

    /// An hour for people: `Mon 08:00`, with its date where it has one.
    pub fn name_of(&self, hour: usize) -> String {
        match self.hours.get(hour) {
            None => String::new(),
            Some(hour) if self.dated => self.zone.local(hour.start_ms),
            Some(hour) => hour_name(hour.of_week),
        }
    }

    /// When an hour begins, for programs ([`Zone::rfc3339`]); `None` in a week without a date.
    pub fn time_of(&self, hour: usize) -> Option<String> {
        let hour = self.hours.get(hour).filter(|_| self.dated)?;
        Some(self.zone.rfc3339(hour.start_ms))
    }

    /// The end of the last hour, as [`Self::name_of`] names hours: `Sun 24:00` for that of a week.
    pub fn end(&self) -> String {
        match self.hours.last() {
            None => String::new(),
            Some(last) if self.dated => self.zone.local(last.start_ms + HOUR_MS),
            Some(last) => end_name(last.of_week),
        }
    }

    /// Whether the hours are a week that comes again, not a history.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// The same demand in the hours `from` to `to` (not included) only.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> OverTime {
        self.only(|hour| (from..to).contains(&hour))
    }

    /// The same demand in the hours, by index, that are `chosen`.
    #[must_use]
    pub fn only(&self, chosen: impl Fn(usize) -> bool) -> OverTime {
        let all = self.hours.iter().enumerate();
        let chosen: Vec<Hour> = all.filter(|(at, _)| chosen(*at)).map(|(_, hour)| *hour).collect();
        let hours: Vec<(i64, usize)> = chosen.iter().map(|h| (h.start_ms, h.of_week)).collect();
        let mut part = OverTime {
            peak: self.peak.clone(),
            hours: Vec::new(),
            periods: Vec::new(),
            spans: self.spans.iter().map(|spans| within(spans, &hours)).collect(),
            zone: self.zone.clone(),
            dated: self.dated,
            // A part of a week is not followed by itself.
            repeats: self.repeats && chosen.len() == self.hours.len(),
            warnings: Vec::new(),
        };
        part.fill(&hours, |hour| self.periods[chosen[hour].period].counts.clone());
        part
    }
}

/// The hours of a horizon: when each begins, and which hour of the week it is.
fn hours_of(horizon: Horizon<'_>, zone: &Zone) -> Result<Vec<(i64, usize)>> {
    let named = |ms: i64| (ms, zone.hour_of_week(ms));
    match horizon {
        Horizon::Week => Ok((0..WEEK).map(|h| (h as i64 * HOUR_MS, h)).collect()),
        Horizon::WeekOf(date) => {
            let out_of_range = |e: jiff::Error| {
                Error::input(Diagnostic::new(format!("the week of {date} cannot be planned: {e}")))
            };
            let monday = i64::from(date.weekday().to_monday_zero_offset());
            let first = date.checked_sub(jiff::Span::new().days(monday)).map_err(out_of_range)?;
            let next = first.checked_add(jiff::Span::new().days(7)).map_err(out_of_range)?;
            let instant = |date: Date| -> Result<i64> { zone.midnight(date).map_err(out_of_range) };
            let (mut at, end) = (instant(first)?, instant(next)?);
            let mut hours = Vec::new();
            while at < end {
                hours.push(named(at));
                at += HOUR_MS;
            }
            Ok(hours)
        }
        Horizon::History(history) => {
            let first = history.observed.iter().map(|(start, _)| *start).min();
            let last = history.observed.iter().map(|(_, end)| *end).max();
            let (Some(first), Some(last)) = (first, last) else {
                return Err(Error::input(Diagnostic::new(
                    "the history has no times, so there is no demand over time",
                ))
                .hint("ask Prometheus for a range: --prometheus-url URL --window 14d, or `promtool query range`"));
            };
            if (last - first) / HOUR_MS > MOST_HOURS {
                return Err(Error::input(Diagnostic::new("the history is longer than two years"))
                    .hint("a few weeks are enough; give a shorter --window"));
            }
            let mut hours = Vec::new();
            let mut at = zone.hour_start(first);
            let mut observed = history.observed.iter().peekable();
            while at <= last {
                let end = at + HOUR_MS;
                while observed.next_if(|(_, until)| *until < at).is_some() {}
                if observed.peek().is_some_and(|(from, _)| *from < end) {
                    hours.push(named(at));
                }
                at = end;
            }
            Ok(hours)
        }
    }
}

/// What makes a history less than it seems.
fn doubts(
    history: &History,
    demand: &Demand,
    hours: &[(i64, usize)],
    zone: &Zone,
) -> Vec<Diagnostic> {
    let mut doubts = Vec::new();
    let (Some((first, _)), Some((last, _))) = (hours.first(), hours.last()) else {
        return doubts;
    };
    let end = last + HOUR_MS;
    let length = end - first;
    if length < DAY_MS {
        doubts.push(Diagnostic::new(format!(
            "the history is of {} only, {} to {}; hours of the day that it has not seen are not planned",
            plural(hours.len() as u64, "hour"),
            zone.local(*first),
            zone.local(end)
        )));
    }
    let missing = length / HOUR_MS - hours.len() as i64;
    if missing > 0 {
        let gap = hours.windows(2).map(|w| (w[1].0 - w[0].0, w[0].0 + HOUR_MS)).max();
        let longest = gap.map_or(String::new(), |(gap, from)| {
            format!(", the longest gap from {} for {} h", zone.local(from), gap / HOUR_MS - 1)
        });
        doubts.push(Diagnostic::new(format!(
            "{} of the history {} no samples and {} nowhere{longest}",
            plural(missing.unsigned_abs(), "hour"),
            if missing == 1 { "has" } else { "have" },
            if missing == 1 { "counts" } else { "count" },
        )));
    }
    // With less than two days every team is new on the last one.
    if length >= 2 * DAY_MS {
        let mut seen: BTreeMap<&str, i64> = BTreeMap::new();
        for ((team, name), spans) in &history.spans {
            let known = demand.position(team, name).is_some();
            if let Some(start) = spans.iter().map(|s| s.start_ms).min().filter(|_| known) {
                let first = seen.entry(team).or_insert(start);
                *first = start.min(*first);
            }
        }
        for (team, since) in seen.into_iter().filter(|(_, since)| *since >= end - DAY_MS) {
            doubts.push(Diagnostic::new(format!(
                "team '{team}' appears on the last day only, at {}; it counts for {} of {} h, and --growth or a row of --workloads can give it more",
                zone.local(since),
                (end - since).div_euclid(HOUR_MS).max(1),
                hours.len()
            )));
        }
    }
    doubts
}

#[cfg(test)]
mod tests;
