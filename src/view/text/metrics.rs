//! The present state of a node as metrics for node_exporter's textfile collector.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::apply::History;
use crate::fleet::observed::ObservedNode;
use crate::reconfigure::creatable;

/// The text exposition format: one family after the other, its samples in the order of the GPUs.
pub fn metrics(node: &ObservedNode, saved: Option<&History>) -> String {
    let gpus = &node.gpus;
    let (mut enabled, mut pending, mut free) = (Vec::new(), Vec::new(), Vec::new());
    let (mut instances, mut busy) = (Vec::new(), Vec::new());
    for gpu in gpus {
        let board = gpu.board.as_ref().map_or("", |b| b.id.as_str());
        let of_gpu = format!(
            "gpu=\"{}\",uuid=\"{}\",board=\"{}\"",
            gpu.index,
            label_value(&gpu.uuid),
            label_value(board)
        );
        if let Some(mode) = gpu.mode {
            enabled.push((of_gpu.clone(), u64::from(mode.current)));
            pending.push((of_gpu.clone(), u64::from(mode.current != mode.pending)));
        }
        let Some((board, _, slices)) = creatable::of_gpu(gpu) else { continue };
        free.push((of_gpu.clone(), slices as u64));
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for instance in gpu.known_instances() {
            let name = board.profiles[instance.profile].name.to_string();
            let count = counts.entry(name).or_default();
            count.0 += 1;
            count.1 += u64::from(instance.is_busy());
        }
        for (profile, (all, of_them_busy)) in counts {
            let labels = format!("{of_gpu},profile=\"{}\"", label_value(&profile));
            instances.push((labels.clone(), all));
            busy.push((labels, of_them_busy));
        }
    }
    let unreadable = node.unreadable.iter().map(|gpu| {
        let uuid = gpu.uuid.as_deref().unwrap_or_default();
        (format!("gpu=\"{}\",uuid=\"{}\"", gpu.index, label_value(uuid)), 1)
    });
    let runs = saved.iter().flat_map(|history| history.runs.iter());
    let unfinished = runs.filter(|run| run.is_unfinished(node)).count() as u64;
    let interrupted = saved.map(|_| (String::new(), unfinished)).into_iter();
    let damaged = saved.map(|history| (String::new(), history.damaged.len() as u64)).into_iter();
    let units = saved.map(|history| (String::new(), history.units().len() as u64)).into_iter();
    let mut text = String::new();
    for (name, help, samples) in [
        (
            "migplan_interrupted_runs",
            "Runs that left a GPU half-way, or only some of their GPUs changed.",
            interrupted.collect(),
        ),
        (
            "migplan_unreadable_runs",
            "Saved runs whose file cannot be read: any of them may be interrupted.",
            damaged.collect(),
        ),
        (
            "migplan_units_not_started",
            "Units that a run has stopped and nothing has started since.",
            units.collect(),
        ),
        ("migplan_gpu_unreadable", "GPUs that the driver cannot tell of.", unreadable.collect()),
        ("migplan_mig_enabled", "Whether MIG mode is on.", enabled),
        ("migplan_mig_mode_pending", "Whether a change of MIG mode is pending.", pending),
        ("migplan_gpu_instances", "GPU instances by profile.", instances),
        ("migplan_gpu_instances_busy", "GPU instances in which a process runs.", busy),
        ("migplan_free_memory_slices", "Memory slices that no instance covers.", free),
    ] {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        let samples: Vec<(String, u64)> = samples;
        for (labels, value) in samples {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

/// A label value as the text format escapes it.
fn label_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
