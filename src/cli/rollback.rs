//! `migplan rollback`: back to a saved state.

use super::changes::ChangeArgs;
use super::output::{Console, write_result};
use super::values::whole;
use crate::apply::{History, Target};
use crate::error::Result;
use crate::view::{json, text};

/// Go back to the state before the last apply, also after it was killed half-way
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/rollback.txt").trim_ascii_end())]
pub struct Args {
    /// Show the saved states and stop; with --json as one document
    #[arg(long, conflicts_with_all = ["to", "force", "dry_run"])]
    list: bool,
    /// Go back to the state that was saved before the run with this number of --list
    #[arg(long, value_name = "ID", value_parser = whole(0..=u64::MAX), allow_hyphen_values = true)]
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
    if args.change.json {
        let document = json::runs::RunsJson::new(&history);
        return write_result(None, |out| json::write(&document, out));
    }
    let text = text::runs::list(&history);
    write_result(None, |out| out.write_all(text.as_bytes()))
}
