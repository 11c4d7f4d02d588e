//! The samples of one series, packed: what does not change costs nothing.
//!
//! Times are held as the change of their distance, values as their change, both with runs of "no
//! change" counted. A series scraped at a steady pace costs no byte for its times, memory that
//! stays level none for its values, and a jump one to three bytes.

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
}

impl Iterator for DeltasIter<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            if self.run > 0 {
                self.run -= 1;
                return Some(self.last);
            }
            match self.take() {
                Some(0) => self.run = self.take()?,
                Some(zigzag) => {
                    let delta = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                    self.last = self.last.wrapping_add(delta);
                    return Some(self.last);
                }
                None if self.tail > 0 => self.run = std::mem::take(&mut self.tail),
                None => return None,
            }
        }
    }
}

/// Samples in order of time: milliseconds since 1970 and whole MiB.
#[derive(Debug, Clone, Default)]
pub(in crate::demand) struct Track {
    first_ms: i64,
    last_ms: i64,
    len: u64,
    shortest_gap_ms: Option<i64>,
    gaps: Deltas,
    values: Deltas,
}

impl Track {
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
            self.shortest_gap_ms = Some(self.shortest_gap_ms.map_or(gap, |least| least.min(gap)));
        }
        self.values.push(i64::from(mib));
        self.last_ms = at_ms;
        self.len += 1;
        true
    }

    pub(in crate::demand) fn shortest_gap_ms(&self) -> Option<i64> {
        self.shortest_gap_ms
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
fn merged<'t>(tracks: impl Iterator<Item = &'t Track>) -> impl Iterator<Item = (i64, u32)> {
    let mut sources: Vec<_> = tracks.map(|track| track.iter().peekable()).collect();
    std::iter::from_fn(move || {
        if let [only] = sources.as_mut_slice() {
            return only.next();
        }
        let at = sources.iter_mut().filter_map(|s| s.peek().map(|(at, _)| *at)).min()?;
        let mib = sources
            .iter_mut()
            .filter_map(|source| source.next_if(|(time, _)| *time == at))
            .map(|(_, mib)| mib)
            .max()?;
        Some((at, mib))
    })
}

/// More tracks than servers that watch the same thing: the input is in no order of time.
const MAX_TRACKS: usize = 8;
/// Samples out of order that are held before they are sorted in.
const MAX_LATE: usize = 1 << 14;

/// All samples of one thing, in whatever order they came, each time once.
#[derive(Debug, Clone, Default)]
pub(in crate::demand) struct Samples {
    tracks: Vec<Track>,
    late: Vec<(i64, u32)>,
}

impl Samples {
    pub(in crate::demand) fn push(&mut self, at_ms: i64, mib: u32) {
        if self.tracks.iter_mut().any(|track| track.push(at_ms, mib)) {
            return;
        }
        if self.tracks.len() < MAX_TRACKS {
            let mut track = Track::default();
            track.push(at_ms, mib);
            self.tracks.push(track);
            return;
        }
        self.late.push((at_ms, mib));
        if self.late.len() == MAX_LATE {
            self.sort_late();
        }
    }

    /// Brings the samples that came out of order into theirs. To be called before [`Samples::iter`].
    pub(in crate::demand) fn sort_late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        self.late.sort_unstable();
        let mut late = Track::default();
        let mut samples = std::mem::take(&mut self.late).into_iter().peekable();
        while let Some((at_ms, mib)) = samples.next() {
            // Sorted, so the largest value of a time is its last.
            if samples.peek().is_none_or(|(next, _)| *next != at_ms) {
                late.push(at_ms, mib);
            }
        }
        let mut joined = Track::default();
        for (at_ms, mib) in merged(self.tracks.iter().chain([&late])) {
            joined.push(at_ms, mib);
        }
        self.tracks = vec![joined];
    }

    /// The samples by time, doubles removed.
    pub(in crate::demand) fn iter(&self) -> impl Iterator<Item = (i64, u32)> + '_ {
        merged(self.tracks.iter())
    }

    pub(in crate::demand) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter()
    }

    pub(in crate::demand) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }
}

/// The samples of several, as if they were one's.
pub(in crate::demand) fn together<'s>(
    all: impl Iterator<Item = &'s Samples>,
) -> impl Iterator<Item = (i64, u32)> {
    merged(all.flat_map(Samples::tracks))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            samples.push(at, mib);
        }
        assert_eq!(samples.iter().collect::<Vec<_>>(), [(0, 5), (10, 7), (20, 2), (30, 1)]);
        assert_eq!(Samples::default().iter().count(), 0);
        let other = samples.clone();
        assert_eq!(together([&samples, &other].into_iter()).count(), 4);
    }

    #[test]
    fn any_order_of_input_gives_the_same() {
        let mut backwards = Samples::default();
        for at in (0..40_000).rev() {
            backwards.push(at, (at % 7) as u32);
            backwards.push(at, 0);
        }
        backwards.sort_late();
        assert!(backwards.iter().eq((0..40_000).map(|at| (at, (at % 7) as u32))));
    }
}
