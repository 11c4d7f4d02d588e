//! `migplan export`: this node's present state in mig-parted's forms.

use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::{Console, write_result};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::mig_parted::{checkpoint, export};

/// Show this node's present MIG state as a mig-parted file
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/export.txt").trim_ascii_end())]
pub struct Args {
    /// The form: mig-parted's YAML, or its checkpoint JSON
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml")]
    format: Format,
    /// The label in the YAML
    #[arg(short, long, value_name = "LABEL", default_value = "current")]
    label: String,
    #[command(flatten)]
    nvml: NvmlArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// `version: v1`, counts of profiles
    Yaml,
    /// JSON, exact placements
    Checkpoint,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let node = args.nvml.observe(&args.catalogue.read()?, console)?;
    let pending: Vec<Diagnostic> =
        export::pending(&node).into_iter().map(Diagnostic::new).collect();
    console.warn(&pending);
    let refused = |message| {
        let hint = match node.unreadable.is_empty() {
            true => "run it as root",
            false => "`migplan export` without -o names it in a comment",
        };
        Error::new(ExitCode::Refused, message).hint(hint)
    };
    let text = match args.format {
        Format::Yaml => export::yaml(&node, &args.label).map_err(refused)?,
        Format::Checkpoint => checkpoint::checkpoint(&node).map_err(refused)?.json()?,
    };
    write_result(None, |out| out.write_all(text.as_bytes()))
}
