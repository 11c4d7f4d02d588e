//! What a division makes of demand over time: stretches of time, each served by one configuration
//! or, while it changes, by what the change keeps.
//!
//! Time is counted in minutes, so that all stays whole. The first minutes of an hour in which the
//! configuration changes are those of the change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::division::Division;
use crate::demand::hours::WEEK;
use crate::demand::over_time::{OverTime, ReplicaSpan};
use crate::demand::time::HOUR_MS;
use crate::optimise::configurations::kept_supply;
use crate::optimise::prices::Pays;
use crate::optimise::problem::Part;

/// Minutes of an hour.
pub(super) const HOUR_MINUTES: i64 = 60;

/// What serves, the period of the demand, and the replicas that stay.
pub(super) type Key = (usize, usize, Option<(usize, Arc<[u64]>)>);

/// The minutes of each part, and how often a configuration changes to another.
pub(super) type OfProblem = (Vec<(Key, i64)>, BTreeMap<(usize, usize), i64>);

/// The stretches of time of a division.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Each with its minutes, and what serves it.
    pub parts: Vec<Part>,
    /// For each of them the period of the demand.
    periods: Vec<usize>,
    /// For each hour of the demand the parts that it is in, with their minutes; the last is that of
    /// the configuration.
    pub by_hour: Vec<Vec<(usize, i64)>>,
    /// How often a configuration changes to another in all hours of the demand.
    pub changes: BTreeMap<(usize, usize), i64>,
}

/// What the hours of a demand are to a division.
struct Clock<'d> {
    demand: &'d OverTime,
    division: &'d Division,
}

impl Clock<'_> {
    fn active(&self, hour: usize) -> usize {
        self.division.at(self.demand.hours()[hour].of_week)
    }

    /// The configuration of the hour before: of the one that was seen, else by the week's clock.
    fn before(&self, hour: usize) -> usize {
        let hours = self.demand.hours();
        let seen =
            hour.checked_sub(1).filter(|b| hours[*b].start_ms + HOUR_MS == hours[hour].start_ms);
        seen.map_or_else(
            || self.division.at(hours[hour].of_week + WEEK - 1),
            |before| self.active(before),
        )
    }

    /// For each hour the next change after it: when, in the time of the spans, and to which
    /// configuration. `None` where nothing ever changes.
    fn next_changes(&self) -> Vec<Option<(i64, usize)>> {
        let hours = self.demand.hours();
        let mut next: Vec<Option<(i64, usize)>> = vec![None; hours.len()];
        for hour in (0..hours.len()).rev() {
            let now = self.active(hour);
            let follows =
                hours.get(hour + 1).filter(|n| n.start_ms == hours[hour].start_ms + HOUR_MS);
            next[hour] = match follows {
                Some(after) if self.active(hour + 1) != now => {
                    Some((after.start_ms, self.active(hour + 1)))
                }
                Some(_) => next[hour + 1],
                // Nobody saw the hours that follow: the change is where the clock of the week has it.
                None => {
                    let later = |n: &usize| self.division.at(hours[hour].of_week + n) != now;
                    (1..=WEEK).find(later).map(|n| {
                        let at = hours[hour].start_ms + n as i64 * HOUR_MS;
                        (at, self.division.at(hours[hour].of_week + n))
                    })
                }
            };
        }
        next
    }
}

/// For each hour and workload, the replicas that run in the hour and through the next change.
fn staying(
    demand: &OverTime,
    spans: &[Vec<ReplicaSpan>],
    next: &[Option<(i64, usize)>],
) -> Vec<Vec<u64>> {
    let hours = demand.hours();
    let mut counts = vec![vec![0u64; spans.len()]; hours.len()];
    for (workload, of_workload) in spans.iter().enumerate() {
        for span in of_workload {
            let from = hours.partition_point(|h| h.start_ms + HOUR_MS <= span.start_ms);
            let to = hours.partition_point(|h| h.start_ms < span.end_ms);
            for hour in from..to {
                if next[hour].is_some_and(|(at, _)| span.end_ms > at) {
                    counts[hour][workload] += span.count;
                }
            }
        }
    }
    counts
}

impl Parts {
    /// Divides the hours of a demand. With `spans`, the replicas that run through a change must keep
    /// their instances.
    pub(super) fn new(
        demand: &OverTime,
        division: &Division,
        change_minutes: i64,
        spans: Option<&[Vec<ReplicaSpan>]>,
    ) -> Parts {
        let configurations = division.configurations();
        let clock = Clock { demand, division };
        let next = clock.next_changes();
        let staying = spans.map(|spans| staying(demand, spans, &next));
        let mut minutes: Vec<(Key, i64)> = Vec::new();
        let mut index: HashMap<Key, usize> = HashMap::new();
        let mut by_hour: Vec<Vec<(usize, i64)>> = vec![Vec::new(); demand.hours().len()];
        let mut add =
            |hour: usize, supply, period, staying: Option<(usize, Arc<[u64]>)>, length: i64| {
                if length == 0 {
                    return;
                }
                let key = (supply, period, staying);
                let at = *index.entry(key.clone()).or_insert(minutes.len());
                match minutes.get_mut(at) {
                    Some(known) => known.1 += length,
                    None => minutes.push((key, length)),
                }
                by_hour[hour].push((at, length));
            };
        let mut changes: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        for (hour, of) in demand.hours().iter().enumerate() {
            let (before, now) = (clock.before(hour), clock.active(hour));
            let stays = staying.as_ref().zip(next[hour]).map(|(staying, (_, to))| {
                let counts: Arc<[u64]> = staying[hour].as_slice().into();
                (kept_supply(configurations, now, to), counts)
            });
            let stays = stays.filter(|(_, counts)| counts.iter().any(|c| *c > 0));
            let mut length = HOUR_MINUTES;
            if before != now {
                *changes.entry((before, now)).or_default() += 1;
                add(
                    hour,
                    kept_supply(configurations, before, now),
                    of.period,
                    None,
                    change_minutes,
                );
                length -= change_minutes;
            }
            add(hour, now, of.period, stays, length);
        }
        let part = |((supply, period, staying), weight): &(Key, i64)| Part {
            weight: *weight,
            supply: *supply,
            counts: demand.periods()[*period].counts.clone(),
            staying: Clone::clone(staying),
        };
        Parts {
            parts: minutes.iter().map(part).collect(),
            periods: minutes.iter().map(|((_, period, _), _)| *period).collect(),
            by_hour,
            changes,
        }
    }

    /// Each part with the period of the demand that it is of.
    pub(super) fn with_periods(&self) -> impl Iterator<Item = (&Part, usize)> {
        self.parts.iter().zip(self.periods.iter().copied())
    }

    /// All that the problem of serving these parts depends on.
    pub(super) fn of_problem(&self) -> OfProblem {
        let key = |(part, period): (&Part, usize)| {
            ((part.supply, period, part.staying.clone()), part.weight)
        };
        let mut parts: Vec<(Key, i64)> = self.with_periods().map(key).collect();
        parts.sort_unstable();
        (parts, self.changes.clone())
    }

    /// What each part pays where every hour has the prices that it has in another division: the
    /// parts of that one, with minutes.
    pub(super) fn pays(&self, reference: &Parts) -> Pays {
        let mut hours: Pays = Vec::with_capacity(self.by_hour.len() + self.parts.len());
        for (own, other) in self.by_hour.iter().zip(&reference.by_hour) {
            let Some((priced, _)) = other.last() else { continue };
            hours.extend(own.iter().map(|(part, length)| (*part, *priced, *length)));
        }
        hours.sort_unstable();
        hours.dedup_by(|(part, priced, length), into| {
            let same = (*part, *priced) == (into.0, into.1);
            into.2 += if same { *length } else { 0 };
            same
        });
        hours
    }
}
