//! What became no demand and why, and what is odd about the rest, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::allocation::workload_name;
use super::{Origin, Rules, Sizing, Unused};
use crate::demand::time::{HOUR_MS, Span};
use crate::demand::usage::{
    DEFAULT_METRIC, GroupBy, IN_USE_MIB, NO_TEAM, PodSeries, REJECTIONS, Rejection, Source, Usage,
};
use crate::error::{Diagnostic, Error, Result};
use crate::text::{plural, some, thousands};
use crate::units::Mebibytes;

pub(super) fn unused(
    usage: &Usage,
    rules: Rules,
    too_few: &[String],
    without_memory: &[String],
) -> Vec<Unused> {
    let mut found = devices_without_pod(usage);
    let mut add = |cause, count: u64, text: String| {
        if count > 0 {
            found.push(Unused { cause, count, text });
        }
    };
    let mut rejected = [0; REJECTIONS];
    for series in usage.pod_series() {
        for (sum, count) in rejected.iter_mut().zip(series.rejected) {
            *sum += count;
        }
    }
    for (rejection, cause, why) in [
        (Rejection::NotANumber, "not_a_number", "not a number (NaN or infinite)"),
        (Rejection::Negative, "negative", "negative"),
        (Rejection::Blank, "blank", "DCGM's number for 'not available'"),
        (Rejection::Implausible, "implausible", "more than 4 TiB, which no GPU has; wrong --unit?"),
    ] {
        let count = rejected[rejection as usize];
        add(cause, count, format!("{}: {why}", plural(count, "sample")));
    }
    let series = |count| {
        if count == 1 { "1 series".to_string() } else { format!("{} series", thousands(count)) }
    };
    let aggregated = usage.aggregated();
    let why = "the query aggregated these labels away";
    add("no_pod", aggregated, format!("{} without pod and GPU: {why}", series(aggregated)));
    let foreign = usage.sources().iter().map(|source| source.not_gpu).sum();
    add("not_gpu", foreign, format!("{} of something other than GPUs", series(foreign)));
    let few = too_few.len() as u64;
    let (workloads, samples) = (plural(few, "workload"), plural(rules.min_samples, "sample"));
    add(
        "too_few_samples",
        few,
        format!("{workloads} with fewer than {samples}: {}", some(too_few)),
    );
    let without = without_memory.len() as u64;
    let workloads = plural(without, "workload");
    add(
        "no_memory",
        without,
        format!("{workloads} that never used any memory: {}", some(without_memory)),
    );
    found
}

/// GPUs and instances that no pod holds, by kind: idle ones, and those in use.
fn devices_without_pod(usage: &Usage) -> Vec<Unused> {
    let held: BTreeSet<u32> = usage.held_devices().collect();
    let mut without_pod: BTreeMap<(bool, Option<&str>), (u64, u32)> = BTreeMap::new();
    for (device, at) in usage.devices().iter().zip(0u32..) {
        if device.is_gpu && !held.contains(&at) {
            let in_use = device.idle_peak >= IN_USE_MIB;
            let (count, peak) =
                without_pod.entry((in_use, device.profile.as_deref())).or_insert((0, 0));
            *count += 1;
            *peak = device.idle_peak.max(*peak);
        }
    }
    let of_kind = |((in_use, profile), (count, peak)): ((bool, Option<&str>), (u64, u32))| {
        let idle = if in_use { "" } else { "idle " };
        let what = match profile {
            Some(profile) => format!("{} of {profile}", plural(count, &format!("{idle}instance"))),
            None => plural(count, &format!("{idle}GPU")),
        };
        let peak = Mebibytes(u64::from(peak));
        let them = if count == 1 { "it" } else { "them" };
        let (cause, text) = if in_use {
            ("unnamed", format!("{what} in use, up to {peak}, but by no pod with a name"))
        } else {
            ("idle", format!("{what}: no pod holds {them}"))
        };
        Unused { cause, count, text }
    };
    without_pod.into_iter().map(of_kind).collect()
}

pub(super) fn warnings(usage: &Usage, sizing: &Sizing) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    let labels = |test: &dyn Fn(&Origin) -> bool| -> Vec<String> {
        sizing
            .origins
            .iter()
            .filter(|(_, origin)| test(origin))
            .map(|((team, name), _)| format!("{team}/{name}"))
            .collect()
    };
    let shared = labels(&|origin| origin.shares_device);
    if !shared.is_empty() {
        warnings.push(Diagnostic::new(format!(
            "pods that share a GPU (time-slicing or MPS) each report the memory of all; what they need alone is less: {}",
            some(&shared)
        )));
    }
    let any = labels(&|origin| origin.any_device);
    if !any.is_empty() {
        warnings.push(Diagnostic::new(format!(
            "the query left out which GPU or instance a pod had, so several of one pod count as one; keep the labels, as in max by (namespace, pod, Hostname, UUID, GPU_I_ID, GPU_I_PROFILE) (…): {}",
            some(&any)
        )));
    }
    let several = labels(&|origin| origin.instances_per_pod > 1);
    let several: Vec<String> = several
        .into_iter()
        .filter(|label| {
            sizing.demand.workloads().iter().any(|w| w.whole_gpus == 0 && w.label() == *label)
        })
        .collect();
    if !several.is_empty() {
        warnings.push(Diagnostic::new(format!(
            "pods with several instances count once for each: {}",
            some(&several)
        )));
    }
    warnings.extend(idle(usage, sizing));
    warnings.extend(limited(sizing));
    let asked = labels(&|origin| origin.requested);
    if !asked.is_empty() {
        warnings.push(Diagnostic::new(format!(
            "{} sized by what the pods ask for, since no sample shows their memory: {}",
            plural(asked.len() as u64, "workload"),
            some(&asked)
        )));
    }
    if let Some(label) = &usage.reading().team_label
        && !usage.has_team_label()
        && !sizing.origins.is_empty()
    {
        warnings.push(Diagnostic::new(format!(
            "no series has the label '{label}', which --team-label names, so every workload is of team '{NO_TEAM}'; {}",
            usage.labels_there()
        )));
    }
    warnings.extend(short(usage));
    for source in usage.sources() {
        if source.nameless > 0 && !source.has_history && source.matched == source.nameless {
            warnings.push(
                Diagnostic::new("is the answer of a function at one instant: pods that ran one after the other count as if at once; a range (query_range) tells them apart")
                    .in_file(source.name.clone()),
            );
        }
        if source.matched == 0
            && source.facts == 0
            && usage.sources().iter().any(|other| other.matched > 0)
        {
            warnings.push(Diagnostic::new(lacks(usage, source)).in_file(source.name.clone()));
        }
    }
    warnings
}

/// A warning about workloads that may be the exporter: a server that does not honour labels names it on
/// idle devices.
fn idle(usage: &Usage, sizing: &Sizing) -> Option<Diagnostic> {
    let in_use = Mebibytes(u64::from(IN_USE_MIB));
    let is_idle = |series: &&PodSeries| {
        let key = (series.team.clone(), workload_name(series));
        sizing.origins.get(&key).is_some_and(|o| !o.requested && o.observed.peak < in_use)
    };
    let of_server = usage.pod_series().filter(|series| usage.may_name_exporter(series));
    let idle: BTreeSet<String> = of_server
        .filter(is_idle)
        .map(|series| format!("{}/{}", series.team, workload_name(series)))
        .collect();
    let labels: Vec<String> = idle.into_iter().collect();
    (!labels.is_empty()).then(|| {
        Diagnostic::new(format!(
            "{} held a GPU or an instance and used no more memory of it than an idle one does; where that is the exporter itself, set honor_labels in its scrape configuration: {}",
            plural(labels.len() as u64, "workload"),
            some(&labels)
        ))
    })
}

/// A warning about a range that is too short to hold the peaks of a day, such as the five minutes
/// that `promtool query range` asks for by itself. One scrape is meant as such.
fn short(usage: &Usage) -> Option<Diagnostic> {
    let (first, last) = usage.span_ms().filter(|_| usage.has_range())?;
    let span = last - first;
    (span < HOUR_MS).then(|| {
        Diagnostic::new(format!(
            "the samples span {} only, and peaks outside are not seen: take some days, with --start of promtool or --window",
            Span::from_ms(span)
        ))
    })
}

/// Workloads that may need more than any sample shows, each with the next size.
fn limited(sizing: &Sizing) -> Vec<Diagnostic> {
    let (mut at_ceiling, mut killed) = (Vec::new(), Vec::new());
    for ((team, name), origin) in &sizing.origins {
        let Some(limited) = &origin.observed.limited else { continue };
        let next = match &limited.next {
            Some(next) => format!("; next is {} with {}", next.name, next.memory),
            None => String::new(),
        };
        let peak = origin.observed.peak;
        match &limited.instance {
            Some(instance) if limited.at_ceiling => {
                let of = format!("{peak} of {} of its {}", instance.memory, instance.name);
                at_ceiling.push(format!("{team}/{name} ({of}{next})"));
            }
            _ => {
                let pods = plural(limited.killed_pods, "pod");
                killed.push(format!("{team}/{name} ({pods}, {peak} seen{next})"));
            }
        }
    }
    let mut warnings = Vec::new();
    for (why, labels) in [
        ("reached the memory of their instance", at_ceiling),
        ("had pods ended for lack of memory (OOMKilled)", killed),
    ] {
        if !labels.is_empty() {
            warnings.push(Diagnostic::new(format!(
                "workloads that {why} may need more than was seen; raise their memory, or measure again on the next size: {}",
                some(&labels)
            )));
        }
    }
    warnings
}

/// What is wrong where --group-by names a label that no series has.
fn without_group_label(usage: &Usage, input: &str) -> Option<Error> {
    let GroupBy::Label(label) = &usage.reading().group_by else { return None };
    let message = format!("has no series with the label '{label}', which --group-by names");
    let error = Error::input(Diagnostic::new(message).in_file(input));
    (!usage.has_group_label()).then(|| error.hint(usage.labels_there()))
}

fn lacks(usage: &Usage, source: &Source) -> String {
    let metric = usage.reading().metric.as_deref().unwrap_or(DEFAULT_METRIC);
    if source.others.is_empty() {
        return if source.not_gpu > 0 {
            "has series without a name whose labels are not those of GPUs (cpu, mode, image …)"
                .into()
        } else if source.facts > 0 {
            "tells of owners and ends of pods, but neither of memory nor of what pods ask for"
                .into()
        } else {
            "holds no series: the query found nothing".into()
        };
    }
    let mut others: Vec<(&String, &u64)> = source.others.iter().collect();
    // Memory first, then what there is most of.
    others.sort_by_key(|(name, count)| {
        (!name.to_ascii_lowercase().contains("fb_used"), std::cmp::Reverse(**count), *name)
    });
    let names: Vec<String> = others.into_iter().map(|(name, _)| name.clone()).collect();
    format!("has no series of {metric}; it has {}", some(&names))
}

impl Sizing {
    /// The same, if it has any workload.
    ///
    /// # Errors
    /// Nothing became a workload: why, and what to try (exit 3).
    pub fn or_explain(self, usage: &Usage) -> Result<Sizing> {
        if !self.demand.workloads().is_empty() {
            return Ok(self);
        }
        let matched: u64 = usage.sources().iter().map(|source| source.matched).sum();
        if matched == 0 {
            let problems = usage
                .sources()
                .iter()
                .map(|source| Diagnostic::new(lacks(usage, source)).in_file(source.name.clone()))
                .collect();
            let any = usage.sources().iter().any(|s| !s.others.is_empty() || s.not_gpu > 0);
            let facts = usage.sources().iter().any(|s| s.facts > 0);
            return Err(Error::inputs(problems).hint(if facts && !any {
                "query the memory as well, DCGM_FI_DEV_FB_USED of dcgm-exporter, or kube_pod_container_resource_requests"
            } else if any {
                "name the metric that holds GPU memory in use: --metric NAME; dcgm-exporter has it as DCGM_FI_DEV_FB_USED"
            } else {
                "check the metric's name, its labels and the time range in Prometheus' own page; a plain query sees only the last 5 minutes"
            }));
        }
        let name = match usage.sources() {
            [only] => only.name.clone(),
            sources => format!("{} inputs", sources.len()),
        };
        if let Some(error) = without_group_label(usage, &name) {
            return Err(error);
        }
        let why: Vec<&str> = self.unused.iter().map(|unused| unused.text.as_str()).collect();
        let problem =
            Diagnostic::new(format!("has no usable samples: {}", why.join("; "))).in_file(name);
        let has = |cause: &str| self.unused.iter().any(|unused| unused.cause == cause);
        let has_gpus = has("idle") || has("unnamed");
        Err(Error::input(problem).hint(if has("implausible") {
            "values in bytes need --unit bytes"
        } else if has("too_few_samples") {
            "lower --min-samples, or take a longer time"
        } else if has("not_a_number") {
            "the query divides by nothing or has no data there; query the metric itself"
        } else if has("no_pod") {
            "keep the labels in the query: max by (namespace, pod, UUID, GPU_I_ID) (…), not sum or max alone"
        } else if has("no_memory") {
            "DCGM before 2.4.6 reports 0 for instances; update dcgm-exporter"
        } else if has("request") && !has_gpus {
            "`migplan catalogue` lists the profiles that pods can ask for; --catalogue adds boards"
        } else if has("ended") && !has_gpus {
            "take a time in which pods run: a longer one, with --start of promtool or --window"
        } else {
            "pods are named only if dcgm-exporter runs with DCGM_EXPORTER_KUBERNETES=true; without Kubernetes choose a label with --group-by, such as hpc_job"
        }))
    }
}
