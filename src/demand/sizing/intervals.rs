//! Times in which a pod had a GPU or an instance, by its samples.
//!
//! What two samples say of the time between them depends on how far apart samples usually are, and
//! that is a matter of each file: so intervals are found in the samples of one origin, and then
//! united.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::demand::usage::{LOOKBACK_MS, Origin, Samples, Track, merged};

/// The longest distance of two samples between which nothing ended, `step_ms` being the usual one.
fn bridge_ms(step_ms: Option<i64>) -> i64 {
    step_ms.map_or(LOOKBACK_MS, |step| LOOKBACK_MS.max(step.saturating_mul(3) / 2))
}

/// A time in which a pod was seen without a gap longer than a missed sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// The time of its first sample, in milliseconds since 1970.
    pub(super) first_ms: i64,
    /// The time of its last sample.
    pub(super) last_ms: i64,
    /// How long the last sample holds, in milliseconds: the step of its file; `None` where no distance
    /// of samples tells.
    pub(super) holds_ms: Option<i64>,
    /// When the samples of all files have ended to hold, as far as distances tell: a file that shows
    /// more samples may end within the step of another.
    until_ms: i64,
    /// Until when it counts as seen: to its last sample, or a little longer (see `looks`).
    pub(super) seen_ms: i64,
    /// The most MiB that a sample of it shows.
    pub(super) peak: u32,
    /// Where its samples are from; of several the one that tells the most.
    pub(super) origin: Origin,
}

impl Interval {
    /// Of one sample; it holds for `holds_ms`.
    fn of_sample(at_ms: i64, peak: u32, holds_ms: Option<i64>, origin: Origin) -> Interval {
        let until_ms = at_ms + holds_ms.unwrap_or(0);
        let (first_ms, last_ms, seen_ms) = (at_ms, at_ms, at_ms);
        Interval { first_ms, last_ms, holds_ms, until_ms, seen_ms, peak, origin }
    }

    /// When it ends to hold; `usual_ms` is for how long a sample does where nothing else tells.
    pub(super) fn end_ms(&self, usual_ms: i64) -> i64 {
        self.until_ms.max(self.last_ms.saturating_add(self.holds_ms.unwrap_or(usual_ms)))
    }

    /// Ends it where another begins.
    fn end_at(&mut self, other_ms: i64) {
        self.last_ms = other_ms - 1;
        self.seen_ms = self.last_ms;
        self.holds_ms = Some(1);
        self.until_ms = other_ms;
    }

    /// Takes in one that begins later.
    fn join(&mut self, other: &Interval) {
        self.peak = self.peak.max(other.peak);
        self.origin = self.origin.max(other.origin);
        self.until_ms = self.until_ms.max(other.until_ms);
        self.holds_ms = match other.last_ms.cmp(&self.last_ms) {
            Ordering::Less => self.holds_ms,
            Ordering::Equal => [self.holds_ms, other.holds_ms].into_iter().flatten().min(),
            Ordering::Greater => other.holds_ms,
        };
        self.last_ms = self.last_ms.max(other.last_ms);
        self.seen_ms = self.seen_ms.max(other.seen_ms);
    }
}

/// The intervals that these samples of one thing show, in order of time.
pub(super) fn of_samples<'s>(all: impl Iterator<Item = &'s Samples>) -> Vec<Interval> {
    let mut by_origin: BTreeMap<Origin, Vec<&Track>> = BTreeMap::new();
    for track in all.flat_map(Samples::tracks) {
        by_origin.entry(track.origin()).or_default().push(track);
    }
    let several = by_origin.len() > 1;
    let mut found: Vec<Interval> = Vec::new();
    for (origin, tracks) in by_origin {
        let holds_ms = tracks.iter().filter_map(|track| track.step_ms()).min();
        let bridge = bridge_ms(holds_ms);
        let before = found.len();
        for (at, peak) in merged(tracks.into_iter()) {
            match found[before..].last_mut() {
                Some(interval) if at - interval.last_ms <= bridge => {
                    interval.join(&Interval::of_sample(at, peak, holds_ms, origin));
                }
                _ => found.push(Interval::of_sample(at, peak, holds_ms, origin)),
            }
        }
    }
    if several { united(found) } else { found }
}

/// Intervals of one thing as they are seen together, in order of time: those that overlap, or are no
/// further apart than a missed sample of the longer step, are one.
pub(super) fn united(mut all: Vec<Interval>) -> Vec<Interval> {
    all.sort_unstable_by_key(|interval| (interval.first_ms, interval.last_ms));
    let mut united: Vec<Interval> = Vec::new();
    for next in all {
        match united.last_mut() {
            Some(last)
                if next.first_ms - last.last_ms <= bridge_ms(last.holds_ms.max(next.holds_ms)) =>
            {
                last.join(&next);
            }
            _ => united.push(next),
        }
    }
    united
}

/// Ends each interval where another one takes over what only one can have. The answer for a range
/// may show the earlier for as long as Prometheus looks back; an overlap that is longer stays.
pub(super) fn hand_over(of_one: &mut [&mut Interval]) {
    of_one.sort_by_key(|interval| interval.first_ms);
    let spans: Vec<(i64, i64)> = of_one.iter().map(|i| (i.first_ms, i.last_ms)).collect();
    for interval in of_one.iter_mut().filter(|i| matches!(i.origin, Origin::Range(_))) {
        let earliest = (interval.last_ms - LOOKBACK_MS).max(interval.first_ms + 1);
        let next = spans[spans.partition_point(|(first, _)| *first < earliest)..]
            .iter()
            .take_while(|(first, _)| *first <= interval.last_ms)
            .find(|(_, last)| *last >= interval.last_ms);
        if let Some((first, _)) = next {
            interval.end_at(*first);
        }
    }
}

/// Whether any two of these overlap.
pub(super) fn overlap(of_one: &mut [&mut Interval]) -> bool {
    of_one.sort_by_key(|interval| interval.first_ms);
    let mut last_ms = i64::MIN;
    of_one.iter().any(|interval| {
        let overlaps = interval.first_ms <= last_ms;
        last_ms = last_ms.max(interval.last_ms);
        overlaps
    })
}
