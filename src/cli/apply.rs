//! `migplan apply`: a mig-parted file onto this node's GPUs.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::inputs::{CatalogueArgs, NvmlArgs, name_of, read_text};
use super::output::{Console, write_result};
use crate::apply::{
    Changer, DEFAULT_STATE_DIR, Event, GpuChange, NodeChange, NvmlDriver, Options, Patience,
    StateDir, Step, guard, journal, observe,
};
use crate::error::{Error, ExitCode, Problem, Result, plural};
use crate::fleet::observed::{Instances, ObservedNode, Process};
use crate::mig_parted::{Config, NodeGpu, WantedGpu};

/// Schema key of the events.
pub const EVENTS_SCHEMA: &str = "migplan.events/v1";

/// Change this node's GPUs to what a mig-parted file says, without ending running work
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan apply -f config.yaml --dry-run
  migplan apply -f config.yaml -c migplan --yes
  migplan suggest --workloads teams.csv | migplan apply -f - --yes

What stays is not touched, a busy instance is never destroyed, and a failure leads back to the
state before. Exit codes: 0 done or nothing to do, 3 the file does not fit these GPUs, 6 no NVML,
7 refused and nothing touched, 8 failed and rolled back, 9 failed and rollback incomplete.")]
pub struct Args {
    /// The mig-parted file (- is stdin)
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml")]
    file: PathBuf,
    /// The label in it; may be left out where there is one
    #[arg(short, long, value_name = "LABEL")]
    config: Option<String>,
    /// Show the changes and stop
    #[arg(long)]
    dry_run: bool,
    /// Reset GPUs whose MIG mode changes only by a reset (Ampere), with nvidia-smi or what
    /// MIGPLAN_NVIDIA_SMI names
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    nvml: NvmlArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

/// How a command that changes the node asks and tells.
#[derive(Debug, Clone, clap::Args)]
pub struct ChangeArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Tell what happens as JSON, one event a line, on stdout
    #[arg(long)]
    pub json: bool,
    /// Where the state before is saved
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR, env = "MIGPLAN_STATE_DIR")]
    pub state_dir: PathBuf,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let reporter = Reporter { console: *console, json: args.change.json };
    reporter.finish(apply(args, console, &reporter))
}

fn apply(args: &Args, console: &Console, reporter: &Reporter) -> Result<Outcome> {
    let file = name_of(&args.file);
    let config = Config::parse(&read_text(&args.file)?, &file)?;
    config.select(args.config.as_deref())?;
    let catalogue = args.catalogue.read()?;
    let mut driver = args.nvml.open()?;
    let (node, warnings) = observe::observe(&mut driver, &catalogue)?;
    let gpus: Vec<NodeGpu> = node.gpus.iter().map(NodeGpu::from).collect();
    let wanted = config.resolve_node(args.config.as_deref(), &gpus)?;
    reporter.warn(&warnings);
    reporter.warn(&wanted.warnings);
    let change = guard::plan(&node, &wanted.gpus, args.reset);
    reporter.warn(&processes_unknown(&node, &change));

    let mut interrupted = false;
    // One that cannot be read matters only once something is to be saved there.
    if let Ok(Some(saved)) = journal::last_run(&args.change.state_dir)
        && saved.end.is_none()
    {
        reporter.warn(&[Problem::new(format!(
            "the last apply (of {}) was interrupted; `migplan rollback` still goes back to the state before it",
            saved.source
        ))]);
        interrupted = true;
    }
    if change.is_empty() {
        // "Nothing to do" is believed only if the node says so twice.
        observe::agree(&mut driver, &catalogue, &node)?;
        if interrupted && !args.dry_run {
            // It reached what is wanted, if not by itself.
            let _ = StateDir::lock(&args.change.state_dir)?.note(journal::End::Applied);
        }
        reporter.changes(&node, &change, args.dry_run)?;
        console_say(console, args.change.json, "nothing to do: every GPU is as wanted");
        return Ok(Outcome::Unchanged);
    }
    reporter.changes(&node, &change, args.dry_run)?;
    if args.dry_run {
        return dry_run(&node, &wanted.gpus, &change, reporter);
    }
    change.permitted()?;
    let state_dir = StateDir::lock(&args.change.state_dir)?;
    confirm(&args.change, "Apply these changes?")?;
    let source = format!("{file}, label {}", wanted.label);
    let options = Options { reset: args.reset, patience: Patience::default() };
    carry_out(&mut driver, &catalogue, options, &change, reporter, |changer| {
        changer.apply(&node, &change, &state_dir, &source)
    })?;
    console_say(console, args.change.json, &format!("done: {}", summary(&change)));
    Ok(Outcome::Applied)
}

/// Ends a dry run: refusals count, but what only root may see does not.
fn dry_run(
    node: &ObservedNode,
    wanted: &[WantedGpu],
    change: &NodeChange,
    reporter: &Reporter,
) -> Result<Outcome> {
    for (index, why) in &change.hidden {
        let found = node.gpus.iter().find(|g| g.index == *index);
        let want = wanted.iter().find(|w| w.gpu == *index);
        let (Some(gpu), Some(want)) = (found, want) else {
            continue;
        };
        let Instances::Hidden { devices, .. } = &gpu.instances else {
            continue;
        };
        let list = |mut names: Vec<String>| {
            names.sort();
            if names.is_empty() { "no instances".to_string() } else { names.join(" ") }
        };
        let has = list(
            devices
                .iter()
                .map(|d| d.profile.as_ref().map_or("?".to_string(), ToString::to_string))
                .collect(),
        );
        let names = want.instances.iter().flat_map(|s| s.names(&want.board));
        let wants = list(names.map(|n| n.to_string()).collect());
        let verdict = if has == wants && want.mig {
            format!("has what is wanted: {has}")
        } else {
            format!("has {has}, and {} is wanted", if want.mig { wants } else { "MIG off".into() })
        };
        reporter.warn(&[Problem::new(format!(
            "GPU {index}: {verdict}; where and what would change cannot be seen: {why}"
        ))]);
    }
    for (gpu, why) in &change.forbidden {
        reporter.warn(&[Problem::new(format!("GPU {gpu}: this user may not change it: {why}"))]);
    }
    NodeChange { hidden: Vec::new(), forbidden: Vec::new(), ..change.clone() }.permitted()?;
    Ok(Outcome::Planned)
}

/// Runs a change with a progress bar or events.
pub(super) fn carry_out(
    driver: &mut NvmlDriver,
    catalogue: &crate::hardware::Catalogue,
    options: Options,
    change: &NodeChange,
    reporter: &Reporter,
    work: impl FnOnce(&mut Changer<'_>) -> Result<()>,
) -> Result<()> {
    let steps: usize = change.gpus.iter().map(|g| g.steps().len()).sum();
    let bar = reporter.bar(steps);
    let mut tell = |event: Event<'_>| {
        match event {
            Event::Begin(step) => bar.set_message(step.to_string()),
            Event::Done(_) => bar.inc(1),
            Event::Failed(why) => bar.println(format!("failed: {why}; going back")),
        }
        reporter.event(&event);
    };
    let result = work(&mut Changer { driver, catalogue, options, tell: &mut tell });
    bar.finish_and_clear();
    result
}

/// Asks on a terminal; elsewhere `--yes` is needed.
pub(super) fn confirm(args: &ChangeArgs, question: &str) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let refused = |message: &str| Error::new(ExitCode::Refused, message);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() || args.json {
        return Err(refused("nobody can be asked here, and --yes was not given").hint(
            "look at the changes with --dry-run, then run it with --yes; nothing was changed",
        ));
    }
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(refused("not confirmed; nothing was changed")),
    }
}

/// Where the driver does not tell of processes, only its own refusal protects them.
fn processes_unknown(node: &ObservedNode, change: &NodeChange) -> Vec<Problem> {
    node.gpus
        .iter()
        .filter(|g| !g.processes_known && change.gpus.iter().any(|c| c.gpu == g.index))
        .map(|g| {
            Problem::new(format!(
                "GPU {}: the driver does not tell which processes run there; it will itself refuse to destroy what is in use",
                g.index
            ))
        })
        .collect()
}

fn console_say(console: &Console, json: bool, text: &str) {
    if !json {
        console.say(text);
    }
}

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

    pub(super) fn warn(&self, warnings: &[Problem]) {
        if self.json {
            for warning in warnings {
                self.emit(&EventJson::Warning { message: warning.to_string() });
            }
        } else {
            self.console.warn(warnings);
        }
    }

    fn event(&self, event: &Event<'_>) {
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

    fn bar(&self, steps: usize) -> ProgressBar {
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
