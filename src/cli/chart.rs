//! `migplan chart`: pictures of a plan.

use std::path::{Path, PathBuf};

use super::files::{name_of, open};
use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::output::{Console, check_writable, write_result};
use super::planning::OptionArgs;
use crate::compare::{self, Comparison};
use crate::demand::Demand;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::{self, PlanOptions};
use crate::plan::file::{self, PlanFile};
use crate::plan::{Plan, asked};
use crate::view::charts::{Chart, Picture};
use crate::view::figures::{DemandFigure, FitIdle, SliceMap, Usage};

/// Draw a plan: fit versus idle memory, the slices of every GPU, demand or use against instances
///
/// The picture is of a plan that `suggest --plan` wrote, or of the plan for the workloads and GPUs
/// that the other flags name. The ending of the file decides: .svg, or .png.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan chart --workloads teams.csv --gpus 4xa100-80gb -o fit.svg
  migplan chart --kind slices --plan plan.json -o slices.png
  migplan chart --kind usage --prometheus range.json --gpus 4xa100-80gb -o usage.svg")]
pub struct Args {
    /// What to draw
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The picture's file, ending in .svg or .png (- writes SVG to stdout)
    #[arg(short, long, value_name = "FILE", value_parser = picture_file)]
    output: PathBuf,
    /// Draw this plan, as `suggest --plan` writes it (- is stdin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workloads", "pods", "prometheus", "prometheus_url", "gpus", "fleet", "nodes"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    options: OptionArgs,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    /// The plan, presets and heuristics under the most that fits on so many GPUs
    #[default]
    FitIdle,
    /// Every GPU's memory slices: who sits where, how full, what is unusable
    Slices,
    /// Each workload's memory against the instance that it got
    Demand,
    /// What --prometheus saw over time, with the quantile that is planned for and the instance
    Usage,
}

/// Takes a file whose ending says what to write.
fn picture_file(text: &str) -> std::result::Result<PathBuf, String> {
    let file = PathBuf::from(text);
    if text == "-" || is_png(&file) || has_ending(&file, "svg") {
        return Ok(file);
    }
    Err("the file must end in .svg or .png".to_string())
}

fn has_ending(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

fn is_png(file: &Path) -> bool {
    has_ending(file, "png")
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    check_writable(Some(&args.output))?;
    let catalogue = args.catalogue.read()?;
    let options = args.options.read(false)?;
    let picture = match &args.plan {
        _ if args.kind == Kind::Usage => usage(args, &catalogue, &options, console)?,
        Some(file) => of_file(args.kind, file, &catalogue, &options)?,
        None => {
            args.demand.check_named()?;
            let fleet = args.fleet.read(&catalogue, console)?;
            let demand = args.demand.read_for(&catalogue, Some(&fleet), console)?;
            if args.kind == Kind::FitIdle {
                let comparison = compare::compare(&demand, &fleet, &options)?;
                fit_idle(&comparison, &demand, &fleet, &options)?
            } else {
                let plan = optimise::suggest(&demand, &fleet, &options)?;
                of_plan(args.kind, &plan, &demand, &catalogue)
            }
        }
    };
    if is_png(&args.output) {
        let png = picture.png()?;
        write_result(Some(&args.output), |out| out.write_all(&png))
    } else {
        let svg = picture.svg()?;
        write_result(Some(&args.output), |out| out.write_all(svg.as_bytes()))
    }
}

/// What Prometheus saw; with a fleet also the instances that its plan gives.
fn usage(
    args: &Args,
    catalogue: &Catalogue,
    options: &PlanOptions,
    console: &Console,
) -> Result<Picture> {
    if !args.demand.prometheus.is_given() {
        return Err(Error::usage("--kind usage draws what Prometheus saw, but none is named")
            .hint("name a file with --prometheus FILE, or a server with --prometheus-url URL"));
    }
    let fleet = match args.fleet.read(catalogue, console) {
        Ok(fleet) => Some(fleet),
        Err(e) if e.code == ExitCode::NoDriver => None,
        Err(e) => return Err(e),
    };
    let (demand, seen) = args.demand.read_with_origins(catalogue, fleet.as_ref(), console)?;
    let seen = seen.ok_or_else(|| Error::internal("Prometheus is named, but was not read"))?;
    let plan = match &fleet {
        None => None,
        Some(fleet) => Some(optimise::suggest(&demand, fleet, options)?),
    };
    Ok(Usage::new(&seen.usage, &seen.sizing, &demand, plan.as_deref()).picture())
}

fn of_file(
    kind: Kind,
    file: &Path,
    catalogue: &Catalogue,
    options: &PlanOptions,
) -> Result<Picture> {
    let name = name_of(file);
    let PlanFile { plan, demand, catalogue, .. } = file::read(open(file)?, &name, catalogue)?;
    match (kind, demand) {
        (Kind::FitIdle, None) => Err(Error::input(
            Diagnostic::new("the plan does not say what was asked for, so nothing can be compared")
                .in_file(name),
        )
        .hint("make the plan anew with `migplan suggest --plan plan.json`, or name --workloads and --gpus")),
        (Kind::FitIdle, Some(demand)) => {
            let fleet = asked::fleet(&plan, &catalogue)?;
            let comparison = compare::compare_plan(plan, &demand, &fleet, options)?;
            fit_idle(&comparison, &demand, &fleet, options)
        }
        (kind, demand) => Ok(of_plan(kind, &plan, &demand.unwrap_or_default(), &catalogue)),
    }
}

/// The picture of a comparison, with the frontier.
pub(super) fn fit_idle(
    comparison: &Comparison,
    demand: &Demand,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<Picture> {
    let frontier = compare::frontier(&comparison.plan, demand, fleet, options)?;
    Ok(FitIdle::new(comparison, &frontier, demand).picture())
}

/// The pictures that need nothing but the plan and its demand.
pub(super) fn of_plan(kind: Kind, plan: &Plan, demand: &Demand, catalogue: &Catalogue) -> Picture {
    match kind {
        Kind::Demand => DemandFigure::new(plan, demand).picture(),
        Kind::FitIdle | Kind::Slices | Kind::Usage => SliceMap::new(plan, catalogue).picture(),
    }
}
