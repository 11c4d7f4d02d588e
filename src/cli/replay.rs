//! `migplan replay`: what configurations would have done with demand over time.

use std::path::{Path, PathBuf};

use super::chart::{picture_file, write_picture};
use super::compare::Format;
use super::current::CurrentArgs;
use super::files::{name_of, open, read_text};
use super::hours_args::HoursArgs;
use super::output::{Console, check_writable, write_result};
use super::planning::{InputArgs, OptionArgs};
use super::watch::Watch;
use crate::compare;
use crate::compare::replay::{self, Configuration, Replay};
use crate::demand::over_time::OverTime;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::mig_parted::Config;
use crate::optimise::PlanOptions;
use crate::plan::asked;
use crate::plan::file;
use crate::units::{Headroom, Weight};
use crate::view::charts::{Chart, Theme};
use crate::view::figures::ReplayFigure;
use crate::view::json::{self, replay::ReplayDocument};
use crate::view::text::replay as text;

/// Replay demand over time on plans, mig-parted files, presets and the present state, side by side
///
/// Demand over time is the history that Prometheus has, or the column hours of a workloads file.
/// Two figures each: what any scheduler could have served at most (bound), and what pods get that
/// ask for one resource name, first come first served (template). Without --plan, -f or --current
/// the best plan over all hours and the one for the peak are replayed; the presets always are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan replay --workloads teams.csv --gpus 8xa100-80gb --timezone Europe/Berlin
  migplan replay --prometheus history.json --gpus 8xa100-80gb -f config.yaml --chart replay.svg
  migplan replay --prometheus-url http://localhost:9090 --window 14d --plan plan.json --format json")]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    hours: HoursArgs,
    /// Replay this plan, as `suggest --plan` writes it (repeatable)
    #[arg(long, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// Replay the configurations of this mig-parted file (- is stdin)
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of the mig-parted file this label only
    #[arg(short = 'c', long, value_name = "LABEL", requires = "file")]
    config: Option<String>,
    #[command(flatten)]
    current: CurrentArgs,
    /// Plan on the first part of the hours and replay on this share at their end; prints both
    #[arg(long, value_name = "PERCENT")]
    hold_out: Option<Headroom>,
    #[command(flatten)]
    options: OptionArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw shortage by hour, and supply against demand by kind of instance (.svg or .png)
    #[arg(long, value_name = "FILE", value_parser = picture_file)]
    chart: Option<PathBuf>,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    for file in [&args.output, &args.chart] {
        check_writable(file.as_deref())?;
    }
    let options = args.options.read(false)?;
    let inputs = &args.inputs;
    inputs.demand.check_named()?;
    let catalogue = inputs.catalogue.read()?;
    let fleet = inputs.fleet.read(&catalogue, console)?;
    let (demand, seen) = inputs.demand.read_with_origins(&catalogue, Some(&fleet), console)?;
    let demand = args.hours.read(&demand, seen.as_ref(), console)?;
    let mut configurations = Vec::new();
    for file in &args.plan {
        configurations.push(of_plan_file(file, &fleet, &catalogue)?);
    }
    if let Some(file) = &args.file {
        configurations.extend(of_file(file, args.config.as_deref(), &fleet, console)?);
    }
    let nvml = &inputs.fleet.nvml;
    if let Some(present) = args.current.read(nvml, &fleet, &catalogue, &options.policy, console)? {
        configurations.push(Configuration::new("present", &fleet, |_, gpu, board| {
            let held = &present.get(gpu)?.instances;
            if held.is_empty() {
                return None;
            }
            let mut counts = vec![0; board.profiles.len()];
            held.iter().for_each(|i| counts[i.placement.profile] += 1);
            Some(counts)
        }));
    }
    let watch = Watch::new(console);
    let options = watch.options(&options);
    let held = args.hold_out;
    let replayed = match held {
        Some(share) => held_out(share, &demand, &fleet, configurations, &options)?,
        None => {
            let all = if configurations.is_empty() {
                compare::over_time::configurations(&demand, &fleet, &options)?.1
            } else {
                configurations.extend(Configuration::presets(&fleet));
                configurations
            };
            let result = replay::replay(&demand, &fleet, &all)?;
            Replayed { planned_on: None, demand, result }
        }
    };
    drop(watch);
    draw(args, &replayed.result, &replayed.demand)?;
    print(args, &replayed, &fleet, console)
}

/// The hours that were replayed, and with hours held out those that the plans were made from.
struct Replayed {
    planned_on: Option<(OverTime, Replay)>,
    demand: OverTime,
    result: Replay,
}

/// Plans on the first part of the hours and replays on the rest, so that a plan which fits its own
/// history only is seen as such.
fn held_out(
    Headroom(share): Headroom,
    demand: &OverTime,
    fleet: &Fleet,
    named: Vec<Configuration>,
    options: &PlanOptions,
) -> Result<Replayed> {
    let hours = demand.hours().len();
    let held = (hours as u64).saturating_mul(share) / Weight::SCALE;
    let first = hours.saturating_sub(usize::try_from(held).unwrap_or(hours));
    if first == 0 || first == hours {
        return Err(Error::usage("--hold-out leaves no hour to plan on, or none to replay")
            .hint("give a share such as 25%, and a history of some days"));
    }
    let (known, rest) = (demand.between(0, first), demand.between(first, hours));
    let (_, mut configurations) = compare::over_time::configurations(&known, fleet, options)?;
    configurations.extend(named);
    let on_known = replay::replay(&known, fleet, &configurations)?;
    let result = replay::replay(&rest, fleet, &configurations)?;
    Ok(Replayed { planned_on: Some((known, on_known)), demand: rest, result })
}

fn draw(args: &Args, result: &Replay, demand: &OverTime) -> Result<()> {
    match &args.chart {
        Some(file) => {
            write_picture(&ReplayFigure::new(result, demand).picture(), Theme::Light, file)
        }
        None => Ok(()),
    }
}

fn print(args: &Args, replayed: &Replayed, fleet: &Fleet, console: &Console) -> Result<()> {
    let Replayed { planned_on, demand, result } = replayed;
    let output = args.output.as_deref();
    let layout = console.layout(output);
    write_result(output, |out| match args.format {
        Format::Text => {
            if let Some((hours, known)) = planned_on {
                let words = text::text(known, hours, fleet, layout);
                write!(
                    out,
                    "The hours that the plans were made from:\n{words}\nThe hours held out:\n"
                )?;
            }
            out.write_all(text::text(result, demand, fleet, layout).as_bytes())
        }
        Format::Json => {
            let document = ReplayDocument::new(result, demand, fleet);
            json::write(&document.planned_on(planned_on.as_ref().map(|(_, known)| known)), out)
        }
        Format::Csv => text::csv(result, demand, out),
    })
}

/// The configuration of a plan's file, which must be for this fleet.
fn of_plan_file(file: &Path, fleet: &Fleet, catalogue: &Catalogue) -> Result<Configuration> {
    let name = name_of(file);
    let read = file::read(open(file)?, &name, catalogue)?;
    let planned = asked::fleet(&read.plan, &read.catalogue)?;
    let boards = |fleet: &Fleet| -> Vec<(String, Vec<String>)> {
        let of = |n: &crate::fleet::Node| n.gpus.iter().map(|b| b.id.clone()).collect();
        fleet.nodes().iter().map(|n| (n.name.clone(), of(n))).collect()
    };
    if boards(&planned) != boards(fleet) {
        return Err(Error::input(
            Diagnostic::new("the plan is for other nodes or GPUs than those named").in_file(name),
        )
        .hint("name the fleet that the plan was made for, with --gpus or --fleet"));
    }
    let label = file.file_stem().map_or(name.clone(), |stem| stem.to_string_lossy().into_owned());
    let mut configuration = Configuration::of_plan(label, &read.plan, fleet);
    if let Some(periods) = &read.over_time {
        configuration.choose(periods.names());
    }
    Ok(configuration)
}

/// The configurations of a mig-parted file, each on every node. Of several those that the nodes
/// cannot hold are named and passed over.
fn of_file(
    file: &Path,
    label: Option<&str>,
    fleet: &Fleet,
    console: &Console,
) -> Result<Vec<Configuration>> {
    let name = name_of(file);
    let config = Config::parse(&read_text(file)?, &name)?;
    let labels: Vec<&str> = match label {
        Some(label) => vec![config.select(Some(label))?],
        None => config.labels().collect(),
    };
    let mut configurations = Vec::new();
    for label in &labels {
        let resolved: Result<Vec<_>> =
            fleet.nodes().iter().map(|n| config.resolve(Some(label), &n.gpus)).collect();
        match resolved {
            Ok(nodes) => {
                let counts = |node: usize, gpu: usize| {
                    let wanted = nodes[node].gpus.iter().find(|w| w.gpu as usize == gpu)?;
                    wanted.mig.then(|| wanted.counts())
                };
                let made = |node, gpu, _: &_| counts(node, gpu);
                configurations.push(Configuration::new(*label, fleet, made));
            }
            Err(e) if labels.len() == 1 => return Err(e),
            Err(e) => {
                let problem = e.problems.into_iter().next().unwrap_or_default();
                console.warn(&[Diagnostic {
                    message: format!("'{label}' is not replayed: {}", problem.message),
                    ..problem
                }]);
            }
        }
    }
    if configurations.is_empty() {
        return Err(Error::input(
            Diagnostic::new("no configuration of the file fits these GPUs").in_file(name),
        )
        .hint("`migplan check -f` says why"));
    }
    Ok(configurations)
}
