//! `migplan emit labels`: a shell script that hands each node its config by label, a few nodes at a
//! time, the ones that nobody uses first, and empties a node before its GPUs are cut anew.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::mig_parted::{self, Extra};
use super::{Emitted, View, shell_word, yaml};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::LOCAL_NODE;
use crate::text::plural;

/// What mig-manager of the GPU Operator acts upon.
pub const CONFIG_LABEL: &str = "nvidia.com/mig.config";

/// How many nodes may be out of service at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// So many nodes.
    Nodes(u64),
    /// So many hundredths of all nodes, at least one node.
    Percent(u64),
}

impl std::str::FromStr for MaxUnavailable {
    type Err = String;

    /// Reads `3` or `10%`, as Kubernetes does.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let fail = || {
            format!("'{text}' is neither a number of nodes, such as 3, nor a share, such as 10%")
        };
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number: u64 = number.parse().map_err(|_| fail())?;
        match (number, percent) {
            (0, _) => Err(format!("'{text}' would never change a node")),
            (1..=100, true) => Ok(MaxUnavailable::Percent(number)),
            (_, true) => Err(fail()),
            (_, false) => Ok(MaxUnavailable::Nodes(number)),
        }
    }
}

/// What is known of a node of the cluster now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// The value of [`CONFIG_LABEL`], if there is one.
    pub config: Option<String>,
    /// Whether mig-manager reports that config as applied.
    pub applied: bool,
    /// Whether it takes no new pods already; then it stays so.
    pub cordoned: bool,
    /// Pods that hold a GPU or instance, where pods are known.
    pub busy_pods: Option<u64>,
}

/// How the change is rolled out.
#[derive(Debug, Clone)]
pub struct Options {
    /// The label of the plan's config, as [`mig_parted::Options::name`].
    pub name: String,
    /// How many nodes at once.
    pub max_unavailable: MaxUnavailable,
    /// How long to wait for a batch, as `kubectl wait --timeout` takes it.
    pub timeout: String,
    /// What the cluster says of its nodes, where it was asked.
    pub present: Option<BTreeMap<String, Present>>,
}

/// A node that gets a new label.
struct Step<'v> {
    node: &'v str,
    config: &'v str,
    /// Pods that must go first; `None` where nobody knows.
    busy: Option<u64>,
    /// Whether somebody cordoned it before.
    cordoned: bool,
    /// Places that the plan hands out on it: what a failure would cost.
    seats: u64,
}

/// Writes the script.
///
/// # Errors
/// As [`mig_parted::write`]; a bad timeout (exit 2); a node that the cluster does not have
/// (exit 3).
pub fn write(view: &View<'_>, options: &Options) -> Result<Emitted> {
    let duration = options.timeout.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    if options.timeout.is_empty() || !duration {
        return Err(Error::usage(format!("the timeout '{}' is no duration", options.timeout))
            .hint("write it as kubectl does: 15m, 900s"));
    }
    let file = mig_parted::write_with(
        &view.nodes,
        view.catalogue,
        &options.name,
        Extra::AllDisabled,
        &[],
    )?;
    let mut warnings = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (node, (name, config)) in view.nodes.iter().zip(&file.assignments) {
        let name: &str = name;
        let present = match &options.present {
            None => None,
            Some(all) => match all.get(name) {
                None => {
                    missing.push(name);
                    continue;
                }
                found => found,
            },
        };
        if present.is_some_and(|p| p.applied && p.config.as_deref() == Some(config)) {
            done.push(name);
            continue;
        }
        let seats = node.gpus.iter().flat_map(|g| &g.instances).filter(|i| i.assignment.is_some());
        steps.push(Step {
            node: name,
            config,
            busy: present.and_then(|p| p.busy_pods),
            cordoned: present.is_some_and(|p| p.cordoned),
            seats: seats.count() as u64,
        });
    }
    if !missing.is_empty() {
        let shown: Vec<&str> = missing.iter().take(5).copied().collect();
        return Err(Error::input(Diagnostic::new(format!(
            "the cluster's nodes lack {} of the plan: {}{}",
            plural(missing.len() as u64, "node"),
            shown.join(", "),
            if missing.len() > shown.len() { ", …" } else { "" }
        )))
        .hint("give the --nodes file of the cluster that the plan was made for"));
    }
    if steps.iter().any(|s| s.node == LOCAL_NODE) {
        warnings.push(Diagnostic::new(format!(
            "the plan calls its node '{LOCAL_NODE}', but kubectl knows it by another name: plan with --nodes or --fleet, or change the name in the script"
        )));
    }
    // Nodes where nothing is in the way first; then where the fewest pods are; where that is not
    // known, where the plan seats the fewest.
    steps.sort_by_key(|s| (s.busy.is_none(), s.busy, s.seats, s.node));
    let at_once = match options.max_unavailable {
        MaxUnavailable::Nodes(n) => n,
        MaxUnavailable::Percent(p) => (view.nodes.len() as u64 * p / 100).max(1),
    };
    let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
    Ok(Emitted { text: script(&steps, &done, at_once, options), warnings })
}

fn script(steps: &[Step<'_>], done: &[&str], at_once: usize, options: &Options) -> String {
    let batches: Vec<&[Step<'_>]> = steps.chunks(at_once).collect();
    let mut text = format!(
        "#!/usr/bin/env bash\n\
         # Hands each node its MIG config by the label {CONFIG_LABEL}: {} in {}, at most {at_once} at once.\n\
         # The ConfigMap must be there first: migplan emit configmap\n\
         #\n\
         # mig-manager acts when the label changes. Where a node carries the label already but the\n\
         # ConfigMap's content is new, give the plan's config a new --name, for both.\n\
         # A batch that fails ends the script; run it again to go on where it stopped.\n\
         set -euo pipefail\n\n\
         # Whether node $1 carries config $2 already.\n\
         has() {{\n  \
           [ \"$(kubectl get node \"$1\" -o jsonpath='{{.metadata.labels.nvidia\\.com/mig\\.config}}')\" = \"$2\" ]\n\
         }}\n",
        plural(steps.len() as u64, "node"),
        match batches.len() {
            1 => "1 batch".to_string(),
            n => format!("{n} batches"),
        },
    );
    if !done.is_empty() {
        let _ = writeln!(
            text,
            "\n# {} {} already: {}",
            plural(done.len() as u64, "node"),
            if done.len() == 1 { "carries its config" } else { "carry their config" },
            yaml::comment(&done.join(" "))
        );
    }
    for (i, batch) in batches.iter().enumerate() {
        let pods: Option<u64> = batch.iter().map(|s| s.busy).sum();
        let state = match pods {
            None => "whatever runs there is evicted".to_string(),
            Some(0) => "nothing runs on these GPUs".to_string(),
            Some(n) => format!("{} must go", plural(n, "pod")),
        };
        let words = |steps: &mut dyn Iterator<Item = &Step<'_>>| -> String {
            steps.map(|s| shell_word(s.node)).collect::<Vec<_>>().join(" ")
        };
        let all = words(&mut batch.iter());
        let _ = writeln!(text, "\n# Batch {} of {}: {state}", i + 1, batches.len());
        let _ = writeln!(text, "kubectl cordon {all}");
        let occupied = words(&mut batch.iter().filter(|s| s.busy != Some(0)));
        if !occupied.is_empty() {
            let _ = writeln!(
                text,
                "kubectl drain {occupied} --ignore-daemonsets --delete-emptydir-data --timeout={}",
                options.timeout
            );
        }
        for step in *batch {
            // 'pending' keeps the wait below from taking the state of the config before for that
            // of the new one.
            let (node, config) = (shell_word(step.node), step.config);
            let _ = writeln!(
                text,
                "has {node} {config} || kubectl label node {node} {CONFIG_LABEL}={config} {CONFIG_LABEL}.state=pending --overwrite"
            );
        }
        let targets: Vec<String> =
            batch.iter().map(|s| shell_word(&format!("node/{}", s.node))).collect();
        let _ = writeln!(
            text,
            "kubectl wait {} --timeout={} --for=jsonpath='{{.metadata.labels.nvidia\\.com/mig\\.config\\.state}}'=success",
            targets.join(" "),
            options.timeout
        );
        let back = words(&mut batch.iter().filter(|s| !s.cordoned));
        if !back.is_empty() {
            let _ = writeln!(text, "kubectl uncordon {back}");
        }
        let kept = words(&mut batch.iter().filter(|s| s.cordoned));
        if !kept.is_empty() {
            let _ = writeln!(text, "# cordoned before, and left so: {}", yaml::comment(&kept));
        }
    }
    if steps.is_empty() {
        text.push_str("\necho 'Every node carries its config already.'\n");
    }
    text
}
