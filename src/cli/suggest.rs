//! `migplan suggest`: demand and fleet in, the proved best plan out.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::output::{Console, check_writable, write_result};
use super::report::{self, Subject};
use super::summary;
use crate::demand::Demand;
use crate::emit::mig_parted;
use crate::error::{Error, ExitCode, Result, plural, thousands};
use crate::optimise::{self, Options, Spare};
use crate::plan::asked::PlanFile;
use crate::plan::{Plan, check};

/// Find the best cut of the GPUs for the teams' workloads and write it as a mig-parted file
///
/// The plan serves the most weight by priority, then the most memory, on the fewest GPUs, with the
/// least rounding loss, in the fewest kinds of instance, with the most compute slices handed out;
/// each proved before the next. The YAML goes to stdout, a summary for people to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan suggest --workloads teams.csv --gpus 4xa100-80gb > config.yaml
  migplan suggest -w teams.csv --fleet fleet.csv --headroom 10% -o config.yaml --assignments nodes.csv
  migplan suggest -w teams.csv --gpus 8xh100-80gb --format json | jq .totals")]
pub struct Args {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// What to print: the mig-parted file, the plan as JSON, or the plan for people
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the plan as JSON to this file too
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write a page with pictures, tables and the mig-parted file to look at in a browser
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write which node takes which config to this file (CSV: node,config)
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
    /// Name of the config in the file; several distinct nodes get NAME-1, NAME-2, …
    #[arg(long, value_name = "NAME", default_value = mig_parted::DEFAULT_NAME)]
    name: String,
    /// Add all-disabled and the uniform all-<profile> configs to the file
    #[arg(long)]
    with_presets: bool,
    /// What becomes of the slices that the demand leaves free on GPUs in use
    #[arg(long, value_enum, default_value_t)]
    spare: SpareChoice,
    /// Stop proving after so many seconds and take the best plan so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// Exit with 4 if some demand has no place (the plan is written all the same)
    #[arg(long)]
    strict: bool,
}

/// What `suggest` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The mig-parted file.
    #[default]
    Yaml,
    /// The plan, schema migplan.plan/v1.
    Json,
    /// The plan for people.
    Text,
}

/// `--spare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SpareChoice {
    /// Further replicas in the demand's own proportions.
    #[default]
    Mix,
    /// The largest instances that fit.
    Largest,
    /// No instance that nobody has.
    None,
}

impl From<SpareChoice> for Spare {
    fn from(choice: SpareChoice) -> Spare {
        match choice {
            SpareChoice::Mix => Spare::Mix,
            SpareChoice::Largest => Spare::Largest,
            SpareChoice::None => Spare::None,
        }
    }
}

/// Reads a positive number of seconds.
pub(super) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|s| *s > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "not a positive number of seconds".to_string())
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    for file in [&args.output, &args.plan, &args.assignments, &args.report] {
        check_writable(file.as_deref())?;
    }
    mig_parted::check_name(&args.name)?;
    let catalogue = args.catalogue.read()?;
    let fleet = args.fleet.read(&catalogue, console)?;
    let demand = args.demand.read(&catalogue, console)?;
    let options =
        Options { spare: args.spare.into(), time_limit: args.time_limit, ..Options::default() };
    let suggestion = optimise::suggest_and_compare(&demand, &fleet, &options)?;
    let plan = &suggestion.plan;
    let violations = check::violations(plan, &demand, &fleet);
    if !violations.is_empty() {
        return Err(Error::internal(format!(
            "the plan breaks its own promises, so nothing is written: {}",
            violations.join("; ")
        ))
        .hint("this is a bug in migplan; please report it with the workloads and the GPUs"));
    }
    let file = mig_parted::write(
        plan,
        &catalogue,
        &mig_parted::Options {
            name: args.name.clone(),
            with_presets: args.with_presets,
            notes: notes(plan),
        },
    )?;
    if args.plan.is_some() {
        write_result(args.plan.as_deref(), |out| json(plan, &demand, out))?;
    }
    if args.assignments.is_some() {
        write_result(args.assignments.as_deref(), |out| {
            mig_parted::write_assignments(&file.assignments, out)
        })?;
    }
    if let Some(report_file) = &args.report {
        let comparison = optimise::compare_plan(plan.clone(), &demand, &fleet, &options)?;
        let subject = Subject {
            comparison: &comparison,
            demand: &demand,
            fleet: &fleet,
            catalogue: &catalogue,
            options: &options,
            config: &file,
        };
        report::write(report_file, &subject)?;
    }
    let output = args.output.as_deref();
    match args.format {
        Format::Yaml => write_result(output, |out| out.write_all(file.text.as_bytes()))?,
        Format::Json => write_result(output, |out| json(plan, &demand, out))?,
        Format::Text => {
            let text = summary::text(&suggestion, &demand, console.verbosity());
            write_result(output, |out| {
                write!(out, "{text}\n{}", summary::cards(plan, console.verbosity()))
            })?;
        }
    }
    if args.format != Format::Text || args.output.is_some() {
        console.say(&summary::text(&suggestion, &demand, console.verbosity()));
    }
    let unplaced = plan.totals.replicas - plan.totals.placed;
    if args.strict && unplaced > 0 {
        let message = format!("{} without a place", plural(unplaced, "replica"));
        return Err(Error::new(ExitCode::Unplaced, message)
            .hint("the summary says why and what would help; --strict makes this an error"));
    }
    Ok(())
}

fn json(plan: &Plan, demand: &Demand, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &PlanFile::new(plan, demand))?;
    writeln!(out)
}

/// What stands at the head of the file; nothing here may differ between equal runs.
pub(super) fn notes(plan: &Plan) -> Vec<String> {
    let totals = &plan.totals;
    let proof = match plan.proof.status {
        crate::plan::Status::Optimal => "proved the best plan",
        crate::plan::Status::TimeLimit => "the best plan found within the time limit",
    };
    vec![
        format!("Made by migplan {}: {proof}.", env!("CARGO_PKG_VERSION")),
        format!(
            "{} of {} placed on {} of {}.",
            thousands(totals.placed),
            plural(totals.replicas, "replica"),
            thousands(totals.gpus_used),
            plural(totals.gpus, "GPU")
        ),
    ]
}
