//! What a change of a node does, for people.

use std::collections::BTreeMap;

use crate::apply::guard::Wait;
use crate::apply::journal::Purpose;
use crate::apply::{Event, GpuChange, NodeChange, Outcome, Proposal};
use crate::error::Diagnostic;
use crate::fleet::observed::{ObservedNode, Process};
use crate::hardware::compute;
use crate::hardware::layout::Placement;
use crate::mig_parted::fleet_check::Held;
use crate::reconfigure::change::Refit;
use crate::text::plural;

/// The changes, GPU by GPU.
pub fn describe(node: &ObservedNode, change: &NodeChange) -> String {
    let mut lines = Vec::new();
    for gpu in &change.gpus {
        describe_gpu(node, gpu, change.wait, &mut lines);
    }
    if !change.unchanged.is_empty() {
        let indices: Vec<String> = change.unchanged.iter().map(ToString::to_string).collect();
        lines.push(format!("GPU {}: no change", indices.join(", ")));
    }
    if !change.gpus.is_empty() {
        lines.push(summary(change));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn describe_gpu(node: &ObservedNode, gpu: &GpuChange, wait: Wait, lines: &mut Vec<String>) {
    let product = node.gpus.iter().find(|g| g.index == gpu.gpu).map_or("", |g| g.product.as_str());
    let mode = match gpu.mode {
        Some(mode) if gpu.switches_mode() => {
            let word = if mode.on { "on" } else { "off" };
            let reset = if mode.reset { " by a reset of the GPU" } else { "" };
            Some(format!("MIG {word}{reset}"))
        }
        Some(mode) if mode.pending != mode.on => {
            let word = if mode.pending { "on" } else { "off" };
            Some(format!("MIG {word} is pending again, for the next reset of the GPU"))
        }
        Some(_) => Some("a pending change of MIG mode is cancelled".to_string()),
        None => None,
    };
    let held_up = (!gpu.in_use_by.is_empty()).then(|| {
        let processes = listed(&gpu.in_use_by);
        match wait {
            Wait::Now => format!("waits for {processes}"),
            _ => format!("refused: in use by {processes}"),
        }
    });
    let notes: Vec<String> = [mode, held_up].into_iter().flatten().collect();
    let colon = if notes.is_empty() { "" } else { ": " };
    lines.push(format!("GPU {} ({product}){colon}{}", gpu.gpu, notes.join("; ")));
    let line = |verb: &str, profile: usize, start: u32, note: &str| {
        let info = &gpu.board.profiles[profile];
        let end = start + info.memory_slices - 1;
        let slices =
            if end == start { format!("slice {start}") } else { format!("slices {start}-{end}") };
        let text = format!("  {verb:<8} {:<14} {slices:<12} {note}", info.name.to_string());
        text.trim_end().to_string()
    };
    let present = |verb: &str, i: usize, note: &str| {
        let instance = &gpu.present[i];
        line(verb, instance.profile, instance.start, note)
    };
    for &i in &gpu.change.keep {
        lines.push(present("keep", i, &users(gpu, i)));
    }
    for refit in &gpu.change.refit {
        let changed = compute::changed(&gpu.compute_destroyed(refit), &refit.create);
        let note = format!("compute instances: {changed}");
        lines.push(present("keep", refit.instance, &note));
    }
    for &i in &gpu.change.destroy {
        let shape = gpu.present[i].shape();
        let notes = [parts(gpu, shape.profile, &shape.compute), users(gpu, i)];
        let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        lines.push(present("destroy", i, &notes.join(", ")));
    }
    for new in &gpu.change.create {
        let Placement { profile, start } = new.placement;
        lines.push(line("create", profile, start, &parts(gpu, profile, &new.compute)));
    }
}

/// `with compute instances 2c 1c`; nothing where one takes all of the instance, or there is none.
fn parts(gpu: &GpuChange, profile: usize, compute: &[u32]) -> String {
    match gpu.board.profiles[profile].parts(compute) {
        [] => String::new(),
        parts => format!("with compute instances {}", compute::names(parts)),
    }
}

/// `in use by train.py (pid 4711)`; nothing where nothing runs.
fn users(gpu: &GpuChange, instance: usize) -> String {
    let mut processes = gpu.present[instance].processes().peekable();
    if processes.peek().is_none() {
        return String::new();
    }
    format!("in use by {}", listed(processes))
}

/// Each process once.
fn listed<'p>(processes: impl IntoIterator<Item = &'p Process>) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in processes.into_iter().map(Process::to_string) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// `3 instances kept, 1 destroyed, 2 created`.
pub fn summary(change: &NodeChange) -> String {
    let of = |count: fn(&GpuChange) -> usize| change.gpus.iter().map(count).sum::<usize>() as u64;
    let mut parts = vec![
        format!("{} kept", plural(of(|g| g.change.keep.len() + g.change.refit.len()), "instance")),
        format!("{} destroyed", of(|g| g.change.destroy.len())),
        format!("{} created", of(|g| g.change.create.len())),
    ];
    parts.extend(within_kept(change));
    let modes = of(|g| usize::from(g.switches_mode()));
    if modes > 0 {
        parts.push(format!("{} of MIG mode", plural(modes, "change")));
    }
    parts.join(", ")
}

/// `2 compute instances destroyed and 1 created in those kept`; `None` where none is.
fn within_kept(change: &NodeChange) -> Option<String> {
    let of = |count: fn(&Refit) -> usize| {
        let refits = change.gpus.iter().flat_map(|gpu| &gpu.change.refit);
        refits.map(count).sum::<usize>() as u64
    };
    let (gone, new) = (of(|refit| refit.destroy.len()), of(|refit| refit.create.len()));
    let gone = format!("{} destroyed", plural(gone, "compute instance"));
    (of(|_| 1) > 0).then(|| format!("{gone} and {new} created in those kept"))
}

/// What happens during a change, a line each; nothing of what has a form of its own.
pub fn lines(event: &Event<'_>) -> Vec<String> {
    match event {
        Event::Waiting(reasons) => reasons.iter().map(|why| format!("waiting: {why}")).collect(),
        Event::Stop(unit) => vec![format!("stopping {unit}")],
        Event::Start(unit) => vec![format!("starting {unit}")],
        Event::Begin(step, _) => vec![step.to_string()],
        Event::Failed(why) => vec![format!("failed: {why}; going back")],
        Event::Warning(_)
        | Event::Difference(_)
        | Event::Changes(..)
        | Event::Done(..)
        | Event::Ended(_) => vec![],
    }
}

/// How a change ended; `None` where only changes were shown.
pub fn outcome(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Changed(change) => Some(format!("done: {}", summary(change))),
        Outcome::Unchanged => {
            Some("nothing to do: every GPU already has this configuration".to_string())
        }
        Outcome::UnchangedButLeft => Some(
            "nothing to do: the GPUs of this state that can be changed already have it".to_string(),
        ),
        Outcome::Planned => None,
    }
}

/// What is asked before a change: what is lost by it, and how to come back.
pub fn question(proposal: &Proposal<'_>) -> String {
    let change = proposal.change;
    let of = |count: fn(&GpuChange) -> usize| change.gpus.iter().map(count).sum::<usize>() as u64;
    let destroyed = plural(of(|g| g.change.destroy.len()), "idle instance");
    let within = within_kept(change).map_or(String::new(), |text| format!(", {text}"));
    let gpus: Vec<String> = change.gpus.iter().map(|gpu| gpu.gpu.to_string()).collect();
    let resets = of(|g| usize::from(g.resets()));
    let resets = match resets {
        0 => String::new(),
        n => format!(", {} reset", plural(n, "GPU")),
    };
    let back = match (proposal.purpose, proposal.interrupted) {
        (Purpose::Rollback, _) => {
            "The present state is saved too: `migplan rollback --list` shows it."
        }
        (Purpose::Apply, false) => "`migplan rollback` comes back to the present state.",
        (Purpose::Apply, true) => {
            "`migplan rollback` comes back to the present state; but on the GPUs of the interrupted run to the state before that run."
        }
    };
    format!(
        "This changes GPU {}: {destroyed} destroyed, {} created{within}{resets}. {back}\nGo on?",
        gpus.join(", "),
        of(|g| g.change.create.len())
    )
}

/// The labels of a valid file, each with the nodes that can hold it.
pub fn held(file: &str, labels: &BTreeMap<String, Held>) -> String {
    let line = |(label, held): (&String, &Held)| {
        let (nodes, gpus) = (plural(held.nodes, "node"), plural(held.gpus, "GPU"));
        format!("{file}: {label}: valid for mig-parted, and {nodes} of {gpus} can hold it\n")
    };
    labels.iter().map(line).collect()
}

/// How a node differs from what `file` says of it; `change`: what would have to be done. What runs on
/// a GPU that differs is no difference.
pub fn drift(change: &NodeChange, file: &str) -> Vec<Diagnostic> {
    let gpus = change.gpus.iter().map(|gpu| difference(gpu, file));
    gpus.chain(change.refusals.iter().cloned()).chain(change.unseen()).collect()
}

/// How a GPU differs from what the file says of it.
fn difference(gpu: &GpuChange, file: &str) -> Diagnostic {
    let word = |on| if on { "on" } else { "off" };
    let mode = gpu.mode.map(|mode| match gpu.switches_mode() {
        true => format!("MIG is not {}", word(mode.on)),
        false if gpu.board.mode_change_needs_reset => {
            format!("MIG will be {} after a reset", word(gpu.from.mig_pending))
        }
        false => format!("MIG {} was asked for, and is pending", word(gpu.from.mig_pending)),
    });
    let instances = |profiles: Vec<usize>, what: &str| {
        let known = gpu.board.profiles.iter().enumerate();
        let named: Vec<String> = known
            .map(|(p, profile)| (profiles.iter().filter(|other| **other == p).count(), profile))
            .filter(|(count, _)| *count > 0)
            .map(|(count, profile)| format!("{count} × {}", profile.name))
            .collect();
        (!named.is_empty()).then(|| format!("{} {what}", named.join(" + ")))
    };
    let more = gpu.change.destroy.iter().map(|i| gpu.present[*i].profile).collect();
    let more = instances(more, "too many");
    let less = gpu.change.create.iter().map(|new| new.placement.profile).collect();
    let less = instances(less, "missing");
    let refits = gpu.change.refit.iter().map(|r| refit(gpu, r));
    let what: Vec<String> = [mode, more, less].into_iter().flatten().chain(refits).collect();
    Diagnostic::new(format!("GPU {} is not what {file} says: {}", gpu.gpu, what.join("; ")))
}

/// `3g.40gb at memory slice 4 lacks 1 compute instance`.
fn refit(gpu: &GpuChange, refit: &Refit) -> String {
    let instance = &gpu.present[refit.instance];
    let name = &gpu.board.profiles[instance.profile].name;
    let what = if refit.destroy.is_empty() {
        format!("lacks {}", plural(refit.create.len() as u64, "compute instance"))
    } else {
        format!(
            "has compute instances {}, of which {} must go",
            compute::names(&instance.shape().compute),
            compute::names(&gpu.compute_destroyed(refit))
        )
    };
    format!("{name} at memory slice {} {what}", instance.start)
}
