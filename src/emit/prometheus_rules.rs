//! `migplan emit prometheus-rules`: recording and alert rules over dcgm-exporter's metrics for the
//! capacity that a plan makes: instances missing, a workload near its instance's memory, more idle
//! instances than the plan leaves free.
//!
//! The exporter's label for the host changed from `Hostname` to `hostname`; the rules take both.
//! Media engines are not told apart, since exporters spell them differently.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::configmap::MAX_BYTES;
use super::output::Emitted;
use super::plan_view::PlanView;
use super::yaml;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::LOCAL_NODE;
use crate::kubernetes::naming;
use crate::plan::InstanceProfile;
use crate::text::{plural, thousands};

/// Memory that an idle instance shows as used stays below this (12 MiB were seen on an A100).
const IDLE_MIB: u64 = 100;

/// How the rules are wrapped.
#[derive(Debug, Clone)]
pub struct PrometheusRulesOptions {
    /// Whether as a `PrometheusRule` object of the Prometheus operator.
    pub object: bool,
    /// The namespace of that object.
    pub namespace: String,
}

/// What the rules compare with: the plan's instances, by profile without attributes, since
/// exporters spell those differently.
struct Planned<'p> {
    /// How many instances of a profile a node has → the nodes that have so many.
    per_node: BTreeMap<(String, u64), Vec<&'p str>>,
    /// Instances of a profile, how many of them are allocated, and the nodes that have them.
    totals: BTreeMap<String, Total<'p>>,
    /// The hours of a plan over time.
    hours: Option<u64>,
    /// Whether the plan knows no node by name.
    anonymous: bool,
}

#[derive(Default)]
struct Total<'p> {
    instances: u64,
    /// How many are allocated in the hour with the most.
    allocated: u64,
    nodes: Vec<&'p str>,
}

/// Writes the rules.
///
/// # Errors
/// A bad namespace (exit 2); an object that would be too large for the cluster (exit 3).
pub fn write(view: &PlanView<'_>, options: &PrometheusRulesOptions) -> Result<Emitted> {
    naming::check_namespace(&options.namespace)?;
    let planned = planned(view);
    let mut warnings = Vec::new();
    if planned.anonymous {
        warnings.push(Diagnostic::new(format!(
            "the plan calls its node '{LOCAL_NODE}', so the rules count on every host: with more than one host, plan with --nodes or --fleet"
        )));
    }
    let mut rules = String::new();
    write_records(&mut rules, &planned);
    for ((profile, count), nodes) in &planned.per_node {
        write_missing(&mut rules, profile, *count, nodes, planned.anonymous);
    }
    write_nearly_full(&mut rules);
    for (profile, total) in &planned.totals {
        write_idle(&mut rules, profile, total, &planned);
    }
    let text = wrap(&rules, options)?;
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

fn planned<'p>(view: &PlanView<'p>) -> Planned<'p> {
    let mut planned = Planned {
        per_node: BTreeMap::new(),
        totals: BTreeMap::new(),
        hours: view.hours,
        anonymous: view.nodes.iter().any(|n| &**n.name == LOCAL_NODE),
    };
    for node in &view.nodes {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for instance in node.gpus.iter().flat_map(|g| &g.instances) {
            let Some(base) = base(&instance.profile) else { continue };
            let total = planned.totals.entry(base.clone()).or_default();
            total.instances += 1;
            *counts.entry(base).or_default() += 1;
        }
        for (base, count) in counts {
            planned.totals.entry(base.clone()).or_default().nodes.push(node.name);
            planned.per_node.entry((base, count)).or_default().push(node.name);
        }
    }
    for (base, held) in view.held.at_once(|row, _| base(row.profile)) {
        if let Some(total) = planned.totals.get_mut(&base) {
            total.allocated = held.most.min(total.instances);
        }
    }
    planned
}

/// A profile without attributes; `None` for whole GPUs.
fn base(profile: &InstanceProfile) -> Option<String> {
    let InstanceProfile::Mig(name) = profile else { return None };
    Some(format!("{}g.{}gb", name.gpu_slices, name.gigabytes))
}

/// One rule: its keys and values in order, then more lines as they are.
fn write_rule(rules: &mut String, lines: &[(&str, &str)], more: &str) {
    for (i, (key, value)) in lines.iter().enumerate() {
        let lead = if i == 0 { "      - " } else { "        " };
        let _ = writeln!(rules, "{lead}{key}: {value}");
    }
    rules.push_str(more);
}

fn write_records(rules: &mut String, planned: &Planned<'_>) {
    let record = |rules: &mut String, name: &str, expr: &str, labels: &str| {
        write_rule(rules, &[("record", name), ("expr", &yaml::quoted(expr))], labels);
    };
    let by_node = |expr: &str| {
        format!(
            "max by (node, gpu, GPU_I_ID, GPU_I_PROFILE) (label_replace(label_replace({expr}, \"node\", \"$1\", \"hostname\", \"(.+)\"), \"node\", \"$1\", \"Hostname\", \"(.+)\"))"
        )
    };
    record(rules, "migplan:instance_memory_used_mib", &by_node(USED), "");
    record(rules, "migplan:instance_memory_usable_mib", &by_node(&format!("{USED} + {FREE}")), "");
    record(
        rules,
        "migplan:instances:count",
        "count by (node, GPU_I_PROFILE) (migplan:instance_memory_usable_mib)",
        "",
    );
    if planned.hours.is_some() {
        rules
            .push_str("      # allocated: in the hour in which the plan has most of the profile\n");
    }
    for (profile, total) in &planned.totals {
        let labels = format!("        labels:\n          profile: {}\n", yaml::quoted(profile));
        record(
            rules,
            "migplan:instances_planned",
            &format!("vector({})", total.instances),
            &labels,
        );
        let allocated = format!("vector({})", total.allocated);
        record(rules, "migplan:instances_allocated", &allocated, &labels);
    }
}

/// Memory that instances use, in MiB.
const USED: &str = "DCGM_FI_DEV_FB_USED{GPU_I_PROFILE!=\"\"}";
/// Memory of instances that is not used, in MiB.
const FREE: &str = "DCGM_FI_DEV_FB_FREE{GPU_I_PROFILE!=\"\"}";

fn write_missing(rules: &mut String, profile: &str, count: u64, nodes: &[&str], anonymous: bool) {
    let selector = selector(profile, nodes, anonymous);
    let per_node = format!("count by (node) (migplan:instance_memory_usable_mib{{{selector}}})");
    let mut alert = |name: &str, expr: &str, summary: &str, description: &str| {
        write_rule(
            rules,
            &[("alert", name), ("expr", &yaml::quoted(expr)), ("for", "15m")],
            &annotations("warning", profile, count, summary, description),
        );
    };
    alert(
        "MigplanInstancesMissing",
        &format!("{per_node} < {count}"),
        &format!("{{{{ $labels.node }}}} has {{{{ $value }}}} of {count} instances of {profile}"),
        "The node's layouts are not as planned: compare `migplan status` or `nvidia-smi mig -lgi` there with the plan.",
    );
    alert(
        "MigplanNodesWithoutInstances",
        &format!("(count({per_node}) or vector(0)) < {}", nodes.len()),
        &format!(
            "{{{{ $value }}}} of {} with instances of {profile}",
            plural(nodes.len() as u64, "node")
        ),
        "The others are down, their exporter is silent, or MIG is off there.",
    );
}

/// Who uses an instance. The pod is `exported_pod` where Prometheus keeps `pod` for the exporter's own
/// (`honorLabels: false`), and `pod` where it does not; without Kubernetes there is none.
const USER: &str = "{{ if $labels.exported_pod }}{{ $labels.exported_namespace }}/{{ $labels.exported_pod }}{{ else if $labels.pod }}{{ $labels.namespace }}/{{ $labels.pod }}{{ else }}A process on GPU {{ $labels.gpu }} of {{ $labels.hostname }}{{ $labels.Hostname }}{{ end }}";

fn write_nearly_full(rules: &mut String) {
    let expr = yaml::quoted(&format!("{USED} / ({USED} + {FREE}) > 0.95"));
    let summary = yaml::quoted(&format!(
        "{USER} uses {{{{ $value | humanizePercentage }}}} of its {{{{ $labels.GPU_I_PROFILE }}}}"
    ));
    write_rule(
        rules,
        &[("alert", "MigplanInstanceMemoryNearlyFull"), ("expr", &expr), ("for", "10m")],
        &format!(
            "        labels:\n          severity: warning\n        annotations:\n          summary: {summary}\n          description: \"The workload is about to run out of GPU memory: raise its demand and plan again.\"\n"
        ),
    );
}

/// Over time instances idle outside of their hours, as planned. So the alert waits for as many hours as
/// the plan has: the one that needs most instances is among them.
fn write_idle(rules: &mut String, profile: &str, total: &Total<'_>, planned: &Planned<'_>) {
    let free = total.instances - total.allocated;
    let selector = selector(profile, &total.nodes, planned.anonymous);
    let expr = format!(
        "count(max_over_time(migplan:instance_memory_used_mib{{{selector}}}[6h]) < {IDLE_MIB}) > {free}"
    );
    let (wait, summary) = match planned.hours {
        None => (
            "1h".to_string(),
            format!(
                "{{{{ $value }}}} {{{{ if eq $value 1.0 }}}}instance of {profile} was{{{{ else }}}}instances of {profile} were{{{{ end }}}} idle for 6 hours; the plan leaves {free} free"
            ),
        ),
        Some(hours) => (
            format!("{hours}h"),
            format!(
                "{{{{ $value }}}} of {} of {profile} idle now, and for {} always more than the {free} that the plan's fullest hour leaves free",
                plural(total.instances, "instance"),
                plural(hours, "hour")
            ),
        ),
    };
    write_rule(
        rules,
        &[("alert", "MigplanInstancesIdle"), ("expr", &yaml::quoted(&expr)), ("for", &wait)],
        &annotations(
            "info",
            profile,
            free,
            &summary,
            "Teams use less than they asked for: `migplan demand --prometheus` shows what they need.",
        ),
    );
}

/// The file or object around the rules.
fn wrap(rules: &str, options: &PrometheusRulesOptions) -> Result<String> {
    let head = "groups:\n  - name: migplan\n    rules:\n";
    if !options.object {
        return Ok(format!("# Check with: promtool check rules THIS-FILE\n{head}{rules}"));
    }
    let mut text = format!(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: migplan\n  namespace: {}\nspec:\n",
        yaml::scalar(&options.namespace)
    );
    for line in head.lines().chain(rules.lines()) {
        let _ = writeln!(text, "  {line}");
    }
    if text.len() > MAX_BYTES {
        return Err(Error::input(Diagnostic::new(format!(
            "the rules have {} bytes, more than one object may hold",
            thousands(text.len() as u64)
        )))
        .hint("drop --object and give Prometheus the file, or plan pools of nodes one by one"));
    }
    Ok(text)
}

fn annotations(
    severity: &str,
    profile: &str,
    planned: u64,
    summary: &str,
    description: &str,
) -> String {
    format!(
        "        labels:\n          severity: {severity}\n          profile: {}\n          planned: \"{planned}\"\n        annotations:\n          summary: {}\n          description: {}\n",
        yaml::quoted(profile),
        yaml::quoted(summary),
        yaml::quoted(description)
    )
}

/// Matchers for a profile, with or without attributes, on these nodes.
fn selector(profile: &str, nodes: &[&str], anonymous: bool) -> String {
    let profile = profile_matcher(profile);
    if anonymous {
        return profile;
    }
    let nodes: BTreeSet<String> = nodes.iter().map(|n| regex(n)).collect();
    let nodes: Vec<String> = nodes.into_iter().collect();
    format!("{profile},node=~{}", promql(&nodes.join("|")))
}

fn profile_matcher(profile: &str) -> String {
    format!("GPU_I_PROFILE=~{}", promql(&format!("{}([-+.].*)?", regex(profile))))
}

/// A text as a regular expression that matches only it (RE2).
fn regex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && c != '-' && c != '_' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A text as a PromQL string.
fn promql(text: &str) -> String {
    yaml::quoted(text)
}
