//! Telling of changes to a node: to people as text and a progress bar, to programs as JSON lines.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::output::{Console, write_result};
use crate::apply::{Event, GpuChange, NodeChange, Step};
use crate::error::{Diagnostic, ExitCode, Result};
use crate::fleet::observed::{ObservedNode, Process};
use crate::text::plural;

/// Schema key of the events.
pub(super) const EVENTS_SCHEMA: &str = "migplan.events/v1";

/// How a run ended well.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The node was changed and is as wanted.
    Applied,
    /// There was nothing to do.
    Unchanged,
    /// A dry run.
    Planned,
}

/// Tells of changes: to people, or as JSON lines to programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reporter {
    pub(super) console: Console,
    pub(super) json: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EventJson<'a> {
    Changes { schema: &'static str, gpus: Vec<ChangeJson>, unchanged: &'a [u32] },
    Warning { message: String },
    Begin { step: &'a Step },
    Done { step: &'a Step },
    Failed { why: &'a str },
    Result { outcome: &'a str, exit_code: u8, errors: Vec<String>, hint: Option<&'a str> },
}

#[derive(Serialize)]
struct ChangeJson {
    gpu: u32,
    board: String,
    mig: Option<bool>,
    reset: bool,
    keep: Vec<InstanceJson>,
    destroy: Vec<InstanceJson>,
    refit: Vec<InstanceJson>,
    create: Vec<InstanceJson>,
}

#[derive(Serialize)]
struct InstanceJson {
    profile: String,
    start: u32,
    size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gi: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compute: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<u32>,
}

impl Reporter {
    /// The changes: as an event, on stdout for a dry run, else on stderr.
    pub(super) fn changes(
        &self,
        node: &ObservedNode,
        change: &NodeChange,
        dry_run: bool,
    ) -> Result<()> {
        if self.json {
            let gpus = change.gpus.iter().map(change_json).collect();
            let unchanged = &change.unchanged;
            self.emit(&EventJson::Changes { schema: EVENTS_SCHEMA, gpus, unchanged });
            return Ok(());
        }
        let text = describe(node, change);
        if dry_run {
            return write_result(None, |out| out.write_all(text.as_bytes()));
        }
        if !change.gpus.is_empty() {
            self.console.say(text.trim_end());
        }
        Ok(())
    }

    pub(super) fn warn(&self, warnings: &[Diagnostic]) {
        if self.json {
            for warning in warnings {
                self.emit(&EventJson::Warning { message: warning.to_string() });
            }
        } else {
            self.console.warn(warnings);
        }
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        if self.json {
            self.emit(&match event {
                Event::Begin(step) => EventJson::Begin { step },
                Event::Done(step) => EventJson::Done { step },
                Event::Failed(why) => EventJson::Failed { why },
            });
        } else if let (Event::Begin(step), true) = (event, self.console.verbosity() > 0) {
            self.console.say(&step.to_string());
        }
    }

    /// The last event, and the result for the exit code.
    pub(super) fn finish(&self, result: Result<Outcome>) -> Result<()> {
        if self.json {
            let (outcome, errors, hint, code) = match &result {
                Ok(Outcome::Applied) => ("applied", Vec::new(), None, ExitCode::Success),
                Ok(Outcome::Unchanged) => ("unchanged", Vec::new(), None, ExitCode::Success),
                Ok(Outcome::Planned) => ("planned", Vec::new(), None, ExitCode::Success),
                Err(e) => {
                    let outcome = match e.code {
                        ExitCode::Refused => "refused",
                        ExitCode::RolledBack => "rolled_back",
                        ExitCode::RollbackIncomplete => "rollback_incomplete",
                        _ => "failed",
                    };
                    let errors = e.problems.iter().map(ToString::to_string).collect();
                    (outcome, errors, e.hint.as_deref(), e.code)
                }
            };
            self.emit(&EventJson::Result { outcome, exit_code: code as u8, errors, hint });
        }
        result.map(|_| ())
    }

    fn emit(&self, event: &EventJson<'_>) {
        // A reader that went away must not stop a change half-way.
        let _ = write_result(None, |out| {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")
        });
    }

    pub(super) fn bar(&self, steps: usize) -> ProgressBar {
        if self.json || !self.console.is_interactive() || self.console.verbosity() > 0 {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar
    }
}

fn change_json(change: &GpuChange) -> ChangeJson {
    let board = &change.board;
    let present = |i: &usize| {
        let instance = &change.present[*i];
        InstanceJson {
            profile: board.profiles[instance.profile].name.to_string(),
            start: instance.start,
            size: instance.size,
            gi: Some(instance.id),
            compute: Vec::new(),
            processes: instance.processes().map(|p| p.pid).collect(),
        }
    };
    ChangeJson {
        gpu: change.gpu,
        board: board.id.clone(),
        mig: change.mode.filter(|m| m.on != change.from.mig).map(|m| m.on),
        reset: change.mode.is_some_and(|m| m.reset),
        keep: change.change.keep.iter().map(present).collect(),
        destroy: change.change.destroy.iter().map(present).collect(),
        refit: change.change.refit.iter().map(|r| present(&r.instance)).collect(),
        create: change
            .change
            .create
            .iter()
            .map(|c| {
                let profile = &board.profiles[c.placement.profile];
                let whole = c.compute == [profile.compute_slices];
                InstanceJson {
                    profile: profile.name.to_string(),
                    start: c.placement.start,
                    size: profile.memory_slices,
                    gi: None,
                    compute: if whole { Vec::new() } else { c.compute.clone() },
                    processes: Vec::new(),
                }
            })
            .collect(),
    }
}

/// The changes for people, GPU by GPU.
fn describe(node: &ObservedNode, change: &NodeChange) -> String {
    let mut lines = Vec::new();
    for gpu in &change.gpus {
        let product =
            node.gpus.iter().find(|g| g.index == gpu.gpu).map_or("", |g| g.product.as_str());
        let board = &gpu.board;
        let mode = match gpu.mode {
            Some(mode) if mode.on != gpu.from.mig => {
                let word = if mode.on { "on" } else { "off" };
                let reset = if mode.reset { " by a reset of the GPU" } else { "" };
                format!(": MIG {word}{reset}")
            }
            Some(_) => ": a pending change of MIG mode is taken back".to_string(),
            None => String::new(),
        };
        lines.push(format!("GPU {} ({product}){mode}", gpu.gpu));
        let line = |verb: &str, profile: usize, start: u32, note: &str| {
            let info = &board.profiles[profile];
            let end = start + info.memory_slices - 1;
            let slices = if end == start {
                format!("slice {start}")
            } else {
                format!("slices {start}-{end}")
            };
            let text = format!("  {verb:<8} {:<14} {slices:<12} {note}", info.name.to_string());
            text.trim_end().to_string()
        };
        let held = |i: usize| {
            let processes: Vec<String> =
                gpu.present[i].processes().map(Process::to_string).collect();
            if processes.is_empty() {
                String::new()
            } else {
                format!("in use by {}", processes.join(", "))
            }
        };
        for &i in &gpu.change.keep {
            let instance = &gpu.present[i];
            lines.push(line("keep", instance.profile, instance.start, &held(i)));
        }
        for refit in &gpu.change.refit {
            let instance = &gpu.present[refit.instance];
            let note = format!(
                "compute instances: {} go, {} come",
                refit.destroy.len(),
                refit.create.len()
            );
            lines.push(line("keep", instance.profile, instance.start, &note));
        }
        for &i in &gpu.change.destroy {
            let instance = &gpu.present[i];
            lines.push(line("destroy", instance.profile, instance.start, &held(i)));
        }
        for new in &gpu.change.create {
            let whole = new.compute == [board.profiles[new.placement.profile].compute_slices];
            let note = if whole {
                String::new()
            } else {
                let slices: Vec<String> = new.compute.iter().map(|c| format!("{c}c")).collect();
                format!("with compute instances {}", slices.join(" "))
            };
            lines.push(line("create", new.placement.profile, new.placement.start, &note));
        }
    }
    if !change.unchanged.is_empty() {
        let indices: Vec<String> = change.unchanged.iter().map(ToString::to_string).collect();
        lines.push(format!("GPU {}: as wanted", indices.join(", ")));
    }
    if !change.gpus.is_empty() {
        lines.push(summary(change));
    }
    lines.join("\n") + "\n"
}

/// `3 kept, 1 destroyed, 2 created`.
pub(super) fn summary(change: &NodeChange) -> String {
    let of = |count: fn(&GpuChange) -> usize| change.gpus.iter().map(count).sum::<usize>() as u64;
    let mut parts = vec![
        format!("{} kept", plural(of(|g| g.change.keep.len() + g.change.refit.len()), "instance")),
        format!("{} destroyed", of(|g| g.change.destroy.len())),
        format!("{} created", of(|g| g.change.create.len())),
    ];
    let modes = of(|g| usize::from(g.mode.is_some_and(|m| m.on != g.from.mig)));
    if modes > 0 {
        parts.push(format!("{} of MIG mode", plural(modes, "change")));
    }
    parts.join(", ")
}
