//! `migplan emit nvidia-smi`: the plan as `nvidia-smi` commands with explicit placements, for a node
//! without migplan.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::nodes::{NodeGpus, board_of, pick_node};
use super::output::Emitted;
use super::plan_view::PlanView;
use super::{shell, yaml};
use crate::error::Result;
use crate::plan::{GpuPlan, InstanceProfile};

/// Writes the commands for one node (`only`), or a script that finds its node by the host's name: a
/// plan may name nodes with their domain or without it, as Kubernetes and Slurm do.
///
/// # Errors
/// A node that the plan lacks (exit 2); a board that the catalogue lacks (exit 3).
pub fn write(view: &PlanView<'_>, only: Option<&str>) -> Result<Emitted> {
    let mut text = String::from(include_str!("snippets/nvidia-smi.sh"));
    let nodes = match (only, &view.nodes[..]) {
        (None, [_, _, ..]) => &view.nodes[..],
        (name, _) => std::slice::from_ref(pick_node(&view.nodes, name)?),
    };
    if let [node] = nodes {
        let _ = writeln!(text, "# Node: {}", yaml::comment(node.name));
        text.push_str("set -euo pipefail\n\n");
        text.push_str(&commands(view, node, "")?);
        return Ok(text.into());
    }
    // Nodes with the same commands share a branch.
    let mut branches: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        branches.entry(commands(view, node, "  ")?).or_default().push(node.name);
    }
    let mut branches: Vec<(String, Vec<&str>)> = branches.into_iter().collect();
    branches.sort_by(|a, b| a.1.cmp(&b.1));
    text.push_str(include_str!("snippets/nvidia-smi-host.sh"));
    for (commands, names) in branches {
        let names: Vec<String> = names.iter().map(|name| pattern(name)).collect();
        let _ = write!(text, "{})\n{commands}  exit 0\n  ;;\n", names.join(" | "));
    }
    text.push_str("esac\ndone\necho \"the plan has no node '${names[0]}'\" >&2\nexit 2\n");
    Ok(text.into())
}

/// A name as a pattern of `case` that matches nothing else.
fn pattern(name: &str) -> String {
    let word = shell::word(name);
    if word.starts_with('\'') { word } else { format!("'{word}'") }
}

/// The commands for one node: mode first, then the present instances are destroyed, then the plan's
/// created.
fn commands(view: &PlanView<'_>, node: &NodeGpus<'_>, indent: &str) -> Result<String> {
    let mut text = String::new();
    let mig_on: Vec<&&GpuPlan> = node.gpus.iter().filter(|g| g.mig).collect();
    let mig_off: Vec<&&GpuPlan> = node.gpus.iter().filter(|g| !g.mig).collect();
    let list =
        |gpus: &[&&GpuPlan]| gpus.iter().map(|g| g.gpu.to_string()).collect::<Vec<_>>().join(",");
    if !mig_off.is_empty() {
        let _ = writeln!(text, "{indent}# MIG off");
        for gpu in &mig_off {
            let index = gpu.gpu;
            // Both fail where there is nothing to destroy, which does no harm.
            let _ = writeln!(text, "{indent}nvidia-smi mig -i {index} -dci || true");
            let _ = writeln!(text, "{indent}nvidia-smi mig -i {index} -dgi || true");
        }
        let _ = writeln!(text, "{indent}nvidia-smi -i {} -mig 0", list(&mig_off));
    }
    if !mig_on.is_empty() {
        let _ = writeln!(text, "{indent}# MIG on");
        let _ = writeln!(text, "{indent}nvidia-smi -i {} -mig 1", list(&mig_on));
    }
    let mut pending = Vec::new();
    for gpu in &node.gpus {
        if board_of(view.catalogue, &gpu.board)?.mode_change_needs_reset {
            pending.push(gpu.gpu.to_string());
        }
    }
    if !pending.is_empty() {
        let _ = writeln!(
            text,
            "{indent}# Where the mode is still pending, these GPUs need: nvidia-smi --gpu-reset -i {}",
            pending.join(",")
        );
    }
    for gpu in mig_on {
        let board = board_of(view.catalogue, &gpu.board)?;
        let index = gpu.gpu;
        let mut tuples = Vec::new();
        let mut names = Vec::new();
        for instance in &gpu.instances {
            let InstanceProfile::Mig(name) = &instance.profile else { continue };
            // Every version takes ids; boards whose ids are not published go by name.
            let id = board.profile(name).and_then(|(_, p)| p.profile_id);
            let id = id.map_or_else(|| name.to_string(), |id| id.to_string());
            tuples.push(format!("{id}:{}", instance.start));
            names.push(format!("{name}@{}", instance.start));
        }
        let _ = writeln!(text, "{indent}# GPU {index}: {}", names.join(" "));
        let _ = writeln!(text, "{indent}nvidia-smi mig -i {index} -dci || true");
        let _ = writeln!(text, "{indent}nvidia-smi mig -i {index} -dgi || true");
        if !tuples.is_empty() {
            let _ =
                writeln!(text, "{indent}nvidia-smi mig -i {index} -cgi {} -C", tuples.join(","));
        }
    }
    Ok(text)
}
