//! The samples of one series, packed: what does not change costs nothing.
//!
//! Times are held as the change of their distance, values as their change, both with runs of "no
//! change" counted. A series scraped at a steady pace costs no byte for its times, memory that
//! stays level none for its values, and a jump one to three bytes.

use std::collections::BTreeMap;
use std::iter::Peekable;

use crate::demand::time::MINUTE_MS;

/// Prometheus looks back this far for a value.
pub(in crate::demand) const LOOKBACK_MS: i64 = 5 * MINUTE_MS;

/// Where samples come from, as far as it says what their distances and their being at the same time
/// mean. In order of how much they tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::demand) enum Origin {
    /// The value of a function at one instant, which may stand for a long time before it.
    Function,
    /// Each sample has a time of its own: scrapes, and queries for one instant.
    #[default]
    Scrapes,
    /// The answer to this query for a range: all its series have the same step.
    Range(u32),
}

/// Whole numbers as differences from the one before.
#[derive(Debug, Clone, Default)]
struct Deltas {
    bytes: Vec<u8>,
    last: i64,
    same: u64,
}

impl Deltas {
    fn push(&mut self, number: i64) {
        let delta = number.wrapping_sub(self.last);
        if delta == 0 {
            self.same += 1;
            return;
        }
        self.end_run();
        // Zigzag: small differences of either sign become small numbers; none becomes 0.
        self.put(((delta << 1) ^ (delta >> 63)) as u64);
        self.last = number;
    }

    fn end_run(&mut self) {
        if self.same > 0 {
            self.bytes.push(0);
            let same = std::mem::take(&mut self.same);
            self.put(same);
        }
    }

    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn iter(&self) -> DeltasIter<'_> {
        DeltasIter { bytes: &self.bytes, last: 0, run: 0, tail: self.same }
    }

    /// The numbers, each with how often it comes in a row.
    fn runs(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let mut rest = self.iter();
        std::iter::from_fn(move || rest.next_run())
    }
}

struct DeltasIter<'d> {
    bytes: &'d [u8],
    last: i64,
    run: u64,
    /// The run that is not written yet.
    tail: u64,
}

impl DeltasIter<'_> {
    fn take(&mut self) -> Option<u64> {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn next_run(&mut self) -> Option<(i64, u64)> {
        match self.take() {
            Some(0) => Some((self.last, self.take()?)),
            Some(zigzag) => {
                let delta = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                self.last = self.last.wrapping_add(delta);
                Some((self.last, 1))
            }
            None if self.tail > 0 => Some((self.last, std::mem::take(&mut self.tail))),
            None => None,
        }
    }
}

impl Iterator for DeltasIter<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        while self.run == 0 {
            self.run = self.next_run()?.1;
        }
        self.run -= 1;
        Some(self.last)
    }
}

/// Samples of one origin in order of time: milliseconds since 1970 and whole MiB.
#[derive(Debug, Clone, Default)]
pub(in crate::demand) struct Track {
    origin: Origin,
    step_ms: Option<i64>,
    first_ms: i64,
    last_ms: i64,
    len: u64,
    gaps: Deltas,
    values: Deltas,
}

impl Track {
    fn of(origin: Origin) -> Track {
        Track { origin, ..Track::default() }
    }

    /// Adds a sample; `false`, and nothing is added, where it is not later than the last one.
    pub(in crate::demand) fn push(&mut self, at_ms: i64, mib: u32) -> bool {
        if self.len == 0 {
            self.first_ms = at_ms;
        } else {
            let gap = at_ms - self.last_ms;
            if gap <= 0 {
                return false;
            }
            self.gaps.push(gap);
        }
        self.values.push(i64::from(mib));
        self.last_ms = at_ms;
        self.len += 1;
        true
    }

    pub(in crate::demand) fn origin(&self) -> Origin {
        self.origin
    }

    /// How long a sample holds: the distance at which the next is due. `None` where no two samples
    /// tell, and before [`Samples::settle`].
    pub(in crate::demand) fn step_ms(&self) -> Option<i64> {
        self.step_ms
    }

    /// The shortest distance of two samples: of a range a multiple of its step.
    fn shortest_gap_ms(&self) -> Option<i64> {
        self.gaps.runs().map(|(gap, _)| gap).min()
    }

    /// The usual distance of two samples: half of all are at most as far apart.
    fn usual_gap_ms(&self) -> Option<i64> {
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for (gap, times) in self.gaps.runs() {
            *counts.entry(gap).or_default() += times;
        }
        let half = counts.values().sum::<u64>().div_ceil(2);
        let mut so_far = 0;
        counts.into_iter().find_map(|(gap, times)| {
            so_far += times;
            (so_far >= half).then_some(gap)
        })
    }

    /// The times of the first and the last sample, in milliseconds since 1970.
    pub(in crate::demand) fn span_ms(&self) -> Option<(i64, i64)> {
        (self.len > 0).then_some((self.first_ms, self.last_ms))
    }

    /// The times of the samples, in milliseconds since 1970.
    pub(in crate::demand) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        let later = self.gaps.iter().scan(self.first_ms, |at, gap| {
            *at += gap;
            Some(*at)
        });
        std::iter::once(self.first_ms).chain(later)
    }

    pub(in crate::demand) fn iter(&self) -> impl Iterator<Item = (i64, u32)> + '_ {
        self.times().zip(self.values.iter().map(|mib| u32::try_from(mib).unwrap_or(0)))
    }
}

/// Joins tracks into one order of time. Where several have a sample at the same time, the largest
/// counts: they are the same thing seen twice, by a pair of servers or in two files.
pub(in crate::demand) fn merged<'t>(
    tracks: impl Iterator<Item = &'t Track>,
) -> impl Iterator<Item = (i64, u32)> {
    let mut later: Vec<&Track> = tracks.filter(|track| track.len > 0).collect();
    later.sort_by_key(|track| std::cmp::Reverse(track.first_ms));
    // Only those that have begun are looked at for every sample: of many files one after the other
    // there are few at a time.
    let mut begun = Vec::new();
    std::iter::from_fn(move || {
        if let ([only], true) = (begun.as_mut_slice(), later.is_empty()) {
            return Peekable::next(only);
        }
        let begins = later.last().map_or(i64::MAX, |track| track.first_ms);
        let next = begun.iter_mut().filter_map(|s: &mut Peekable<_>| s.peek().map(|(at, _)| *at));
        let at = next.min().unwrap_or(i64::MAX).min(begins);
        while let Some(track) = later.pop_if(|track| track.first_ms == at) {
            begun.push(track.iter().peekable());
        }
        let mib = begun
            .iter_mut()
            .filter_map(|source| source.next_if(|(time, _)| *time == at))
            .map(|(_, mib)| mib)
            .max()?;
        begun.retain_mut(|source| source.peek().is_some());
        Some((at, mib))
    })
}

/// More tracks of one origin than servers that watch the same thing: the input is in no order of
/// time.
const MAX_TRACKS: usize = 8;
/// Samples out of order that are held before they are sorted in.
const MAX_LATE: usize = 1 << 14;

/// All samples of one thing, in whatever order they came, each time once.
#[derive(Debug, Clone, Default)]
pub(in crate::demand) struct Samples {
    tracks: Vec<Track>,
    late: Vec<(Origin, i64, u32)>,
}

impl Samples {
    pub(in crate::demand) fn push(&mut self, origin: Origin, at_ms: i64, mib: u32) {
        // The last track is that of the input that is being read.
        let mut of_origin = self.tracks.iter_mut().rev().filter(|track| track.origin == origin);
        if of_origin.any(|track| track.push(at_ms, mib)) {
            return;
        }
        if self.tracks.iter().filter(|track| track.origin == origin).count() < MAX_TRACKS {
            let mut track = Track::of(origin);
            track.push(at_ms, mib);
            self.tracks.push(track);
            return;
        }
        self.late.push((origin, at_ms, mib));
        if self.late.len() == MAX_LATE {
            self.sort_late();
        }
    }

    /// Brings the samples that came out of order into theirs.
    fn sort_late(&mut self) {
        self.late.sort_unstable();
        for of_origin in std::mem::take(&mut self.late).chunk_by(|a, b| a.0 == b.0) {
            let origin = of_origin[0].0;
            let mut late = Track::of(origin);
            // Sorted, so the largest value of a time is its last.
            for of_time in of_origin.chunk_by(|a, b| a.1 == b.1) {
                let (_, at_ms, mib) = of_time[of_time.len() - 1];
                late.push(at_ms, mib);
            }
            let mut joined = Track::of(origin);
            let known = self.tracks.iter().filter(|track| track.origin == origin);
            for (at_ms, mib) in merged(known.chain([&late])) {
                joined.push(at_ms, mib);
            }
            self.tracks.retain(|track| track.origin != origin);
            self.tracks.push(joined);
        }
    }

    /// Puts everything in order, once all is read, and finds the step of each track that has times
    /// of its own.
    pub(in crate::demand) fn settle(&mut self) {
        self.sort_late();
        for track in &mut self.tracks {
            track.step_ms = match track.origin {
                Origin::Range(_) => track.shortest_gap_ms(),
                Origin::Scrapes | Origin::Function => track.usual_gap_ms(),
            };
        }
    }

    /// Gives all series of a range its step, `steps` by the number of the range.
    pub(in crate::demand) fn set_steps(&mut self, steps: &[Option<i64>]) {
        for track in &mut self.tracks {
            if let Origin::Range(range) = track.origin {
                track.step_ms = steps.get(range as usize).copied().flatten();
            }
        }
    }

    /// Raises the samples of some origins to the highest values that are known of the time between
    /// them: each is of the time up to its own, for `window_ms` at most, and raises the sample of its
    /// time, or the last before where the series had ended by then. After [`Samples::settle`].
    pub(in crate::demand) fn raise(
        &mut self,
        is_raised: impl Fn(Origin) -> bool,
        highest: &Samples,
        window_ms: i64,
    ) {
        let raised = || self.tracks.iter().filter(|track| is_raised(track.origin));
        let times: Vec<i64> = merged(raised()).map(|(at_ms, _)| at_ms).collect();
        let mut most = vec![0; times.len()];
        for (at_ms, mib) in together(std::iter::once(highest)) {
            let before = times.partition_point(|time| *time <= at_ms).checked_sub(1);
            if let Some(at) = before.filter(|at| at_ms.saturating_sub(times[*at]) <= window_ms) {
                most[at] = mib.max(most[at]);
            }
        }
        for track in self.tracks.iter_mut().filter(|track| is_raised(track.origin)) {
            let mut raised = Track { step_ms: track.step_ms, ..Track::of(track.origin) };
            let mut at = 0;
            for (at_ms, mib) in track.iter() {
                at += times[at..].partition_point(|time| *time < at_ms);
                raised.push(at_ms, mib.max(most[at]));
            }
            *track = raised;
        }
    }

    pub(in crate::demand) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter()
    }

    pub(in crate::demand) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// The samples of some times, in milliseconds since 1970. After [`Samples::settle`].
    pub(in crate::demand) fn only(&self, is_kept: impl Fn(i64) -> bool) -> Samples {
        let kept_of = |track: &Track| {
            let mut kept = Track { step_ms: track.step_ms, ..Track::of(track.origin) };
            for (at_ms, mib) in track.iter().filter(|(at_ms, _)| is_kept(*at_ms)) {
                kept.push(at_ms, mib);
            }
            kept
        };
        let tracks = self.tracks.iter().map(kept_of).filter(|track| track.len > 0);
        Samples { tracks: tracks.collect(), late: Vec::new() }
    }
}

/// The samples of several as if they were one's: by time, doubles removed. After
/// [`Samples::settle`].
pub(in crate::demand) fn together<'s>(
    all: impl Iterator<Item = &'s Samples>,
) -> impl Iterator<Item = (i64, u32)> {
    merged(all.flat_map(Samples::tracks))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(samples: &Samples) -> Vec<(i64, u32)> {
        together(std::iter::once(samples)).collect()
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            start in -1_000_000_000_000i64..2_000_000_000_000,
            samples in prop::collection::vec((prop_oneof![Just(15_000i64), 1..100_000_000i64], prop_oneof![Just(500u32), any::<u32>()]), 0..200),
        ) {
            let mut track = Track::default();
            let mut at = start;
            let mut expected = Vec::new();
            for (gap, mib) in samples {
                at += gap;
                prop_assert!(track.push(at, mib));
                prop_assert!(!track.push(at, 1));
                expected.push((at, mib));
            }
            if !expected.is_empty() {
                prop_assert_eq!(track.iter().collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn level_memory_at_a_steady_pace_is_free() {
        let mut track = Track::default();
        for i in 0..100_000 {
            track.push(i * 15_000, 30_000);
        }
        assert!(track.gaps.bytes.len() + track.values.bytes.len() < 16);
    }

    #[test]
    fn doubles_count_once_with_the_larger_value() {
        let mut samples = Samples::default();
        for (at, mib) in [(0, 5), (10, 5), (30, 1), (10, 7), (20, 2), (30, 0)] {
            samples.push(Origin::Scrapes, at, mib);
        }
        assert_eq!(all(&samples), [(0, 5), (10, 7), (20, 2), (30, 1)]);
        assert!(all(&Samples::default()).is_empty());
        let other = samples.clone();
        assert_eq!(together([&samples, &other].into_iter()).count(), 4);
    }

    #[test]
    fn any_order_of_input_gives_the_same() {
        let mut backwards = Samples::default();
        for at in (0..40_000).rev() {
            backwards.push(Origin::Scrapes, at, (at % 7) as u32);
            backwards.push(Origin::Scrapes, at, 0);
            backwards.push(Origin::Range(u32::from(at % 2 == 0)), at, 0);
        }
        backwards.settle();
        assert!(all(&backwards).into_iter().eq((0..40_000).map(|at| (at, (at % 7) as u32))));
        let steps: Vec<_> = backwards.tracks().map(|t| (t.origin(), t.step_ms())).collect();
        let expected =
            [(Origin::Scrapes, Some(1)), (Origin::Range(0), Some(2)), (Origin::Range(1), Some(2))];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_highest_between_two_samples_raises_one_of_them() {
        let mut samples = Samples::default();
        for at in [10, 20, 30, 60] {
            samples.push(Origin::Range(0), at, 5);
        }
        // The same part of the range read again.
        samples.push(Origin::Range(0), 20, 5);
        samples.push(Origin::Scrapes, 20, 4);
        samples.settle();
        let before = samples.clone();
        let mut highest = Samples::default();
        // Of a time before the first; of a step; of one that has ended; too late after it; lower.
        for (at, mib) in [(5, 9), (20, 8), (40, 7), (50, 9), (60, 3)] {
            highest.push(Origin::default(), at, mib);
        }
        highest.settle();
        samples.raise(|origin| origin == Origin::Range(0), &highest, 10);
        assert_eq!(all(&samples), [(10, 5), (20, 8), (30, 7), (60, 5)]);
        let scraped = samples.tracks().find(|t| t.origin() == Origin::Scrapes);
        assert_eq!(scraped.unwrap().iter().collect::<Vec<_>>(), [(20, 4)]);
        let steps = |s: &Samples| s.tracks().map(|t| (t.step_ms(), t.len)).collect::<Vec<_>>();
        assert_eq!(steps(&samples), steps(&before));
        // What is known already changes nothing.
        let mut again = before.clone();
        again.raise(|_| true, &before, 10);
        assert_eq!(all(&again), all(&before));
    }

    #[test]
    fn an_odd_distance_is_not_the_usual_one() {
        let mut samples = Samples::default();
        // Looked at every hour, once more by hand, and not at all for a day.
        for minute in [0, 60, 62, 120, 180, 240, 1_680, 1_740] {
            samples.push(Origin::Scrapes, minute, 5);
        }
        samples.settle();
        assert_eq!(samples.tracks().next().unwrap().step_ms(), Some(60));
    }

    proptest! {
        /// Many files one after the other, or side by side: what a map of times would hold.
        #[test]
        fn files_are_merged_by_time(
            files in prop::collection::vec((0i64..60, 1i64..5, prop::collection::vec(0u32..9, 1..20)), 1..12),
        ) {
            let mut samples = Samples::default();
            let mut expected: BTreeMap<i64, u32> = BTreeMap::new();
            for (number, (start, step, values)) in files.iter().enumerate() {
                for (i, mib) in values.iter().enumerate() {
                    let at = start + step * i as i64;
                    samples.push(Origin::Range(number as u32), at, *mib);
                    let most = expected.entry(at).or_default();
                    *most = (*most).max(*mib);
                }
            }
            samples.settle();
            prop_assert_eq!(all(&samples), expected.into_iter().collect::<Vec<_>>());
            for (track, (_, step, values)) in samples.tracks().zip(&files) {
                prop_assert_eq!(track.step_ms(), (values.len() > 1).then_some(*step));
            }
        }
    }
}
