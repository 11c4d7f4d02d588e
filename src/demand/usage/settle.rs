//! What takes all that was read: the steps of files, what is known of pods beside their samples, and
//! which of several metrics a pod is read from.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::identity::{Key, NO_TEAM};
use super::track::{LOOKBACK_MS, Origin, Samples, Track};
use super::{PodSeries, Usage};

impl Usage {
    /// Puts everything in order, once all is read.
    pub(in crate::demand) fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        self.facts.settle();
        let of_pods = self.pod_series.par_iter_mut().map(|series| &mut series.samples);
        let idle = self.devices.par_iter_mut().map(|device| &mut device.idle);
        of_pods.chain(idle).for_each(Samples::settle);
        self.peaks.raise(&mut self.pod_series);
        let mut steps: Vec<Option<i64>> = vec![None; self.ranges as usize];
        for track in self.all_samples().flat_map(Samples::tracks) {
            if let (Origin::Range(range), Some(step)) = (track.origin(), track.step_ms()) {
                let least = &mut steps[range as usize];
                *least = Some(least.map_or(step, |least| least.min(step)));
            }
        }
        for series in &mut self.pod_series {
            series.samples.set_steps(&steps);
        }
        for device in &mut self.devices {
            device.idle.set_steps(&steps);
        }
        self.instants = self.scrapes.instants();
        self.find_clusters();
        self.apply_facts();
        self.leave_to_samples();
    }

    /// Gives pods whose cluster no label tells the one that has a pod of that name, where only one
    /// has: so one pod is one, whichever of two servers shows it.
    fn find_clusters(&mut self) {
        let of_series = || self.pod_series.iter().map(|series| &series.pod);
        if of_series().all(|pod| !pod.cluster.is_empty()) {
            return;
        }
        // By pods without their cluster; `None` where several have one of that name.
        let mut found: HashMap<Key, Option<Arc<str>>> = HashMap::new();
        for pod in of_series().chain(self.facts.pods()) {
            let Some(unnamed) = pod.without_cluster() else { continue };
            let cluster = found.entry(unnamed).or_insert_with(|| Some(pod.cluster.clone()));
            cluster.take_if(|known| *known != pod.cluster);
        }
        for pod in self.pod_series.iter_mut().map(|series| &mut series.pod) {
            if let Some(Some(cluster)) = found.get(pod) {
                pod.cluster = cluster.clone();
            }
        }
    }

    /// Gives pods the workloads that are known, and each pod the metric that is its own.
    fn apply_facts(&mut self) {
        let per_pod = |series: &&PodSeries| series.per_pod && series.resource.is_none();
        let own: HashSet<Key> =
            self.pod_series.iter().filter(per_pod).map(|series| series.pod.clone()).collect();
        let no_team = self.intern(NO_TEAM);
        for at in 0..self.pod_series.len() {
            let series = &self.pod_series[at];
            let superseded = !series.per_pod && own.contains(&series.pod);
            let pod = series.pod.clone();
            let by_owner = series.group.is_none();
            let listed = self.facts.listed(&pod, by_owner).cloned();
            let group = match (&listed, &series.group) {
                (Some(_), _) => listed.clone(),
                (None, Some(group)) => Some(group.clone()),
                (None, None) => {
                    let owner = self.facts.owner(&pod).map(str::to_string);
                    owner.map(|owner| self.intern(&owner))
                }
            };
            let of_exporter = self.names_exporter(&self.pod_series[at]);
            let series = &mut self.pod_series[at];
            (series.superseded, series.of_exporter, series.group) =
                (superseded, of_exporter, group);
            if listed.is_some() {
                let namespace = &pod.namespace;
                series.team =
                    if namespace.is_empty() { no_team.clone() } else { namespace.clone() };
            }
            if series.resource.is_some()
                && let Some(ended) = self.facts.ended(&pod)
            {
                let is_empty = |s: &PodSeries| s.samples.is_empty() && s.untimed.is_empty();
                let had_any = !is_empty(series);
                let before_end = ended.without(&series.samples);
                series.looked = std::mem::replace(&mut series.samples, before_end);
                series.untimed.retain(|(scrape, _)| !ended.in_scrape(*scrape, &self.instants));
                series.ended |= had_any && is_empty(series);
            }
        }
    }

    /// Leaves the pods that samples show to their samples: what such a pod asks for counts while it
    /// waits, which is long before the first of them. A pod that has its GPU within minutes does not
    /// wait, and what it had before is not looked back at beside it. From then on samples tell when it
    /// holds something, though a pod that has ended may be kept for days.
    fn leave_to_samples(&mut self) {
        if self.request_series().next().is_none() {
            return;
        }
        let instant = |instants: &[u32], scrape: u32| instants[scrape as usize];
        // The time and the moment of its first sample.
        let mut first: HashMap<Key, (Option<i64>, Option<u32>)> = HashMap::new();
        for series in self.pod_series() {
            let of_tracks = series.samples.tracks().filter_map(Track::span_ms);
            let at = of_tracks.map(|(first, _)| first).min();
            let scrapes = series.untimed.iter().map(|(scrape, _)| *scrape);
            let moment = scrapes.map(|scrape| instant(&self.instants, scrape)).min();
            if at.is_some() || moment.is_some() {
                let known = first.entry(series.pod.clone()).or_default();
                known.0 = known.0.into_iter().chain(at).min();
                known.1 = known.1.into_iter().chain(moment).min();
            }
        }
        for series in self.pod_series.iter_mut().filter(|series| series.resource.is_some()) {
            let Some((at, moment)) = first.get(&series.pod) else { continue };
            series.is_measured = true;
            series.samples = match at {
                Some(first) => series.samples.only(|at| at < first.saturating_sub(LOOKBACK_MS)),
                None => Samples::default(),
            };
            series.untimed.retain(|(scrape, _)| {
                moment.is_some_and(|first| instant(&self.instants, *scrape) < first)
            });
        }
    }
}
