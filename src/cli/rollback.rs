//! `migplan rollback`: back to a saved state.

use super::changes::ChangeArgs;
use super::output::{Console, write_result};
use crate::apply::{History, Target};
use crate::error::{Error, Result};
use crate::view::{json, text};

/// Go back to the state before the last apply, also after it was killed half-way
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan rollback --dry-run
  migplan rollback --yes
  migplan rollback --list
  migplan rollback --to 3 --yes

It covers the GPUs that the run changed, each by itself: one that is lost does not keep the others
from going back (exit 9 names it), one that was taken out is left out. Instances that are busy, or
that somebody else has created since, are not destroyed: exit 7. Every run saves the state that it
finds, a rollback too, so that a rollback can be undone with --to.")]
pub struct Args {
    /// Show the saved states and stop; with --json as one document
    #[arg(long, conflicts_with_all = ["to", "force", "dry_run"])]
    list: bool,
    /// Go back to the state that was saved before the run with this number of --list
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
    /// Destroy idle instances that somebody else has created since
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    if args.list {
        return list(args);
    }
    let target = args.to.map_or(Target::LastApply, Target::Run);
    args.change.run(None, args.force, console, || Ok(()), |session, ()| session.roll_back(target))
}

fn list(args: &Args) -> Result<()> {
    let (history, _) = History::look(&args.change.state_dir)?;
    let text = if args.change.json {
        serde_json::to_string_pretty(&json::runs::RunsJson::new(&history))
            .map_err(|e| Error::internal(e.to_string()))?
            + "\n"
    } else {
        text::runs::list(&history)
    };
    write_result(None, |out| out.write_all(text.as_bytes()))
}
