//! GPU memory in use, by pod and device, collected from Prometheus samples.
//!
//! This is where labels get their meaning: which of them name the pod, which the device, and which
//! only name the exporter. It keeps every sample packed, draws no conclusion and knows no sizes.

mod device;
mod identity;
mod metrics;
mod peaks;
mod pods;
mod promql;
mod reading;
mod scrapes;
mod settle;
mod sink;
mod stale;
mod track;
mod value;
mod watched;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub(super) use device::Device;
pub(super) use identity::Key;
pub use identity::NO_TEAM;
pub use metrics::{KNOWN_METRICS, KnownMetric, REQUESTS, UsageUnit};
pub use reading::{DEFAULT_METRIC, GroupBy, Reading, label_name, objection};
pub(super) use track::{LOOKBACK_MS, Origin, Samples, Track, merged, together};
pub(super) use value::{REJECTIONS, Rejection};

use self::device::Nodes;
use self::identity::Spelling;
use self::metrics::is_of_devices;
use self::peaks::Peaks;
use self::pods::PodFacts;
use self::scrapes::Scrapes;
use self::sink::Now;
use self::watched::Watched;
use super::pods::Listed;
use super::time::{DAY_MS, MINUTE_MS};

/// An idle instance shows a few MiB (12 on an A100's 1g.10gb); a CUDA context alone
/// takes more than this.
pub(super) const IN_USE_MIB: u32 = 128;

/// The samples of a pod on one device, as one job's series give them.
#[derive(Debug)]
pub(super) struct PodSeries {
    job: u32,
    spelling: Spelling,
    pub(super) team: Arc<str>,
    pub(super) pod: Key,
    pub(super) container: Arc<str>,
    /// The workload's name, where it is not to be read from the pod's name.
    pub(super) group: Option<Arc<str>>,
    pub(super) device: u32,
    /// Whether the samples are the pod's alone on a device that it may share.
    per_pod: bool,
    /// The resource that the pod asks for, if the samples are counts of it and not of memory.
    pub(super) resource: Option<Arc<str>>,
    /// Whether a metric that is the pod's alone shows it as well.
    superseded: bool,
    /// Whether it only names the exporter.
    of_exporter: bool,
    /// Whether these are requests of a pod that samples show.
    pub(super) is_measured: bool,
    /// Whether these are requests, and all of a pod that had ended.
    pub(super) ended: bool,
    pub(super) samples: Samples,
    /// Of requests those after the pod's end as well, where there are any: it was looked then.
    looked: Samples,
    /// Samples without a time: the scrape that they are of, and MiB.
    pub(super) untimed: Vec<(u32, u32)>,
    pub(super) rejected: [u64; REJECTIONS],
}

impl PodSeries {
    /// The highest sample.
    fn peak(&self) -> u32 {
        let timed = together(std::iter::once(&self.samples)).map(|(_, mib)| mib);
        timed.chain(self.untimed.iter().map(|(_, mib)| *mib)).max().unwrap_or(0)
    }
}

/// What one file or answer held.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) name: String,
    /// Series of the metric.
    pub(super) matched: u64,
    /// Series of other metrics, by name; only so many names are kept.
    pub(super) others: BTreeMap<String, u64>,
    /// Series without a name whose labels are not those of a GPU.
    pub(super) not_gpu: u64,
    /// Series without a name: the answer of a function at one instant.
    pub(super) nameless: u64,
    /// Series that name owners or ends of pods.
    pub(super) facts: u64,
    /// Whether any series had more than one sample.
    pub(super) has_history: bool,
}

/// Everything collected so far.
#[derive(Debug, Default)]
pub struct Usage {
    reading: Reading,
    pod_series: Vec<PodSeries>,
    series_index: HashMap<Box<str>, u32>,
    devices: Vec<Device>,
    device_index: HashMap<Box<str>, u32>,
    nodes: Nodes,
    jobs: HashMap<Box<str>, u32>,
    /// Jobs with the namespace and an owner or container of their exporters, where the server keeps
    /// the workload's labels beside them.
    exporters: HashSet<Box<str>>,
    names: HashMap<Box<str>, Arc<str>>,
    sources: Vec<Source>,
    /// What kube-state-metrics says of the pods.
    facts: PodFacts,
    /// The highest values between the steps of a server's answer.
    peaks: Peaks,
    /// Units that a file's `# HELP` lines give.
    units: BTreeMap<String, UsageUnit>,
    /// The scrapes without times.
    scrapes: Scrapes,
    /// For each of them its moment, once all is in order.
    instants: Vec<u32>,
    /// Series with a namespace, but neither pod nor device: aggregated away.
    aggregated: u64,
    /// Whether any series has the label that names the team, and the one that names the workload.
    has_team_label: bool,
    has_group_label: bool,
    /// The labels of the first series of the metric, where one of these two is asked for.
    labels_there: Vec<String>,
    /// Whether the present input has the same times for all series.
    evaluated: bool,
    /// How many answers for a range there are, and whether the present one is among them.
    ranges: u32,
    in_range: bool,
    /// Whether all that the present source holds is one range, asked for in parts.
    in_parts: bool,
    /// The devices that are looked at together.
    watched: Watched,
    /// Whether all that was read is in order.
    settled: bool,
    key: String,
    /// The present series as its input spells it.
    series_text: String,
    now: Now,
}

impl Usage {
    /// Nothing collected yet.
    pub fn new(reading: Reading) -> Usage {
        Usage { reading, ..Usage::default() }
    }

    /// Starts the next file or answer; `name` is for messages.
    pub fn begin(&mut self, name: &str) {
        if self.sources.last().is_none_or(|source| source.name != name) {
            self.sources.push(Source { name: name.to_string(), ..Source::default() });
        }
        self.settled = false;
        self.units.clear();
        self.evaluated = false;
        self.watched.next_answer();
        self.in_range = false;
        self.in_parts = false;
        self.scrapes.begin();
    }

    /// Starts a source whose answers are the parts of one range.
    pub fn begin_parts(&mut self, name: &str) {
        self.begin(name);
        self.in_parts = true;
    }

    /// How samples are understood.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Takes a list of pods that is read beside the samples: samples of these pods are of the list's
    /// workloads, whatever else would name them. To be called before the samples are sized.
    pub fn know(&mut self, listed: Listed) {
        self.facts.listed = listed;
    }

    /// Whether a workload is one of a list of pods.
    pub(super) fn is_listed(&self, team: &str, workload: &str) -> bool {
        self.facts.listed.has(team, workload)
    }

    /// The series of workloads: without those that only name the exporter, which a server that
    /// does not honour labels gives to idle devices.
    pub(super) fn pod_series(&self) -> impl Iterator<Item = &PodSeries> {
        self.pod_series
            .iter()
            .filter(|series| series.resource.is_none() && !series.superseded && !series.of_exporter)
    }

    /// The devices that a pod held, by whatever metric.
    pub(super) fn held_devices(&self) -> impl Iterator<Item = u32> {
        let held = self.pod_series.iter().filter(|series| !series.of_exporter);
        held.map(|series| series.device)
    }

    /// The counts of resources that pods ask for.
    pub(super) fn request_series(&self) -> impl Iterator<Item = &PodSeries> {
        self.pod_series.iter().filter(|series| series.resource.is_some())
    }

    /// What pods hold by what they ask for, and when: those that no sample shows, while they do not
    /// wait.
    pub(super) fn held_requests(&self) -> impl Iterator<Item = (&PodSeries, Cow<'_, Samples>)> {
        let holds = |series: &&PodSeries| {
            !series.is_measured && series.resource.as_deref().is_some_and(is_of_devices)
        };
        self.pod_series.iter().filter(holds).map(|series| {
            let held = match self.facts.waiting(&series.pod) {
                Some(waiting) => Cow::Owned(waiting.without(&series.samples)),
                None => Cow::Borrowed(&series.samples),
            };
            (series, held)
        })
    }

    /// Whether the pod of a series was ended for lack of memory.
    pub(super) fn was_killed(&self, series: &PodSeries) -> bool {
        self.facts.was_killed(&series.pod)
    }

    pub(super) fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub(super) fn device(&self, series: &PodSeries) -> &Device {
        &self.devices[series.device as usize]
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The moment of each scrape without times: those of one moment have the same number.
    pub(super) fn instants(&self) -> &[u32] {
        &self.instants
    }

    pub(super) fn aggregated(&self) -> u64 {
        self.aggregated
    }

    /// Whether any series has the label that is to name the team.
    pub(super) fn has_team_label(&self) -> bool {
        self.has_team_label
    }

    /// Whether any series has the label that is to name the workload.
    pub(super) fn has_group_label(&self) -> bool {
        self.has_group_label
    }

    /// Which labels there are instead, for a message.
    pub(super) fn labels_there(&self) -> String {
        match &self.labels_there[..] {
            [] => "the series have no labels".to_string(),
            there => format!("the series have {}", there.join(", ")),
        }
    }

    /// The samples of each device while no pod had it.
    pub(super) fn without_pod(&self) -> impl Iterator<Item = (u32, &Samples)> {
        (0u32..).zip(self.devices.iter().map(|device| &device.idle))
    }

    /// Every sample there is of anything, busy or idle: the times at which it was looked.
    pub(super) fn all_samples(&self) -> impl Iterator<Item = &Samples> {
        let of_pods = self.pod_series.iter().flat_map(|s| [&s.samples, &s.looked]);
        of_pods.chain(self.devices.iter().map(|d| &d.idle))
    }

    /// The samples of each device, busy or idle: when it was looked at.
    pub(super) fn looks(&self) -> impl Iterator<Item = (u32, &Samples)> {
        let of_pods = self.pod_series.iter().map(|series| (series.device, &series.samples));
        of_pods.chain(self.without_pod())
    }

    /// What is looked at together with a device, as one number.
    pub(super) fn watch(&self, device: u32) -> u32 {
        self.watched.of(device)
    }

    /// The times of the first and the last sample of anything, in milliseconds since 1970; once
    /// all is in order.
    pub(super) fn span_ms(&self) -> Option<(i64, i64)> {
        let spans = self.all_samples().flat_map(Samples::tracks).filter_map(|t| t.span_ms());
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Whether a pod was seen at more than one time. A device may be in one scrape twice, where two
    /// jobs read its exporter.
    pub(super) fn has_range(&self) -> bool {
        let mut tracks = self.pod_series.iter().flat_map(|series| series.samples.tracks());
        tracks.any(|track| track.span_ms().is_some_and(|(first, last)| first < last))
    }

    /// The stretches of time in which anything was seen, busy or idle: the first and the last slot
    /// of each, by the slot of each time, which never falls by more than a change of clocks. A sample
    /// holds until the next one of its series is due, for a day at most.
    pub(super) fn seen_slots(&self, slot_of: impl Fn(i64) -> i64) -> Vec<(i64, i64)> {
        // Of each track, then of all.
        let add = |stretches: &mut Vec<(i64, i64)>, from: usize, (first, last): (i64, i64)| {
            match stretches[from..].last_mut() {
                Some((_, until)) if first <= *until + 1 => *until = last.max(*until),
                _ => stretches.push((first, last)),
            }
        };
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        for track in self.all_samples().flat_map(Samples::tracks) {
            let holds = track.step_ms().unwrap_or(MINUTE_MS).min(DAY_MS);
            let own = stretches.len();
            for at in track.times() {
                add(&mut stretches, own, (slot_of(at), slot_of(at + holds - 1)));
            }
        }
        stretches.sort_unstable();
        let mut seen = Vec::new();
        stretches.into_iter().for_each(|slots| add(&mut seen, 0, slots));
        seen
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Arc<str> = text.into();
        self.names.insert(text.into(), name.clone());
        name
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
