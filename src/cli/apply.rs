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
#[command(after_help = include_str!("help/apply.txt").trim_ascii_end())]
pub struct Args {
    /// The mig-parted file (- is stdin)
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml")]
    file: PathBuf,
    /// The label in it; may be left out where there is one
    #[arg(short, long, value_name = "LABEL")]
    config: Option<String>,
    /// Wait so long for instances that must go and are busy, such as 30s or 10m, instead of refusing
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
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
