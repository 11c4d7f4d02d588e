//! `migplan emit labels`: a shell script that gives each node its MIG configuration by label, a few
//! nodes at a time, the ones with the least disruption first.
//!
//! A node whose label and state are as planned is left alone, both when the script is written and
//! when it runs, unless it advertises something else: MIG Manager acts only when the label changes, so
//! a label alone does not say what it stood for when it was applied.
//!
//! What a node advertises are totals. They deny the plan's layouts where they differ, but where they
//! agree they prove them only if no other layouts, and no other order of the GPUs, add up to them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::nodes::{self, NodeGpus};
use super::output::Emitted;
use super::plan_view::PlanView;
use super::{mig_parted, shell, strategy, yaml};
use crate::demand::pods::Pods;
use crate::demand::time::Span;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::KubernetesNode;
use crate::kubernetes::{MIG_CONFIG_LABEL, list, naming};
use crate::plan::{GpuPlan, InstanceProfile, Strategy};
use crate::text::plural;

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

/// What the cluster says of one of its nodes now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresentNode {
    /// The node.
    pub node: KubernetesNode,
    /// Pods that hold a GPU or instance, where pods are known.
    pub busy_pods: Option<u64>,
}

/// Joins what the cluster says of its nodes with the pods that hold GPUs there.
pub fn present(
    nodes: BTreeMap<String, KubernetesNode>,
    pods: Option<&Pods>,
) -> BTreeMap<String, PresentNode> {
    let busy = |name: &str, pods: &Pods| pods.busy.get(name).map_or(0, |b| b.pods.len() as u64);
    nodes
        .into_iter()
        .map(|(name, node)| {
            let busy_pods = pods.map(|pods| busy(&name, pods));
            (name, PresentNode { node, busy_pods })
        })
        .collect()
}

/// How the change is rolled out.
#[derive(Debug, Clone)]
pub struct RolloutOptions {
    /// The label of the plan's configuration, as [`mig_parted::MigPartedOptions::name`].
    pub name: String,
    /// How many nodes at once.
    pub max_unavailable: MaxUnavailable,
    /// How long a batch may take to drain, and to get its layouts; in whole seconds, rounded up.
    pub timeout: Span,
    /// The namespace of the GPU Operator.
    pub namespace: String,
    /// What the cluster says of its nodes, where it was asked.
    pub present: Option<BTreeMap<String, PresentNode>>,
}

/// What a node needs, in the order of the disruption that it causes. The words are those of
/// `snippets/rollout.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// The layouts are as planned under another label.
    Rename,
    /// No pod holds a GPU.
    Idle,
    /// Pods hold GPUs, or nothing is known of them.
    Drain,
    /// The label is as planned, the layouts are not.
    Reapply,
}

impl How {
    fn word(self) -> &'static str {
        match self {
            How::Rename => "rename",
            How::Idle => "idle",
            How::Drain => "drain",
            How::Reapply => "reapply",
        }
    }
}

/// A node that changes.
struct Step<'v> {
    node: &'v str,
    config: &'v str,
    how: How,
    /// Pods that are evicted; `None` where nothing is known of them.
    evicted: Option<u64>,
    /// Instances and whole GPUs that the node advertises now and will not any more.
    destroyed: u64,
    /// Instances of the node that the plan allocates: what a failure would cost.
    allocated: u64,
}

/// Writes the script.
///
/// # Errors
/// As [`mig_parted::write`]; a bad namespace (exit 2); a node that the cluster does not have (exit 3).
pub fn write(view: &PlanView<'_>, options: &RolloutOptions) -> Result<Emitted> {
    naming::check_namespace(&options.namespace)?;
    let labels = mig_parted::labels(view, &options.name)?;
    let mut unchanged: Vec<&str> = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (node, (name, config)) in view.nodes.iter().zip(&labels) {
        let present = match &options.present {
            None => None,
            Some(all) => match all.get(&**name) {
                None => {
                    missing.push(name.to_string());
                    continue;
                }
                found => found,
            },
        };
        match step(view, node, config, present) {
            Some(step) => steps.push(step),
            None => unchanged.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(Error::input(Diagnostic::new(format!(
            "the cluster lacks {} of the plan: {}",
            plural(missing.len() as u64, "node"),
            list::names(&missing)
        )))
        .hint("give the --nodes file of the cluster that the plan was made for"));
    }
    let mut warnings: Vec<Diagnostic> = options
        .present
        .iter()
        .flat_map(|present| {
            strategy::warnings(view.strategy, &view.nodes, |name| Some(&present.get(name)?.node))
        })
        .collect();
    warnings.extend(nodes::unnamed(steps.iter().map(|s| s.node), "kubectl", "the script"));
    steps
        .sort_by_key(|s| (s.evicted.is_none(), s.evicted, s.how, s.destroyed, s.allocated, s.node));
    let at_once = match options.max_unavailable {
        MaxUnavailable::Nodes(n) => n,
        MaxUnavailable::Percent(p) => (view.nodes.len() as u64 * p / 100).max(1),
    };
    let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
    let notes = notes(&steps, unchanged.len(), view.nodes.len(), options.present.is_some());
    Ok(Emitted { text: script(&steps, &unchanged, at_once, options), notes, warnings })
}

/// What a node needs; `None` where it has the plan's label, applied, and nothing contradicts it.
fn step<'v>(
    view: &PlanView<'_>,
    node: &NodeGpus<'v>,
    config: &'v str,
    present: Option<&PresentNode>,
) -> Option<Step<'v>> {
    let mut step = Step {
        node: node.name,
        config,
        how: How::Drain,
        evicted: None,
        destroyed: 0,
        allocated: view.allocated(node),
    };
    let Some(present) = present else { return Some(step) };
    let now = &present.node;
    let has_label = now.mig_config.as_deref() == Some(config);
    let applied = now.mig_config_state.as_deref() == Some("success");
    // Layouts are compared, whatever the strategy calls them.
    let planned = nodes::allocatable(Strategy::Mixed, node).ok();
    let adds_up = planned.as_ref().and_then(|planned| now.has_devices(planned));
    if let (Some(planned), Some(_)) = (&planned, adds_up) {
        let left = |resource: &String, has: u64| {
            has.saturating_sub(planned.get(resource).copied().unwrap_or(0))
        };
        let devices = now.devices();
        let advertised = devices.iter().filter(|(_, of)| of.advertised);
        step.destroyed = advertised.map(|(resource, of)| left(resource, of.count)).sum();
    }
    step.evicted = present.busy_pods;
    match (has_label, applied, adds_up) {
        (true, true, None | Some(true)) => return None,
        (true, true, Some(false)) => step.how = How::Reapply,
        (false, applied, Some(true))
            if (applied || now.mig_config.is_none()) && follows_from_totals(view, node) =>
        {
            (step.how, step.evicted) = (How::Rename, Some(0));
        }
        _ if present.busy_pods == Some(0) => step.how = How::Idle,
        _ => {}
    }
    Some(step)
}

/// Whether a node that has as many whole GPUs and instances of each profile as planned has the plan's
/// layout on each GPU: with one GPU, with MIG off on all, or with one profile that fills all.
fn follows_from_totals(view: &PlanView<'_>, node: &NodeGpus<'_>) -> bool {
    // The profile that fills a GPU; none is MIG off.
    let filled_by = |gpu: &GpuPlan| -> Option<Option<InstanceProfile>> {
        let [first, ..] = &gpu.instances[..] else { return (!gpu.mig).then_some(None) };
        let InstanceProfile::Mig(name) = &first.profile else { return Some(None) };
        let (_, profile) = view.catalogue.by_id(&gpu.board)?.profile(name)?;
        let alike = gpu.instances.iter().all(|instance| instance.profile == first.profile);
        let most = gpu.instances.len() as u64 == u64::from(profile.max_instances);
        (alike && most).then(|| Some(first.profile.clone()))
    };
    match &node.gpus[..] {
        [] | [_] => true,
        [first, others @ ..] => {
            let first = filled_by(first);
            first.is_some() && others.iter().all(|gpu| filled_by(gpu) == first)
        }
    }
}

/// How many nodes change, for the terminal.
fn notes(steps: &[Step<'_>], unchanged: usize, all: usize, asked: bool) -> Vec<String> {
    let count = |how: How| steps.iter().filter(|s| s.how == how).count() as u64;
    let mut notes = Vec::new();
    if !asked {
        return notes;
    }
    notes.push(format!(
        "{unchanged} of {} left alone, with the plan's label applied already; {} to change",
        plural(all as u64, "node"),
        plural(steps.len() as u64, "node")
    ));
    if count(How::Rename) > 0 {
        notes.push(format!(
            "{} with the plan's layouts under another label: relabelled without draining",
            plural(count(How::Rename), "node")
        ));
    }
    if count(How::Reapply) > 0 {
        notes.push(format!(
            "{} with the plan's label, but not advertising its layouts: drained, and MIG Manager is restarted there to read the ConfigMap again",
            plural(count(How::Reapply), "node")
        ));
    }
    notes
}

fn script(
    steps: &[Step<'_>],
    unchanged: &[&str],
    at_once: usize,
    options: &RolloutOptions,
) -> String {
    let batches: Vec<&[Step<'_>]> = steps.chunks(at_once).collect();
    let mut text = format!(
        "#!/usr/bin/env bash\n\
         # Gives each node its MIG configuration by the label {MIG_CONFIG_LABEL}: {} in {}, at most {at_once} at once.\n\
         # The ConfigMap must be there first: migplan emit configmap\n\
         #\n\
         # A batch that fails ends the script; run it again to go on where it stopped.\n",
        plural(steps.len() as u64, "node"),
        match batches.len() {
            1 => "1 batch".to_string(),
            n => format!("{n} batches"),
        },
    );
    if !unchanged.is_empty() {
        let _ = writeln!(
            text,
            "# {} with the plan's label applied already: {}",
            plural(unchanged.len() as u64, "node"),
            yaml::comment(&unchanged.join(" "))
        );
    }
    if steps.is_empty() {
        text.push_str("\necho 'Every node has its label of the plan already, applied.'\n");
        return text;
    }
    // kubectl knows no days, and takes a number without unit for seconds.
    let _ = write!(
        text,
        "readonly timeout={}s namespace={}\n{}",
        options.timeout.ms().unsigned_abs().div_ceil(1_000),
        options.namespace,
        include_str!("snippets/rollout.sh")
    );
    for (i, batch) in batches.iter().enumerate() {
        let evicted: Option<u64> = batch.iter().map(|s| s.evicted).sum();
        let state = match evicted {
            None => "pods that run there are evicted".to_string(),
            Some(0) if batch.iter().all(|s| s.how == How::Idle) => {
                "no pod holds a GPU there".to_string()
            }
            Some(0) => "no pod with a GPU is evicted".to_string(),
            Some(n) => format!("{} with GPUs evicted", plural(n, "pod")),
        };
        let _ = write!(text, "\n# Batch {} of {}: {state}\nbatch", i + 1, batches.len());
        for step in *batch {
            let _ = write!(
                text,
                " \\\n  {} {} {}",
                shell::word(step.node),
                step.config,
                step.how.word()
            );
        }
        text.push('\n');
    }
    text
}
