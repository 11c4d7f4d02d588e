//! `migplan chart`: pictures of a plan.

use std::path::{Path, PathBuf};

use super::files::{name_of, open};
use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::output::{Console, check_outputs, write_result};
use super::planning::OptionArgs;
use super::watch::Watch;
use crate::compare::{self, Comparison};
use crate::demand::Demand;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::{self, PlanOptions};
use crate::plan::file::{self, PlanFile};
use crate::plan::over_time::OverTimeFile;
use crate::plan::{Plan, asked};
use crate::text::plural;
use crate::view::charts::{Chart, Picture, PictureFormat, Theme};
use crate::view::figures::{ColorBy, DemandFigure, FitIdle, Question, SliceMap, Usage};

/// Draw a plan: fit versus idle memory, the slices of every GPU, demand or use against instances
///
/// The picture is of a plan that `suggest --plan` wrote, or of the plan for the workloads and GPUs
/// that the other flags name. The ending of the file decides: .svg, or .png.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/chart.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/chart-long.txt").trim_ascii_end())]
pub struct Args {
    /// What to draw
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The picture's file, ending in .svg or .png (- writes SVG to stdout)
    #[arg(short, long, value_name = "FILE", value_parser = picture_file)]
    output: PathBuf,
    /// Draw this plan, as `suggest --plan` writes it (- is stdin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workloads", "pods", "team", "headroom", "PrometheusArgs", "gpus", "fleet", "ClusterArgs", "quota"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    options: OptionArgs,
}

/// How the picture looks.
#[derive(Debug, clap::Args)]
struct LookArgs {
    /// The shape of a fit-idle picture: a page with every way, or a slide with the plan and the few
    /// ways that it is worth comparing with
    #[arg(long, value_enum, default_value_t, value_name = "page|16:9")]
    size: Size,
    /// A light or a dark page
    #[arg(long, value_enum, default_value_t)]
    theme: Theme,
    /// The title of a slide, instead of what was found
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// What the colours of the slices tell apart; left out: teams, or with many of them how much of
    /// its instance each replica needs
    #[arg(long, value_enum, value_name = "team|priority|need")]
    color_by: Option<ColorBy>,
    /// Show where this team's instances are among the slices
    #[arg(long, value_name = "TEAM", conflicts_with = "color_by")]
    highlight: Option<String>,
}

/// `--size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Size {
    /// As wide as a page, as high as it must be.
    #[default]
    Page,
    /// A slide.
    #[value(name = "16:9")]
    Slide,
}

impl LookArgs {
    /// Refuses flags that the kind of picture has no use for.
    fn check(&self, kind: Kind) -> Result<()> {
        let of_slide = self.size == Size::Slide || self.title.is_some();
        if of_slide && kind != Kind::FitIdle {
            return Err(Error::usage("--size 16:9 and --title are for --kind fit-idle")
                .hint("leave them out, or draw fit-idle"));
        }
        if self.title.is_some() && self.size != Size::Slide {
            return Err(Error::usage("--title is for a slide").hint("add --size 16:9"));
        }
        if (self.color_by.is_some() || self.highlight.is_some()) && kind != Kind::Slices {
            return Err(Error::usage("--color-by and --highlight are for --kind slices")
                .hint("leave them out, or add --kind slices"));
        }
        Ok(())
    }
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    /// The plan, presets and heuristics under the most that fits on so many GPUs
    #[default]
    FitIdle,
    /// The memory slices of every GPU: what each instance is assigned to, how full it is, what is unusable
    Slices,
    /// Each workload's memory against the instances that it is assigned
    Demand,
    /// What --prometheus saw over time, with the quantile that is planned for and the instance
    Usage,
}

/// So many characters of those that a font lacks are shown.
const MOST_LACKING: usize = 8;

/// Takes a file whose ending says what to write.
pub(super) fn picture_file(text: &str) -> std::result::Result<PathBuf, String> {
    let file = PathBuf::from(text);
    let known = PictureFormat::of(&file).map(|_| file);
    known.ok_or_else(|| "the file must end in .svg or .png".to_string())
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    args.look.check(args.kind)?;
    let planned = args.demand.files().chain(args.fleet.files()).chain(args.options.files());
    let inputs = planned.chain(args.catalogue.files()).chain(args.plan.as_deref());
    check_outputs(Some(&args.output), &[], inputs)?;
    let catalogue = args.catalogue.read()?;
    let options = args.options.read(false)?;
    let picture = match &args.plan {
        _ if args.kind == Kind::Usage => usage(args, &catalogue, &options, console)?,
        Some(file) => of_file(args, file, &catalogue, &options, console)?,
        None => {
            args.demand.check_named()?;
            let fleet = args.fleet.read(&catalogue, console)?;
            let demand = args.demand.read(&catalogue, fleet.kubernetes_nodes(), console)?;
            let options = args.options.with_quota(options, &demand, console)?;
            let watch = Watch::new(console);
            let options = watch.options(&options);
            if args.kind == Kind::FitIdle {
                let comparison = compare::compare(&demand, &fleet, &options)?;
                fit_idle(args, &comparison, &demand, &fleet, &options)?
            } else {
                let plan = optimise::suggest(&demand, &fleet, &options)?;
                of_plan(args, &plan, &demand, &catalogue, None)?
            }
        }
    };
    write_picture(&picture, args.look.theme, &args.output, console)
}

/// Writes a picture as the ending of the file says; warns of what a PNG cannot show.
pub(super) fn write_picture(
    picture: &Picture,
    theme: Theme,
    file: &Path,
    console: &Console,
) -> Result<()> {
    let format = PictureFormat::of(file).unwrap_or(PictureFormat::Svg);
    let bytes = picture.bytes(theme, format)?;
    write_result(Some(file), |out| out.write_all(&bytes))?;
    if format != PictureFormat::Png {
        return Ok(());
    }
    let lacking = picture.lacking();
    if !lacking.is_empty() {
        let some: String = lacking.iter().take(MOST_LACKING).collect();
        let all = if lacking.len() > MOST_LACKING { some + "…" } else { some };
        let count = plural(lacking.len() as u64, "character");
        let problem = format!("shows boxes for {count} that the font of a PNG lacks ({all})");
        console.warn(&[Diagnostic::new(problem).in_file(file.display().to_string())]);
        console.hint("write an .svg, which is drawn in the fonts of the reader's machine");
    }
    Ok(())
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
    let nodes = fleet.as_ref().map(|fleet| fleet.kubernetes_nodes().clone()).unwrap_or_default();
    let (demand, seen) = args.demand.read_with_origins(catalogue, &nodes, console)?;
    let seen = seen.ok_or_else(|| Error::internal("Prometheus is named, but was not read"))?;
    let options = &args.options.with_quota(options.clone(), &demand, console)?;
    let plan = match &fleet {
        None => None,
        Some(fleet) => {
            let watch = Watch::new(console);
            Some(optimise::suggest(&demand, fleet, &watch.options(options))?)
        }
    };
    Ok(Usage::new(&seen.usage, &seen.sizing, &demand, plan.as_deref()).picture())
}

fn of_file(
    args: &Args,
    file: &Path,
    catalogue: &Catalogue,
    options: &PlanOptions,
    console: &Console,
) -> Result<Picture> {
    let name = name_of(file);
    let made = file::read(open(file)?, &name, catalogue)?;
    let PlanFile { plan, demand, catalogue, over_time, .. } = &made;
    if args.kind != Kind::FitIdle {
        let hour = over_time.as_ref().map(OverTimeFile::hour_shown);
        let none = Demand::default();
        let demand = demand.as_ref().unwrap_or(&none);
        return of_plan(args, plan, demand, catalogue, hour.as_deref());
    }
    if over_time.is_some() {
        let problem = format!("{name} is a plan over time, which --kind fit-idle cannot compare");
        return Err(Error::usage(problem).hint(
            "`migplan replay --plan FILE --chart FILE` draws all hours beside the presets, with the \
             demand and GPUs of the plan; --kind slices and --kind demand draw one hour",
        ));
    }
    let demand = made.asked(&name)?;
    let options = options.clone().with_recorded(made.policy.clone())?;
    let fleet = asked::fleet(plan, catalogue)?;
    let watch = Watch::new(console);
    let options = watch.options(&options);
    let comparison = compare::compare_plan(plan.clone(), demand, &fleet, &options)?;
    fit_idle(args, &comparison, demand, &fleet, &options)
}

/// The picture of a comparison, with the frontier.
fn fit_idle(
    args: &Args,
    comparison: &Comparison,
    demand: &Demand,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<Picture> {
    let frontier = compare::frontier(&comparison.plan, demand, fleet, options)?;
    let figure = FitIdle::new(comparison, &frontier, demand);
    Ok(match args.look.size {
        Size::Page => figure.picture(),
        Size::Slide => figure.slide(args.look.title.as_deref()),
    })
}

/// The pictures that need nothing but the plan and its demand; of a plan over time, `hour` is the one
/// that it shows.
fn of_plan(
    args: &Args,
    plan: &Plan,
    demand: &Demand,
    catalogue: &Catalogue,
    hour: Option<&str>,
) -> Result<Picture> {
    if args.kind == Kind::Demand {
        return Ok(DemandFigure::new(plan, demand).in_hour(hour).picture());
    }
    let LookArgs { color_by, highlight, .. } = &args.look;
    let question = Question::new(*color_by, highlight.as_deref(), demand)?;
    Ok(SliceMap::new(plan, demand, catalogue, question).in_hour(hour).picture())
}
