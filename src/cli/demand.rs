//! `migplan demand`: the demand as understood, to be read, edited and fed back.

use std::path::PathBuf;

use super::inputs::{CatalogueArgs, DemandArgs, PodNodesArgs};
use super::output::{Console, check_outputs, write_result};
use crate::demand::over_time::Zone;
use crate::demand::time::Span;
use crate::demand::{Workload, csv, quiet};
use crate::error::{Error, Result};
use crate::view::json::{self, demand::DemandDocument};
use crate::view::text;

const QUIET: &str = "Quiet hours";

/// Print the demand as understood, from Prometheus or a workloads file, as a CSV to edit
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/demand.txt").trim_ascii_end())]
pub struct Args {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    nodes: PodNodesArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Also name the hours in which a reconfiguration that takes this long disturbs the fewest
    #[arg(long, help_heading = QUIET, value_name = "DURATION", allow_hyphen_values = true)]
    quiet_window: Option<Span>,
    /// Time zone of those hours: an IANA name [default: UTC]
    #[arg(long, help_heading = QUIET, value_name = "ZONE", requires = "quiet_window")]
    timezone: Option<Zone>,
    /// What --timezone was before: an offset from UTC, such as +02:00
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, hide = true)]
    #[arg(value_parser = quiet::parse_offset, conflicts_with = "timezone")]
    utc_offset: Option<Zone>,
    /// How to print
    #[arg(long, help_heading = "Output", value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Write to this file instead of stdout
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let inputs = args.demand.files().chain(args.nodes.files()).chain(args.catalogue.files());
    check_outputs(args.output.as_deref(), &[], inputs)?;
    let catalogue = args.catalogue.read()?;
    args.demand.check_named()?;
    let nodes = args.nodes.read()?;
    let (demand, mut seen) = args.demand.read_with_origins(&catalogue, &nodes, console)?;
    let quiet = match (args.quiet_window, &mut seen) {
        (None, _) => None,
        (Some(window), Some(seen)) => {
            let zone = args.timezone.clone().or(args.utc_offset.clone()).unwrap_or_default();
            Some(quiet::windows(&mut seen.usage, window, &zone)?)
        }
        (Some(_), None) => {
            return Err(Error::usage("--quiet-window needs samples over time")
                .hint("give --prometheus FILE or --prometheus-url URL"));
        }
    };
    if let Some(quiet) = &quiet {
        console.warn(&quiet.warnings);
    }
    let sizing = seen.as_ref().map(|seen| &seen.sizing);
    write_result(args.output.as_deref(), |out| match args.format {
        Format::Csv => {
            let head = text::demand::head(sizing, quiet.as_ref(), args.demand.headroom);
            let note =
                |workload: &Workload| Some(text::demand::note(workload, sizing?.origin(workload)?));
            csv::write(&demand, &head, note, out)
        }
        Format::Json => json::write(&DemandDocument::new(&demand, sizing, quiet.as_ref()), out),
    })
}
