//! `migplan apply`: a mig-parted file onto this node's GPUs.

use std::path::PathBuf;

use super::changes::ChangeArgs;
use super::files::{name_of, read_text};
use super::output::Console;
use crate::demand::time::Span;
use crate::error::Result;
use crate::mig_parted::Config;

/// Change this node's GPUs to what a mig-parted file says, without ending running work
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan apply -f config.yaml --dry-run
  migplan apply -f config.yaml -c migplan --yes
  migplan apply -f config.yaml --yes --stop nvidia-dcgm --wait 10m
  migplan suggest --workloads teams.csv | migplan apply -f - --yes

What stays is not touched, a busy instance is never destroyed, and a failure leads back to the
state before, each GPU by itself; so does Ctrl-C, which ends the call that is under way and goes
back (a second one leaves at once; then `migplan rollback` goes back). Exit codes: 0 done or nothing
to do, 3 the file does not fit these GPUs, 6 no NVML, 7 refused and nothing touched, 8 failed and
rolled back, 9 failed and rollback incomplete.")]
pub struct Args {
    /// The mig-parted file (- is stdin)
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml")]
    file: PathBuf,
    /// The label in it; may be left out where there is one
    #[arg(short, long, value_name = "LABEL")]
    config: Option<String>,
    /// Wait so long for instances that must go and are busy, such as 30s or 10m, instead of refusing
    #[arg(long, value_name = "DURATION")]
    wait: Option<Span>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let file = name_of(&args.file);
    let label = args.config.as_deref();
    let read = || {
        let config = Config::parse(&read_text(&args.file)?, &file)?;
        config.select(label)?;
        Ok(config)
    };
    args.change.run(args.wait, false, console, read, |session, config: Config| {
        session.apply(&config, label, &file)
    })
}
