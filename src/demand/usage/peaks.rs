//! The highest values between the steps of a range.
//!
//! The answer for a range shows memory at its steps only. The highest values in between, which a
//! server is asked for afterwards, raise the samples of the same series and do nothing else: counts
//! are those of the moments that the range shows.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use super::track::{Origin, Samples};
use super::value::{Unit, to_mib};
use super::{PodSeries, Usage, index};
use crate::demand::prometheus::Labels;

/// The highest values between the steps, by series.
#[derive(Debug, Default)]
pub(super) struct Peaks {
    /// Whether series that come are noted, so that they are known by their labels later on.
    notes: bool,
    /// The ranges from this one on are the server's.
    first_range: u32,
    /// The series of pods by their labels and names.
    series: HashMap<Box<str>, (u32, Unit)>,
    metrics: BTreeSet<Box<str>>,
    /// The metric whose highest values come now.
    metric: Option<Box<str>>,
    /// The longest time for which one of them stands.
    window_ms: i64,
    /// The series that samples now belong to.
    now: Option<(u32, Unit)>,
    of_series: HashMap<u32, Samples>,
    key: String,
}

impl Peaks {
    /// Whether it is highest values that come now.
    pub(super) fn come(&self) -> bool {
        self.metric.is_some()
    }

    /// Notes a series of a pod's memory.
    pub(super) fn note(&mut self, labels: &Labels, series: u32, unit: Unit) {
        let Some(metric) = labels.name().filter(|_| self.notes) else { return };
        if !self.metrics.contains(metric) {
            self.metrics.insert(metric.into());
        }
        write_key(&mut self.key, metric, labels);
        if !self.series.contains_key(self.key.as_str()) {
            self.series.insert(self.key.as_str().into(), (series, unit));
        }
    }

    /// Starts the highest values of a series; whether they are wanted. A function leaves the name of
    /// its metric out.
    pub(super) fn series(&mut self, labels: &Labels) -> bool {
        self.now = None;
        if let Some(metric) = &self.metric
            && labels.name().is_none_or(|name| *name == **metric)
        {
            write_key(&mut self.key, metric, labels);
            self.now = self.series.get(self.key.as_str()).copied();
        }
        self.now.is_some()
    }

    /// Takes the highest value of the time up to `at_ms`.
    pub(super) fn sample(&mut self, at_ms: Option<i64>, value: f64) {
        let (Some((series, unit)), Some(at_ms)) = (self.now, at_ms) else { return };
        if let Ok(mib) = to_mib(value, unit == Unit::Bytes) {
            self.of_series.entry(series).or_default().push(Origin::default(), at_ms, mib);
        }
    }

    /// Raises the samples, once all is read and in order.
    pub(super) fn raise(&mut self, all: &mut [PodSeries]) {
        let is_servers = |origin| matches!(origin, Origin::Range(n) if n >= self.first_range);
        let mut of_series = std::mem::take(&mut self.of_series);
        of_series.par_iter_mut().for_each(|(_, highest)| highest.settle());
        all.par_iter_mut().enumerate().for_each(|(at, series)| {
            if let Some(highest) = of_series.get(&index(at)) {
                series.samples.raise(is_servers, highest, self.window_ms);
            }
        });
    }
}

impl Usage {
    /// Notes the series that come from now on, so that [`Usage::begin_peaks`] can follow.
    pub fn expect_peaks(&mut self) {
        self.peaks.notes = true;
        self.peaks.first_range = self.ranges;
    }

    /// The metrics of memory that the noted series are of.
    pub fn noted_metrics(&self) -> Vec<String> {
        self.peaks.metrics.iter().map(|metric| metric.to_string()).collect()
    }

    /// What comes until [`Usage::end_peaks`] are the highest values of a metric, each of the time up
    /// to its own, for `window_ms` at most.
    pub fn begin_peaks(&mut self, metric: &str, window_ms: i64) {
        self.peaks.metric = Some(metric.into());
        self.peaks.window_ms = window_ms;
    }

    /// Ends what [`Usage::begin_peaks`] began.
    pub fn end_peaks(&mut self) {
        self.peaks.metric = None;
    }
}

/// Writes a metric and all labels that have a value, in the order of their names.
fn write_key(key: &mut String, metric: &str, labels: &Labels) {
    let mut pairs: Vec<(&str, &str)> = labels.pairs().collect();
    pairs.sort_unstable();
    key.clear();
    key.push_str(metric);
    for (label, value) in pairs {
        for part in ["\0", label, "\0", value] {
            key.push_str(part);
        }
    }
}
