//! `migplan replay`: what configurations would have done with demand over time.

use std::path::{Path, PathBuf};

use super::chart::{picture_file, write_picture};
use super::compare::Format;
use super::current::CurrentArgs;
use super::files::{name_of, open, read_text};
use super::hours_args::HoursArgs;
use super::output::{Console, check_outputs, write_result};
use super::planning::{InputArgs, OptionArgs, hide_teams};
use super::watch::Watch;
use crate::compare::over_time::{self, PEAK_ROW, PLAN_ROW, Replayed};
use crate::compare::replay::Configuration;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::mig_parted::{Config, assignments};
use crate::optimise;
use crate::plan::file;
use crate::units::Percent;
use crate::view::charts::{Chart, Theme};
use crate::view::figures::ReplayFigure;
use crate::view::json::{self, replay::ReplayDocument};
use crate::view::text::replay as text;

const HEADING: &str = "What to replay";
/// The help of `--current`, which changes nothing here: no plan keeps what the GPUs hold.
const CURRENT: &str = "Replay what the GPUs of one node hold now: as NVML sees this node, or as a \
    checkpoint file says (`migplan export -o checkpoint`)";

/// Replay demand over time on plans, mig-parted files, presets and the present state, side by side
///
/// Demand over time is the history that Prometheus has, or the column hours of a workloads file.
/// Two figures each: what could have been served at most (bound), and what pods get that
/// ask for one resource name, first come first served (template). Without --plan, -f or --current
/// the best plan over all hours and the one for the peak are replayed; the presets always are.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/replay.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/replay-long.txt").trim_ascii_end())]
#[command(mut_arg("timezone", |arg| arg.hide_short_help(false)))]
#[command(mut_arg("current", |arg| arg.help_heading(HEADING).help(CURRENT).long_help(CURRENT)))]
#[command(mut_arg("allow_disruption", |arg| arg.hide(true)))]
#[command(mut_args(hide_teams))]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    hours: HoursArgs,
    /// Replay this plan, as `suggest --plan` writes it (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// Replay the configurations of this mig-parted file (- is stdin)
    #[arg(short, long, help_heading = HEADING, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of the mig-parted file this label only
    #[arg(short = 'c', long, help_heading = HEADING, value_name = "LABEL", requires = "file", conflicts_with = "assignments")]
    config: Option<String>,
    /// Which node takes which label of the mig-parted file (CSV: node,config); without it each label
    /// is replayed as if every node had it
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "file", hide_short_help = true)]
    assignments: Option<PathBuf>,
    #[command(flatten)]
    current: CurrentArgs,
    /// Plan on the first part of the hours and replay on this share at their end; prints both
    #[arg(
        long,
        help_heading = "Demand over time",
        value_name = "PERCENT",
        allow_hyphen_values = true
    )]
    hold_out: Option<Percent>,
    #[command(flatten)]
    options: OptionArgs,
    /// How to print
    #[arg(long, help_heading = "Output", value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw shortage by hour, and supply against demand by kind of instance (.svg or .png)
    #[arg(long, help_heading = "Output", value_name = "FILE", value_parser = picture_file)]
    chart: Option<PathBuf>,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let replayed = args.plan.iter().chain(&args.file).chain(&args.assignments);
    let replayed = replayed.map(PathBuf::as_path);
    let inputs = args.inputs.files().chain(args.current.files()).chain(replayed);
    check_outputs(args.output.as_deref(), &[&args.chart], inputs)?;
    args.options.refuse_teams("replay")?;
    let options = args.options.read(false)?;
    let inputs = &args.inputs;
    let (catalogue, demand, fleet) = inputs.read_over_time(&args.hours, console)?;
    let (fleet, present) = args.current.read(&inputs.fleet.nvml, fleet, &catalogue, console)?;
    let mut configurations = Vec::new();
    let taken = if args.hold_out.is_some() { &[PLAN_ROW, PEAK_ROW][..] } else { &[] };
    for (file, label) in args.plan.iter().zip(labels(&args.plan, taken)) {
        configurations.push(of_plan_file(file, label, &fleet, &catalogue)?);
    }
    if let Some(file) = &args.file {
        let name = labels(std::slice::from_ref(file), taken).remove(0);
        configurations.extend(of_file(args, file, name, &fleet, console)?);
    }
    if let Some(present) = present {
        configurations.push(Configuration::of_present(&present, &fleet));
    }
    let watch = Watch::new(console);
    let options = watch.options(&options);
    let replayed = match args.hold_out {
        Some(share) => over_time::hold_out(share, demand, &fleet, configurations, &options)?,
        None => over_time::replay(demand, &fleet, configurations, &options)?,
    };
    drop(watch);
    if let Some(file) = &args.chart {
        let figure = ReplayFigure::new(&replayed.result, &replayed.demand);
        write_picture(&figure.picture(), Theme::Light, file, console)?;
    }
    print(args, &replayed, &fleet, console)
}

fn print(args: &Args, replayed: &Replayed, fleet: &Fleet, console: &Console) -> Result<()> {
    let Replayed { planned_on, demand, result } = replayed;
    let output = args.output.as_deref();
    let layout = console.layout(output);
    let unserved = optimise::over_time::out_of_reach(demand, fleet);
    write_result(output, |out| match args.format {
        Format::Text => {
            out.write_all(text::replayed(replayed, fleet, &unserved, layout).as_bytes())
        }
        Format::Json => {
            let document = ReplayDocument::new(result, demand, fleet);
            let known = planned_on.as_ref().map(|(_, known)| known);
            json::write(&document.planned_on(known).unserved(unserved), out)
        }
        Format::Csv => text::csv(replayed, out),
    })
}

/// What the rows of plans' files are called: each by the file's name without its ending, or where
/// another row has that name too, by the path.
fn labels(files: &[PathBuf], taken: &[&str]) -> Vec<String> {
    let short = |file: &PathBuf| {
        file.file_stem().map_or_else(|| name_of(file), |stem| stem.to_string_lossy().into_owned())
    };
    let all: Vec<String> = files.iter().map(short).collect();
    let is_taken = |name: &String| {
        taken.contains(&name.as_str()) || all.iter().filter(|other| *other == name).count() > 1
    };
    let label = |(file, short): (&PathBuf, &String)| match is_taken(short) {
        true => name_of(file),
        false => short.clone(),
    };
    files.iter().zip(&all).map(label).collect()
}

/// The configuration of a plan's file.
fn of_plan_file(
    file: &Path,
    label: String,
    fleet: &Fleet,
    catalogue: &Catalogue,
) -> Result<Configuration> {
    let name = name_of(file);
    let plan = file::read(open(file)?, &name, catalogue)?;
    Configuration::of_plan_file(label, &plan, fleet).map_err(|e| e.in_file(&name))
}

/// The configurations of a mig-parted file; where nodes are assigned its labels, the one of that name.
fn of_file(
    args: &Args,
    file: &Path,
    name: String,
    fleet: &Fleet,
    console: &Console,
) -> Result<Vec<Configuration>> {
    let of = name_of(file);
    let config = Config::parse(&read_text(file)?, &of)?;
    if let Some(assignments) = &args.assignments {
        let read = assignments::read(&config, open(assignments)?, &name_of(assignments), fleet)?;
        let configuration = Configuration::of_assignments(name, &config, read, fleet);
        return Ok(vec![configuration.map_err(|e| e.in_file(&of))?]);
    }
    let (configurations, warnings) =
        Configuration::of_config(&config, args.config.as_deref(), fleet)
            .map_err(|e| e.in_file(&of))?;
    console.warn(&warnings);
    Ok(configurations)
}
