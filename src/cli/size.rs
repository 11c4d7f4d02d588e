//! `migplan size`: how many GPUs a demand needs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgGroup;

use super::hours_args::HoursArgs;
use super::inputs::{CatalogueArgs, DemandArgs, PodNodesArgs};
use super::output::{Console, Format, check_outputs, write_result};
use super::values::{seconds, whole};
use super::watch::Watch;
use crate::compare::{self, Sizing};
use crate::error::{Error, ExitCode, Result};
use crate::fleet::price::{self, Price};
use crate::hardware::{BoardRef, Catalogue};
use crate::optimise::PlanOptions;
use crate::units::{Percent, Weight, millionths};
use crate::view::json::{self, size::SizeDocument};
use crate::view::text::size;

/// Find the fewest GPUs of a board that serve the whole demand, or the cheapest mix of boards
///
/// The number is proved: one GPU fewer cannot serve the demand. What no GPU of a board could ever
/// serve is listed and not in its number; with --strict that is exit 4. Beside the number it says
/// what fewer GPUs would serve, so that one sees what each further GPU adds.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("boards").required(true).multiple(true).args(["board", "price"])))]
#[command(after_help = include_str!("help/size.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/size-long.txt").trim_ascii_end())]
pub struct Args {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    nodes: PodNodesArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Boards to count, one by one (repeatable, or a list with commas); needed without --price
    #[arg(short, long, help_heading = "GPUs", value_name = "BOARD", value_delimiter = ',')]
    board: Vec<String>,
    /// What one GPU of each board costs, in any unit; asks for the cheapest mix of these boards
    #[arg(long, help_heading = "GPUs", value_name = "BOARD=PRICE", value_delimiter = ',')]
    #[arg(allow_hyphen_values = true)]
    price: Vec<String>,
    /// Count the GPUs that serve a share of all hours, partitioned once for all of them: hours of the
    /// column hours, or of the history that Prometheus has
    #[arg(long, help_heading = "Demand over time", conflicts_with = "price")]
    over_time: bool,
    /// The share of the hours of each priority, by weight, that is to be served by the best plan,
    /// which serves the highest priority first; what the column min guarantees is served whole
    ///
    /// Since the highest priority comes first, more GPUs than that may serve less of a lower one: a
    /// replica of the higher one that has room on them may displace several others.
    #[arg(long, help_heading = "Demand over time", value_name = "PERCENT", default_value = "100%")]
    #[arg(requires = "over_time", conflicts_with = "price", allow_hyphen_values = true)]
    #[arg(hide_short_help = true)]
    serve: Percent,
    #[command(flatten)]
    hours: HoursArgs,
    /// GPUs of one server, for workloads that need several whole GPUs of one
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole(1..=1024_u16))]
    #[arg(help_heading = "GPUs", hide_short_help = true, allow_hyphen_values = true)]
    gpus_per_node: u16,
    /// How to print
    #[arg(long, help_heading = "Output", value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop proving after so many seconds and take the best answer so far
    #[arg(long, help_heading = "Rules of the site", value_name = "SECONDS", value_parser = seconds)]
    #[arg(allow_hyphen_values = true)]
    time_limit: Option<Duration>,
    /// Exit with 4 if some demand cannot be served by a board (the result is written all the same)
    #[arg(long, help_heading = "Output")]
    strict: bool,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let inputs = args.demand.files().chain(args.nodes.files()).chain(args.catalogue.files());
    check_outputs(args.output.as_deref(), &[], inputs)?;
    let catalogue = args.catalogue.read()?;
    let prices = Price::parse(&args.price, "--price", &catalogue)?;
    let mut boards = price::boards(&args.board, "--board", &catalogue)?;
    if boards.is_empty() {
        boards = prices.iter().map(|p| p.board.clone()).collect();
    }
    let options = PlanOptions { time_limit: args.time_limit, ..PlanOptions::default() };
    let per_node = usize::from(args.gpus_per_node);
    let watch = Watch::new(console);
    let options = watch.options(&options);
    let (sizings, mix) = if args.over_time {
        (over_time(args, &boards, &options, &catalogue, console)?, None)
    } else {
        if let Some(flag) = args.hours.of_hours() {
            return Err(Error::usage(format!("{flag} needs --over-time")));
        }
        args.demand.check_named()?;
        let demand = args.demand.read(&catalogue, &args.nodes.read()?, console)?;
        let demand = args.hours.growth(&demand)?.raise(&demand);
        let mix = match prices.as_slice() {
            [] => None,
            prices => Some(compare::size_mix(&demand, prices, per_node, &options)?),
        };
        (compare::size(&demand, &boards, per_node, &options)?, mix)
    };
    drop(watch);
    let layout = console.layout(args.output.as_deref());
    write_result(args.output.as_deref(), |out| match args.format {
        Format::Json => json::write(&SizeDocument::new(&sizings, mix.as_ref(), &prices), out),
        Format::Text => {
            let text = size::text(&sizings, mix.as_ref(), &prices, per_node, layout);
            out.write_all(text.as_bytes())
        }
    })?;
    if args.format == Format::Json {
        console.warn(&size::warnings(&sizings));
    }
    let unserved = sizings.iter().any(|s| !s.unserved.is_empty())
        || mix.is_some_and(|m| !m.unserved.is_empty());
    if args.strict && unserved {
        return Err(Error::new(ExitCode::Unplaced, "some demand cannot be served by these boards")
            .hint("the result lists it with what would help; --strict makes this an error"));
    }
    Ok(())
}

/// The fewest GPUs that serve the share of the hours that `--serve` names.
fn over_time(
    args: &Args,
    boards: &[BoardRef],
    options: &PlanOptions,
    catalogue: &Catalogue,
    console: &Console,
) -> Result<Vec<Sizing>> {
    let Percent(share) = args.serve;
    if share == 0 || share > Weight::SCALE {
        return Err(Error::usage("--serve is a share of the hours: more than 0%, at most 100%"));
    }
    args.demand.check_over_time()?;
    let (demand, seen) = args.demand.read_with_origins(catalogue, &args.nodes.read()?, console)?;
    let demand = args.hours.read(&demand, seen.as_ref(), console)?;
    let asked = || demand.peak().workloads().iter().filter(|w| w.count > 0);
    let has_min = share < Weight::SCALE && asked().any(|w| w.min > 0);
    console.say(&format!(
        "GPUs that serve {} % of the weight-hours of each priority{}, partitioned once for all {} hours:",
        millionths(u128::from(share) * 100),
        if has_min { ", and every min whole" } else { "" },
        demand.hours().len()
    ));
    let priorities: BTreeSet<i64> = asked().map(|w| w.priority).collect();
    if share < Weight::SCALE && priorities.len() > 1 {
        console.say("The highest priority is served first, so more GPUs than that may serve less of a lower one.");
    }
    compare::size_over_time(&demand, boards, args.serve, options)
}
