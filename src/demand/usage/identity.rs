//! Whose memory a series is: which of its labels are the workload's, and which the exporter's own.
//!
//! A server that does not honour labels keeps what the exporter says of the workload under an
//! exported name, but only where the target has a label of that name as well: one may have a
//! namespace and no pod. So each label of a workload is looked for by itself, for samples and for
//! what is known of pods alike, and what tells that a series is of a workload at all is its pod.

use std::borrow::Cow;
use std::sync::Arc;

use super::metrics::{LabelNames, known};
use super::{GroupBy, IN_USE_MIB, PodSeries, Usage};
use crate::demand::owner;
use crate::demand::prometheus::Labels;

/// The team of pods that name no namespace.
pub const NO_TEAM: &str = "default";

/// What tells one pod from all others, and one ReplicaSet or Job: a name may be there in several
/// namespaces, and in several clusters that one server or several files show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::demand) struct Key {
    pub(in crate::demand) name: Arc<str>,
    pub(in crate::demand) namespace: Arc<str>,
    /// Empty where no label tells.
    pub(in crate::demand) cluster: Arc<str>,
}

impl Key {
    /// What a series is about: a namespace, and the value of a label.
    pub(super) fn of(labels: &Labels, label: &str) -> Option<Key> {
        let name = of_workload(labels, label)?;
        let namespace = of_workload(labels, PLAIN[0]).unwrap_or("");
        Some(Key {
            name: clean_name(name).into(),
            namespace: clean_name(namespace).into(),
            cluster: cluster(labels).into(),
        })
    }

    /// Another object of the same namespace.
    pub(super) fn beside(&self, name: &str) -> Key {
        Key { name: name.into(), ..self.clone() }
    }

    /// The same where no label tells the cluster; `None` for such a key.
    pub(super) fn without_cluster(&self) -> Option<Key> {
        (!self.cluster.is_empty()).then(|| Key { cluster: "".into(), ..self.clone() })
    }
}

/// Which labels name the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    /// Some have their exported names: the server kept the target's own labels beside those of the
    /// workload.
    Exported,
    /// `pod_name`: dcgm-exporter with `--use-old-namespace`.
    Old,
    /// `pod`: the workload's, or, on an idle device of a server that does not honour labels, the
    /// exporter's own. One job may have both: labels were honoured later on, or by one of several
    /// servers.
    Plain,
    /// None: chosen by another label.
    Unnamed,
    /// Labels of a known metric that only it has.
    Own,
}

/// Whose memory a series is, by its labels.
pub(super) struct Identity {
    pub(super) job: u32,
    pub(super) spelling: Spelling,
    pub(super) team: String,
    pub(super) cluster: String,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) group: Option<String>,
}

/// Namespace, pod and container, each under the name that it has as a label.
const PLAIN: [&str; 3] = ["namespace", "pod", "container"];
const EXPORTED: [&str; 3] = ["exported_namespace", "exported_pod", "exported_container"];
const OLD: [&str; 3] = ["pod_namespace", "pod_name", "container_name"];

/// Names of a cluster.
pub(super) const CLUSTERS: [&str; 3] = ["cluster", "cluster_name", "cluster_id"];

/// How the pod and the container of dcgm-exporter are called, whatever installs it.
const EXPORTER: &str = "dcgm-exporter";

/// The value that a label has for the workload: under its exported name where the target has such a
/// label too.
pub(super) fn of_workload<'l>(labels: &'l Labels, label: &str) -> Option<&'l str> {
    labels.get(&format!("exported_{label}")).or_else(|| labels.get(label))
}

/// The cluster of a series, empty where no label tells.
fn cluster(labels: &Labels) -> Cow<'_, str> {
    clean_name(labels.first_of(&CLUSTERS).unwrap_or(""))
}

/// A label's value as a name that a workloads CSV can hold: without control characters and outer
/// blanks.
pub(super) fn clean_name(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return clean.trim().to_string().into();
    }
    text.trim().into()
}

/// Namespace, pod and container of the workload, and which labels name them.
fn kubernetes(labels: &Labels) -> (Spelling, [Option<&str>; 3]) {
    let [plain, exported, old] =
        [PLAIN, EXPORTED, OLD].map(|names| names.map(|label| labels.get(label)));
    let has_plain_pod = plain[1].is_some();
    if exported[1].is_some() || (has_plain_pod && exported.iter().any(Option::is_some)) {
        let [namespace, pod, container] = exported;
        let own_container = plain[2].filter(|container| !container.contains(EXPORTER));
        let of_pod = [namespace.or(plain[0]), pod.or(plain[1]), container.or(own_container)];
        return (Spelling::Exported, of_pod);
    }
    // A target may have a label `pod_name` for its own; the old exporter gives all three.
    if old[1].is_some() && (old[0].is_some() || !has_plain_pod) {
        return (Spelling::Old, old);
    }
    let spelling = if has_plain_pod { Spelling::Plain } else { Spelling::Unnamed };
    (spelling, [exported[0].or(plain[0]), plain[1], exported[2].or(plain[2])])
}

impl Usage {
    /// Whose memory a series is, `None` where no pod is named.
    pub(super) fn identity(&mut self, labels: &Labels) -> Option<Identity> {
        let names = labels.name().and_then(known).map(|metric| metric.labels);
        let (spelling, of_pod, workload) = match names {
            Some(LabelNames::Named { team, pod, container, workload }) => {
                (Spelling::Own, [team, pod, container].map(|label| labels.get(label)), workload)
            }
            _ => {
                let (spelling, of_pod) = kubernetes(labels);
                (spelling, of_pod, None)
            }
        };
        let [namespace, pod, container] = of_pod.map(|value| clean_name(value.unwrap_or("")));
        if container.contains(EXPORTER) || pod.contains(EXPORTER) {
            return None;
        }
        let own = |label: &str| clean_name(of_workload(labels, label).unwrap_or(""));
        if let GroupBy::Label(label) = &self.reading.group_by {
            self.has_group_label |= !own(label).is_empty();
        }
        if let Some(label) = &self.reading.team_label {
            self.has_team_label |= !own(label).is_empty();
        }
        let group = match &self.reading.group_by {
            GroupBy::Owner => workload.map(|label| clean_name(labels.get(label).unwrap_or(""))),
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
        let job = self.job_of(labels);
        self.add_exporter(job, spelling, labels);
        Some(Identity {
            job,
            spelling,
            team: if team.is_empty() { NO_TEAM.to_string() } else { team.into_owned() },
            cluster: cluster(labels).into_owned(),
            namespace: namespace.into_owned(),
            pod: pod.into_owned(),
            container: container.into_owned(),
            group: group.map(Cow::into_owned),
        })
    }

    /// Remembers the exporter that a series names beside the workload.
    fn add_exporter(&mut self, job: u32, spelling: Spelling, labels: &Labels) {
        if self.series_text == labels.text() {
            return;
        }
        // What has no exported name beside it is the workload's.
        let of_target = |at: usize| match spelling {
            Spelling::Exported => labels.get(EXPORTED[at]).and_then(|_| labels.get(PLAIN[at])),
            Spelling::Old => labels.get(PLAIN[at]),
            Spelling::Plain | Spelling::Unnamed | Spelling::Own => None,
        };
        let [pod, container] = [1, 2].map(|at| clean_name(of_target(at).unwrap_or("")));
        let namespace = clean_name(labels.get(PLAIN[0]).unwrap_or(""));
        for key in exporter_keys(job, &namespace, [owner::of_pod(&pod), &container]) {
            if !self.exporters.contains(key.as_str()) {
                self.exporters.insert(key.into());
            }
        }
    }

    /// Whether a series may have the exporter's own names, for all that its labels tell: it came by a
    /// server, which may not honour them.
    pub(in crate::demand) fn may_name_exporter(&self, series: &PodSeries) -> bool {
        let without_job = self.jobs.get("") == Some(&series.job);
        series.spelling == Spelling::Plain && !series.per_pod && !without_job
    }

    /// Whether a series has the exporter's own names for want of others: a pod or container of the
    /// exporters that series of the same job name beside a workload's, or one that uses no memory and
    /// is called as the job is.
    pub(super) fn names_exporter(&self, series: &PodSeries) -> bool {
        if series.spelling != Spelling::Plain || series.resource.is_some() {
            return false;
        }
        let namespace = &series.pod.namespace;
        let owner = owner::of_pod(&series.pod.name);
        let is_job = |name: &str| self.jobs.get(name) == Some(&series.job);
        // A job is called after the Service of its exporters, or after their monitor with its namespace.
        if (is_job(owner) || is_job(&format!("{namespace}/{owner}"))) && series.peak() < IN_USE_MIB
        {
            return true;
        }
        !self.exporters.is_empty()
            && exporter_keys(series.job, namespace, [owner, &series.container])
                .any(|key| self.exporters.contains(key.as_str()))
    }

    fn job_of(&mut self, labels: &Labels) -> u32 {
        let job = labels.get("job").unwrap_or("");
        if let Some(known) = self.jobs.get(job) {
            return *known;
        }
        let index = super::index(self.jobs.len());
        self.jobs.insert(job.into(), index);
        index
    }
}

/// How an exporter is remembered, by each of its names that are not empty.
fn exporter_keys<'n>(
    job: u32,
    namespace: &'n str,
    [owner, container]: [&'n str; 2],
) -> impl Iterator<Item = String> + 'n {
    [("owner", owner), ("container", container)]
        .into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(move |(kind, name)| format!("{job}\0{namespace}\0{kind}\0{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Namespace, pod and container of a series with these labels.
    fn found(pairs: &[(&str, &str)]) -> (Spelling, [Option<String>; 3]) {
        let mut labels = Labels::default();
        pairs.iter().for_each(|(label, value)| labels.push(label, value));
        let (spelling, of_pod) = kubernetes(&labels);
        (spelling, of_pod.map(|value| value.map(str::to_string)))
    }

    fn some(values: [&str; 3]) -> [Option<String>; 3] {
        values.map(|value| Some(value.to_string()).filter(|value| !value.is_empty()))
    }

    #[test]
    fn each_label_has_the_name_that_its_target_left_it() {
        let workload = [("namespace", "nlp"), ("pod", "serve-0"), ("container", "main")];
        let target = [("namespace", "ops"), ("pod", "metrics-1"), ("container", "exporter")];
        // Whichever of the three the target has as well.
        for has in 0..8u32 {
            let is_of_target = |at: usize| has & (1 << at) != 0;
            let mut busy: Vec<(&str, &str)> = Vec::new();
            let mut idle: Vec<(&str, &str)> = Vec::new();
            for at in 0..3 {
                if is_of_target(at) {
                    busy.extend([target[at], (EXPORTED[at], workload[at].1)]);
                    idle.push(target[at]);
                } else {
                    busy.push(workload[at]);
                }
            }
            let (spelling, of_pod) = found(&busy);
            assert_eq!(of_pod, some(["nlp", "serve-0", "main"]), "{busy:?}");
            assert_eq!(spelling == Spelling::Exported, has > 0, "{busy:?}");
            // An idle device of such a target is the exporter's at most.
            let (spelling, [_, pod, _]) = found(&idle);
            assert!(spelling == Spelling::Plain || pod.is_none(), "{idle:?}");
        }
    }

    #[test]
    fn the_old_names_are_those_of_the_old_exporter() {
        let old = [("pod_namespace", "nlp"), ("pod_name", "serve-0"), ("container_name", "main")];
        let target = [("namespace", "ops"), ("pod", "metrics-1")];
        let expected = (Spelling::Old, some(["nlp", "serve-0", "main"]));
        assert_eq!(found(&old), expected);
        assert_eq!(found(&[&old[..], &target].concat()), expected);
        // A target's own `pod_name`.
        let new = [("namespace", "nlp"), ("pod", "serve-0"), ("pod_name", "metrics-1")];
        assert_eq!(found(&new), (Spelling::Plain, some(["nlp", "serve-0", ""])));
    }

    #[test]
    fn the_exporters_container_is_no_workloads() {
        let labels = [
            ("namespace", "ops"),
            ("exported_namespace", "nlp"),
            ("exported_pod", "serve-0"),
            ("container", "nvidia-dcgm-exporter"),
        ];
        assert_eq!(found(&labels), (Spelling::Exported, some(["nlp", "serve-0", ""])));
    }
}
