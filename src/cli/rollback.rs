//! `migplan rollback`: back to the state before the last apply.

use super::apply::{ChangeArgs, carry_out, confirm};
use super::changes::{Outcome, Reporter, summary};
use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::Console;
use crate::apply::{ApplyOptions, Patience, StateDir, foreign, guard, journal, observe};
use crate::error::{Diagnostic, Error, ExitCode, Result};

/// Go back to the state before the last apply, also after it was killed half-way
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan rollback --dry-run
  migplan rollback --yes

Instances that are busy, or that somebody else has made since, are not destroyed: exit 7.")]
pub struct Args {
    /// Show the changes and stop
    #[arg(long)]
    dry_run: bool,
    /// Reset GPUs whose MIG mode changes only by a reset (Ampere), with nvidia-smi or what
    /// MIGPLAN_NVIDIA_SMI names
    #[arg(long)]
    reset: bool,
    /// Destroy idle instances that somebody else has made since
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    nvml: NvmlArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let reporter = Reporter { console: *console, json: args.change.json };
    reporter.finish(roll_back(args, console, &reporter))
}

fn roll_back(args: &Args, console: &Console, reporter: &Reporter) -> Result<Outcome> {
    let folder = args.change.state_dir.as_path();
    let Some(saved) = journal::last_run(folder)? else {
        let problem =
            Diagnostic::new("no state has been saved here").in_file(folder.display().to_string());
        return Err(Error::input(problem)
            .hint("`migplan apply` saves one; name its folder with --state-dir"));
    };
    let catalogue = args.catalogue.read()?;
    let mut driver = args.nvml.open()?;
    let (node, warnings) = observe::observe(&mut driver, &catalogue)?;
    reporter.warn(&warnings);
    let change = guard::plan_restore(&node, &saved.before, args.reset);
    let say = |text: &str| {
        if !args.change.json {
            console.say(text);
        }
    };
    if saved.end.is_none() {
        say(&format!("the apply of {} was interrupted or could not be undone", saved.source));
    }
    reporter.changes(&node, &change, args.dry_run)?;
    if change.is_empty() {
        observe::agree(&mut driver, &catalogue, &node)?;
        if saved.end != Some(journal::End::RolledBack) && !args.dry_run {
            let _ = StateDir::lock(folder)?.note(journal::End::RolledBack);
        }
        say("nothing to do: every GPU is as it was before");
        return Ok(Outcome::Unchanged);
    }
    let foreign = foreign(&node, &saved);
    if !foreign.is_empty() && !args.force {
        return Err(Error {
            code: ExitCode::Refused,
            problems: foreign,
            hint: Some("--force destroys it, if it is idle; nothing was changed".to_string()),
        });
    }
    change.permitted()?;
    if args.dry_run {
        return Ok(Outcome::Planned);
    }
    let state_dir = StateDir::lock(folder)?;
    confirm(&args.change, "Go back to this state?")?;
    let options = ApplyOptions { reset: args.reset, patience: Patience::default() };
    carry_out(&mut driver, &catalogue, options, &change, reporter, |changer| {
        changer.roll_back(&node, &change, &saved, &state_dir)
    })?;
    say(&format!("done: {}", summary(&change)));
    Ok(Outcome::Applied)
}
