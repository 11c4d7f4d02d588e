//! `migplan status`: what this node has, which processes use it, and what could still be created.

use std::path::PathBuf;

use super::changes::STATE_DIR_VARIABLE;
use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::{Console, write_result};
use crate::apply::{DEFAULT_STATE_DIR, History};
use crate::error::{Diagnostic, Result};
use crate::view::{json, text};

/// Show this node's MIG mode, instances, what uses them, and what could still be created
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/status.txt").trim_ascii_end())]
pub struct Args {
    /// For people or for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Where `migplan apply` saves states
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR, env = STATE_DIR_VARIABLE)]
    state_dir: PathBuf,
    #[command(flatten)]
    nvml: NvmlArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A picture and a table of each GPU
    Text,
    /// Everything, with a schema key
    Json,
    /// Metrics for node_exporter's textfile collector
    Prometheus,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let node = args.nvml.observe_and_tell(&args.catalogue.read()?, console, true)?;
    let saved = match History::look(&args.state_dir) {
        Ok((history, true)) => {
            console.warn(&[Diagnostic::new("another migplan is changing this node right now")]);
            Some((history, true))
        }
        Ok((history, false)) => {
            history.damaged.iter().for_each(|d| console.warn(std::slice::from_ref(&d.problem)));
            Some((history, false))
        }
        // Only root may read them, and most who look at a status are not root.
        Err(e) => {
            if console.verbosity() > 0 {
                console.warn(&e.problems);
            }
            None
        }
    };
    let at_rest = saved.as_ref().filter(|(_, at_work)| !at_work).map(|(history, _)| history);
    write_result(None, |out| match args.format {
        Format::Text => out.write_all(text::status::text(&node, at_rest).as_bytes()),
        Format::Json => json::write(&json::status::StatusJson::new(&node, saved.as_ref()), out),
        Format::Prometheus => out.write_all(text::metrics::metrics(&node, at_rest).as_bytes()),
    })
}
