//! `migplan apply`: a mig-parted file onto this node's GPUs.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use super::changes::{Outcome, Reporter, summary};
use super::files::{name_of, read_text};
use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::Console;
use crate::apply::{
    ApplyOptions, Changer, DEFAULT_STATE_DIR, Event, NodeChange, NvmlDriver, Patience, StateDir,
    guard, journal, observe,
};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{Instances, ObservedNode};
use crate::mig_parted::{Config, NodeGpu, WantedGpu};

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
        reporter.warn(&[Diagnostic::new(format!(
            "the last apply (of {}) was interrupted or could not be undone; `migplan rollback` still goes back to the state before it",
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
    let options = ApplyOptions { reset: args.reset, patience: Patience::default() };
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
        reporter.warn(&[Diagnostic::new(format!(
            "GPU {index}: {verdict}; where and what would change cannot be seen: {why}"
        ))]);
    }
    for (gpu, why) in &change.forbidden {
        reporter.warn(&[Diagnostic::new(format!("GPU {gpu}: this user may not change it: {why}"))]);
    }
    NodeChange { hidden: Vec::new(), forbidden: Vec::new(), ..change.clone() }.permitted()?;
    Ok(Outcome::Planned)
}

/// Runs a change with a progress bar or events.
pub(super) fn carry_out(
    driver: &mut NvmlDriver,
    catalogue: &crate::hardware::Catalogue,
    options: ApplyOptions,
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
fn processes_unknown(node: &ObservedNode, change: &NodeChange) -> Vec<Diagnostic> {
    node.gpus
        .iter()
        .filter(|g| !g.processes_known && change.gpus.iter().any(|c| c.gpu == g.index))
        .map(|g| {
            Diagnostic::new(format!(
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
