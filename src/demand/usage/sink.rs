//! How the labels and samples of a file or an answer become series: what a reader of any format
//! hands over, one series after the other.

use super::identity::{Identity, Key};
use super::metrics::{NVIDIA_RESOURCE, REQUESTS, UsageUnit, known};
use super::pods::{Event, Fact};
use super::stale::Staleness;
use super::track::{Origin, Samples};
use super::value::{REJECTIONS, Rejection, Unit, to_mib};
use super::{Device, GroupBy, PodSeries, Usage, index};
use crate::demand::prometheus::{About, Labels, Sink};

/// So many names of other metrics are kept for what is said of them.
const MAX_NAMES: usize = 200;

/// The series that samples now belong to.
#[derive(Debug, Default)]
pub(super) struct Now {
    series: Option<u32>,
    origin: Origin,
    device: u32,
    unit: Unit,
    /// What happened to a pod, in samples above 0.
    event: Option<(Event, Key)>,
    staleness: Staleness,
    samples: u64,
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

    /// The samples of a pod on a device, or of its requests for a resource.
    fn pod_series_of(
        &mut self,
        identity: Identity,
        device: u32,
        per_pod: bool,
        resource: Option<&str>,
    ) -> u32 {
        let Identity { job, spelling, team, cluster, namespace, pod, container, group } = identity;
        self.key.clear();
        let group_key = group.as_deref().unwrap_or("");
        let resource_key = resource.unwrap_or("");
        for part in [&*team, &cluster, &namespace, &pod, &container, group_key, resource_key] {
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
            pod: Key {
                name: self.intern(&pod),
                namespace: self.intern(&namespace),
                cluster: self.intern(&cluster),
            },
            container: self.intern(&container),
            group: group.map(|group| self.intern(&group)),
            device,
            per_pod,
            resource: resource.map(|resource| self.intern(resource)),
            superseded: false,
            of_exporter: false,
            is_measured: false,
            ended: false,
            samples: Samples::default(),
            looked: Samples::default(),
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
        let device = self.requests_of(&identity, &resource);
        let series = self.pod_series_of(identity, device, true, Some(&resource));
        self.starts(labels, Some(series), device, Unit::Count);
        true
    }

    /// All that a pod requests of a resource, as if it were a device: whatever container it is for,
    /// and whichever kube-state-metrics of several says so.
    fn requests_of(&mut self, identity: &Identity, resource: &str) -> u32 {
        let Identity { cluster, namespace, pod, .. } = identity;
        let key = format!("{cluster}\0{namespace}\0{pod}\0{resource}\0request");
        if let Some(known) = self.device_index.get(key.as_str()) {
            return *known;
        }
        self.add_device(Device::of_requests(), [&key])
    }

    /// The samples that follow are of this series, of which some may have come before.
    fn starts(&mut self, labels: &Labels, series: Option<u32>, device: u32, unit: Unit) {
        let goes_on = self.series_text == labels.text();
        if !goes_on {
            self.series_text.clear();
            self.series_text.push_str(labels.text());
        }
        let staleness = if goes_on { self.now.staleness } else { Staleness::default() };
        self.now = Now { series, device, unit, staleness, ..Now::default() };
    }
}

impl Sink for Usage {
    fn series(&mut self, labels: &Labels) -> bool {
        if self.peaks.come() {
            return self.peaks.series(labels);
        }
        let fact = self.facts.add(labels);
        if !matches!(fact, Fact::Other)
            && let Some(source) = self.sources.last_mut()
        {
            source.facts += 1;
        }
        match fact {
            Fact::Other => {}
            Fact::Taken => return false,
            Fact::Event(event, pod) => {
                self.now = Now { event: Some((event, pod)), ..Now::default() };
                return true;
            }
        }
        if self.reading.wants_requests() && labels.name() == Some(REQUESTS) {
            return self.request(labels);
        }
        let Some(unit) = self.is_wanted(labels) else {
            return false;
        };
        let names_labels =
            self.reading.team_label.is_some() || matches!(self.reading.group_by, GroupBy::Label(_));
        if names_labels && self.labels_there.is_empty() {
            self.labels_there = labels.labels().map(str::to_string).collect();
            self.labels_there.sort();
        }
        let per_pod = labels.name().and_then(known).is_some_and(|metric| metric.per_pod);
        let identity = self.identity(labels);
        let device = match per_pod {
            true => self.device_of(labels, identity.as_ref()),
            false => self.whole_device_of(labels, identity.as_ref()),
        };
        if identity.is_none() && !labels.has_any(&DEVICE_LABELS) {
            self.aggregated += 1;
            self.devices[device as usize].is_gpu = false;
            return false;
        }
        let series = identity.map(|identity| self.pod_series_of(identity, device, per_pod, None));
        if let Some(series) = series {
            self.peaks.note(labels, series, unit);
        }
        self.starts(labels, series, device, unit);
        let of_function = self.evaluated && labels.name().is_none();
        self.now.origin = if of_function { Origin::Function } else { Origin::Scrapes };
        true
    }

    fn sample(&mut self, at_ms: Option<i64>, value: f64) {
        if self.peaks.come() {
            return self.peaks.sample(at_ms, value);
        }
        if let Some((event, pod)) = &self.now.event {
            self.facts.note(*event, pod, value > 0.0, at_ms, self.scrapes.present());
            return;
        }
        let Now { series, origin, device, unit, .. } = self.now;
        self.now.samples += 1;
        if self.now.samples == 1 && self.evaluated && !matches!(origin, Origin::Range(_)) {
            self.watched.add(device);
        }
        if self.now.samples == 2
            && let Some(source) = self.sources.last_mut()
        {
            source.has_history = true;
        }
        let mib = to_mib(value, unit == Unit::Bytes);
        let Some(series) = series else {
            let device = &mut self.devices[device as usize];
            let mib = mib.unwrap_or(0);
            device.idle_peak = device.idle_peak.max(mib);
            match at_ms {
                Some(at_ms) => device.idle.push(origin, at_ms, mib),
                None => self.scrapes.add_idle(self.now.device),
            }
            return;
        };
        let mut not_a_number = u64::from(value.is_nan());
        if let Some(at_ms) = at_ms {
            not_a_number = self.now.staleness.next(at_ms, value.is_nan());
        }
        let rejected = &mut self.pod_series[series as usize].rejected;
        rejected[Rejection::NotANumber as usize] += not_a_number;
        let mib = match mib {
            Ok(mib) => mib,
            Err(_) if value.is_nan() => return,
            Err(rejection) => {
                rejected[rejection as usize] += 1;
                return;
            }
        };
        if let Some(at_ms) = at_ms {
            self.pod_series[series as usize].samples.push(origin, at_ms, mib);
            return;
        }
        let untimed = &mut self.pod_series[series as usize].untimed;
        let again = untimed.last().is_some_and(|(scrape, _)| *scrape == self.scrapes.present());
        untimed.push((self.scrapes.add_held(device, again), mib));
    }

    fn evaluated(&mut self) {
        if self.peaks.come() {
            return;
        }
        self.evaluated = true;
        self.watched.next_answer();
        self.in_range &= self.in_parts;
    }

    fn range(&mut self) {
        if self.peaks.come() {
            return;
        }
        if !self.in_range {
            self.in_range = true;
            self.ranges += 1;
        }
        self.now.origin = Origin::Range(self.ranges - 1);
    }

    fn about(&mut self, metric: &str, kind: About, text: &str) {
        let is_metric = self.reading.is_metric(metric);
        let is_requests = metric == REQUESTS && self.reading.wants_requests();
        if !(is_metric || is_requests) {
            return;
        }
        // A metric is described once per scrape.
        self.scrapes.next();
        if !is_metric {
            return;
        }
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
