//! `migplan check`: is this YAML valid for mig-parted, and can these GPUs really hold it?

use std::path::PathBuf;

use clap::ArgGroup;

use super::files::{name_of, open, read_text};
use super::inputs::{CatalogueArgs, FleetArgs};
use super::output::{Console, Format, write_result};
use crate::apply::guard;
use crate::error::{Error, ExitCode, Result};
use crate::hardware::Catalogue;
use crate::mig_parted::fleet_check::FleetCheck;
use crate::mig_parted::{Config, NodeGpu, assignments};
use crate::view::json::{
    self,
    check::{CheckDocument, LiveCheckDocument},
};
use crate::view::text::changes;

/// What to do about a file that does not fit.
const FITS: &str = "`migplan catalogue BOARD` shows what a board can hold; `migplan suggest` writes a file that fits";

/// Check that a mig-parted file is valid and that these GPUs can hold it, or say every reason why not
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("named_nodes").args(["fleet", "nodes"])))]
#[command(after_help = include_str!("help/check.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/check-long.txt").trim_ascii_end())]
pub struct Args {
    /// The mig-parted file (- is stdin)
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml")]
    file: PathBuf,
    /// The label to check; without it, every label of the file
    #[arg(short = 'c', long, value_name = "LABEL", conflicts_with = "assignments")]
    config: Option<String>,
    /// Which node takes which label (CSV: node,config); without it every node must hold every label
    #[arg(long, value_name = "FILE", requires = "named_nodes")]
    assignments: Option<PathBuf>,
    /// Ask whether this node still is what the file says; exit 7 if it drifted
    #[arg(long, conflicts_with_all = ["gpus", "fleet", "ClusterArgs", "assignments"])]
    live: bool,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// How to print
    #[arg(long, help_heading = "Output", value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    if args.live {
        return live(args, &catalogue, console);
    }
    let file = name_of(&args.file);
    let config = Config::parse(&read_text(&args.file)?, &file)?;
    let labels: Vec<&str> = match &args.config {
        Some(label) => vec![config.select(Some(label))?],
        None => config.labels().collect(),
    };
    // Last, since what is wrong with the file alone can be told on a machine without GPUs.
    let fleet = args.fleet.read(&catalogue, console)?;
    let mut hint = None;
    let FleetCheck { problems, warnings, held } = match &args.assignments {
        Some(file) => {
            let mut read = assignments::read(&config, open(file)?, &name_of(file), &fleet)?;
            let mut check = FleetCheck::of_assignments(&config, &read, &fleet);
            read.problems.append(&mut check.problems);
            hint = read.hint;
            FleetCheck { problems: read.problems, ..check }
        }
        None => FleetCheck::of_labels(&config, &labels, &fleet),
    };
    // A label that was not asked for may well be for other GPUs than all of these.
    if args.config.is_some() || args.assignments.is_some() || labels.len() == 1 {
        console.warn(&warnings);
    }
    if args.format == Format::Json {
        let document = CheckDocument::new(&labels, &problems, &warnings);
        write_result(None, |out| json::write(&document, out))?;
    }
    if !problems.is_empty() {
        return Err(Error::inputs(problems).hint(hint.unwrap_or_else(|| FITS.to_string())));
    }
    if args.format == Format::Text {
        let text = changes::held(&file, &held);
        write_result(None, |out| out.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// The command that shows how this node would become what the file says.
fn dry_run(args: &Args) -> String {
    let label = args.config.as_ref().map_or(String::new(), |label| format!(" -c {label}"));
    format!("migplan apply -f {}{label} --dry-run", args.file.display())
}

/// Compares this node with what the file wants of it.
fn live(args: &Args, catalogue: &Catalogue, console: &Console) -> Result<()> {
    let file = name_of(&args.file);
    let config = Config::parse(&read_text(&args.file)?, &file)?;
    config.select(args.config.as_deref())?;
    let node = args.fleet.nvml.observe(catalogue, console)?;
    let wanted = config.resolve_node(args.config.as_deref(), &NodeGpu::of_node(&node))?;
    console.warn(&wanted.warnings);
    let change = guard::plan(&node, &wanted, true);
    let drifted = changes::drift(&change, &file);
    if args.format == Format::Json {
        let document = LiveCheckDocument::new(&wanted.label, &drifted);
        write_result(None, |out| json::write(&document, out))?;
    }
    if !drifted.is_empty() {
        return Err(Error { code: ExitCode::Refused, problems: drifted, hint: None }.hint(
            format!("`{}` shows what it would change back; nothing was touched", dry_run(args)),
        ));
    }
    if args.format == Format::Text {
        let label = &wanted.label;
        write_result(None, |out| writeln!(out, "{file}: {label}: this node is what it says"))?;
    }
    Ok(())
}
