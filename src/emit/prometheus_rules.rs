//! `migplan emit prometheus-rules`: recording and alert rules over dcgm-exporter's metrics for the
//! capacity that a plan makes: instances missing, a workload near its instance's memory, more idle
//! instances than the plan has to spare.
//!
//! The exporter's label for the host changed from `Hostname` to `hostname`; the rules take both.
//! Media engines are not told apart, since exporters spell them differently.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::configmap::MAX_BYTES;
use super::{Emitted, View, yaml};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::LOCAL_NODE;
use crate::plan::InstanceProfile;
use crate::text::{plural, thousands};

/// Memory that an idle instance shows as used stays below this (12 MiB were seen on an A100).
const IDLE_MIB: u64 = 100;

/// How the rules are wrapped.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether as a `PrometheusRule` object of the Prometheus operator.
    pub object: bool,
    /// The namespace of that object.
    pub namespace: String,
}

/// Writes the rules.
///
/// # Errors
/// A bad namespace (exit 2); an object that would be too large for the cluster (exit 3).
pub fn write(view: &View<'_>, options: &Options) -> Result<Emitted> {
    super::configmap::check_names("migplan", &options.namespace)?;
    let mut warnings = Vec::new();
    // How many instances of a profile a node has → the nodes that have so many.
    let mut expected: BTreeMap<(String, u64), Vec<&str>> = BTreeMap::new();
    let mut spare: BTreeMap<String, u64> = BTreeMap::new();
    for node in &view.nodes {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for instance in node.gpus.iter().flat_map(|g| &g.instances) {
            let InstanceProfile::Mig(name) = &instance.profile else { continue };
            let base = format!("{}g.{}gb", name.gpu_slices, name.gigabytes);
            let unused = spare.entry(base.clone()).or_default();
            *unused += u64::from(instance.assignment.is_none());
            *counts.entry(base).or_default() += 1;
        }
        for (base, count) in counts {
            expected.entry((base, count)).or_default().push(node.name);
        }
    }
    let anonymous = view.nodes.iter().any(|n| &**n.name == LOCAL_NODE);
    if anonymous {
        warnings.push(Diagnostic::new(format!(
            "the plan calls its node '{LOCAL_NODE}', so the rules count on every host: with more than one host, plan with --nodes or --fleet"
        )));
    }

    let mut groups = String::new();
    let mut rule = |lines: &[(&str, String)], extra: &str| {
        for (i, (key, value)) in lines.iter().enumerate() {
            let lead = if i == 0 { "      - " } else { "        " };
            let _ = writeln!(groups, "{lead}{key}: {value}");
        }
        groups.push_str(extra);
    };
    let recorded = |name: &str, expr: &str| {
        let expr = format!(
            "max by (node, gpu, GPU_I_ID, GPU_I_PROFILE) (label_replace(label_replace({expr}, \"node\", \"$1\", \"hostname\", \"(.+)\"), \"node\", \"$1\", \"Hostname\", \"(.+)\"))"
        );
        vec![("record", name.to_string()), ("expr", yaml::quoted(&expr))]
    };
    let used = "DCGM_FI_DEV_FB_USED{GPU_I_PROFILE!=\"\"}";
    let free = "DCGM_FI_DEV_FB_FREE{GPU_I_PROFILE!=\"\"}";
    rule(&recorded("migplan:instance_memory_used_mib", used), "");
    rule(&recorded("migplan:instance_memory_usable_mib", &format!("{used} + {free}")), "");
    rule(
        &[
            ("record", "migplan:instances:count".to_string()),
            (
                "expr",
                yaml::quoted("count by (node, GPU_I_PROFILE) (migplan:instance_memory_usable_mib)"),
            ),
        ],
        "",
    );
    for ((profile, count), nodes) in &expected {
        let selector = selector(profile, nodes, anonymous);
        let per_node =
            format!("count by (node) (migplan:instance_memory_usable_mib{{{selector}}})");
        rule(
            &[
                ("alert", "MigplanInstancesMissing".to_string()),
                ("expr", yaml::quoted(&format!("{per_node} < {count}"))),
                ("for", "15m".to_string()),
            ],
            &annotations(
                "warning",
                profile,
                *count,
                &format!(
                    "{{{{ $labels.node }}}} has {{{{ $value }}}} of {count} instances of {profile}"
                ),
                "The node is not cut as planned: compare `migplan status` or `nvidia-smi mig -lgi` there with the plan.",
            ),
        );
        rule(
            &[
                ("alert", "MigplanNodesWithoutInstances".to_string()),
                (
                    "expr",
                    yaml::quoted(&format!("(count({per_node}) or vector(0)) < {}", nodes.len())),
                ),
                ("for", "15m".to_string()),
            ],
            &annotations(
                "warning",
                profile,
                *count,
                &format!(
                    "{{{{ $value }}}} of {} with instances of {profile}",
                    plural(nodes.len() as u64, "node")
                ),
                "The others are down, their exporter is silent, or MIG is off there.",
            ),
        );
    }
    rule(
        &[
            ("alert", "MigplanInstanceMemoryNearlyFull".to_string()),
            ("expr", yaml::quoted(&format!("{used} / ({used} + {free}) > 0.95"))),
            ("for", "10m".to_string()),
        ],
        "        labels:\n          severity: warning\n        annotations:\n          summary: \"{{ $labels.exported_pod }}{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its {{ $labels.GPU_I_PROFILE }}\"\n          description: \"The workload is about to run out of GPU memory: raise its demand and plan again.\"\n",
    );
    for (profile, spare) in &spare {
        let selector = profile_matcher(profile);
        rule(
            &[
                ("alert", "MigplanInstancesIdle".to_string()),
                (
                    "expr",
                    yaml::quoted(&format!(
                        "count(max_over_time(migplan:instance_memory_used_mib{{{selector}}}[6h]) < {IDLE_MIB}) > {spare}"
                    )),
                ),
                ("for", "1h".to_string()),
            ],
            &annotations(
                "info",
                profile,
                *spare,
                &format!(
                    "{{{{ $value }}}} instances of {profile} were idle for 6 hours; the plan has {spare} to spare"
                ),
                "Teams use less than they asked for: `migplan demand --prometheus` shows what they need.",
            ),
        );
    }

    let mut text = String::new();
    let head = "groups:\n  - name: migplan\n    rules:\n";
    if options.object {
        let _ = write!(
            text,
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: migplan\n  namespace: {}\nspec:\n",
            yaml::scalar(&options.namespace)
        );
        for line in head.lines().chain(groups.lines()) {
            let _ = writeln!(text, "  {line}");
        }
        if text.len() > MAX_BYTES {
            return Err(Error::input(Diagnostic::new(format!(
                "the rules have {} bytes, more than one object may hold",
                thousands(text.len() as u64)
            )))
            .hint("leave out --object and give Prometheus the file, or plan pools of nodes one by one"));
        }
    } else {
        text.push_str("# Check with: promtool check rules THIS-FILE\n");
        text.push_str(head);
        text.push_str(&groups);
    }
    Ok(Emitted { text, warnings })
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
