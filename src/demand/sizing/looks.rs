//! What was seen at the same time by looks that are a little apart: two targets are never scraped
//! in the same millisecond, and two servers never asked in it.
//!
//! A sample holds until its device is looked at again, for as long as Prometheus looks back at most.
//! An answer shows all that its server watches, so its devices are looked at together; scrapes of
//! other targets and answers of other servers say nothing of them.

use std::collections::{BTreeMap, HashMap};

use super::intervals::Interval;
use crate::demand::usage::{LOOKBACK_MS, Origin, Samples, Usage, together};

/// Lets what samples show of these devices count as seen for that long. Only where samples are so far
/// apart that nothing else tells what was there together: at a steady pace intervals overlap anyway,
/// and all of an answer for a range has the same times.
pub(super) fn hold<'i>(usage: &Usage, all: impl Iterator<Item = (u32, &'i mut Vec<Interval>)>) {
    let mut by_watch: BTreeMap<u32, Vec<&mut Interval>> = BTreeMap::new();
    for (device, intervals) in all {
        let watch = usage.watch(device);
        let held = intervals.iter_mut().filter(|i| !matches!(i.origin, Origin::Range(_)));
        held.for_each(|interval| by_watch.entry(watch).or_default().push(interval));
    }
    if by_watch.is_empty() {
        return;
    }
    let mut looks: HashMap<u32, Vec<&Samples>> = HashMap::new();
    for (device, samples) in usage.looks() {
        let watch = usage.watch(device);
        if by_watch.contains_key(&watch) {
            looks.entry(watch).or_default().push(samples);
        }
    }
    for (watch, mut intervals) in by_watch {
        intervals.sort_unstable_by_key(|interval| interval.last_ms);
        let of_watch = looks.remove(&watch).unwrap_or_default();
        let mut times = together(of_watch.into_iter()).map(|(at, _)| at).peekable();
        for interval in intervals {
            while times.next_if(|at| *at <= interval.last_ms).is_some() {}
            let next = times.peek().copied().unwrap_or(i64::MAX);
            interval.seen_ms = next.min(interval.last_ms.saturating_add(LOOKBACK_MS)) - 1;
        }
    }
}
