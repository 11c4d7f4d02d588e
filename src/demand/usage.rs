//! GPU memory in use, by pod and device, collected from Prometheus samples.
//!
//! This is where labels get their meaning: which of them name the pod, which the device, and which
//! only name the exporter. It keeps every sample packed, draws no conclusion and knows no sizes.

mod metrics;
mod pods;
mod reading;
mod track;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub use metrics::{KNOWN_METRICS, KnownMetric, REQUESTS, UsageUnit};
pub use reading::{DEFAULT_METRIC, GroupBy, Reading, label_name, objection};
pub(super) use track::{Samples, together};

use self::metrics::{LabelNames, NVIDIA_RESOURCE, known};
use self::pods::{Fact, PodFacts};
use super::prometheus::{About, Labels, Sink};

/// More than any GPU has: what is above is in another unit, or a counter.
const MAX_MIB: f64 = (4u64 << 20) as f64;

/// Which labels name the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spelling {
    /// `exported_pod`: the server kept the exporter's own labels beside those of the workload.
    Exported,
    /// `pod_name`: dcgm-exporter with `--use-old-namespace`.
    Old,
    /// `pod`: the workload's, or, on an idle device of a server that does not honour labels, the
    /// exporter's own.
    Plain,
    /// None: chosen by another label.
    Unnamed,
    /// Labels of a known metric that only it has.
    Own,
}

/// The samples of a pod on one device, as one job's series give them.
#[derive(Debug)]
pub(super) struct PodSeries {
    job: u32,
    spelling: Spelling,
    pub(super) team: Arc<str>,
    namespace: Arc<str>,
    pub(super) pod: Arc<str>,
    /// The workload's name, where it is not to be read from the pod's name.
    pub(super) group: Option<Arc<str>>,
    pub(super) device: u32,
    /// Whether the samples are the pod's alone on a device that it may share.
    per_pod: bool,
    /// The resource that the pod asks for, if the samples are counts of it and not of memory.
    pub(super) resource: Option<Arc<str>>,
    /// Whether a metric that is the pod's alone shows it as well.
    superseded: bool,
    pub(super) samples: Samples,
    /// Samples without a time: the block they stand in, and MiB.
    pub(super) untimed: Vec<(u32, u32)>,
    pub(super) rejected: [u64; REJECTIONS],
}

/// A GPU or an instance.
#[derive(Debug)]
pub(super) struct Device {
    /// `1g.10gb`; `None` for a whole GPU.
    pub(super) profile: Option<Box<str>>,
    /// The GPU's product name, where a label gives it.
    pub(super) product: Option<Arc<str>>,
    /// Its samples while no pod had it, for the times at which it was looked at.
    idle: Samples,
    /// Whether its labels name a GPU at all; those of an aggregate do not.
    pub(super) is_gpu: bool,
    /// The most MiB in use while no pod had it.
    pub(super) idle_peak: u32,
}

/// Why a sample cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rejection {
    NotANumber,
    Negative,
    Blank,
    Implausible,
}
pub(super) const REJECTIONS: usize = 4;

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

const MAX_NAMES: usize = 200;

/// Everything collected so far.
#[derive(Debug, Default)]
pub struct Usage {
    reading: Reading,
    pod_series: Vec<PodSeries>,
    series_index: HashMap<Box<str>, u32>,
    devices: Vec<Device>,
    device_index: HashMap<Box<str>, u32>,
    jobs: Vec<bool>,
    job_index: HashMap<Box<str>, u32>,
    names: HashMap<Box<str>, Arc<str>>,
    sources: Vec<Source>,
    /// What kube-state-metrics says of the pods.
    facts: PodFacts,
    /// Units that a file's `# HELP` lines give.
    units: BTreeMap<String, UsageUnit>,
    /// For each scrape without times, the devices in it.
    blocks: Vec<BTreeSet<u32>>,
    /// Series with a namespace, but neither pod nor device: aggregated away.
    aggregated: u64,
    /// Whether the present input has the same times for all series.
    evaluated: bool,
    /// Whether any input has the times of scrapes, which differ between targets.
    scrape_times: bool,
    key: String,
    now: Now,
}

/// The series that samples now belong to.
#[derive(Debug, Default)]
struct Now {
    series: Option<u32>,
    device: u32,
    unit: Unit,
    /// The pod that samples above 0 say was ended for lack of memory.
    killed: Option<(Box<str>, Box<str>)>,
    samples: u64,
}

/// What the values of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unit {
    #[default]
    Mebibytes,
    Bytes,
    /// Not memory: how many of a resource.
    Count,
}

const DEVICE_LABELS: [&str; 10] = [
    "UUID",
    "uuid",
    "gpu_uuid",
    "gpu",
    "GPU_I_ID",
    "modelName",
    "minor_number",
    "gpu_id",
    "device_uuid",
    "deviceuuid",
];
/// Labels that no series of a GPU has: cAdvisor's, node_exporter's, a histogram's.
const OTHER_LABELS: [&str; 8] =
    ["cpu", "mode", "le", "image", "id", "interface", "fstype", "mountpoint"];

impl Usage {
    /// Nothing collected yet.
    pub fn new(reading: Reading) -> Usage {
        Usage { reading, ..Usage::default() }
    }

    /// Starts the next file or answer; `name` is for messages.
    pub fn begin(&mut self, name: &str) {
        // The parts of one live query are one source.
        if self.sources.last().is_none_or(|source| source.name != name) {
            self.sources.push(Source { name: name.to_string(), ..Source::default() });
        }
        self.units.clear();
        self.evaluated = false;
        self.blocks.push(BTreeSet::new());
    }

    /// How samples are understood.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Puts everything in order, once all is read.
    pub(super) fn settle(&mut self) {
        for series in &mut self.pod_series {
            series.samples.sort_late();
        }
        for device in &mut self.devices {
            device.idle.sort_late();
        }
        self.apply_facts();
    }

    /// Gives pods the owners that are known, and each pod the metric that is its own.
    fn apply_facts(&mut self) {
        let own: HashSet<(Arc<str>, Arc<str>)> = self
            .pod_series
            .iter()
            .filter(|series| series.per_pod && series.resource.is_none())
            .map(|series| (series.namespace.clone(), series.pod.clone()))
            .collect();
        for at in 0..self.pod_series.len() {
            let series = &self.pod_series[at];
            let superseded = !series.per_pod
                && !own.is_empty()
                && own.contains(&(series.namespace.clone(), series.pod.clone()));
            let owner = match (&series.group, self.facts.owner(&series.namespace, &series.pod)) {
                (None, Some(owner)) => Some(owner.to_string()),
                _ => None,
            };
            let owner = owner.map(|owner| self.intern(&owner));
            let series = &mut self.pod_series[at];
            series.superseded = superseded;
            series.group = owner.or_else(|| series.group.take());
        }
    }

    /// The series of workloads: without those that only name the exporter, which a server that
    /// does not honour labels gives to idle devices.
    pub(super) fn pod_series(&self) -> impl Iterator<Item = &PodSeries> {
        self.pod_series.iter().filter(|series| {
            series.resource.is_none() && !series.superseded && !self.names_exporter(series)
        })
    }

    /// The devices that a pod held, by whatever metric.
    pub(super) fn held_devices(&self) -> impl Iterator<Item = u32> {
        let held = self.pod_series.iter().filter(|series| !self.names_exporter(series));
        held.map(|series| series.device)
    }

    /// The counts of resources that pods ask for.
    pub(super) fn request_series(&self) -> impl Iterator<Item = &PodSeries> {
        self.pod_series.iter().filter(|series| series.resource.is_some())
    }

    /// Whether the pod of a series was ended for lack of memory.
    pub(super) fn was_killed(&self, series: &PodSeries) -> bool {
        self.facts.was_killed(&series.namespace, &series.pod)
    }

    fn names_exporter(&self, series: &PodSeries) -> bool {
        series.spelling == Spelling::Plain && self.jobs[series.job as usize]
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

    pub(super) fn blocks(&self) -> &[BTreeSet<u32>] {
        &self.blocks
    }

    pub(super) fn has_scrape_times(&self) -> bool {
        self.scrape_times
    }

    pub(super) fn aggregated(&self) -> u64 {
        self.aggregated
    }

    /// Every sample there is of anything, busy or idle: the times at which it was looked.
    pub(super) fn all_samples(&self) -> impl Iterator<Item = &Samples> {
        self.pod_series.iter().map(|s| &s.samples).chain(self.devices.iter().map(|d| &d.idle))
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
        tracks.any(|track| track.shortest_gap_ms().is_some())
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Arc<str> = text.into();
        self.names.insert(text.into(), name.clone());
        name
    }

    /// The device of a series; `of_pod` is the pod alone whose share of a device the samples are.
    fn device_of(&mut self, labels: &Labels, of_pod: Option<&Identity>) -> u32 {
        const UUIDS: [&str; 5] = ["UUID", "uuid", "gpu_uuid", "device_uuid", "deviceuuid"];
        let uuid = labels.first_of(&UUIDS);
        let instance = labels.first_of(&["GPU_I_ID", "gpu_i_id"]);
        self.key.clear();
        if let Some(pod) = of_pod {
            let index = labels.first_of(&["vdevice_index", "vdeviceid"]).unwrap_or("");
            for part in [&*pod.team, &pod.pod, &pod.container, index] {
                self.key.push_str(part);
                self.key.push('\0');
            }
        }
        match uuid {
            Some(uuid) => self.key.push_str(uuid),
            None => {
                for label in ["Hostname", "hostname", "node", "instance", "gpu", "device"] {
                    self.key.push_str(labels.get(label).unwrap_or(""));
                    self.key.push('\0');
                }
            }
        }
        self.key.push('\0');
        self.key.push_str(instance.unwrap_or(""));
        if let Some(known) = self.device_index.get(self.key.as_str()) {
            return *known;
        }
        let product = labels.first_of(&["modelName", "gpu_type", "device_name"]);
        let profile = match of_pod {
            // A share of a GPU that HAMi gives, which an instance can take over.
            Some(_) if uuid.is_some() => Some("vGPU"),
            Some(_) => product.and_then(profile_in),
            None => instance.map(|_| {
                labels.first_of(&["GPU_I_PROFILE", "gpu_i_profile"]).unwrap_or("unknown profile")
            }),
        };
        let device = Device {
            profile: profile.map(Into::into),
            product: product.map(|product| self.intern(product)),
            idle: Samples::default(),
            is_gpu: true,
            idle_peak: 0,
        };
        self.devices.push(device);
        let index = index(self.devices.len() - 1);
        self.device_index.insert(self.key.as_str().into(), index);
        index
    }

    fn job_of(&mut self, labels: &Labels) -> u32 {
        let job = labels.get("job").unwrap_or("");
        if let Some(known) = self.job_index.get(job) {
            return *known;
        }
        self.jobs.push(false);
        let index = index(self.jobs.len() - 1);
        self.job_index.insert(job.into(), index);
        index
    }

    /// Whether a series is of the metric, and what its values are.
    fn is_wanted(&mut self, labels: &Labels) -> Option<Unit> {
        let source = self.sources.last_mut()?;
        let name = labels.name();
        let wanted = match name {
            None => {
                let foreign = !labels.has_any(&DEVICE_LABELS) && labels.has_any(&OTHER_LABELS);
                if foreign {
                    source.not_gpu += 1;
                    return None;
                }
                source.nameless += 1;
                true
            }
            Some(_) if self.reading.any_name => true,
            Some(name) => self.reading.is_metric(name),
        };
        let name = name.unwrap_or("");
        if !wanted {
            if let Some(count) = source.others.get_mut(name) {
                *count += 1;
            } else if source.others.len() < MAX_NAMES {
                source.others.insert(name.to_string(), 1);
            }
            return None;
        }
        source.matched += 1;
        let says_bytes = || name.to_ascii_lowercase().ends_with("_bytes");
        let by_name = || match known(name) {
            Some(metric) => metric.unit,
            None if says_bytes() => UsageUnit::Bytes,
            None => UsageUnit::Mebibytes,
        };
        let unit = self.reading.unit.or_else(|| self.units.get(name).copied());
        Some(match unit.unwrap_or_else(by_name) {
            UsageUnit::Bytes => Unit::Bytes,
            UsageUnit::Mebibytes => Unit::Mebibytes,
        })
    }

    /// Whose memory a series is, `None` where no pod is named.
    fn identity(&mut self, labels: &Labels) -> Option<Identity> {
        let names = labels.name().and_then(known).map(|metric| metric.labels);
        let (spelling, [namespace, pod, container], workload) = match names {
            Some(LabelNames::Named { team, pod, container, workload }) => {
                (Spelling::Own, [team, pod, container], workload)
            }
            _ => {
                let (spelling, names) = kubernetes_labels(labels);
                (spelling, names, None)
            }
        };
        let value = |label: &str| clean_name(labels.get(label).unwrap_or(""));
        let (namespace, pod, container) = (value(namespace), value(pod), value(container));
        if container.contains("dcgm-exporter") || pod.contains("dcgm-exporter") {
            return None;
        }
        let own = |label: &str| {
            // With labels not honoured, the workload's own is under its exported name.
            let value = labels.get(&format!("exported_{label}")).or_else(|| labels.get(label));
            clean_name(value.unwrap_or(""))
        };
        let group = match &self.reading.group_by {
            GroupBy::Owner => workload.map(value),
            GroupBy::Pod => Some(pod.clone()),
            GroupBy::Container => Some(container.clone()),
            GroupBy::Label(label) => Some(own(label)),
        };
        if group.as_ref().unwrap_or(&pod).is_empty() {
            return None;
        }
        let team = match &self.reading.team_label {
            Some(label) => own(label),
            None => namespace.clone(),
        };
        Some(Identity {
            job: self.job_of(labels),
            spelling,
            team: if team.is_empty() { NO_TEAM.to_string() } else { team.into_owned() },
            namespace: namespace.into_owned(),
            pod: pod.into_owned(),
            container: container.into_owned(),
            group: group.map(Cow::into_owned),
        })
    }

    /// The samples of a pod on a device, or of its requests for a resource.
    fn pod_series_of(
        &mut self,
        identity: Identity,
        device: u32,
        per_pod: bool,
        resource: Option<&str>,
    ) -> u32 {
        let Identity { job, spelling, team, namespace, pod, container, group } = identity;
        if matches!(spelling, Spelling::Exported | Spelling::Old) {
            self.jobs[job as usize] = true;
        }
        self.key.clear();
        let group_key = group.as_deref().unwrap_or("");
        for part in [&*team, &namespace, &pod, &container, group_key, resource.unwrap_or("")] {
            self.key.push_str(part);
            self.key.push('\0');
        }
        self.key.push_str(&format!("{job} {spelling:?} {device}"));
        if let Some(known) = self.series_index.get(self.key.as_str()) {
            return *known;
        }
        let series = PodSeries {
            job,
            spelling,
            team: self.intern(&team),
            namespace: self.intern(&namespace),
            pod: self.intern(&pod),
            group: group.map(|group| self.intern(&group)),
            device,
            per_pod,
            resource: resource.map(|resource| self.intern(resource)),
            superseded: false,
            samples: Samples::default(),
            untimed: Vec::new(),
            rejected: [0; REJECTIONS],
        };
        self.pod_series.push(series);
        let index = index(self.pod_series.len() - 1);
        self.series_index.insert(self.key.as_str().into(), index);
        index
    }

    /// Starts a series of [`REQUESTS`]; whether its samples are wanted.
    fn request(&mut self, labels: &Labels) -> bool {
        let resource = labels.get("resource").filter(|r| r.starts_with(NVIDIA_RESOURCE));
        let Some(resource) = resource.map(str::to_string) else {
            return false;
        };
        let Some(identity) = self.identity(labels) else {
            return false;
        };
        if let Some(source) = self.sources.last_mut() {
            source.matched += 1;
        }
        // Each container's request is counted for itself, as if it were a device.
        let device = self.device_of(labels, Some(&identity));
        self.devices[device as usize].is_gpu = false;
        let series = self.pod_series_of(identity, device, true, Some(&resource));
        self.now = Now { series: Some(series), device, unit: Unit::Count, ..Now::default() };
        true
    }

    fn open_block(&mut self) {
        if self.blocks.last().is_none_or(|block| !block.is_empty()) {
            self.blocks.push(BTreeSet::new());
        }
    }
}

/// The team of pods that name no namespace.
pub const NO_TEAM: &str = "default";

/// Whose memory a series is, by its labels.
struct Identity {
    job: u32,
    spelling: Spelling,
    team: String,
    namespace: String,
    pod: String,
    container: String,
    group: Option<String>,
}

/// A label's value as a name that a workloads CSV can hold: without control characters and outer
/// blanks.
fn clean_name(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return clean.trim().to_string().into();
    }
    text.trim().into()
}

/// Which labels name namespace, pod and container.
fn kubernetes_labels(labels: &Labels) -> (Spelling, [&'static str; 3]) {
    const PLAIN: [&str; 3] = ["namespace", "pod", "container"];
    if labels.get("exported_pod").is_some() {
        (Spelling::Exported, ["exported_namespace", "exported_pod", "exported_container"])
    } else if labels.get("pod_name").is_some() {
        (Spelling::Old, ["pod_namespace", "pod_name", "container_name"])
    } else if labels.get("pod").is_some() {
        (Spelling::Plain, PLAIN)
    } else {
        (Spelling::Unnamed, PLAIN)
    }
}

/// The profile that a product name has, as `NVIDIA A100-SXM4-40GB MIG 3g.20gb`.
fn profile_in(product: &str) -> Option<&str> {
    product.split([' ', '/']).find(|word| word.contains("g.") && word.contains("gb"))
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Sink for Usage {
    fn series(&mut self, labels: &Labels) -> bool {
        let fact = self.facts.add(labels);
        if !matches!(fact, Fact::Other)
            && let Some(source) = self.sources.last_mut()
        {
            source.facts += 1;
        }
        match fact {
            Fact::Other => {}
            Fact::Owner | Fact::Ended => return false,
            Fact::Killed(namespace, pod) => {
                self.now = Now { killed: Some((namespace, pod)), ..Now::default() };
                return true;
            }
        }
        let by_default = self.reading.metric.as_deref().is_none_or(|metric| metric == REQUESTS);
        if by_default && labels.name() == Some(REQUESTS) {
            return self.request(labels);
        }
        let Some(unit) = self.is_wanted(labels) else {
            return false;
        };
        let per_pod = labels.name().and_then(known).is_some_and(|metric| metric.per_pod);
        let identity = self.identity(labels);
        let device = self.device_of(labels, identity.as_ref().filter(|_| per_pod));
        if identity.is_none() && !labels.has_any(&DEVICE_LABELS) {
            self.aggregated += 1;
            self.devices[device as usize].is_gpu = false;
            return false;
        }
        let series = identity.map(|identity| self.pod_series_of(identity, device, per_pod, None));
        self.now = Now { series, device, unit, ..Now::default() };
        true
    }

    fn sample(&mut self, at_ms: Option<i64>, value: f64) {
        if let Some((namespace, pod)) = &self.now.killed {
            if value > 0.0 {
                self.facts.killed(namespace, pod);
            }
            return;
        }
        let Now { series, device, unit, .. } = self.now;
        self.now.samples += 1;
        if self.now.samples == 2
            && let Some(source) = self.sources.last_mut()
        {
            source.has_history = true;
        }
        self.scrape_times |= at_ms.is_some() && !self.evaluated;
        let mib = to_mib(value, unit == Unit::Bytes);
        let Some(series) = series else {
            let device = &mut self.devices[device as usize];
            let mib = mib.unwrap_or(0);
            device.idle_peak = device.idle_peak.max(mib);
            if let Some(at_ms) = at_ms {
                device.idle.push(at_ms, mib);
            }
            return;
        };
        let mib = match mib {
            Ok(mib) => mib,
            Err(rejection) => {
                self.pod_series[series as usize].rejected[rejection as usize] += 1;
                return;
            }
        };
        if let Some(at_ms) = at_ms {
            self.pod_series[series as usize].samples.push(at_ms, mib);
            return;
        }
        // The same series again is the next scrape, appended to the same file.
        let last = self.pod_series[series as usize].untimed.last().map(|(block, _)| *block);
        if last == Some(index(self.blocks.len() - 1)) {
            self.open_block();
        }
        let block = index(self.blocks.len() - 1);
        if let Some(devices) = self.blocks.last_mut() {
            devices.insert(device);
        }
        self.pod_series[series as usize].untimed.push((block, mib));
    }

    fn evaluated(&mut self) {
        self.evaluated = true;
    }

    fn about(&mut self, metric: &str, kind: About, text: &str) {
        if !self.reading.is_metric(metric) {
            return;
        }
        // A metric is described once per scrape.
        self.open_block();
        let text = text.to_ascii_lowercase();
        let unit = match kind {
            About::Help if text.contains("in mib") => UsageUnit::Mebibytes,
            About::Help if text.contains("in bytes") => UsageUnit::Bytes,
            About::Unit if text == "bytes" => UsageUnit::Bytes,
            _ => return,
        };
        self.units.insert(metric.to_string(), unit);
    }
}

/// A value in whole MiB, rounded up.
fn to_mib(value: f64, bytes: bool) -> Result<u32, Rejection> {
    if !value.is_finite() {
        return Err(Rejection::NotANumber);
    }
    if value < 0.0 {
        return Err(Rejection::Negative);
    }
    if is_blank(value, bytes) {
        return Err(Rejection::Blank);
    }
    // Averages and quantiles carry the noise of floating point, which must not add a MiB.
    let mib = if bytes { value.round() / f64::from(1 << 20) } else { (value - 1e-6).max(0.0) };
    let mib = mib.ceil();
    if mib > MAX_MIB { Err(Rejection::Implausible) } else { Ok(mib as u32) }
}

/// The numbers that DCGM gives for "not available": the last of 32-bit and 64-bit integers, and
/// 2^47 for floats (`DCGM_INT32_BLANK` and its kin in dcgm_structs.h).
fn is_blank(value: f64, bytes: bool) -> bool {
    const INT32: std::ops::RangeInclusive<f64> = 2_147_483_632.0..=2_147_483_647.0;
    const FLOAT: std::ops::RangeInclusive<f64> = 140_737_488_355_328.0..=140_737_488_355_343.0;
    value >= 9_223_372_036_854_774_784.0
        || FLOAT.contains(&value)
        || (!bytes && INT32.contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_whole_mib() {
        assert_eq!(to_mib(36_634.0, false), Ok(36_634));
        assert_eq!(to_mib(0.5, false), Ok(1));
        assert_eq!(to_mib(99.000_000_000_1, false), Ok(99));
        assert_eq!(to_mib(1_048_577.0, true), Ok(2));
        assert_eq!(to_mib(7.335_418_265_7e10, true), Ok(69_957));
        assert_eq!(to_mib(f64::NAN, false), Err(Rejection::NotANumber));
        assert_eq!(to_mib(-1.0, false), Err(Rejection::Negative));
        for blank in [9_223_372_036_854_775_794.0, 2_147_483_632.0, 140_737_488_355_328.0] {
            assert_eq!(to_mib(blank, false), Err(Rejection::Blank));
        }
        assert_eq!(to_mib(3.8e10, false), Err(Rejection::Implausible));
    }
}
