//! `migplan status`: what this node has, which processes use it, and what could still be created.

use std::path::PathBuf;

use super::changes::STATE_DIR_VARIABLE;
use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::{Console, write_result};
use crate::apply::{DEFAULT_STATE_DIR, History};
use crate::error::{Diagnostic, Error, Result};
use crate::view::{json, text};

/// Show this node's MIG mode, instances, what uses them, and what could still be created
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan status
  migplan status --format json | jq '.gpus[].creatable'
  migplan status --format prometheus > /var/lib/node_exporter/migplan.prom

Without root the driver hides placements; what it shows is shown. An apply that was interrupted is
named as long as one of its GPUs is neither in its old state nor in a wanted one.")]
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
    let node = args.nvml.observe_with_differences(&args.catalogue.read()?, console)?;
    let saved = match History::look(&args.state_dir) {
        Ok((_, true)) => {
            console.warn(&[Diagnostic::new("another migplan is changing this node right now")]);
            None
        }
        Ok((history, false)) => {
            history.damaged.iter().for_each(|d| console.warn(std::slice::from_ref(&d.problem)));
            Some(history)
        }
        // Only root may read them, and most who look at a status are not root.
        Err(e) => {
            if console.verbosity() > 0 {
                console.warn(&e.problems);
            }
            None
        }
    };
    let text = match args.format {
        Format::Text => text::status::text(&node, saved.as_ref()),
        Format::Json => {
            let status = json::status::StatusJson::new(&node, saved.as_ref());
            serde_json::to_string_pretty(&status).map_err(|e| Error::internal(e.to_string()))?
                + "\n"
        }
        Format::Prometheus => text::metrics::metrics(&node, saved.as_ref()),
    };
    write_result(None, |out| out.write_all(text.as_bytes()))
}
